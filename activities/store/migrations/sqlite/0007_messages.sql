-- Messages that failed or go out again, labels of parcels, alerts to operators.

-- `fact_key` names the told fact on the timeline; `asked_at` is when a person wanted the message (again).
CREATE TABLE messages_new (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    topic TEXT NOT NULL,
    channel TEXT NOT NULL,
    shipment_id TEXT,
    fact_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'sent', 'dropped', 'failed')),
    batch_id TEXT,
    claimed_at TEXT,
    settled_at TEXT,
    why TEXT,
    created_at TEXT NOT NULL,
    fact_key TEXT,
    detail TEXT,
    amount_minor INTEGER,
    currency TEXT,
    resent_of TEXT REFERENCES messages_new (id) ON DELETE CASCADE,
    asked_at TEXT,
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    UNIQUE (order_id, event, channel),
    CHECK (state <> 'claimed' OR batch_id IS NOT NULL),
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
) STRICT;
INSERT INTO messages_new (id, order_id, event, topic, channel, shipment_id, fact_at, state, batch_id, claimed_at, settled_at, why, created_at)
    SELECT id, order_id, event, topic, channel, shipment_id, fact_at, state, batch_id, claimed_at, settled_at, why, created_at
    FROM messages;
DROP TABLE messages;
ALTER TABLE messages_new RENAME TO messages;
CREATE INDEX messages_pending ON messages (created_at, id) WHERE state = 'pending';
CREATE INDEX messages_claimed ON messages (claimed_at, batch_id) WHERE state = 'claimed';
CREATE INDEX messages_resent ON messages (resent_of) WHERE resent_of IS NOT NULL;

-- What the carrier wants on the parcel. Personal data.
ALTER TABLE bookings ADD COLUMN label_type TEXT;
ALTER TABLE bookings ADD COLUMN label TEXT;
CREATE INDEX bookings_by_shipment ON bookings (shipment_id, booked_at) WHERE shipment_id IS NOT NULL;

-- Until when a kind of review item is not told to operators again: whoever moves it tells.
CREATE TABLE alert_windows (
    kind TEXT PRIMARY KEY,
    until TEXT NOT NULL
) STRICT;

-- What operators are told, one row per way. `sample` names a few of the items. A claim that is not followed by `sent_at` runs out.
CREATE TABLE alerts (
    id TEXT NOT NULL,
    way TEXT NOT NULL CHECK (way IN ('mail', 'webhook')),
    kind TEXT NOT NULL,
    items INTEGER NOT NULL CHECK (items > 0),
    sample TEXT NOT NULL,
    created_at TEXT NOT NULL,
    claimed_at TEXT,
    sent_at TEXT,
    PRIMARY KEY (id, way)
) STRICT;
CREATE INDEX alerts_unsent ON alerts (created_at, id) WHERE sent_at IS NULL;

-- Which items an alert has counted.
CREATE TABLE alerted_items (
    item_id TEXT PRIMARY KEY,
    alert_id TEXT NOT NULL
) STRICT;
