-- Reports of the comparison with others' books, and the indexes by which rows are found that have outlived their time.

-- One report per day.
CREATE TABLE reconciliations (
    day TEXT COLLATE "C" PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    orders BIGINT NOT NULL DEFAULT 0 CHECK (orders >= 0),
    payments BIGINT NOT NULL DEFAULT 0 CHECK (payments >= 0),
    bookings BIGINT NOT NULL DEFAULT 0 CHECK (bookings >= 0),
    reservations BIGINT NOT NULL DEFAULT 0 CHECK (reservations >= 0),
    CHECK ((state = 'running') = (finished_at IS NULL))
);

-- What was found. `finding` is the whole of it (JSON), the columns beside it repeat what is searched for. `seen_at` is when it was
-- last found; without `settled_at` nothing was done about it yet.
CREATE TABLE reconciliation_findings (
    day TEXT COLLATE "C" NOT NULL REFERENCES reconciliations (day) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C",
    finding JSONB NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('repaired', 'queued', 'none')),
    review_item TEXT COLLATE "C",
    since TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ,
    PRIMARY KEY (day, kind, subject),
    CHECK ((action = 'queued') = (review_item IS NOT NULL))
);
CREATE INDEX reconciliation_findings_unsettled ON reconciliation_findings (day, kind, subject) WHERE settled_at IS NULL;
CREATE INDEX reconciliation_findings_by_item ON reconciliation_findings (review_item) WHERE review_item IS NOT NULL;

CREATE INDEX reservations_open ON reservations (order_id, revision) WHERE state IN ('held', 'confirmed');

CREATE INDEX outbox_published ON outbox (published_at, id) WHERE published_at IS NOT NULL;
CREATE INDEX orders_ended ON orders (updated_at, id)
    WHERE status IN ('completed', 'rejected', 'cancelled', 'partially_fulfilled', 'returned');
CREATE INDEX review_items_closed ON review_items (closed_at, id) WHERE closed_at IS NOT NULL;
CREATE INDEX idempotency_keys_oldest ON idempotency_keys (created_at, client, key);
CREATE INDEX departures_by_order ON departures (order_id);
