-- What others report to us by webhook, as it came: stored before anything is done about it. A row is due until it is settled.
CREATE TABLE inbound (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('stored', 'parked', 'routed', 'ignored', 'expired')),
    order_id TEXT,
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    received_at TEXT NOT NULL,
    due_at TEXT,
    settled_at TEXT,
    CHECK ((state IN ('stored', 'parked')) = (due_at IS NOT NULL)),
    CHECK ((due_at IS NULL) = (settled_at IS NOT NULL))
) STRICT;
CREATE INDEX inbound_due ON inbound (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX inbound_settled ON inbound (settled_at, id) WHERE settled_at IS NOT NULL;

-- A report may name a payment alone.
CREATE INDEX payment_operations_by_payment ON payment_operations (payment_id) WHERE payment_id IS NOT NULL;
