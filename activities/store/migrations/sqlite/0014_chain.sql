-- Each fact carries a hash over itself and the hash of the fact before it, so that what was changed or taken out afterwards shows.
-- NULL on facts of earlier versions.
ALTER TABLE timeline ADD COLUMN hash TEXT;
