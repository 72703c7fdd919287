//! What a message speaks of, and how a template sees it.

use oms_domain::Instant;
use oms_domain::ids::Sku;
use oms_domain::message::{Locale, Topic};
use oms_domain::money::{Currency, Money};
use oms_domain::order::Reason;
use oms_domain::shortage::Decision;
use serde::Serialize;

use super::wording::{self, TimeZone};

/// A line of the order, or of the parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageLine {
    /// What.
    pub sku: Sku,
    /// The article's name.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Their price together.
    pub total: Money,
}

/// What the order costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTotals {
    /// All lines, discounts off.
    pub subtotal: Money,
    /// The discounts that the subtotal is without, if any.
    pub discount: Option<Money>,
    /// Shipping fee.
    pub shipping: Money,
    /// Tax.
    pub tax: Money,
    /// The sum.
    pub total: Money,
}

/// How a parcel travels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MessageShipment {
    /// The carrier's name, if known.
    pub carrier: Option<String>,
    /// The parcel's number, if known.
    pub tracking_number: Option<String>,
}

/// All that a message can speak of. Personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageContext {
    /// The shop.
    pub shop_name: String,
    /// The shop's logo: a URL, `data:` included.
    pub logo: Option<String>,
    /// The shop's clock.
    pub time_zone: TimeZone,
    /// The customer.
    pub customer_name: String,
    /// What the customer knows the order by: the shop's reference, or our id.
    pub order: String,
    /// When it was placed.
    pub placed_at: Instant,
    /// What the message is about: the order's lines, or those of the parcel.
    pub lines: Vec<MessageLine>,
    /// The order's totals.
    pub totals: MessageTotals,
    /// The parcel, for `shipped` and `delivered`.
    pub shipment: Option<MessageShipment>,
    /// Why, for `rejected`. Why an order was cancelled is between the shop and itself.
    pub reason: Option<Reason>,
    /// The money that moves, for `refunded`.
    pub amount: Option<Money>,
    /// Where the customer decides, for `question`, authenticates, for `action_required`, or finds the label, for `return_approved`.
    pub link: Option<String>,
    /// When it is too late, for `question`, `action_required` and `return_approved`.
    pub until: Option<Instant>,
    /// What is decided then, for `question`.
    pub default: Option<Decision>,
    /// The number of the parcel that comes back, for `return_approved`.
    pub number: Option<String>,
}

/// A line as a template sees it.
#[derive(Serialize)]
struct LineView<'a> {
    name: &'a str,
    quantity: u32,
    total: String,
}

/// The totals as a template sees them.
#[derive(Serialize)]
struct TotalsView {
    subtotal: String,
    discount: Option<String>,
    shipping: String,
    tax: String,
    total: String,
}

/// A context as a template sees it: everything is text in its language. These names are what a shop's own templates use.
#[derive(Serialize)]
pub(super) struct View<'a> {
    locale: &'static str,
    shop_name: &'a str,
    logo: Option<&'a str>,
    customer_name: &'a str,
    order: &'a str,
    placed_at: String,
    lines: Vec<LineView<'a>>,
    totals: TotalsView,
    /// Whether the order costs anything.
    charged: bool,
    shipment: Option<&'a MessageShipment>,
    reason: Option<&'static str>,
    amount: Option<String>,
    link: Option<&'a str>,
    until: Option<String>,
    default: Option<&'static str>,
    number: Option<&'a str>,
}

impl MessageContext {
    pub(super) fn view(&self, topic: Topic, locale: Locale) -> View<'_> {
        let money = |amount: Money| wording::money(amount, locale);
        // what is to be paid is the order's total; what was paid back is only known by its fact
        let amount = match topic {
            Topic::Refunded => self.amount,
            _ => Some(self.amount.unwrap_or(self.totals.total)),
        };
        View {
            locale: locale.as_str(),
            shop_name: &self.shop_name,
            logo: self.logo.as_deref(),
            customer_name: &self.customer_name,
            order: &self.order,
            placed_at: wording::date(self.placed_at, self.time_zone, locale),
            lines: self
                .lines
                .iter()
                .map(|line| LineView { name: &line.name, quantity: line.quantity, total: money(line.total) })
                .collect(),
            totals: TotalsView {
                subtotal: money(self.totals.subtotal),
                discount: self.totals.discount.map(money),
                shipping: money(self.totals.shipping),
                tax: money(self.totals.tax),
                total: money(self.totals.total),
            },
            charged: !self.totals.total.is_zero(),
            shipment: self.shipment.as_ref(),
            reason: self.reason.map(Reason::as_str),
            amount: amount.map(money),
            link: self.link.as_deref(),
            until: self.until.map(|at| wording::date(at, self.time_zone, locale)),
            default: self.default.map(Decision::as_str),
            number: self.number.as_deref(),
        }
    }

    /// A message about an order that nobody placed: for previews, and to try a shop's templates before they meet a customer.
    ///
    /// # Panics
    /// Never: the constants are legal.
    pub fn sample(topic: Topic) -> Self {
        let (placed, until) = (1_772_704_800, 1_772_964_000);
        let instant = |seconds: i64| Instant::from_timestamp(seconds, 0).unwrap_or_default();
        let eur = |minor| Money::new(minor, Currency::parse("EUR").unwrap_or_else(|_| unreachable!()));
        let line = |sku: &str, name: &str, quantity, minor| {
            let sku = Sku::parse(sku).unwrap_or_else(|_| unreachable!());
            MessageLine { sku, name: name.to_owned(), quantity, total: eur(minor) }
        };
        Self {
            shop_name: "Our shop".to_owned(),
            logo: None,
            time_zone: TimeZone::UTC,
            customer_name: "Ada Example".to_owned(),
            order: "A-1001".to_owned(),
            placed_at: instant(placed),
            lines: vec![line("TEAPOT", "Teapot, 1.2 l", 1, 2_999), line("CUP-BLUE", "Cup, blue", 4, 3_200)],
            totals: MessageTotals {
                subtotal: eur(6_199),
                discount: Some(eur(500)),
                shipping: eur(490),
                tax: eur(1_271),
                total: eur(7_960),
            },
            shipment: Some(MessageShipment {
                carrier: Some("sandbox".to_owned()),
                tracking_number: Some("SBX0123456789ABCDEF".to_owned()),
            }),
            reason: Some(Reason::OutOfStock),
            amount: (topic == Topic::Refunded).then(|| eur(3_200)),
            link: Some("https://shop.example.com/decide/sample".to_owned()),
            until: Some(instant(until)),
            default: Some(Decision::Cancel),
            number: Some("SBXRETURN0123456".to_owned()),
        }
    }
}
