-- What Stripe's wire format says of payments beyond the ledger: intents before they are confirmed, metadata, refunds by id, and the stored
-- answers of idempotency keys.

CREATE TABLE stripe_intents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_id TEXT NOT NULL UNIQUE,
    authorize_key TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    method TEXT,
    automatic INTEGER NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE stripe_refunds (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    refund_id TEXT NOT NULL UNIQUE,
    payment_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX stripe_refunds_of_payment ON stripe_refunds (payment_id);

CREATE TABLE stripe_keys (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
