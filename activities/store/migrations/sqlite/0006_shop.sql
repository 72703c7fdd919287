-- What an order brings along: its shortage policy, the address of the bill, discounts, and the price rules of its intake (all JSON;
-- absent on orders of the first version). And imports: files of orders, placed one by one.
ALTER TABLE orders ADD COLUMN on_shortage TEXT;
ALTER TABLE orders ADD COLUMN bill_to TEXT;
ALTER TABLE orders ADD COLUMN discounts TEXT;
ALTER TABLE orders ADD COLUMN price_rules TEXT;

-- One file. `upload` names its rows; while it is received, `id` is the same, afterwards it is derived from the content. The lease
-- says which process places its rows.
CREATE TABLE imports (
    id TEXT PRIMARY KEY,
    upload TEXT NOT NULL,
    client TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('receiving', 'running', 'done')),
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    placed INTEGER NOT NULL CHECK (placed >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    created_at TEXT NOT NULL,
    touched_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    lease_holder TEXT,
    lease_until TEXT,
    CHECK (placed + refused <= row_count)
) STRICT;
CREATE INDEX imports_newest ON imports (created_at, id);
CREATE INDEX imports_open ON imports (state, created_at) WHERE state <> 'done';

-- One order of a file. `content` is its body until it is settled: personal data does not outlive that.
CREATE TABLE import_rows (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number > 0),
    status TEXT NOT NULL CHECK (status IN ('pending', 'placed', 'refused')),
    client_key TEXT,
    content TEXT,
    order_id TEXT,
    errors TEXT,
    PRIMARY KEY (upload, number),
    CHECK ((status = 'pending') = (content IS NOT NULL))
) STRICT;
CREATE INDEX import_rows_by_status ON import_rows (upload, status, number);
