-- A shop with 50 000 orders behind it, most of them over. `template` is an order that went through the verbs; its rows are multiplied.
SET session_replication_role = replica;

INSERT INTO products (sku, name, price_minor, currency, created_at, updated_at)
SELECT 'sku-' || n, 'Article ' || n, 1000, 'EUR', now(), now() FROM generate_series(1, 20000) AS n;
INSERT INTO locations (location, created_at) VALUES ('hamburg', now()) ON CONFLICT DO NOTHING;
INSERT INTO stock (sku, location, on_hand, reserved)
SELECT 'sku-' || n, place, 100, 9 FROM generate_series(1, 20000) AS n, unnest(ARRAY['berlin', 'hamburg']) AS place;
INSERT INTO movements (sku, location, quantity, kind, reason, actor, order_id, shipment_id, at)
SELECT 'sku-' || n % 20000 + 1, 'berlin', -1, 'commit', 'r', 'a', md5(n::text)::uuid::text, md5(n::text)::uuid::text || '-1', now()
FROM generate_series(1, 50000) AS n;

INSERT INTO orders SELECT made.* FROM orders o, generate_series(1, 50000) AS n, LATERAL jsonb_populate_record(o, jsonb_build_object(
    'id', md5(n::text)::uuid::text,
    'reference', 'ref-' || n,
    'customer_id', 'c-' || n % 5000,
    'email', 'c-' || n % 5000 || '@example.com',
    'status', CASE WHEN n > 47000 THEN 'confirmed' WHEN n % 50 = 0 THEN 'rejected' ELSE 'completed' END,
    'reason', CASE WHEN n <= 47000 AND n % 50 = 0 THEN 'out_of_stock' END,
    'needs_attention', n % 250 = 0,
    'rev', CASE WHEN n % 1000 = 1 THEN 0 ELSE 1 END,
    'due_at', CASE WHEN n > 47000 AND n % 10 > 0 THEN to_timestamp(1800000000 + n) END,
    'build', CASE WHEN n % 2 = 0 THEN 'one' ELSE 'two' END,
    'placed_at', to_timestamp(1800000000 + n),
    'updated_at', to_timestamp(1800000000 + n),
    'intake_at', to_timestamp(1800000000 + n))) AS made;
INSERT INTO order_skus (sku, placed_at, order_id)
SELECT 'sku-' || n % 500 + 1, to_timestamp(1800000000 + n), md5(n::text)::uuid::text FROM generate_series(1, 50000) AS n;
INSERT INTO order_holds (kind, order_id)
SELECT 'kind-' || n % 50, md5(n::text)::uuid::text FROM generate_series(47001, 50000) AS n;
INSERT INTO gone_orders (id, gone_at) SELECT md5('gone' || n)::uuid::text, now() FROM generate_series(1, 10000) AS n;

INSERT INTO timeline (order_id, seq, key, kind, at, recorded_at, actor)
SELECT md5(n::text)::uuid::text, seq, 'key-' || seq, 'order.placed', now(), now(), 'a'
FROM generate_series(1, 50000) AS n, generate_series(1, 3) AS seq;
INSERT INTO outbox (order_id, seq, event_id, kind, body, created_at, published_at, position)
SELECT md5(n::text)::uuid::text, seq, n || '-' || seq, 'order.placed', '{}', now(), CASE WHEN n <= 49900 THEN to_timestamp(1800000000 + n) END,
    CASE WHEN n <= 49950 THEN 1000 + 3 * n + seq END
FROM generate_series(1, 50000) AS n, generate_series(1, 3) AS seq;
UPDATE outbox_end SET position = (SELECT MAX(position) FROM outbox);

INSERT INTO messages (id, order_id, event, topic, channel, fact_at, state, batch_id, claimed_at, created_at)
SELECT md5('m' || n)::uuid::text, md5(n::text)::uuid::text, 'e', 'confirmed', 'mail', now(),
    CASE WHEN n > 49800 THEN 'pending' WHEN n > 49700 THEN 'claimed' ELSE 'sent' END,
    'batch-' || n / 10, now(), to_timestamp(1800000000 + n)
FROM generate_series(1, 50000) AS n;

INSERT INTO promises (order_id) SELECT md5(n::text)::uuid::text FROM generate_series(1, 50000) AS n;
INSERT INTO reservations (order_id, revision, state, expires_at, created_at, updated_at)
SELECT md5(n::text)::uuid::text, 1, CASE WHEN n > 49900 THEN 'held' WHEN n > 47000 THEN 'confirmed' ELSE 'released' END,
    CASE WHEN n > 49900 THEN to_timestamp(1800000000 + n) END, now(), now()
FROM generate_series(1, 50000) AS n;
INSERT INTO reservation_lines (order_id, revision, location, sku, quantity)
SELECT md5(n::text)::uuid::text, 1, 'berlin', 'sku-' || n % 20000 + 1, 1 FROM generate_series(1, 50000) AS n;
INSERT INTO backorders (order_id, sku, revision, quantity, strategy, placed_at, queued_at)
SELECT md5(n::text)::uuid::text, 'sku-' || n % 20 + 1, 1, 1, 'fewest_shipments', to_timestamp(1800000000 + n), now()
FROM generate_series(47001, 50000) AS n;
INSERT INTO wakes (order_id, version, created_at)
SELECT md5(n::text)::uuid::text, 1, to_timestamp(1800000000 + n) FROM generate_series(45001, 50000) AS n;
INSERT INTO departures (shipment_id, order_id, missing, at)
SELECT md5(n::text)::uuid::text || '-1', md5(n::text)::uuid::text, '[]', now() FROM generate_series(1, 47000) AS n;

INSERT INTO shipments (id, order_id, location, status, shipment, scanned_rank, test, updated_at)
SELECT md5(n::text)::uuid::text || '-1', md5(n::text)::uuid::text, CASE WHEN n % 2 = 0 THEN 'berlin' ELSE 'hamburg' END,
    CASE WHEN n > 47000 THEN 'booked' ELSE 'delivered' END, '{}', 0, true, now()
FROM generate_series(1, 50000) AS n;
INSERT INTO packages (tracking_number, shipment_id, order_id)
SELECT 'track-' || n, md5(n::text)::uuid::text || '-1', md5(n::text)::uuid::text FROM generate_series(1, 50000) AS n;
INSERT INTO shipment_events (shipment_id, event_id, order_id, kind, rank, result, occurred_at, recorded_at)
SELECT md5(n::text)::uuid::text || '-1', 'scan-' || scan, md5(n::text)::uuid::text, 'picked', scan, 'applied', now(), now()
FROM generate_series(1, 50000) AS n, generate_series(1, 2) AS scan;
INSERT INTO payment_operations (key, order_id, kind, payment_id, outcome, created_at, at)
SELECT 'key-' || n || '-' || kind, md5(n::text)::uuid::text, kind, 'pay-' || n, 'done', now(), now()
FROM generate_series(1, 50000) AS n, unnest(ARRAY['authorize', 'capture']) AS kind;
INSERT INTO bookings (key, order_id, shipment_id, booked_at)
SELECT 'key-' || n, md5(n::text)::uuid::text, md5(n::text)::uuid::text || '-1', now() FROM generate_series(1, 50000) AS n;
INSERT INTO idempotency_keys (client, key, fingerprint, created_at)
SELECT 'public', 'key-' || n, 'f', to_timestamp(1800000000 + n) FROM generate_series(1, 50000) AS n;
INSERT INTO inbound (id, source, event_id, kind, body, state, attempts, received_at, due_at, settled_at)
SELECT 'inbound-' || n, 'payment', 'event-' || n, 'k', '{}', CASE WHEN n > 49900 THEN 'stored' ELSE 'routed' END, 0, now(),
    CASE WHEN n > 49900 THEN to_timestamp(1800000000 + n) END, CASE WHEN n <= 49900 THEN to_timestamp(1800000000 + n) END
FROM generate_series(1, 50000) AS n;
INSERT INTO review_items (id, kind, order_id, subject, detail, source, state, opened_at, closed_at)
SELECT 'item-' || n, 'kind-' || n % 20, md5(n::text)::uuid::text, 's', 'd', CASE WHEN n % 10 = 0 THEN 'watchdog' ELSE 'order' END,
    CASE WHEN n > 19000 THEN 'open' ELSE 'settled' END, to_timestamp(1800000000 + n), CASE WHEN n <= 19000 THEN now() END
FROM generate_series(1, 20000) AS n;
INSERT INTO refunds (id, order_id, state, amount_minor, returned_minor, currency, asked, breakdown, reason, actor, terms, created_at,
    updated_at, settled_at, started_at)
SELECT md5('refund' || n)::uuid::text, md5(n::text)::uuid::text, 'returned', 1, 1, 'EUR', '{}', '{}', 'r', 'a', '{}',
    to_timestamp(1800000000 + n), now(), now(), now()
FROM generate_series(1, 10000) AS n;

INSERT INTO webhook_deliveries (webhook_id, position, event_id, subject, kind, state, attempts, due_at)
SELECT webhook, 1000 + 3 * n + 1, n || '-1', md5(n::text)::uuid::text, 'order.placed', CASE WHEN n > 49800 THEN 'pending' ELSE 'delivered' END,
    0, to_timestamp(1800000000 + n)
FROM generate_series(1, 49940) AS n, unnest(ARRAY['hook-aaaa', 'hook-bbbb']) AS webhook;
UPDATE webhooks SET position = 1000 + 3 * 49940;
INSERT INTO parked_calls (party, key, since, due_at)
SELECT CASE WHEN n % 2 = 0 THEN 'payment' ELSE 'carrier' END, 'call-' || n, to_timestamp(1800000000 + n), to_timestamp(1800100000 + n)
FROM generate_series(1, 5000) AS n;

RESET session_replication_role;
VACUUM ANALYZE;
