-- Money and goods that go back. Every refund and every return is a row first; a run follows.

-- What refunds have returned of an order's money: written with them, shown with the order.
ALTER TABLE orders ADD COLUMN refunded_minor INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0);

-- `asked`, `breakdown` and `terms` are JSON. Without `started_at` nobody has made sure of a run yet.
CREATE TABLE refunds (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('requested', 'returned', 'refused', 'closed')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    returned_minor INTEGER NOT NULL DEFAULT 0 CHECK (returned_minor >= 0),
    currency TEXT NOT NULL,
    asked TEXT NOT NULL,
    breakdown TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    terms TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1 CHECK (revision > 0),
    code TEXT,
    reference TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    settled_at TEXT,
    started_at TEXT,
    CHECK (returned_minor <= amount_minor),
    CHECK ((settled_at IS NOT NULL) = (state IN ('returned', 'closed'))),
    CHECK (state <> 'returned' OR returned_minor = amount_minor)
) STRICT;
CREATE INDEX refunds_by_order ON refunds (order_id, created_at, id);
CREATE INDEX refunds_unstarted ON refunds (created_at, id) WHERE started_at IS NULL;

-- A refund's share of each payment that its money was taken with.
CREATE TABLE refund_parts (
    refund_id TEXT NOT NULL REFERENCES refunds (id) ON DELETE CASCADE,
    part INTEGER NOT NULL CHECK (part > 0),
    payment_id TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'returned', 'closed')),
    PRIMARY KEY (refund_id, part)
) STRICT;

-- `asked` and `body` are JSON; `rev` is the run's last record, 0 before the first.
CREATE TABLE returns (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('requested', 'approved', 'rejected', 'received', 'completed', 'expired')),
    rev INTEGER NOT NULL CHECK (rev >= 0),
    body TEXT NOT NULL,
    refund_shipping INTEGER NOT NULL,
    auto_approve INTEGER NOT NULL,
    location TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    terms TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    started_at TEXT
) STRICT;
CREATE INDEX returns_by_order ON returns (order_id, created_at, id);
CREATE INDEX returns_newest ON returns (created_at, id);
CREATE INDEX returns_by_state ON returns (state, created_at, id);
CREATE INDEX returns_unstarted ON returns (created_at, id) WHERE started_at IS NULL;

-- Receipts of returns that are on the shelf: each once.
CREATE TABLE restocks (
    return_id TEXT NOT NULL REFERENCES returns (id) ON DELETE CASCADE,
    receipt INTEGER NOT NULL CHECK (receipt > 0),
    at TEXT NOT NULL,
    PRIMARY KEY (return_id, receipt)
) STRICT;

-- Stock moves for a return too. A CHECK cannot be altered here, so the table is made anew; nothing refers to it.
CREATE TABLE movements_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL,
    location TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity <> 0),
    kind TEXT NOT NULL CHECK (kind IN ('receipt', 'adjustment', 'count', 'commit', 'departure', 'return')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    order_id TEXT,
    shipment_id TEXT,
    at TEXT NOT NULL,
    FOREIGN KEY (sku, location) REFERENCES stock (sku, location)
) STRICT;
INSERT INTO movements_2 (id, sku, location, quantity, kind, reason, actor, order_id, shipment_id, at)
    SELECT id, sku, location, quantity, kind, reason, actor, order_id, shipment_id, at FROM movements;
DROP TABLE movements;
ALTER TABLE movements_2 RENAME TO movements;
CREATE INDEX movements_by_shelf ON movements (sku, location);
CREATE INDEX movements_by_order ON movements (order_id) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX movements_once_per_shipment ON movements (shipment_id, sku, kind) WHERE shipment_id IS NOT NULL;

-- The gateway is asked to refund too.
CREATE TABLE payment_operations_2 (
    key TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('authorize', 'capture', 'void', 'refund')),
    payment_id TEXT,
    shipment_id TEXT,
    amount_minor INTEGER CHECK (amount_minor >= 0),
    currency TEXT,
    outcome TEXT NOT NULL,
    expires_at TEXT,
    code TEXT,
    created_at TEXT NOT NULL,
    at TEXT NOT NULL,
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
) STRICT;
INSERT INTO payment_operations_2
        (key, order_id, kind, payment_id, shipment_id, amount_minor, currency, outcome, expires_at, code, created_at, at)
    SELECT key, order_id, kind, payment_id, shipment_id, amount_minor, currency, outcome, expires_at, code, created_at, at
    FROM payment_operations;
DROP TABLE payment_operations;
ALTER TABLE payment_operations_2 RENAME TO payment_operations;
CREATE INDEX payment_operations_by_order ON payment_operations (order_id, created_at);
