use super::*;
use crate::extract::shape;
use crate::problem::Code;
use serde_json::{Value, json};
use std::sync::Arc;

fn good() -> Value {
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
        ("/on_shortage/max", json!("30 days")),
        ("/on_shortage/max", json!("P999999W")),
        ("/customer/locale", json!("xx")),
        ("/customer/notify", json!([])),
        ("/customer/notify", json!(["mail", "mail"])),
        ("/customer/notify/0", json!("fax")),
        ("/bill_to/country", json!("de")),
        ("/bill_to/city", json!("")),
        ("/discounts", json!([])),
        ("/discounts", json!(vec![json!({"code": "x", "amount": {"amount": 1, "currency": "EUR"}}); 21])),
        ("/discounts/0/code", json!(" ")),
        ("/discounts/0/code", long(65)),
        ("/discounts/0/amount/amount", json!(0)),
        ("/discounts/0/amount/amount", json!(-5)),
        ("/discounts/0/amount/currency", json!("USD")),
        ("/discounts/0/amount/currency", json!("eur")),
        ("/discounts/0/line", json!(1)),
        ("/discounts/0/line", json!(-1)),
    ];
    for (pointer, value) in cases {
        let mut body = good();
        body["on_shortage"] = json!({"policy": "wait", "max": "P30D"});
        body["customer"]["locale"] = json!("de");
        body["customer"]["notify"] = json!(["mail"]);
        body["bill_to"] = body["ship_to"].clone();
        body["discounts"] = json!([{"code": "x", "amount": {"amount": 5, "currency": "EUR"}, "line": 0}]);
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
fn what_an_order_brings_along() {
    let mut body = good();
    assert_eq!(parse(body.clone()).unwrap().on_shortage, OnShortage::default());
    body["customer"]["locale"] = json!("es");
    body["customer"]["notify"] = json!(["sms", "mail"]);
    body["lines"] = json!([{"sku": "MUG", "quantity": 1}, {"sku": "PEN", "quantity": 1}, {"sku": "MUG", "quantity": 2}]);
    body["discounts"] = json!([{"code": "SPRING", "amount": {"amount": 5, "currency": "EUR"}, "line": 2}]);
    body["bill_to"] = body["ship_to"].clone();
    for (policy, max, days) in [("ship_available", Some("P2W"), Some(14)), ("wait", Some("P30D"), Some(30)), ("wait", None, None)]
    {
        body["on_shortage"] = json!({"policy": policy, "max": max});
        let parsed = parse(body.clone()).unwrap();
        assert_eq!(parsed.on_shortage.policy.as_str(), policy);
        assert_eq!(parsed.on_shortage.max, days.map(|n| Duration::from_secs(n * 24 * 3_600)));
        assert_eq!((parsed.customer.locale, parsed.customer.notify.len()), (Some(Locale::Es), 2));
        let line = parsed.discounts[0].line.as_ref().unwrap();
        assert_eq!((line.sku.as_str(), line.nth), ("MUG", 1));
        assert_eq!(parsed.bill_to, Some(parsed.ship_to));
    }
    body["on_shortage"] = json!({"policy": "reject", "max": "P1D"});
    assert_eq!(parse(body).unwrap_err().errors()[0].pointer.as_deref(), Some("/on_shortage/max"));
}

#[test]
fn durations() {
    for (text, seconds) in
        [("P30D", 2_592_000), ("PT12H", 43_200), ("P1W", 604_800), ("P1DT2H3M4S", 93_784), ("P3650D", 315_360_000)]
    {
        assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    for bad in ["", "P", "PT", "P0D", "30d", "P-1D", "P1.5D", "P1DT", "P1H", "PT1D", "P1D2W", "P1Dä", "P3651D", "P999999W"] {
        assert_eq!(duration(bad), None, "{bad}");
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
