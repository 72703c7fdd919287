-- Events out: one global order of the outbox, a cursor per sink and lane, webhooks and what they are owed.

-- `position` is given after the commit, by one placer at a time: whoever has read up to N never misses an event at or below N. `lane`
-- follows from the subject, so that all events of an order share one.
ALTER TABLE outbox ADD COLUMN position INTEGER;
ALTER TABLE outbox ADD COLUMN lane INTEGER GENERATED ALWAYS AS
    ((unicode(substr(order_id, -1)) + 7 * unicode(substr(order_id, -2))) % 16) VIRTUAL;
UPDATE outbox SET position = n.place FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place FROM outbox) AS n WHERE n.id = outbox.id;
CREATE UNIQUE INDEX outbox_position ON outbox (position);
CREATE INDEX outbox_lane ON outbox (lane, position);
CREATE INDEX outbox_unplaced ON outbox (id) WHERE position IS NULL;
DROP INDEX outbox_unpublished;
CREATE INDEX outbox_unpublished ON outbox (lane, position) WHERE published_at IS NULL;

-- The last position that was given. Its lock makes placers take turns.
CREATE TABLE outbox_end (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_end (id, position) SELECT 1, COALESCE(MAX(position), 0) FROM outbox;

-- How far each sink has each lane, who works on it until when, and when a relay last served it.
CREATE TABLE sink_lanes (
    sink TEXT NOT NULL,
    lane INTEGER NOT NULL CHECK (lane BETWEEN 0 AND 15),
    position INTEGER NOT NULL,
    owner TEXT,
    leased_until TEXT,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (sink, lane)
) STRICT;

-- Who is told over HTTP. `kinds` is a JSON array, empty for all; `position` is how far deliveries were made of events.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    description TEXT,
    kinds TEXT NOT NULL,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_secret_until TEXT,
    rotation TEXT,
    state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    why TEXT,
    disabled_at TEXT,
    position INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- What a webhook is owed. Of one subject only the first that is pending is tried. An event cannot be deleted while a delivery names it.
CREATE TABLE webhook_deliveries (
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL REFERENCES outbox (event_id),
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered')),
    attempts INTEGER NOT NULL,
    due_at TEXT NOT NULL,
    owner TEXT,
    leased_until TEXT,
    failing_since TEXT,
    status INTEGER,
    error TEXT,
    attempted_at TEXT,
    PRIMARY KEY (webhook_id, position)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_heads ON webhook_deliveries (webhook_id, subject, position) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

-- The words of `source` are the code's: every new part would otherwise make this table anew. Nothing refers to it.
CREATE TABLE review_items_2 (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    order_id TEXT,
    shipment_id TEXT,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    source TEXT NOT NULL,
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
INSERT INTO review_items_2
        (id, kind, order_id, shipment_id, subject, detail, source, state, opened_at, closed_at, action, reference, reason, actor)
    SELECT id, kind, order_id, shipment_id, subject, detail, source, state, opened_at, closed_at, action, reference, reason, actor
    FROM review_items;
DROP TABLE review_items;
ALTER TABLE review_items_2 RENAME TO review_items;
CREATE INDEX review_items_oldest ON review_items (opened_at, id);
CREATE INDEX review_items_by_state ON review_items (state, opened_at, id);
CREATE INDEX review_items_by_state_and_kind ON review_items (state, kind, opened_at, id);
CREATE INDEX review_items_by_kind ON review_items (kind, opened_at, id);
CREATE INDEX review_items_by_source ON review_items (source, opened_at, id);
CREATE INDEX review_items_by_order ON review_items (order_id, opened_at, id) WHERE order_id IS NOT NULL;
CREATE INDEX review_items_closed ON review_items (closed_at, id) WHERE closed_at IS NOT NULL;
