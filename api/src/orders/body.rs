//! From the body of `POST /v1/orders` to an order that cannot be invalid.

use oms_domain::customer::{Address, Country, Customer, Email, Line, Phone};
use oms_domain::ids::{CustomerId, Invalid, Sku};
use oms_domain::money::Currency;
use oms_domain::payment::PaymentMethod;
use oms_store::NewLine;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Code, FieldError, Findings, Problem};
use crate::schema;
use crate::state::KnowsMethod;

/// Lines of an order at most.
const LINES_MAX: usize = 100;

/// Units of a line at most.
const QUANTITY_MAX: i64 = 10_000;

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
}

/// What is ordered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineBody {
    #[schema(value_type = schema::SkuText)]
    sku: String,
    #[schema(minimum = 1, maximum = 10000)]
    quantity: i64,
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
    /// `reject` (the default); `ship_available` and `wait` are refused with `not_supported` by this version.
    policy: ShortagePolicy,
    /// How long to wait at most, with `wait`: an ISO 8601 duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "P30D", max_length = 32)]
    max: Option<String>,
}

/// A policy for shortages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShortagePolicy {
    /// The order is refused as a whole.
    Reject,
    /// What is there is shipped.
    ShipAvailable,
    /// The order waits.
    Wait,
}

/// An order that cannot be invalid; the catalogue has not been asked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedOrder {
    pub(crate) customer: Customer,
    pub(crate) ship_to: Address,
    pub(crate) currency: Currency,
    pub(crate) lines: Vec<NewLine>,
    pub(crate) method: PaymentMethod,
    pub(crate) reference: Option<Line>,
    pub(crate) channel: Option<Line>,
}

impl PlaceOrder {
    /// The body that every way of writing this order has in common: what the fingerprint is made of.
    pub(crate) fn canonical(mut self) -> Self {
        if self.on_shortage.as_ref().is_some_and(|s| s.policy == ShortagePolicy::Reject && s.max.is_none()) {
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
        let ship_to = self.ship_to.parse(&mut findings);
        let method = PaymentMethod(self.payment.method.clone());
        if !knows(&method) {
            findings.push(FieldError::at("/payment/method", "invalid", "the payment gateway does not know this method"));
        }
        let reference = findings.body_opt("/reference", self.reference.clone().map(Line::parse));
        let channel = findings.body_opt("/channel", self.channel.clone().map(Line::parse));
        let unsupported = self.shortage(&mut findings);
        match (customer, currency, ship_to, unsupported) {
            (Some(customer), Some(currency), Some(ship_to), supported) if findings.is_clean() => {
                supported?;
                Ok(ParsedOrder { customer, ship_to, currency, lines, method, reference, channel })
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

    /// Checks the shortage policy; the result says whether this version can keep it.
    fn shortage(&self, findings: &mut Findings) -> Result<(), Problem> {
        let Some(shortage) = &self.on_shortage else { return Ok(()) };
        if let Some(max) = &shortage.max {
            if shortage.policy != ShortagePolicy::Wait {
                findings.push(FieldError::at("/on_shortage/max", "invalid", "max goes with the policy wait only"));
            } else if !is_duration(max) {
                findings.push(FieldError::at("/on_shortage/max", "invalid", "an ISO 8601 duration, such as P30D or PT12H"));
            }
        }
        if shortage.policy == ShortagePolicy::Reject {
            return Ok(());
        }
        Err(Problem::at("/on_shortage/policy", Code::NotSupported, "this version keeps the policy reject only"))
    }
}

impl CustomerBody {
    fn parse(&self, findings: &mut Findings) -> Option<Customer> {
        let id = findings.body("/customer/id", CustomerId::parse(&self.id));
        let name = findings.body("/customer/name", Line::parse(&self.name));
        let email = findings.body("/customer/email", Email::parse(&self.email));
        let phone = findings.body_opt("/customer/phone", self.phone.clone().map(Phone::parse));
        Some(Customer { id: id?, name: name?, email: email?, phone })
    }
}

impl AddressBody {
    fn parse(&self, findings: &mut Findings) -> Option<Address> {
        let name = findings.body("/ship_to/name", Line::parse(&self.name));
        let line1 = findings.body("/ship_to/line1", Line::parse(&self.line1));
        let line2 = findings.body_opt("/ship_to/line2", self.line2.clone().map(Line::parse));
        let city = findings.body("/ship_to/city", Line::parse(&self.city));
        let region = findings.body_opt("/ship_to/region", self.region.clone().map(Line::parse));
        let postal_code = findings.body("/ship_to/postal_code", Line::parse(&self.postal_code));
        let country = findings.body("/ship_to/country", Country::parse(&self.country));
        Some(Address { name: name?, line1: line1?, line2, city: city?, region, postal_code: postal_code?, country: country? })
    }
}

/// Whether the text is an ISO 8601 duration of whole weeks, days, hours, minutes and seconds, above none.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P').filter(|_| text.len() <= 32) else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let reads = |mut part: &str, units: &str| {
        let mut allowed = units.chars();
        let mut some = false;
        while !part.is_empty() {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let unit = part[digits..].chars().next();
            if !(1..=6).contains(&digits) || !unit.is_some_and(|u| allowed.any(|a| a == u)) {
                return None;
            }
            some |= part[..digits].bytes().any(|b| b != b'0');
            part = &part[digits + 1..];
        }
        Some(some)
    };
    matches!((reads(days, "WD"), reads(time, "HMS")), (Some(a), Some(b)) if a || b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::shape;
    use serde_json::{Value, json};
    use std::sync::Arc;

    pub(crate) fn good() -> Value {
        json!({
            "customer": {"id": "c-1", "name": "Ada", "email": "ada@example.com", "phone": "+4930123456"},
            "currency": "EUR",
            "lines": [{"sku": "MUG", "quantity": 1}],
            "ship_to": {"name": "Ada", "line1": "Street 1", "city": "Berlin", "postal_code": "10115", "country": "DE"},
            "payment": {"method": "pm_card_visa"},
        })
    }

    fn parse(body: Value) -> Result<ParsedOrder, Problem> {
        let knows: KnowsMethod = Arc::new(|method: &PaymentMethod| method.0 == "pm_card_visa");
        shape::<PlaceOrder>(body)?.parse(&knows)
    }

    #[test]
    fn every_limit_is_refused_at_its_place() {
        let long = |n: usize| Value::String("x".repeat(n));
        let lines = |n: usize| Value::Array(vec![json!({"sku": "MUG", "quantity": 1}); n]);
        let cases: Vec<(&str, Value)> = vec![
            ("/customer/id", json!("")),
            ("/customer/id", json!("a b")),
            ("/customer/id", long(65)),
            ("/customer/name", json!("")),
            ("/customer/name", json!("   ")),
            ("/customer/name", json!("a\u{7}")),
            ("/customer/name", long(201)),
            ("/customer/email", json!("ada")),
            ("/customer/email", json!("a@b.com, c@d.com")),
            ("/customer/email", json!(format!("{}@example.com", "a".repeat(250)))),
            ("/customer/phone", json!("030 123456")),
            ("/currency", json!("eur")),
            ("/currency", json!("XXX")),
            ("/lines", json!([])),
            ("/lines", lines(101)),
            ("/lines/0/sku", json!("")),
            ("/lines/0/sku", json!("-a")),
            ("/lines/0/sku", long(65)),
            ("/lines/0/quantity", json!(0)),
            ("/lines/0/quantity", json!(-1)),
            ("/lines/0/quantity", json!(10_001)),
            ("/lines/0/quantity", json!(1.5)),
            ("/lines/0/quantity", json!("1")),
            ("/lines/0/quantity", serde_json::from_str("99999999999999999999").unwrap()),
            ("/ship_to/name", json!("")),
            ("/ship_to/line1", long(201)),
            ("/ship_to/line2", json!("")),
            ("/ship_to/city", json!("a\nb")),
            ("/ship_to/region", json!(" ")),
            ("/ship_to/postal_code", json!("")),
            ("/ship_to/country", json!("de")),
            ("/ship_to/country", json!("XX")),
            ("/ship_to/country", json!("DEU")),
            ("/payment/method", json!("pm_unknown")),
            ("/payment/method", json!("")),
            ("/reference", json!("")),
            ("/reference", long(201)),
            ("/channel", long(201)),
            ("/on_shortage", json!("reject")),
            ("/on_shortage/policy", json!("whatever")),
        ];
        for (pointer, value) in cases {
            let mut body = good();
            body["on_shortage"] = json!({"policy": "reject"});
            body["ship_to"]["line2"] = json!("x");
            body["ship_to"]["region"] = json!("x");
            body["reference"] = json!("x");
            body["channel"] = json!("x");
            assert!(parse(body.clone()).is_ok());
            *body.pointer_mut(pointer).unwrap() = value.clone();
            let problem = parse(body).expect_err(&format!("{pointer} {value}"));
            assert_eq!(problem.code(), Code::ValidationFailed, "{pointer} {value}");
            let [error] = problem.errors() else { panic!("{pointer} {value}: {problem:?}") };
            assert_eq!(error.pointer.as_deref(), Some(pointer), "{value}");
        }
    }

    #[test]
    fn every_required_field_is_missed_at_its_place() {
        for pointer in [
            "/customer",
            "/customer/id",
            "/customer/name",
            "/customer/email",
            "/currency",
            "/lines",
            "/lines/0/sku",
            "/lines/0/quantity",
            "/ship_to",
            "/ship_to/name",
            "/ship_to/line1",
            "/ship_to/city",
            "/ship_to/postal_code",
            "/ship_to/country",
            "/payment",
            "/payment/method",
        ] {
            let mut body = good();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            let problem = parse(body).unwrap_err();
            let [error] = problem.errors() else { panic!("{pointer}: {problem:?}") };
            assert_eq!((error.pointer.as_deref(), error.code), (Some(pointer), "missing"));
        }
        for parent in ["", "/customer", "/lines/0", "/ship_to", "/payment"] {
            let mut body = good();
            body.pointer_mut(parent).unwrap()["price"] = json!(1);
            let problem = parse(body).unwrap_err();
            assert_eq!(problem.errors()[0].pointer, Some(format!("{parent}/price")));
            assert_eq!(problem.errors()[0].code, "unknown_field");
        }
    }

    #[test]
    fn all_broken_rules_come_at_once() {
        let mut body = good();
        body["customer"]["email"] = json!("x");
        body["lines"][0]["quantity"] = json!(0);
        body["payment"]["method"] = json!("x");
        let problem = parse(body).unwrap_err();
        let pointers: Vec<_> = problem.errors().iter().filter_map(|e| e.pointer.as_deref()).collect();
        assert_eq!(pointers, ["/customer/email", "/lines/0/quantity", "/payment/method"]);
    }

    #[test]
    fn policies_to_come_are_refused_by_name() {
        for policy in [json!({"policy": "ship_available"}), json!({"policy": "wait", "max": "P30D"})] {
            let mut body = good();
            body["on_shortage"] = policy;
            let problem = parse(body).unwrap_err();
            assert_eq!(problem.code(), Code::NotSupported);
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some("/on_shortage/policy"));
        }
    }

    #[test]
    fn durations() {
        for good in ["P30D", "PT12H", "P1W", "P1DT2H3M4S"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "P", "PT", "P0D", "30d", "P-1D", "P1.5D", "P1DT", "P1H", "PT1D", "P1D2W", "P1Dä"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn equal_orders_have_equal_canonical_bodies() {
        let canonical = |text: &str| {
            let body: PlaceOrder = shape(serde_json::from_str(text).unwrap()).unwrap();
            serde_json::to_string(&body.canonical()).unwrap()
        };
        let plain = good().to_string();
        let mut other = good();
        other["on_shortage"] = json!({"policy": "reject"});
        other["reference"] = Value::Null;
        assert_eq!(canonical(&plain), canonical(&serde_json::to_string_pretty(&other).unwrap()));
        let mut more = good();
        more["lines"][0]["quantity"] = json!(2);
        assert_ne!(canonical(&plain), canonical(&more.to_string()));
    }
}
