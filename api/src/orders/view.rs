//! How an order is shown.

use std::time::Duration;

use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use oms_domain::Instant;
use oms_domain::customer::{Address, Customer};
use oms_domain::life::Hold;
use oms_domain::money::Money as Amount;
use oms_domain::order::Action;
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::Quantity;
use oms_store::StoredOrder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema::{self, Money};
use crate::state::ApiSettings;

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(crate) struct OrderView {
    #[schema(pattern = r"^[A-Za-z0-9_-]{8,64}$")]
    id: String,
    reference: Option<String>,
    channel: Option<String>,
    /// `placed`, `in_review`, `backordered`, `confirmed`, `partially_shipped`, `shipped`, `completed`, `rejected`, `cancelling`,
    /// `cancelled`, `partially_fulfilled` or `returned`.
    #[schema(value_type = String, example = "confirmed")]
    status: &'static str,
    /// Why it was rejected: `out_of_stock`, `payment_declined`, `review_rejected` or `payment_action_expired`.
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    customer: CustomerView,
    ship_to: AddressView,
    /// Whom the bill is for, if it is somebody else.
    bill_to: Option<AddressView>,
    #[schema(value_type = schema::CurrencyCode)]
    currency: &'static str,
    lines: Vec<LineView>,
    totals: TotalsView,
    /// Money off, as the shop granted it.
    discounts: Vec<DiscountView>,
    /// What happens when stock is short.
    on_shortage: ShortageView,
    /// Units that wait for stock.
    waiting: Vec<QuantityView>,
    /// The manual review, while it is open.
    review: Option<ReviewView>,
    /// What the customer was asked about a long wait, until it is decided.
    question: Option<QuestionView>,
    payment: PaymentView,
    shipments: Vec<ShipmentView>,
    /// Open holds, oldest first.
    holds: Vec<HoldView>,
    /// Whether a person must look; `attention` says why.
    needs_attention: bool,
    attention: Vec<AttentionView>,
    /// When a person is called unless the order moves; null once it has ended.
    due_at: Option<DateTime<Utc>>,
    /// Placed against a sandbox.
    test: bool,
    /// What may be asked of the order now: `cancel`, `place_hold`, `release_hold`, `review`, `change_address`, `edit`, `decide`,
    /// `refund` and `return`.
    #[schema(value_type = Vec<String>)]
    allowed_actions: Vec<&'static str>,
    placed_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Grows with every change.
    version: u64,
    /// Up to when this is known to be so.
    as_of: DateTime<Utc>,
    links: LinksView,
}

/// Who ordered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
pub(crate) struct CustomerView {
    id: String,
    name: String,
    email: String,
    phone: Option<String>,
    /// The language of messages, unless the shop's own.
    #[schema(value_type = Option<String>, example = "en")]
    locale: Option<&'static str>,
    /// The only channels that messages come on; null for all.
    #[schema(value_type = Option<Vec<String>>)]
    notify: Option<Vec<&'static str>>,
}

/// Where the parcel goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Address)]
pub(crate) struct AddressView {
    name: String,
    line1: String,
    line2: Option<String>,
    city: String,
    region: Option<String>,
    postal_code: String,
    country: String,
}

/// One line, priced when it was ordered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Line)]
pub(crate) struct LineView {
    sku: String,
    name: String,
    quantity: u32,
    unit_price: Money,
    /// This line's share of the discounts.
    discount: Money,
    /// `unit_price` × `quantity` − `discount`.
    total: Money,
}

/// Money off.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Discount)]
pub(crate) struct DiscountView {
    code: String,
    amount: Money,
    /// The article whose line it comes off; null for the whole order.
    sku: Option<String>,
}

/// What happens when stock is short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OnShortage)]
pub(crate) struct ShortageView {
    /// `reject`, `ship_available` or `wait`.
    #[schema(value_type = String, example = "reject")]
    policy: &'static str,
    /// How long the order waits before its customer is asked, an ISO 8601 duration; null: the shop's setting.
    max: Option<String>,
}

/// A manual review.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Review)]
pub(crate) struct ReviewView {
    /// Which rules sent the order here: `amount`, `velocity`, `address_mismatch`.
    reasons: Vec<String>,
    since: DateTime<Utc>,
    /// When the shop's policy decides if nobody does.
    until: DateTime<Utc>,
}

/// A question to the customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Question)]
pub(crate) struct QuestionView {
    /// Which time, from 1.
    round: u32,
    /// When the default decides.
    until: DateTime<Utc>,
    /// What is decided then: `wait`, `ship_available` or `cancel`.
    #[schema(value_type = String, example = "cancel")]
    default: &'static str,
}

/// The order's sums: `total = subtotal + shipping + tax`; and what became of the money.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Totals)]
pub(crate) struct TotalsView {
    subtotal: Money,
    /// What discounts took off; the subtotal is without it already.
    discount: Money,
    shipping: Money,
    tax: Money,
    total: Money,
    authorized: Money,
    captured: Money,
    refunded: Money,
}

/// Where the money stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Payment)]
pub(crate) struct PaymentView {
    /// `pending`, `not_required`, `requires_action`, `authorized`, `declined`, `partially_captured`, `captured`, `voided` or
    /// `refunded`.
    #[schema(value_type = String, example = "authorized")]
    status: &'static str,
    /// The gateway's token of the method.
    method: String,
    /// When the hold on the funds ends by itself.
    authorization_expires_at: Option<DateTime<Utc>>,
    /// Where the customer authenticates: send the customer there while the status is `requires_action`. None if the gateway has no
    /// page for it.
    #[schema(value_type = Option<String>)]
    action_url: Option<String>,
    /// When it is too late for that.
    action_until: Option<DateTime<Utc>>,
}

/// Lines that leave one place together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shipment)]
pub(crate) struct ShipmentView {
    pub(crate) id: String,
    pub(crate) location: String,
    /// `pending`, `booked`, `picked`, `packed`, `shipped`, `in_transit`, `lost`, `delivered`, `returned_to_sender` or `cancelled`.
    #[schema(value_type = String, example = "booked")]
    pub(crate) status: &'static str,
    pub(crate) lines: Vec<QuantityView>,
    pub(crate) carrier: Option<String>,
    pub(crate) tracking_number: Option<String>,
    /// Numbers of further packages.
    pub(crate) more_tracking_numbers: Vec<String>,
}

/// Some units of one article.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quantity)]
pub(crate) struct QuantityView {
    sku: String,
    quantity: u32,
}

/// A reasoned stop.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldView {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) placed_at: DateTime<Utc>,
    /// When it ends by itself, if ever.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// Something that needs a person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attention)]
pub(crate) struct AttentionView {
    code: String,
    detail: String,
    since: DateTime<Utc>,
}

/// Where to look further.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Links)]
pub(crate) struct LinksView {
    #[serde(rename = "self")]
    this: String,
    timeline: String,
    /// What the order waits on, and until when.
    why: String,
    /// Each effect outside and its undo.
    effects: String,
    events: String,
    refunds: String,
    returns: String,
    /// The order's run in the Temporal UI, if there is a UI.
    temporal_ui: Option<String>,
}

impl OrderView {
    /// The row as it is shown; `as_of` is up to when it is known to be so.
    pub(crate) fn of(order: &StoredOrder, as_of: Instant, settings: &ApiSettings) -> Self {
        let (life, totals, none) = (&order.life, &order.totals, Amount::zero(order.currency));
        let link = |what: &str| format!("{}/{what}", location(order));
        Self {
            id: order.id.to_string(),
            reference: order.reference.as_ref().map(ToString::to_string),
            channel: order.channel.as_ref().map(ToString::to_string),
            status: life.status.as_str(),
            reason: life.reason.map(|reason| reason.as_str()),
            customer: (&order.customer).into(),
            ship_to: (&order.ship_to).into(),
            bill_to: order.bill_to.as_ref().map(Into::into),
            currency: order.currency.code(),
            lines: order
                .lines
                .iter()
                .map(|line| LineView {
                    sku: line.sku.to_string(),
                    name: line.name.to_string(),
                    quantity: line.quantity,
                    unit_price: line.unit_price.into(),
                    discount: line.discount.unwrap_or(none).into(),
                    total: line.total.into(),
                })
                .collect(),
            totals: TotalsView {
                subtotal: totals.subtotal.into(),
                discount: totals.discount.unwrap_or(none).into(),
                shipping: totals.shipping.into(),
                tax: totals.tax.into(),
                total: totals.total.into(),
                authorized: life.payment.authorized.into(),
                captured: life.payment.captured.into(),
                refunded: life.payment.refunded.into(),
            },
            discounts: order
                .discounts
                .iter()
                .map(|d| DiscountView {
                    code: d.code.to_string(),
                    amount: d.amount.into(),
                    sku: d.line.as_ref().map(|line| line.sku.to_string()),
                })
                .collect(),
            on_shortage: ShortageView { policy: order.on_shortage.policy.as_str(), max: order.on_shortage.max.map(iso) },
            waiting: life.waiting.iter().map(Into::into).collect(),
            review: life.review.as_ref().map(|r| ReviewView { reasons: r.reasons.clone(), since: r.since, until: r.until }),
            question: life.question.as_ref().map(|q| QuestionView {
                round: q.round,
                until: q.until,
                default: q.default.as_str(),
            }),
            payment: PaymentView {
                status: life.payment.status.as_str(),
                method: order.payment_method.0.clone(),
                authorization_expires_at: life.payment.authorization_expires_at,
                action_url: order.action_url.clone(),
                action_until: life.payment.action_until.filter(|_| life.payment.status == PaymentStatus::RequiresAction),
            },
            shipments: life.shipments.iter().map(Into::into).collect(),
            holds: life.holds.iter().map(Into::into).collect(),
            needs_attention: order.items_open || !life.attention.is_empty(),
            attention: life
                .attention
                .iter()
                .map(|a| AttentionView { code: a.code.clone(), detail: a.detail.clone(), since: a.since })
                .collect(),
            due_at: life.due_at,
            test: order.test,
            allowed_actions: life.allowed_actions().into_iter().map(Action::as_str).collect(),
            placed_at: order.placed_at,
            updated_at: order.updated_at,
            version: order.rev,
            as_of,
            links: LinksView {
                this: location(order),
                timeline: link("timeline"),
                why: link("why"),
                effects: link("effects"),
                events: link("events"),
                refunds: link("refunds"),
                returns: link("returns"),
                temporal_ui: settings.ui_base.as_ref().map(|base| {
                    format!("{}/namespaces/{}/workflows/order%2F{}", base.trim_end_matches('/'), settings.namespace, order.id)
                }),
            },
        }
    }
}

/// A duration as ISO 8601 has it, in whole days and what is left of the last one.
fn iso(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds % 86_400) {
        (days, 0) => format!("P{days}D"),
        (0, rest) => format!("PT{rest}S"),
        (days, rest) => format!("P{days}DT{rest}S"),
    }
}

/// The order's path.
pub(crate) fn location(order: &StoredOrder) -> String {
    format!("/v1/orders/{}", order.id)
}

/// The order's ETag: its version; and what is shown besides, of which no record tells: how far the warehouse has come, packages,
/// refunds, and that somebody other than the order's run calls a person.
pub(crate) fn etag(order: &StoredOrder) -> HeaderValue {
    let mut tag = order.rev.to_string();
    for shipment in &order.life.shipments {
        let packages = shipment.packages().count();
        let at_work = matches!(shipment.status, ShipmentStatus::Picked | ShipmentStatus::Packed);
        if at_work || packages > 1 {
            let number = shipment.id.as_str().rsplit('-').next().unwrap_or_default();
            tag.push_str(&format!("-{number}.{}", shipment.status.rank()));
            if packages > 0 {
                tag.push_str(&format!(".{packages}"));
            }
        }
    }
    if order.life.payment.refunded.minor > 0 {
        tag.push_str(&format!("-r{}", order.life.payment.refunded.minor));
    }
    if order.items_open && order.life.attention.is_empty() {
        tag.push_str("-a");
    }
    HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

impl From<&Customer> for CustomerView {
    fn from(customer: &Customer) -> Self {
        Self {
            id: customer.id.to_string(),
            name: customer.name.to_string(),
            email: customer.email.to_string(),
            phone: customer.phone.as_ref().map(ToString::to_string),
            locale: customer.locale.map(|l| l.as_str()),
            notify: (!customer.notify.is_empty()).then(|| customer.notify.iter().map(|c| c.as_str()).collect()),
        }
    }
}

impl From<&Address> for AddressView {
    fn from(address: &Address) -> Self {
        Self {
            name: address.name.to_string(),
            line1: address.line1.to_string(),
            line2: address.line2.as_ref().map(ToString::to_string),
            city: address.city.to_string(),
            region: address.region.as_ref().map(ToString::to_string),
            postal_code: address.postal_code.to_string(),
            country: address.country.to_string(),
        }
    }
}

impl From<&Shipment> for ShipmentView {
    fn from(shipment: &Shipment) -> Self {
        Self {
            id: shipment.id.to_string(),
            location: shipment.location.to_string(),
            status: shipment.status.as_str(),
            lines: shipment.lines.iter().map(Into::into).collect(),
            carrier: shipment.carrier.clone(),
            tracking_number: shipment.tracking_number.clone(),
            more_tracking_numbers: shipment.more_packages.clone(),
        }
    }
}

impl From<&Quantity> for QuantityView {
    fn from(line: &Quantity) -> Self {
        Self { sku: line.sku.to_string(), quantity: line.quantity }
    }
}

impl From<&Hold> for HoldView {
    fn from(hold: &Hold) -> Self {
        Self {
            id: hold.id.to_string(),
            kind: hold.kind.to_string(),
            reason: hold.reason.to_string(),
            actor: hold.actor.clone(),
            placed_at: hold.placed_at,
            until: hold.until,
        }
    }
}
