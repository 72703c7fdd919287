-- The review queue, proposed changes, customers' decisions; when an order is due, its shape and who wrote it last.

-- `due_at` is when a person is called unless the order moves. The partial indexes hold open orders only.
ALTER TABLE orders ADD COLUMN due_at TEXT;
ALTER TABLE orders ADD COLUMN shape INTEGER NOT NULL DEFAULT 1;
ALTER TABLE orders ADD COLUMN build TEXT;
CREATE INDEX orders_due ON orders (due_at, id)
    WHERE due_at IS NOT NULL AND status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX orders_undated ON orders (placed_at, id)
    WHERE due_at IS NULL AND status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX orders_open ON orders (shape, build)
    WHERE status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');

-- What needs a person. An item may be about an order that is not ours, so nothing refers to `orders`.
CREATE TABLE review_items (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    order_id TEXT,
    shipment_id TEXT,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('order', 'watchdog', 'refund', 'return', 'reconciliation', 'message')),
    state TEXT NOT NULL CHECK (state IN ('open', 'resolved', 'settled')),
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    action TEXT,
    reference TEXT,
    reason TEXT,
    actor TEXT,
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK ((state = 'resolved') = (action IS NOT NULL AND reason IS NOT NULL AND actor IS NOT NULL))
) STRICT;
CREATE INDEX review_items_oldest ON review_items (opened_at, id);
CREATE INDEX review_items_by_state ON review_items (state, opened_at, id);
CREATE INDEX review_items_by_state_and_kind ON review_items (state, kind, opened_at, id);
CREATE INDEX review_items_by_kind ON review_items (kind, opened_at, id);
CREATE INDEX review_items_by_source ON review_items (source, opened_at, id);
CREATE INDEX review_items_by_order ON review_items (order_id, opened_at, id) WHERE order_id IS NOT NULL;

-- Proposed addresses. Personal data.
CREATE TABLE address_changes (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'applied')),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX address_changes_by_order ON address_changes (order_id);

-- Proposed lines, priced.
CREATE TABLE edits (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    lines TEXT NOT NULL,
    totals TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'applied', 'refused')),
    reason TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX edits_by_order ON edits (order_id);

-- The links in which a customer decides: one per question.
CREATE TABLE decision_tokens (
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    round INTEGER NOT NULL CHECK (round > 0),
    token TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (order_id, round)
) STRICT;
