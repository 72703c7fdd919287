-- Orders that wait for stock, places with addresses, and events of articles.

ALTER TABLE products ADD COLUMN low_stock_at INTEGER CHECK (low_stock_at >= 0);
-- The number of the article's last event.
ALTER TABLE products ADD COLUMN stock_seq INTEGER NOT NULL DEFAULT 0;

ALTER TABLE locations ADD COLUMN name TEXT;
ALTER TABLE locations ADD COLUMN address TEXT;
ALTER TABLE locations ADD COLUMN priority INTEGER NOT NULL DEFAULT 100 CHECK (priority >= 0);
ALTER TABLE locations ADD COLUMN updated_at TEXT;

-- The last change of the promise, and what was short if it was refused.
ALTER TABLE promises ADD COLUMN last_change INTEGER NOT NULL DEFAULT 0;
ALTER TABLE promises ADD COLUMN change_short TEXT;

-- Units that an order waits for. They come to reservation `revision`; the queue of an article is by (placed_at, order_id).
CREATE TABLE backorders (
    order_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    revision INTEGER NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    strategy TEXT NOT NULL,
    placed_at TEXT NOT NULL,
    queued_at TEXT NOT NULL,
    PRIMARY KEY (order_id, sku),
    FOREIGN KEY (order_id, revision) REFERENCES reservations (order_id, revision)
) STRICT;
CREATE INDEX backorders_queue ON backorders (sku, placed_at, order_id);

-- Orders whose run must hear that stock arrived. `version` tells a wake from one that was written while the first was delivered.
CREATE TABLE wakes (
    order_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX wakes_oldest ON wakes (created_at, order_id);
