//! From the body of `POST /v1/orders` to an order that cannot be invalid.

use std::time::Duration;

use oms_domain::customer::{Address, Country, Customer, Email, Line, Phone};
use oms_domain::ids::{CustomerId, Invalid, Sku};
use oms_domain::message::{Channel, Locale};
use oms_domain::money::{Currency, Money};
use oms_domain::payment::PaymentMethod;
use oms_domain::pricing::{Discount, DiscountCode, LineRef};
use oms_domain::shortage::{OnShortage, ShortagePolicy};
use oms_store::NewLine;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{FieldError, Findings, Problem};
use crate::schema;
use crate::state::KnowsMethod;

/// Lines of an order at most.
pub(crate) const LINES_MAX: usize = 100;

/// Units of a line at most.
pub(crate) const QUANTITY_MAX: i64 = 10_000;

/// Discounts of an order at most.
const DISCOUNTS_MAX: usize = 20;

/// Largest amount in minor units: the largest whole number that every JSON reader keeps exactly.
const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// Longest wait for stock that an order may name.
const WAIT_MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// An order as a shop sends it. Prices come from the catalogue.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceOrder {
    pub(crate) customer: CustomerBody,
    /// Must be the price currency of every line.
    #[schema(value_type = schema::CurrencyCode)]
    pub(crate) currency: String,
    /// The same SKU on two lines is allowed and counted together.
    #[schema(min_items = 1, max_items = 100)]
    pub(crate) lines: Vec<LineBody>,
    pub(crate) ship_to: AddressBody,
    pub(crate) payment: PaymentBody,
    /// The shop's own reference; orders can be listed by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    pub(crate) reference: Option<String>,
    /// Where the order came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    pub(crate) channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_shortage: Option<ShortageBody>,
    /// Whom the bill is for, if it is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bill_to: Option<AddressBody>,
    /// Together at most what the goods cost, and each line's at most what the line costs. What is not for one line is split over all
    /// lines by value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 20)]
    pub(crate) discounts: Option<Vec<DiscountBody>>,
}

/// Who orders.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerBody {
    /// The shop's own opaque id.
    #[schema(pattern = r"^[A-Za-z0-9_.:-]{1,64}$", example = "c-1001")]
    id: String,
    #[schema(value_type = schema::Line)]
    name: String,
    /// One address.
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
    /// E.164. Without it nobody is texted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^\+[1-9][0-9]{6,14}$", example = "+4930123456")]
    phone: Option<String>,
    /// The language of messages: `en`, `de` or `es`. Without it the shop's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(en|de|es)$", example = "en")]
    locale: Option<String>,
    /// The only channels that the customer wants to hear on: `mail`, `sms` or both. Without it all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 2, example = json!(["mail"]))]
    notify: Option<Vec<String>>,
}

/// What is ordered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineBody {
    #[schema(value_type = schema::SkuText)]
    pub(crate) sku: String,
    #[schema(minimum = 1, maximum = 10000)]
    pub(crate) quantity: i64,
}

/// Where the parcel goes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressBody {
    #[schema(value_type = schema::Line)]
    name: String,
    #[schema(value_type = schema::Line)]
    line1: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    line2: Option<String>,
    #[schema(value_type = schema::Line)]
    city: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    region: Option<String>,
    #[schema(value_type = schema::Line)]
    postal_code: String,
    /// ISO 3166-1 alpha-2.
    #[schema(pattern = r"^[A-Z]{2}$", example = "DE")]
    country: String,
}

/// How it is paid.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentBody {
    /// A token of the payment gateway, never card data.
    #[schema(example = "pm_card_visa")]
    method: String,
}

/// What happens when stock runs short.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShortageBody {
    /// `reject` is the default.
    policy: PolicyBody,
    /// How long to wait before the customer is asked, with `wait` and `ship_available`: an ISO 8601 duration of at most 3650 days;
    /// the shop's setting without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "P30D", max_length = 32)]
    max: Option<String>,
}

/// A policy for shortages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ShortagePolicy)]
pub(crate) enum PolicyBody {
    /// The order is refused as a whole.
    Reject,
    /// What is there ships at once; the rest waits and follows.
    ShipAvailable,
    /// Nothing ships before everything is there.
    Wait,
}

/// Money off, granted by the shop.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscountBody {
    /// What it was given for.
    #[schema(min_length = 1, max_length = 64, example = "SPRING")]
    code: String,
    amount: DiscountAmount,
    /// The place of the line it comes off, from 0; the whole order's goods without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 99)]
    line: Option<i64>,
}

/// How much comes off, in the order's currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiscountAmount {
    /// Minor units, one or more.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991i64, example = 500)]
    amount: i64,
    #[schema(value_type = schema::CurrencyCode)]
    currency: String,
}

/// An order that cannot be invalid; the catalogue has not been asked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedOrder {
    pub(crate) customer: Customer,
    pub(crate) ship_to: Address,
    pub(crate) bill_to: Option<Address>,
    pub(crate) currency: Currency,
    pub(crate) lines: Vec<NewLine>,
    pub(crate) discounts: Vec<Discount>,
    pub(crate) on_shortage: OnShortage,
    pub(crate) method: PaymentMethod,
    pub(crate) reference: Option<Line>,
    pub(crate) channel: Option<Line>,
}

impl PlaceOrder {
    /// The body that every way of writing this order has in common: what the fingerprint is made of.
    pub(crate) fn canonical(mut self) -> Self {
        if self.on_shortage.as_ref().is_some_and(|s| s.policy == PolicyBody::Reject && s.max.is_none()) {
            self.on_shortage = None;
        }
        self
    }

    /// Checks every field. Errors: 422 with all broken rules at once.
    pub(crate) fn parse(&self, knows: &KnowsMethod) -> Result<ParsedOrder, Problem> {
        let mut findings = Findings::default();
        let customer = self.customer.parse(&mut findings);
        let currency = findings.body("/currency", Currency::parse(&self.currency));
        let lines = self.lines(&mut findings);
        let ship_to = self.ship_to.parse("/ship_to", &mut findings);
        let bill_to = self.bill_to.as_ref().map(|address| address.parse("/bill_to", &mut findings));
        let discounts = self.discounts(currency, &lines, &mut findings);
        let method = PaymentMethod(self.payment.method.clone());
        if !knows(&method) {
            findings.push(FieldError::at("/payment/method", "invalid", "the payment gateway does not know this method"));
        }
        let reference = findings.body_opt("/reference", self.reference.clone().map(Line::parse));
        let channel = findings.body_opt("/channel", self.channel.clone().map(Line::parse));
        let on_shortage = self.on_shortage.as_ref().map(|s| s.parse(&mut findings)).unwrap_or_default();
        match (customer, currency, ship_to) {
            (Some(customer), Some(currency), Some(ship_to)) if findings.is_clean() => {
                let bill_to = bill_to.flatten();
                Ok(ParsedOrder {
                    customer,
                    ship_to,
                    bill_to,
                    currency,
                    lines,
                    discounts,
                    on_shortage,
                    method,
                    reference,
                    channel,
                })
            }
            _ => Err(findings.into_problem()),
        }
    }

    fn lines(&self, findings: &mut Findings) -> Vec<NewLine> {
        if !(1..=LINES_MAX).contains(&self.lines.len()) {
            findings.push(FieldError::at("/lines", "invalid", "an order has 1 to 100 lines"));
        }
        let mut lines = Vec::new();
        for (n, line) in self.lines.iter().enumerate().take(LINES_MAX) {
            let sku = findings.body(format!("/lines/{n}/sku"), Sku::parse(&line.sku));
            let quantity = Some(line.quantity).filter(|q| (1..=QUANTITY_MAX).contains(q)).and_then(|q| u32::try_from(q).ok());
            let quantity = quantity.ok_or_else(|| Invalid::new("a quantity is 1 to 10,000"));
            let quantity = findings.body(format!("/lines/{n}/quantity"), quantity);
            if let (Some(sku), Some(quantity)) = (sku, quantity) {
                lines.push(NewLine { sku, quantity });
            }
        }
        lines
    }

    /// Discounts as the order keeps them; whether they are too much only the catalogue's prices tell.
    fn discounts(&self, currency: Option<Currency>, lines: &[NewLine], findings: &mut Findings) -> Vec<Discount> {
        let Some(bodies) = &self.discounts else { return Vec::new() };
        if !(1..=DISCOUNTS_MAX).contains(&bodies.len()) {
            findings.push(FieldError::at("/discounts", "invalid", "an order has 1 to 20 discounts, or no such field"));
        }
        let mut discounts = Vec::new();
        for (n, body) in bodies.iter().enumerate().take(DISCOUNTS_MAX) {
            let code = findings.body(format!("/discounts/{n}/code"), DiscountCode::parse(&body.code));
            let amount = Some(body.amount.amount).filter(|a| (1..=AMOUNT_MAX).contains(a));
            let amount = amount.ok_or_else(|| Invalid::new("a discount is one or more minor units, below 2^53"));
            let amount = findings.body(format!("/discounts/{n}/amount/amount"), amount);
            let own = Currency::parse(&body.amount.currency).and_then(|own| {
                if currency.is_none_or(|c| c == own) { Ok(own) } else { Err(Invalid::new("the order's currency")) }
            });
            let own = findings.body(format!("/discounts/{n}/amount/currency"), own);
            let line = body.line.map(|at| {
                let at = usize::try_from(at).ok().filter(|at| self.lines.is_empty() || *at < self.lines.len());
                at.ok_or_else(|| Invalid::new("the place of a line, from 0"))
            });
            let line = findings.body_opt(&format!("/discounts/{n}/line"), line);
            // a broken line was found already
            let line = line.and_then(|at| LineRef::of(lines.iter().map(|l| &l.sku), at));
            if let (Some(code), Some(amount), Some(currency)) = (code, amount, own) {
                discounts.push(Discount { code, amount: Money::new(amount, currency), line });
            }
        }
        discounts
    }
}

impl ShortageBody {
    fn parse(&self, findings: &mut Findings) -> OnShortage {
        let policy = match self.policy {
            PolicyBody::Reject => ShortagePolicy::Reject,
            PolicyBody::ShipAvailable => ShortagePolicy::ShipAvailable,
            PolicyBody::Wait => ShortagePolicy::Wait,
        };
        let max = self.max.as_ref().map(|max| match duration(max) {
            _ if policy == ShortagePolicy::Reject => Err(Invalid::new("max goes with the policies wait and ship_available")),
            Some(max) => Ok(max),
            None => Err(Invalid::new("an ISO 8601 duration of at most 3650 days, such as P30D or PT12H")),
        });
        OnShortage { policy, max: findings.body_opt("/on_shortage/max", max) }
    }
}

impl CustomerBody {
    fn parse(&self, findings: &mut Findings) -> Option<Customer> {
        let id = findings.body("/customer/id", CustomerId::parse(&self.id));
        let name = findings.body("/customer/name", Line::parse(&self.name));
        let email = findings.body("/customer/email", Email::parse(&self.email));
        let phone = findings.body_opt("/customer/phone", self.phone.clone().map(Phone::parse));
        let locale = self.locale.as_ref().map(|l| Locale::parse(l).ok_or_else(|| Invalid::new("a language: en, de or es")));
        let locale = findings.body_opt("/customer/locale", locale);
        let notify = self.notify.as_ref().map(|names| channels(names, findings)).unwrap_or_default();
        Some(Customer { id: id?, name: name?, email: email?, phone, locale, notify })
    }
}

fn channels(names: &[String], findings: &mut Findings) -> Vec<Channel> {
    let mut channels = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let channel = Channel::parse(name).ok_or_else(|| Invalid::new("a channel: mail or sms"));
        channels.extend(findings.body(format!("/customer/notify/{n}"), channel));
    }
    let twice = channels.iter().enumerate().any(|(n, channel)| channels[..n].contains(channel));
    if names.is_empty() || twice {
        findings.push(FieldError::at("/customer/notify", "invalid", "one channel or more, each once; leave it out for all"));
    }
    channels
}

impl AddressBody {
    /// Checks every field; `at` is where the address stands in the body. `None`: a rule is broken, and found.
    pub(crate) fn parse(&self, at: &str, findings: &mut Findings) -> Option<Address> {
        let name = findings.body(format!("{at}/name"), Line::parse(&self.name));
        let line1 = findings.body(format!("{at}/line1"), Line::parse(&self.line1));
        let line2 = findings.body_opt(&format!("{at}/line2"), self.line2.clone().map(Line::parse));
        let city = findings.body(format!("{at}/city"), Line::parse(&self.city));
        let region = findings.body_opt(&format!("{at}/region"), self.region.clone().map(Line::parse));
        let postal_code = findings.body(format!("{at}/postal_code"), Line::parse(&self.postal_code));
        let country = findings.body(format!("{at}/country"), Country::parse(&self.country));
        Some(Address { name: name?, line1: line1?, line2, city: city?, region, postal_code: postal_code?, country: country? })
    }
}

/// Reads an ISO 8601 duration of whole weeks, days, hours, minutes and seconds: above none, at most ten years.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P').filter(|_| text.len() <= 32)?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let seconds = units(days, &[('W', 604_800), ('D', 86_400)])? + units(time, &[('H', 3_600), ('M', 60), ('S', 1)])?;
    Some(Duration::from_secs(seconds)).filter(|d| !d.is_zero() && *d <= WAIT_MAX)
}

/// The seconds of one half of a duration, whose units come in this order and each once at most.
fn units(mut part: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut allowed, mut seconds) = (units.iter(), 0);
    while !part.is_empty() {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let unit = part[digits..].chars().next()?;
        let (_, worth) = allowed.find(|(name, _)| *name == unit)?;
        // six digits of weeks cannot overflow
        seconds += part[..digits].parse::<u64>().ok().filter(|_| digits <= 6)? * worth;
        part = &part[digits + 1..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests;
