-- Circuits: how each outside party fares, as all processes know it together.
CREATE TABLE circuits (
    party TEXT COLLATE "C" PRIMARY KEY CHECK (party IN ('payment', 'carrier', 'mail', 'sms')),
    state TEXT NOT NULL CHECK (state IN ('closed', 'open')),
    openings BIGINT NOT NULL CHECK (openings >= 0),
    reason TEXT,
    changed_at TIMESTAMPTZ,
    retry_at TIMESTAMPTZ,
    probe_until TIMESTAMPTZ,
    slot_at TIMESTAMPTZ,
    CHECK ((state = 'open') = (retry_at IS NOT NULL)),
    CHECK (state = 'open' OR probe_until IS NULL)
);
INSERT INTO circuits (party, state, openings)
VALUES ('payment', 'closed', 0), ('carrier', 'closed', 0), ('mail', 'closed', 0), ('sms', 'closed', 0);

-- Calls that were sent away, and when they come back: those that have waited longest go first.
CREATE TABLE parked_calls (
    party TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    admitted_at TIMESTAMPTZ,
    PRIMARY KEY (party, key)
);
CREATE INDEX parked_calls_line ON parked_calls (party, since, key) WHERE admitted_at IS NULL;
CREATE INDEX parked_calls_due ON parked_calls (due_at, party, key);
