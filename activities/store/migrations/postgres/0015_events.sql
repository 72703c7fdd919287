-- Events out: one global order of the outbox, a cursor per sink and lane, webhooks and what they are owed.

-- `position` is given after the commit, by one placer at a time: whoever has read up to N never misses an event at or below N. `lane`
-- follows from the subject, so that all events of an order share one.
ALTER TABLE outbox ADD COLUMN position BIGINT;
ALTER TABLE outbox ADD COLUMN lane BIGINT GENERATED ALWAYS AS
    ((ascii(right(order_id, 1)) + 7 * ascii(right(order_id, 2))) % 16) STORED;
UPDATE outbox SET position = n.place FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place FROM outbox) AS n WHERE n.id = outbox.id;
CREATE UNIQUE INDEX outbox_position ON outbox (position);
CREATE INDEX outbox_lane ON outbox (lane, position);
CREATE INDEX outbox_unplaced ON outbox (id) WHERE position IS NULL;
DROP INDEX outbox_unpublished;
CREATE INDEX outbox_unpublished ON outbox (lane, position) WHERE published_at IS NULL;

-- The last position that was given. Its lock makes placers take turns.
CREATE TABLE outbox_end (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL
);
INSERT INTO outbox_end (id, position) SELECT 1, COALESCE(MAX(position), 0) FROM outbox;

-- How far each sink has each lane, who works on it until when, and when a relay last served it.
CREATE TABLE sink_lanes (
    sink TEXT COLLATE "C" NOT NULL,
    lane BIGINT NOT NULL CHECK (lane BETWEEN 0 AND 15),
    position BIGINT NOT NULL,
    owner TEXT,
    leased_until TIMESTAMPTZ,
    seen_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (sink, lane)
);

-- Who is told over HTTP. `kinds` is a JSON array, empty for all; `position` is how far deliveries were made of events.
CREATE TABLE webhooks (
    id TEXT COLLATE "C" PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT,
    kinds JSONB NOT NULL,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_secret_until TIMESTAMPTZ,
    rotation TEXT,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    why TEXT,
    disabled_at TIMESTAMPTZ,
    position BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- What a webhook is owed. Of one subject only the first that is pending is tried. An event cannot be deleted while a delivery names it.
CREATE TABLE webhook_deliveries (
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL REFERENCES outbox (event_id),
    subject TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered')),
    attempts BIGINT NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    owner TEXT,
    leased_until TIMESTAMPTZ,
    failing_since TIMESTAMPTZ,
    status BIGINT,
    error TEXT,
    attempted_at TIMESTAMPTZ,
    PRIMARY KEY (webhook_id, position)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_heads ON webhook_deliveries (webhook_id, subject, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

-- The words of `source` are the code's: every new part would otherwise make this table anew.
ALTER TABLE review_items DROP CONSTRAINT IF EXISTS review_items_source_check;
