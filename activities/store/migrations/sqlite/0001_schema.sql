-- The whole schema of the first version. Ids and names are text; instants are UTC, cut to microseconds; money is minor units.
-- STRICT tables; instants as RFC 3339 text with the offset +00:00, which sorts in time order; booleans are 0 and 1.

-- What is sold.
CREATE TABLE products (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    price_minor INTEGER NOT NULL CHECK (price_minor >= 0),
    currency TEXT NOT NULL,
    weight_g INTEGER CHECK (weight_g >= 0),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- Places that hold stock: each exists from its first receipt.
CREATE TABLE locations (
    location TEXT PRIMARY KEY,
    created_at TEXT NOT NULL
) STRICT;

-- One shelf. `reserved` still counts promises that ran out until somebody takes them back.
CREATE TABLE stock (
    sku TEXT NOT NULL REFERENCES products (sku),
    location TEXT NOT NULL REFERENCES locations (location),
    on_hand INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (sku, location),
    CHECK (on_hand >= 0),
    CHECK (reserved >= 0),
    CHECK (reserved <= on_hand)
) STRICT;

-- Every change of on_hand, append-only: on_hand is their sum.
CREATE TABLE movements (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sku TEXT NOT NULL,
    location TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity <> 0),
    kind TEXT NOT NULL CHECK (kind IN ('receipt', 'adjustment', 'count', 'commit', 'departure')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    order_id TEXT,
    shipment_id TEXT,
    at TEXT NOT NULL,
    FOREIGN KEY (sku, location) REFERENCES stock (sku, location)
) STRICT;
CREATE INDEX movements_by_shelf ON movements (sku, location);
CREATE INDEX movements_by_order ON movements (order_id) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX movements_once_per_shipment ON movements (shipment_id, sku, kind) WHERE shipment_id IS NOT NULL;

-- One row per order that ever asked for stock: its lock, and, once released, its tombstone.
CREATE TABLE promises (
    order_id TEXT PRIMARY KEY,
    released_at TEXT
) STRICT;

-- Stock promised to an order, one row per attempt. Only a held one runs out.
CREATE TABLE reservations (
    order_id TEXT NOT NULL REFERENCES promises (order_id),
    revision INTEGER NOT NULL CHECK (revision > 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'confirmed', 'lapsed', 'released')),
    expires_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (order_id, revision),
    CHECK (state <> 'held' OR expires_at IS NOT NULL),
    CHECK (state <> 'confirmed' OR expires_at IS NULL)
) STRICT;
CREATE INDEX reservations_running_out ON reservations (expires_at) WHERE state = 'held';

CREATE TABLE reservation_lines (
    order_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    location TEXT NOT NULL,
    sku TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    committed INTEGER NOT NULL DEFAULT 0 CHECK (committed >= 0 AND committed <= quantity),
    PRIMARY KEY (order_id, revision, location, sku),
    FOREIGN KEY (order_id, revision) REFERENCES reservations (order_id, revision),
    FOREIGN KEY (sku, location) REFERENCES stock (sku, location)
) STRICT;
CREATE INDEX reservation_lines_by_sku ON reservation_lines (sku, location);

-- Parcels that left, with or without a reservation: each once.
CREATE TABLE departures (
    shipment_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    missing TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;

-- Orders. `life` is where the order stands; the columns beside it repeat what is searched for.
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    reference TEXT,
    channel TEXT,
    customer_id TEXT NOT NULL,
    email TEXT NOT NULL,
    has_phone INTEGER NOT NULL,
    customer TEXT NOT NULL,
    ship_to TEXT NOT NULL,
    currency TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    lines TEXT NOT NULL,
    totals TEXT NOT NULL,
    total_minor INTEGER NOT NULL CHECK (total_minor >= 0),
    life TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    needs_attention INTEGER NOT NULL,
    rev INTEGER NOT NULL CHECK (rev >= 0),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    test INTEGER NOT NULL,
    placed_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    intake_at TEXT NOT NULL
) STRICT;
CREATE INDEX orders_newest ON orders (placed_at, id);
CREATE INDEX orders_by_status ON orders (status, placed_at, id);
CREATE INDEX orders_by_reason ON orders (reason, placed_at, id) WHERE reason IS NOT NULL;
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at, id);
CREATE INDEX orders_by_email ON orders (email, placed_at, id);
CREATE INDEX orders_by_reference ON orders (reference, placed_at, id) WHERE reference IS NOT NULL;
CREATE INDEX orders_needing_attention ON orders (placed_at, id) WHERE needs_attention;
CREATE INDEX orders_unstarted ON orders (intake_at, id) WHERE rev = 0;

-- `placed_at` repeats the order's, so that an article's orders page on one index.
CREATE TABLE order_skus (
    sku TEXT NOT NULL,
    placed_at TEXT NOT NULL,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    PRIMARY KEY (sku, placed_at, order_id)
) STRICT;
CREATE INDEX order_skus_by_order ON order_skus (order_id);

-- Kinds of open holds.
CREATE TABLE order_holds (
    kind TEXT NOT NULL,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, order_id)
) STRICT;
CREATE INDEX order_holds_by_order ON order_holds (order_id);

-- What happened to an order, in its order, each fact once.
CREATE TABLE timeline (
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq > 0),
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    shipment_id TEXT,
    amount_minor INTEGER,
    currency TEXT,
    PRIMARY KEY (order_id, seq),
    UNIQUE (order_id, key)
) STRICT;

-- Facts to publish. Holds no personal data.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    published_at TEXT,
    UNIQUE (order_id, seq)
) STRICT;
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;

-- Messages to customers: one per order, event and channel.
CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    topic TEXT NOT NULL,
    channel TEXT NOT NULL,
    shipment_id TEXT,
    fact_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'sent', 'dropped')),
    batch_id TEXT,
    claimed_at TEXT,
    settled_at TEXT,
    why TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (order_id, event, channel),
    CHECK (state <> 'claimed' OR batch_id IS NOT NULL)
) STRICT;
CREATE INDEX messages_pending ON messages (created_at, id) WHERE state = 'pending';
CREATE INDEX messages_claimed ON messages (claimed_at, batch_id) WHERE state = 'claimed';

-- Shipments. `status` is the shown one; `scanned_rank` the furthest warehouse report.
CREATE TABLE shipments (
    id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    location TEXT NOT NULL,
    status TEXT NOT NULL,
    shipment TEXT NOT NULL,
    scanned_rank INTEGER NOT NULL,
    test INTEGER NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX shipments_by_order ON shipments (order_id);
CREATE INDEX shipments_by_status ON shipments (status, id);
CREATE INDEX shipments_by_location ON shipments (location, id);

-- Every package number that a shipment was reported with.
CREATE TABLE packages (
    tracking_number TEXT NOT NULL,
    shipment_id TEXT NOT NULL REFERENCES shipments (id) ON DELETE CASCADE,
    order_id TEXT NOT NULL,
    PRIMARY KEY (tracking_number, shipment_id)
) STRICT;
CREATE INDEX packages_by_shipment ON packages (shipment_id);

-- What warehouse and carrier reported, from either door, accepted or stale.
CREATE TABLE shipment_events (
    shipment_id TEXT NOT NULL REFERENCES shipments (id) ON DELETE CASCADE,
    event_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    rank INTEGER NOT NULL,
    result TEXT NOT NULL CHECK (result IN ('applied', 'stale')),
    occurred_at TEXT NOT NULL,
    carrier TEXT,
    tracking_number TEXT,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (shipment_id, event_id)
) STRICT;
CREATE INDEX shipment_events_by_order ON shipment_events (order_id, recorded_at);

-- What was asked of the payment gateway.
CREATE TABLE payment_operations (
    key TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('authorize', 'capture', 'void')),
    payment_id TEXT,
    shipment_id TEXT,
    amount_minor INTEGER CHECK (amount_minor >= 0),
    currency TEXT,
    outcome TEXT NOT NULL,
    expires_at TEXT,
    code TEXT,
    created_at TEXT NOT NULL,
    at TEXT NOT NULL,
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
) STRICT;
CREATE INDEX payment_operations_by_order ON payment_operations (order_id, created_at);

-- Couriers booked. A row without a carrier was taken back before it was noted.
CREATE TABLE bookings (
    key TEXT PRIMARY KEY,
    order_id TEXT,
    shipment_id TEXT,
    carrier TEXT,
    tracking_number TEXT,
    reference TEXT,
    booked_at TEXT,
    cancelled_at TEXT
) STRICT;
CREATE INDEX bookings_by_order ON bookings (order_id) WHERE order_id IS NOT NULL;

-- Idempotency keys of clients. Without a status the request was not answered yet.
CREATE TABLE idempotency_keys (
    client TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER,
    subject TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    PRIMARY KEY (client, key)
) STRICT;
