-- The review queue, proposed changes, customers' decisions; when an order is due, its shape and who wrote it last.

-- `due_at` is when a person is called unless the order moves. The partial indexes hold open orders only.
ALTER TABLE orders ADD COLUMN due_at TIMESTAMPTZ;
ALTER TABLE orders ADD COLUMN shape BIGINT NOT NULL DEFAULT 1;
ALTER TABLE orders ADD COLUMN build TEXT COLLATE "C";
CREATE INDEX orders_due ON orders (due_at, id)
    WHERE due_at IS NOT NULL AND status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX orders_undated ON orders (placed_at, id)
    WHERE due_at IS NULL AND status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX orders_open ON orders (shape, build)
    WHERE status NOT IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');

-- What needs a person. An item may be about an order that is not ours, so nothing refers to `orders`.
CREATE TABLE review_items (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C",
    shipment_id TEXT COLLATE "C",
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    source TEXT COLLATE "C" NOT NULL CHECK (source IN ('order', 'watchdog', 'refund', 'return', 'reconciliation', 'message')),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'resolved', 'settled')),
    opened_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    action TEXT,
    reference TEXT,
    reason TEXT,
    actor TEXT,
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK ((state = 'resolved') = (action IS NOT NULL AND reason IS NOT NULL AND actor IS NOT NULL))
);
CREATE INDEX review_items_oldest ON review_items (opened_at, id);
CREATE INDEX review_items_by_state ON review_items (state, opened_at, id);
CREATE INDEX review_items_by_state_and_kind ON review_items (state, kind, opened_at, id);
CREATE INDEX review_items_by_kind ON review_items (kind, opened_at, id);
CREATE INDEX review_items_by_source ON review_items (source, opened_at, id);
CREATE INDEX review_items_by_order ON review_items (order_id, opened_at, id) WHERE order_id IS NOT NULL;

-- Proposed addresses. Personal data.
CREATE TABLE address_changes (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    address JSONB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'applied')),
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX address_changes_by_order ON address_changes (order_id);

-- Proposed lines, priced.
CREATE TABLE edits (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    lines JSONB NOT NULL,
    totals JSONB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'applied', 'refused')),
    reason TEXT,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX edits_by_order ON edits (order_id);

-- The links in which a customer decides: one per question.
CREATE TABLE decision_tokens (
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    round BIGINT NOT NULL CHECK (round > 0),
    token TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (order_id, round)
);
