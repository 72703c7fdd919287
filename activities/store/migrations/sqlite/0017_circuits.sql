-- Circuits: how each outside party fares, as all processes know it together.
CREATE TABLE circuits (
    party TEXT PRIMARY KEY CHECK (party IN ('payment', 'carrier', 'mail', 'sms')),
    state TEXT NOT NULL CHECK (state IN ('closed', 'open')),
    openings INTEGER NOT NULL CHECK (openings >= 0),
    reason TEXT,
    changed_at TEXT,
    retry_at TEXT,
    probe_until TEXT,
    slot_at TEXT,
    CHECK ((state = 'open') = (retry_at IS NOT NULL)),
    CHECK (state = 'open' OR probe_until IS NULL)
) STRICT;
INSERT INTO circuits (party, state, openings)
VALUES ('payment', 'closed', 0), ('carrier', 'closed', 0), ('mail', 'closed', 0), ('sms', 'closed', 0);

-- Calls that were sent away, and when they come back: those that have waited longest go first.
CREATE TABLE parked_calls (
    party TEXT NOT NULL,
    key TEXT NOT NULL,
    since TEXT NOT NULL,
    due_at TEXT NOT NULL,
    admitted_at TEXT,
    PRIMARY KEY (party, key)
) STRICT;
CREATE INDEX parked_calls_line ON parked_calls (party, since, key) WHERE admitted_at IS NULL;
CREATE INDEX parked_calls_due ON parked_calls (due_at, party, key);
