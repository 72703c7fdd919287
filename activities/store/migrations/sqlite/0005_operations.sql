-- What operators do: pausing a class of activities, bulk re-drives, and the warehouse's word that it has taken a shipment over.

-- Classes of activities that a person has paused or let go on. A class without a row is in the state auto.
CREATE TABLE switches (
    dependency TEXT PRIMARY KEY CHECK (dependency IN ('payment', 'carrier', 'messages', 'stock')),
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'auto')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    changed_at TEXT NOT NULL
) STRICT;

-- Bulk re-drives. One process works on a job at a time: the holder of its lease.
CREATE TABLE redrives (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('running', 'done')),
    asked TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('last_task', 'now')),
    rate INTEGER NOT NULL CHECK (rate > 0),
    actor TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    holder TEXT,
    lease_until TEXT,
    CHECK ((holder IS NULL) = (lease_until IS NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
) STRICT;
CREATE INDEX redrives_running ON redrives (created_at, id) WHERE state = 'running';

-- The orders of a re-drive; without an outcome it is still to be done.
CREATE TABLE redrive_orders (
    redrive_id TEXT NOT NULL REFERENCES redrives (id) ON DELETE CASCADE,
    order_id TEXT NOT NULL,
    outcome TEXT CHECK (outcome IN ('nudged', 'reset', 'skipped', 'failed')),
    detail TEXT,
    at TEXT,
    PRIMARY KEY (redrive_id, order_id),
    CHECK ((outcome IS NULL) = (at IS NULL))
) STRICT;
CREATE INDEX redrive_orders_to_do ON redrive_orders (redrive_id, order_id) WHERE outcome IS NULL;

-- The warehouse has taken these shipments over.
CREATE TABLE acknowledgements (
    shipment_id TEXT PRIMARY KEY REFERENCES shipments (id) ON DELETE CASCADE,
    actor TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
