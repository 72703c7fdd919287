-- The sandbox parties' own books: nothing here is the order system's truth, it is the outside world's.

CREATE TABLE faults (
    party TEXT PRIMARY KEY,
    mode TEXT NOT NULL,
    operation TEXT,
    until TEXT
) STRICT;

CREATE TABLE payments (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    authorize_key TEXT NOT NULL UNIQUE,
    method TEXT NOT NULL,
    status TEXT NOT NULL,
    decline_code TEXT,
    currency TEXT NOT NULL,
    requested INTEGER NOT NULL,
    authorized INTEGER NOT NULL CHECK (authorized >= 0),
    captured INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    -- what a void let go of: never captured any more
    released INTEGER NOT NULL DEFAULT 0 CHECK (released >= 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    expires_at TEXT,
    created_at TEXT NOT NULL,
    CHECK (captured + released <= authorized),
    CHECK (refunded <= captured)
) STRICT;
CREATE INDEX payments_of_order ON payments (order_id);

-- Operations are joined to their payment by the key of its authorization, so those that came before the payment's row
-- (failed attempts, a void that found nothing) are listed once the row exists.
CREATE TABLE payment_operations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    authorize_key TEXT,
    amount INTEGER,
    currency TEXT,
    result TEXT NOT NULL,
    -- the settled answer as JSON; none for a failed attempt, nor for an authorization (its payment's row tells)
    answer TEXT,
    at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX payment_operation_settles_once ON payment_operations (key) WHERE result <> 'failed';
CREATE INDEX payment_operations_by_key ON payment_operations (key);
CREATE INDEX payment_operations_of_payment ON payment_operations (authorize_key);

CREATE TABLE bookings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    book_key TEXT NOT NULL UNIQUE,
    shipment_id TEXT NOT NULL,
    location TEXT NOT NULL,
    country TEXT NOT NULL,
    carrier TEXT NOT NULL,
    tracking_number TEXT NOT NULL,
    reference TEXT NOT NULL,
    status TEXT NOT NULL,
    booked_at TEXT NOT NULL,
    cancelled_at TEXT
) STRICT;
CREATE INDEX bookings_of_shipment ON bookings (shipment_id);

-- Settled answers of the carrier. A cancellation that found nothing is the tombstone of its booking key.
CREATE TABLE carrier_operations (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    book_key TEXT NOT NULL,
    result TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX carrier_operations_of_booking ON carrier_operations (book_key);
