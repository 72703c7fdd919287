-- Ids of orders that were removed by age. An id is derived from the client's key, and the keys of the order's effects from the id: it
-- must not come back.
CREATE TABLE gone_orders (
    id TEXT COLLATE "C" PRIMARY KEY,
    gone_at TIMESTAMPTZ NOT NULL
);

-- When somebody last made sure that the run of a refund or return lives; NULL before it is started and once it has ended well.
ALTER TABLE refunds ADD COLUMN looked_at TIMESTAMPTZ;
ALTER TABLE returns ADD COLUMN looked_at TIMESTAMPTZ;
UPDATE refunds SET looked_at = started_at WHERE settled_at IS NULL;
UPDATE returns SET looked_at = started_at WHERE state NOT IN ('rejected', 'completed', 'expired');
CREATE INDEX refunds_looked_after ON refunds (looked_at, id) WHERE looked_at IS NOT NULL;
CREATE INDEX returns_looked_after ON returns (looked_at, id) WHERE looked_at IS NOT NULL;

-- Deadlines, policies and the like that an order was placed on (JSON): a run that is started later than at once decides by the same ones.
-- NULL on orders of earlier versions.
ALTER TABLE orders ADD COLUMN terms JSONB;
