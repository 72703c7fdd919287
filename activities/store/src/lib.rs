//! What must be looked up: SQL on SQLite (embedded) and Postgres (production), written once.
//!
//! [`Store`] offers business verbs, each one transaction that may run twice without harm. Verbs take `now` from their caller; the
//! store has no clock and calls nobody. The public half of a noun (`stock.rs`) holds its types and verbs; the private half
//! (`sql/stock.rs`) holds its statements and is compiled once per database, with concrete types.

mod acknowledgements;
mod alerts;
mod audit;
mod backorders;
mod bookings;
mod bounds;
mod catalogue;
mod changes;
mod circuits;
mod deliveries;
mod effects;
mod error;
mod gauges;
mod imports;
mod inbound;
mod intake;
mod keys;
mod lanes;
mod locations;
mod messages;
mod movements;
mod orders;
mod outbox;
mod payments;
#[allow(clippy::duplicate_mod)] // see `sqlite`
mod postgres;
mod reconciliations;
mod redrives;
mod refunds;
mod refusal;
mod reservations;
mod retention;
mod returns;
mod review_items;
mod scratch;
mod shipments;
// the statements are compiled once per database on purpose: one text, concrete types
#[allow(clippy::duplicate_mod)]
mod sqlite;
mod stock;
mod store;
mod stuck;
mod switches;
mod versions;
mod webhooks;

pub use acknowledgements::{Acknowledged, Unacknowledged};
pub use alerts::{Alert, AlertWay};
pub use audit::{OrderAudit, StockAudit};
pub use backorders::Wake;
pub use bookings::{BookingRow, Label};
pub use bounds::Bounds;
pub use catalogue::{Product, Put};
pub use changes::{ProposalState, StoredEdit};
pub use circuits::{Circuit, CircuitState, OVERDUE_MAX, Pauses, Turn};
pub use deliveries::{Attempt, ClaimedDelivery, DeliveryState, DeliveryView, FAILURES_MAX, Failing};
pub use effects::{Effect, EffectKind, UndoState, Waived};
pub use error::{Result, StoreError};
pub use gauges::{OpenOrders, OverdueOrder, UNDATED_HOURS};
pub use imports::{Import, ImportCursor, ImportLease, ImportRow, ImportState, NewImportRow, PendingRow, RowStatus, SettledRow};
pub use inbound::{Inbound, InboundState, NewInbound};
pub use intake::{Intake, NewLine, NewOrder, Unstarted};
pub use keys::{Claimed, KeyClaim};
pub use lanes::{LANES, Lane, LaneEnd};
pub use locations::SiteChange;
pub use messages::{Batch, MessageRow, MessageState, Resend, Resent, StoredMessage};
pub use movements::{Count, Moved, Movement};
pub use orders::{Amend, AmendedLine, Append, Cursor, OrderFilter, Record, Recorded, Standing, StoredOrder, TimelineEntry};
pub use outbox::{OutboxRow, Subject};
pub use payments::{AuthorizationOutcome, AuthorizationRow, CaptureOutcome, OperationKind, PaymentOperation};
pub use reconciliations::{AskedOf, OpenCursor, Report, ReportCounts, ReportState, StoredFinding};
pub use redrives::{NewRedrive, REDRIVE_MAX, Redrive, RedriveFilter, RedriveFrom, RedriveOrder, RedriveOutcome, RedriveState};
pub use refunds::{NewRefund, PartState, PayBackRow, RefundOutcome, RefundPart, RefundRequested, StoredRefund};
pub use reservations::{ChangeStock, CommitStock, Departed, Reserve, Reserved};
pub use retention::EndedCursor;
pub use returns::{NewReturn, RestockUnits, ReturnCursor, ReturnRefund, ReturnRequested, StoredReturn};
pub use review_items::{
    ItemCursor, ItemFilter, ItemResolution, ItemSource, ItemState, NewItem, ResolveOutcome, ResolvedItem, ReviewItem,
};
pub use scratch::Scratch;
pub use shipments::{Heard, Scanned, ShipmentFilter, StoredShipment};
pub use stock::{LocationLevel, StockLevel};
pub use store::{Backend, Migrated, Store, Work};
pub use stuck::{NO_ACKNOWLEDGEMENT, REFUND_STUCK, RETURN_STUCK, SILENT, TERMINATED, WORKFLOW_TASK_FAILING};
pub use switches::{Dependency, Switch, SwitchSet, SwitchState};
pub use versions::OpenVersion;
pub use webhooks::{NewWebhook, Signing, Webhook, WebhookSecret, WebhookState};
