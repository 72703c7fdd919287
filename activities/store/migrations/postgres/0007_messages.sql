-- Messages that failed or go out again, labels of parcels, alerts to operators.

-- `fact_key` names the told fact on the timeline; `asked_at` is when a person wanted the message (again).
ALTER TABLE messages DROP CONSTRAINT messages_state_check;
ALTER TABLE messages ADD CONSTRAINT messages_state_check CHECK (state IN ('pending', 'claimed', 'sent', 'dropped', 'failed'));
ALTER TABLE messages ADD COLUMN fact_key TEXT COLLATE "C";
ALTER TABLE messages ADD COLUMN detail TEXT;
ALTER TABLE messages ADD COLUMN amount_minor BIGINT;
ALTER TABLE messages ADD COLUMN currency TEXT;
ALTER TABLE messages ADD COLUMN resent_of TEXT COLLATE "C" REFERENCES messages (id) ON DELETE CASCADE;
ALTER TABLE messages ADD COLUMN asked_at TIMESTAMPTZ;
ALTER TABLE messages ADD COLUMN failures BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE messages ADD CONSTRAINT messages_amount_check CHECK ((amount_minor IS NULL) = (currency IS NULL));
CREATE INDEX messages_resent ON messages (resent_of) WHERE resent_of IS NOT NULL;

-- What the carrier wants on the parcel. Personal data.
ALTER TABLE bookings ADD COLUMN label_type TEXT;
ALTER TABLE bookings ADD COLUMN label TEXT;
CREATE INDEX bookings_by_shipment ON bookings (shipment_id, booked_at) WHERE shipment_id IS NOT NULL;

-- Until when a kind of review item is not told to operators again: whoever moves it tells.
CREATE TABLE alert_windows (
    kind TEXT COLLATE "C" PRIMARY KEY,
    until TIMESTAMPTZ NOT NULL
);

-- What operators are told, one row per way. `sample` names a few of the items. A claim that is not followed by `sent_at` runs out.
CREATE TABLE alerts (
    id TEXT COLLATE "C" NOT NULL,
    way TEXT COLLATE "C" NOT NULL CHECK (way IN ('mail', 'webhook')),
    kind TEXT COLLATE "C" NOT NULL,
    items BIGINT NOT NULL CHECK (items > 0),
    sample TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    claimed_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    PRIMARY KEY (id, way)
);
CREATE INDEX alerts_unsent ON alerts (created_at, id) WHERE sent_at IS NULL;

-- Which items an alert has counted.
CREATE TABLE alerted_items (
    item_id TEXT COLLATE "C" PRIMARY KEY,
    alert_id TEXT COLLATE "C" NOT NULL
);
