-- What an order brings along: its shortage policy, the address of the bill, discounts, and the price rules of its intake (all JSON;
-- absent on orders of the first version). And imports: files of orders, placed one by one.
ALTER TABLE orders ADD COLUMN on_shortage JSONB;
ALTER TABLE orders ADD COLUMN bill_to JSONB;
ALTER TABLE orders ADD COLUMN discounts JSONB;
ALTER TABLE orders ADD COLUMN price_rules JSONB;

-- One file. `upload` names its rows; while it is received, `id` is the same, afterwards it is derived from the content. The lease
-- says which process places its rows.
CREATE TABLE imports (
    id TEXT COLLATE "C" PRIMARY KEY,
    upload TEXT COLLATE "C" NOT NULL,
    client TEXT NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('receiving', 'running', 'done')),
    row_count BIGINT NOT NULL CHECK (row_count >= 0),
    placed BIGINT NOT NULL CHECK (placed >= 0),
    refused BIGINT NOT NULL CHECK (refused >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    touched_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    lease_holder TEXT,
    lease_until TIMESTAMPTZ,
    CHECK (placed + refused <= row_count)
);
CREATE INDEX imports_newest ON imports (created_at, id);
CREATE INDEX imports_open ON imports (state, created_at) WHERE state <> 'done';

-- One order of a file. `content` is its body until it is settled: personal data does not outlive that.
CREATE TABLE import_rows (
    upload TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'placed', 'refused')),
    client_key TEXT,
    content TEXT,
    order_id TEXT,
    errors TEXT,
    PRIMARY KEY (upload, number),
    CHECK ((status = 'pending') = (content IS NOT NULL))
);
CREATE INDEX import_rows_by_status ON import_rows (upload, status, number);
