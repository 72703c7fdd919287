-- A webhook whose receiver fails request after request rests, for all of its events.
ALTER TABLE webhooks
    ADD COLUMN failures BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
    ADD COLUMN failing_since TIMESTAMPTZ,
    ADD COLUMN rests_until TIMESTAMPTZ;
