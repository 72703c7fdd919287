-- The whole schema of the first version. Ids and names are text; instants are UTC, cut to microseconds; money is minor units.
-- Ids sort by bytes (COLLATE "C"), as in SQLite and in Rust, so that everybody locks and pages in one order.

-- What is sold.
CREATE TABLE products (
    sku TEXT COLLATE "C" PRIMARY KEY,
    name TEXT NOT NULL,
    price_minor BIGINT NOT NULL CHECK (price_minor >= 0),
    currency TEXT NOT NULL,
    weight_g BIGINT CHECK (weight_g >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Places that hold stock: each exists from its first receipt.
CREATE TABLE locations (
    location TEXT COLLATE "C" PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

-- One shelf. `reserved` still counts promises that ran out until somebody takes them back.
CREATE TABLE stock (
    sku TEXT COLLATE "C" NOT NULL REFERENCES products (sku),
    location TEXT COLLATE "C" NOT NULL REFERENCES locations (location),
    on_hand BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    PRIMARY KEY (sku, location),
    CHECK (on_hand >= 0),
    CHECK (reserved >= 0),
    CHECK (reserved <= on_hand)
);

-- Every change of on_hand, append-only: on_hand is their sum.
CREATE TABLE movements (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku TEXT COLLATE "C" NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity <> 0),
    kind TEXT NOT NULL CHECK (kind IN ('receipt', 'adjustment', 'count', 'commit', 'departure')),
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    order_id TEXT COLLATE "C",
    shipment_id TEXT COLLATE "C",
    at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (sku, location) REFERENCES stock (sku, location)
);
CREATE INDEX movements_by_shelf ON movements (sku, location);
CREATE INDEX movements_by_order ON movements (order_id) WHERE order_id IS NOT NULL;
CREATE UNIQUE INDEX movements_once_per_shipment ON movements (shipment_id, sku, kind) WHERE shipment_id IS NOT NULL;

-- One row per order that ever asked for stock: its lock, and, once released, its tombstone.
CREATE TABLE promises (
    order_id TEXT COLLATE "C" PRIMARY KEY,
    released_at TIMESTAMPTZ
);

-- Stock promised to an order, one row per attempt. Only a held one runs out.
CREATE TABLE reservations (
    order_id TEXT COLLATE "C" NOT NULL REFERENCES promises (order_id),
    revision BIGINT NOT NULL CHECK (revision > 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'confirmed', 'lapsed', 'released')),
    expires_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (order_id, revision),
    CHECK (state <> 'held' OR expires_at IS NOT NULL),
    CHECK (state <> 'confirmed' OR expires_at IS NULL)
);
CREATE INDEX reservations_running_out ON reservations (expires_at) WHERE state = 'held';

CREATE TABLE reservation_lines (
    order_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    location TEXT COLLATE "C" NOT NULL,
    sku TEXT COLLATE "C" NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity > 0),
    committed BIGINT NOT NULL DEFAULT 0 CHECK (committed >= 0 AND committed <= quantity),
    PRIMARY KEY (order_id, revision, location, sku),
    FOREIGN KEY (order_id, revision) REFERENCES reservations (order_id, revision),
    FOREIGN KEY (sku, location) REFERENCES stock (sku, location)
);
CREATE INDEX reservation_lines_by_sku ON reservation_lines (sku, location);

-- Parcels that left, with or without a reservation: each once.
CREATE TABLE departures (
    shipment_id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL,
    missing JSONB NOT NULL,
    at TIMESTAMPTZ NOT NULL
);

-- Orders. `life` is where the order stands; the columns beside it repeat what is searched for.
CREATE TABLE orders (
    id TEXT COLLATE "C" PRIMARY KEY,
    client TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    reference TEXT COLLATE "C",
    channel TEXT,
    customer_id TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C" NOT NULL,
    has_phone BOOLEAN NOT NULL,
    customer JSONB NOT NULL,
    ship_to JSONB NOT NULL,
    currency TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    lines JSONB NOT NULL,
    totals JSONB NOT NULL,
    total_minor BIGINT NOT NULL CHECK (total_minor >= 0),
    life JSONB NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C",
    needs_attention BOOLEAN NOT NULL,
    rev BIGINT NOT NULL CHECK (rev >= 0),
    seq BIGINT NOT NULL CHECK (seq >= 0),
    test BOOLEAN NOT NULL,
    placed_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    intake_at TIMESTAMPTZ NOT NULL
);
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
    sku TEXT COLLATE "C" NOT NULL,
    placed_at TIMESTAMPTZ NOT NULL,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    PRIMARY KEY (sku, placed_at, order_id)
);
CREATE INDEX order_skus_by_order ON order_skus (order_id);

-- Kinds of open holds.
CREATE TABLE order_holds (
    kind TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, order_id)
);
CREATE INDEX order_holds_by_order ON order_holds (order_id);

-- What happened to an order, in its order, each fact once.
CREATE TABLE timeline (
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL CHECK (seq > 0),
    key TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    shipment_id TEXT COLLATE "C",
    amount_minor BIGINT,
    currency TEXT,
    PRIMARY KEY (order_id, seq),
    UNIQUE (order_id, key)
);

-- Facts to publish. Holds no personal data.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    published_at TIMESTAMPTZ,
    UNIQUE (order_id, seq)
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;

-- Messages to customers: one per order, event and channel.
CREATE TABLE messages (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    event TEXT COLLATE "C" NOT NULL,
    topic TEXT NOT NULL,
    channel TEXT NOT NULL,
    shipment_id TEXT COLLATE "C",
    fact_at TIMESTAMPTZ NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'sent', 'dropped')),
    batch_id TEXT COLLATE "C",
    claimed_at TIMESTAMPTZ,
    settled_at TIMESTAMPTZ,
    why TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (order_id, event, channel),
    CHECK (state <> 'claimed' OR batch_id IS NOT NULL)
);
CREATE INDEX messages_pending ON messages (created_at, id) WHERE state = 'pending';
CREATE INDEX messages_claimed ON messages (claimed_at, batch_id) WHERE state = 'claimed';

-- Shipments. `status` is the shown one; `scanned_rank` the furthest warehouse report.
CREATE TABLE shipments (
    id TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    location TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    shipment JSONB NOT NULL,
    scanned_rank BIGINT NOT NULL,
    test BOOLEAN NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX shipments_by_order ON shipments (order_id);
CREATE INDEX shipments_by_status ON shipments (status, id);
CREATE INDEX shipments_by_location ON shipments (location, id);

-- Every package number that a shipment was reported with.
CREATE TABLE packages (
    tracking_number TEXT COLLATE "C" NOT NULL,
    shipment_id TEXT COLLATE "C" NOT NULL REFERENCES shipments (id) ON DELETE CASCADE,
    order_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tracking_number, shipment_id)
);
CREATE INDEX packages_by_shipment ON packages (shipment_id);

-- What warehouse and carrier reported, from either door, accepted or stale.
CREATE TABLE shipment_events (
    shipment_id TEXT COLLATE "C" NOT NULL REFERENCES shipments (id) ON DELETE CASCADE,
    event_id TEXT COLLATE "C" NOT NULL,
    order_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    rank BIGINT NOT NULL,
    result TEXT NOT NULL CHECK (result IN ('applied', 'stale')),
    occurred_at TIMESTAMPTZ NOT NULL,
    carrier TEXT,
    tracking_number TEXT,
    recorded_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (shipment_id, event_id)
);
CREATE INDEX shipment_events_by_order ON shipment_events (order_id, recorded_at);

-- What was asked of the payment gateway.
CREATE TABLE payment_operations (
    key TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('authorize', 'capture', 'void')),
    payment_id TEXT COLLATE "C",
    shipment_id TEXT COLLATE "C",
    amount_minor BIGINT CHECK (amount_minor >= 0),
    currency TEXT,
    outcome TEXT NOT NULL,
    expires_at TIMESTAMPTZ,
    code TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    CHECK ((amount_minor IS NULL) = (currency IS NULL))
);
CREATE INDEX payment_operations_by_order ON payment_operations (order_id, created_at);

-- Couriers booked. A row without a carrier was taken back before it was noted.
CREATE TABLE bookings (
    key TEXT COLLATE "C" PRIMARY KEY,
    order_id TEXT COLLATE "C",
    shipment_id TEXT COLLATE "C",
    carrier TEXT,
    tracking_number TEXT,
    reference TEXT,
    booked_at TIMESTAMPTZ,
    cancelled_at TIMESTAMPTZ
);
CREATE INDEX bookings_by_order ON bookings (order_id) WHERE order_id IS NOT NULL;

-- Idempotency keys of clients. Without a status the request was not answered yet.
CREATE TABLE idempotency_keys (
    client TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT NOT NULL,
    status BIGINT,
    subject TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (client, key)
);
