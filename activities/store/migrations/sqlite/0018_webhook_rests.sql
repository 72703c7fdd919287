-- A webhook whose receiver fails request after request rests, for all of its events.
ALTER TABLE webhooks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE webhooks ADD COLUMN failing_since TEXT;
ALTER TABLE webhooks ADD COLUMN rests_until TEXT;
