-- What operators do: pausing a class of activities, bulk re-drives, and the warehouse's word that it has taken a shipment over.

-- Classes of activities that a person has paused or let go on. A class without a row is in the state auto.
CREATE TABLE switches (
    dependency TEXT COLLATE "C" PRIMARY KEY CHECK (dependency IN ('payment', 'carrier', 'messages', 'stock')),
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'auto')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
);

-- Bulk re-drives. One process works on a job at a time: the holder of its lease.
CREATE TABLE redrives (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('running', 'done')),
    asked JSONB NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('last_task', 'now')),
    rate BIGINT NOT NULL CHECK (rate > 0),
    actor TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    holder TEXT,
    lease_until TIMESTAMPTZ,
    CHECK ((holder IS NULL) = (lease_until IS NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
);
CREATE INDEX redrives_running ON redrives (created_at, id) WHERE state = 'running';

-- The orders of a re-drive; without an outcome it is still to be done.
CREATE TABLE redrive_orders (
    redrive_id TEXT COLLATE "C" NOT NULL REFERENCES redrives (id) ON DELETE CASCADE,
    order_id TEXT COLLATE "C" NOT NULL,
    outcome TEXT CHECK (outcome IN ('nudged', 'reset', 'skipped', 'failed')),
    detail TEXT,
    at TIMESTAMPTZ,
    PRIMARY KEY (redrive_id, order_id),
    CHECK ((outcome IS NULL) = (at IS NULL))
);
CREATE INDEX redrive_orders_to_do ON redrive_orders (redrive_id, order_id) WHERE outcome IS NULL;

-- The warehouse has taken these shipments over.
CREATE TABLE acknowledgements (
    shipment_id TEXT COLLATE "C" PRIMARY KEY REFERENCES shipments (id) ON DELETE CASCADE,
    actor TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL
);
