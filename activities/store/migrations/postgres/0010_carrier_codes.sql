-- What a carrier reports in a word of its own needs a person.
ALTER TABLE review_items DROP CONSTRAINT review_items_source_check;
ALTER TABLE review_items ADD CONSTRAINT review_items_source_check
    CHECK (source IN ('order', 'watchdog', 'refund', 'return', 'reconciliation', 'message', 'carrier'));
