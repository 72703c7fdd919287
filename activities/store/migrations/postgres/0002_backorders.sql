-- Orders that wait for stock, places with addresses, and events of articles.

ALTER TABLE products ADD COLUMN low_stock_at BIGINT CHECK (low_stock_at >= 0);
-- The number of the article's last event.
ALTER TABLE products ADD COLUMN stock_seq BIGINT NOT NULL DEFAULT 0;

ALTER TABLE locations ADD COLUMN name TEXT;
ALTER TABLE locations ADD COLUMN address JSONB;
ALTER TABLE locations ADD COLUMN priority BIGINT NOT NULL DEFAULT 100 CHECK (priority >= 0);
ALTER TABLE locations ADD COLUMN updated_at TIMESTAMPTZ;

-- The last change of the promise, and what was short if it was refused.
ALTER TABLE promises ADD COLUMN last_change BIGINT NOT NULL DEFAULT 0;
ALTER TABLE promises ADD COLUMN change_short JSONB;

-- Units that an order waits for. They come to reservation `revision`; the queue of an article is by (placed_at, order_id).
CREATE TABLE backorders (
    order_id TEXT COLLATE "C" NOT NULL,
    sku TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    strategy TEXT NOT NULL,
    placed_at TIMESTAMPTZ NOT NULL,
    queued_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (order_id, sku),
    FOREIGN KEY (order_id, revision) REFERENCES reservations (order_id, revision)
);
CREATE INDEX backorders_queue ON backorders (sku, placed_at, order_id);

-- Orders whose run must hear that stock arrived. `version` tells a wake from one that was written while the first was delivered.
CREATE TABLE wakes (
    order_id TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX wakes_oldest ON wakes (created_at, order_id);
