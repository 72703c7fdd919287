//! Our own ledger of what was asked of the payment gateway, one row per operation key.

use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::money::Money;

use crate::Result;
use crate::store::{Store, run};

/// Declares an enum with its wire names.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$arm_doc:meta])* $arm:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$arm_doc])* $arm,)* }
        impl $name {
            /// The wire name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$arm => $wire,)* }
            }
            /// Reads the wire name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($wire => Some(Self::$arm),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What was asked of the gateway.
    OperationKind {
        /// To hold funds.
        Authorize = "authorize",
        /// To take held funds.
        Capture = "capture",
        /// To let held funds go.
        Void = "void",
        /// To return taken funds.
        Refund = "refund",
    }
}
words! {
    /// What the gateway said about holding funds.
    AuthorizationOutcome {
        /// They are held.
        Held = "held",
        /// No.
        Declined = "declined",
        /// The customer must authenticate; later this becomes one of the others.
        ActionRequired = "action_required",
    }
}
words! {
    /// What the gateway said about taking funds.
    CaptureOutcome {
        /// They are taken.
        Captured = "captured",
        /// No.
        Refused = "refused",
    }
}

/// An authorization as the gateway answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRow {
    /// The gateway's id, if it gave one.
    pub payment_id: Option<String>,
    /// What it said.
    pub outcome: AuthorizationOutcome,
    /// How much was asked.
    pub amount: Money,
    /// When the hold ends by itself, if the gateway said so.
    pub expires_at: Option<Instant>,
    /// The gateway's code for a refusal.
    pub code: Option<String>,
    /// Where the customer authenticates, if that is needed and the gateway has a page for it.
    pub action_url: Option<String>,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOperation {
    /// The operation's key.
    pub key: String,
    /// What was asked.
    pub kind: OperationKind,
    /// The gateway's id.
    pub payment_id: Option<String>,
    /// The shipment whose money it is.
    pub shipment_id: Option<ShipmentId>,
    /// How much; none for a void.
    pub amount: Option<Money>,
    /// What the gateway said: a wire name of the outcome, `voided` for a void.
    pub outcome: String,
    /// When it was last written.
    pub at: Instant,
}

impl Store {
    /// Notes an authorization under its key. `action_required` may become `held` or `declined`; nothing else changes.
    pub async fn record_authorization(&self, order_id: &OrderId, key: &str, row: AuthorizationRow, now: Instant) -> Result<()> {
        run!(self, payments::authorization(order_id, key, &row, now))
    }

    /// Notes a capture under its key. A refused one may succeed later; a taken one stays.
    #[allow(clippy::too_many_arguments)] // one column each
    pub async fn record_capture(
        &self,
        order_id: &OrderId,
        key: &str,
        payment_id: &str,
        shipment_id: &ShipmentId,
        amount: Money,
        outcome: CaptureOutcome,
        now: Instant,
    ) -> Result<()> {
        run!(self, payments::capture(order_id, key, payment_id, shipment_id, amount, outcome, now))
    }

    /// Notes a void under its key.
    pub async fn record_void(&self, order_id: &OrderId, key: &str, payment_id: Option<&str>, now: Instant) -> Result<()> {
        run!(self, payments::void(order_id, key, payment_id, now))
    }

    /// The order's operations, oldest first.
    pub async fn payment_operations(&self, order_id: &OrderId) -> Result<Vec<PaymentOperation>> {
        run!(self, payments::operations(order_id))
    }
}
