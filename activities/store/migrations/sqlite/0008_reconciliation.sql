-- Reports of the comparison with others' books, and the indexes by which rows are found that have outlived their time.

-- One report per day.
CREATE TABLE reconciliations (
    day TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    started_at TEXT NOT NULL,
    finished_at TEXT,
    orders INTEGER NOT NULL DEFAULT 0 CHECK (orders >= 0),
    payments INTEGER NOT NULL DEFAULT 0 CHECK (payments >= 0),
    bookings INTEGER NOT NULL DEFAULT 0 CHECK (bookings >= 0),
    reservations INTEGER NOT NULL DEFAULT 0 CHECK (reservations >= 0),
    CHECK ((state = 'running') = (finished_at IS NULL))
) STRICT;

-- What was found. `finding` is the whole of it (JSON), the columns beside it repeat what is searched for. `seen_at` is when it was
-- last found; without `settled_at` nothing was done about it yet.
CREATE TABLE reconciliation_findings (
    day TEXT NOT NULL REFERENCES reconciliations (day) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    order_id TEXT,
    finding TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('repaired', 'queued', 'none')),
    review_item TEXT,
    since TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    settled_at TEXT,
    PRIMARY KEY (day, kind, subject),
    CHECK ((action = 'queued') = (review_item IS NOT NULL))
) STRICT;
CREATE INDEX reconciliation_findings_unsettled ON reconciliation_findings (day, kind, subject) WHERE settled_at IS NULL;
CREATE INDEX reconciliation_findings_by_item ON reconciliation_findings (review_item) WHERE review_item IS NOT NULL;

CREATE INDEX reservations_open ON reservations (order_id, revision) WHERE state IN ('held', 'confirmed');

CREATE INDEX outbox_published ON outbox (published_at, id) WHERE published_at IS NOT NULL;
CREATE INDEX orders_ended ON orders (updated_at, id)
    WHERE status IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX review_items_closed ON review_items (closed_at, id) WHERE closed_at IS NOT NULL;
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created_at, client, key);
CREATE INDEX departures_by_order ON departures (order_id);
