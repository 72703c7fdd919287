-- Money and goods that go back. Every refund and every return is a row first; a run follows.

-- What refunds have returned of an order's money: written with them, shown with the order.
ALTER TABLE orders ADD COLUMN refunded_minor BIGINT NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0);

-- `asked`, `breakdown` and `terms` are JSON. Without `started_at` nobody has made sure of a run yet.
CREATE TABLE refunds (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('requested', 'returned', 'refused', 'closed')),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    returned_minor BIGINT NOT NULL DEFAULT 0 CHECK (returned_minor >= 0),
    currency TEXT NOT NULL,
    asked JSONB NOT NULL,
    breakdown JSONB NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    terms JSONB NOT NULL,
    revision BIGINT NOT NULL DEFAULT 1 CHECK (revision > 0),
    code TEXT,
    reference TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    CHECK (returned_minor <= amount_minor),
    CHECK ((settled_at IS NOT NULL) = (state IN ('returned', 'closed'))),
    CHECK (state <> 'returned' OR returned_minor = amount_minor)
);
CREATE INDEX refunds_by_order ON refunds (order_id, created_at, id);
CREATE INDEX refunds_unstarted ON refunds (created_at, id) WHERE started_at IS NULL;

-- A refund's share of each payment that its money was taken with.
CREATE TABLE refund_parts (
    refund_id TEXT COLLATE "C" NOT NULL REFERENCES refunds (id) ON DELETE CASCADE,
    part BIGINT NOT NULL CHECK (part > 0),
    payment_id TEXT COLLATE "C" NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'returned', 'closed')),
    PRIMARY KEY (refund_id, part)
);

-- `asked` and `body` are JSON; `rev` is the run's last record, 0 before the first.
CREATE TABLE returns (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('requested', 'approved', 'rejected', 'received', 'completed', 'expired')),
    rev BIGINT NOT NULL CHECK (rev >= 0),
    body JSONB NOT NULL,
    refund_shipping BOOLEAN NOT NULL,
    auto_approve BOOLEAN NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    terms JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ
);
CREATE INDEX returns_by_order ON returns (order_id, created_at, id);
CREATE INDEX returns_newest ON returns (created_at, id);
CREATE INDEX returns_by_state ON returns (state, created_at, id);
CREATE INDEX returns_unstarted ON returns (created_at, id) WHERE started_at IS NULL;

-- Receipts of returns that are on the shelf: each once.
CREATE TABLE restocks (
    return_id TEXT COLLATE "C" NOT NULL REFERENCES returns (id) ON DELETE CASCADE,
    receipt BIGINT NOT NULL CHECK (receipt > 0),
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (return_id, receipt)
);

-- Stock moves for a return too.
ALTER TABLE movements DROP CONSTRAINT movements_kind_check;
ALTER TABLE movements ADD CONSTRAINT movements_kind_check
    CHECK (kind IN ('receipt', 'adjustment', 'count', 'commit', 'departure', 'return'));

-- The gateway is asked to refund too.
ALTER TABLE payment_operations DROP CONSTRAINT payment_operations_kind_check;
ALTER TABLE payment_operations ADD CONSTRAINT payment_operations_kind_check
    CHECK (kind IN ('authorize', 'capture', 'void', 'refund'));
