//! Orders as text.

use std::fmt::Write;

use oms_domain::Instant;

use super::table::Table;
use crate::http::{Order, Page, Shipment, TimelineEntry};

/// An instant to the second; the API's JSON has the rest.
pub(super) fn instant(at: Instant) -> String {
    // RFC 3339 without fraction, cut instead of formatted: the date crate is built without formatting of locales
    let text = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    text.replace('T', " ")
}

/// One order, everything that matters to an operator.
pub(super) fn order(order: &Order) -> String {
    let mut text = String::new();
    let flag = if order.needs_attention { "  NEEDS ATTENTION" } else { "" };
    let _ = writeln!(text, "order {}  {}{flag}", order.id, order.standing());
    let reference = order.reference.as_deref().map(|r| format!(", reference {r}")).unwrap_or_default();
    let _ = writeln!(text, "  placed   {}, changed {}{reference}", instant(order.placed_at), instant(order.updated_at));
    for line in &order.lines {
        let _ =
            writeln!(text, "  line     {} x {} {} at {} = {}", line.quantity, line.sku, line.name, line.unit_price, line.total);
    }
    let totals = &order.totals;
    let _ = writeln!(
        text,
        "  sums     goods {} + shipping {} + tax {} = {}",
        totals.subtotal, totals.shipping, totals.tax, totals.total
    );
    let _ = writeln!(
        text,
        "  money    {}: authorized {}, captured {}, refunded {}",
        order.payment.status, totals.authorized, totals.captured, totals.refunded
    );
    for shipment in &order.shipments {
        let _ = writeln!(text, "  shipment {}", self::shipment(shipment));
    }
    for hold in &order.holds {
        let until = hold.until.map(|u| format!(" until {}", instant(u))).unwrap_or_default();
        let _ = writeln!(text, "  hold     {} {}{until}: {}", hold.id, hold.kind, hold.reason);
    }
    for attention in &order.attention {
        let _ = writeln!(text, "  person   {}: {}", attention.code, attention.detail);
    }
    if !order.allowed_actions.is_empty() {
        let _ = writeln!(text, "  allowed  {}", order.allowed_actions.join(", "));
    }
    if let Some(link) = &order.links.temporal_ui {
        let _ = writeln!(text, "  history  {link}");
    }
    text
}

fn shipment(shipment: &Shipment) -> String {
    let lines: Vec<String> = shipment.lines.iter().map(|l| format!("{} x {}", l.quantity, l.sku)).collect();
    let package = match (&shipment.carrier, &shipment.tracking_number) {
        (Some(carrier), Some(number)) => format!(", {carrier} {number}"),
        _ => String::new(),
    };
    format!("{} {} from {}: {}{package}", shipment.id, shipment.status, shipment.location, lines.join(", "))
}

/// A page of orders.
pub(super) fn orders(page: &Page<Order>) -> String {
    let mut table = Table::new(&["placed", "order", "status", ">total", "flags"]);
    for order in &page.data {
        let holds = order.holds.iter().map(|h| format!("hold:{}", h.kind));
        let attention = order.needs_attention.then(|| "needs attention".to_owned());
        let flags: Vec<String> = attention.into_iter().chain(holds).collect();
        table.row([
            instant(order.placed_at),
            order.id.clone(),
            order.standing(),
            order.totals.total.to_string(),
            flags.join(" "),
        ]);
    }
    if table.is_empty() {
        return "no orders\n".to_owned();
    }
    let mut text = table.render();
    if let Some(cursor) = &page.next_cursor {
        let _ = writeln!(text, "more: --cursor {cursor}");
    }
    text
}

/// A page of shipments.
pub(super) fn shipments(page: &Page<Shipment>) -> String {
    let mut table = Table::new(&["shipment", "status", "from", "lines", "carrier", "tracking number"]);
    for shipment in &page.data {
        let lines: Vec<String> = shipment.lines.iter().map(|l| format!("{} x {}", l.quantity, l.sku)).collect();
        table.row([
            shipment.id.clone(),
            shipment.status.clone(),
            shipment.location.clone(),
            lines.join(", "),
            shipment.carrier.clone().unwrap_or_default(),
            shipment.tracking_number.clone().unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        return "no shipments\n".to_owned();
    }
    let mut text = table.render();
    if let Some(cursor) = &page.next_cursor {
        let _ = writeln!(text, "more: --cursor {cursor}");
    }
    text
}

/// One line of a timeline.
pub(super) fn happening(entry: &TimelineEntry) -> String {
    let mut text = format!("{}  {}", instant(entry.at), entry.kind);
    if let Some(shipment) = &entry.shipment {
        let _ = write!(text, "  {shipment}");
    }
    if let Some(amount) = &entry.amount {
        let _ = write!(text, "  {amount}");
    }
    if let Some(reason) = &entry.reason {
        let _ = write!(text, "  ({reason})");
    }
    if let Some(actor) = entry.actor.as_deref().filter(|a| *a != "system") {
        let _ = write!(text, "  by {actor}");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// An order as the API would answer it.
    pub(in crate::admin) fn sample() -> serde_json::Value {
        let eur = |minor: i64| json!({"amount": minor, "currency": "EUR"});
        json!({
            "id": "0f5a", "reference": "shop-1", "status": "confirmed", "reason": null,
            "lines": [{"sku": "MUG", "name": "Mug", "quantity": 2, "unit_price": eur(1299), "total": eur(2598)}],
            "totals": {"subtotal": eur(2598), "shipping": eur(490), "tax": eur(587), "total": eur(3675),
                       "authorized": eur(3675), "captured": eur(0), "refunded": eur(0)},
            "payment": {"status": "authorized", "authorization_expires_at": null},
            "shipments": [{"id": "0f5a-1", "location": "berlin", "status": "booked", "lines": [{"sku": "MUG", "quantity": 2}],
                           "carrier": "sandbox", "tracking_number": "SBX1"}],
            "holds": [{"id": "h-1", "kind": "fraud", "reason": "looks odd", "until": "2026-01-02T03:04:05Z"}],
            "needs_attention": true, "attention": [{"code": "lost", "detail": "ask the carrier", "since": "2026-01-01T00:00:01Z"}], "test": true, "allowed_actions": ["cancel", "release_hold"],
            "placed_at": "2026-01-01T00:00:00.123Z", "updated_at": "2026-01-01T00:00:01Z", "version": 3,
            "as_of": "2026-01-01T00:00:02Z", "links": {"self": "/v1/orders/0f5a", "temporal_ui": "http://127.0.0.1:8233/x"}
        })
    }

    #[test]
    fn an_order_tells_what_an_operator_asks() {
        let text = order(&serde_json::from_value(sample()).unwrap());
        for part in [
            "order 0f5a  confirmed  NEEDS ATTENTION",
            "2026-01-01 00:00:00Z",
            "2 x MUG Mug at 12.99 EUR = 25.98 EUR",
            "= 36.75 EUR",
            "0f5a-1 booked from berlin: 2 x MUG, sandbox SBX1",
            "h-1 fraud until 2026-01-02 03:04:05Z: looks odd",
            "lost: ask the carrier",
            "cancel, release_hold",
            "http://127.0.0.1:8233/x",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn lists_say_when_they_are_empty_and_when_there_is_more() {
        assert_eq!(orders(&Page { data: Vec::new(), next_cursor: None }), "no orders\n");
        let page = Page { data: vec![serde_json::from_value(sample()).unwrap()], next_cursor: Some("abc".to_owned()) };
        let text = orders(&page);
        assert!(text.contains("needs attention hold:fraud") && text.ends_with("more: --cursor abc\n"), "{text}");
    }

    #[test]
    fn a_happening_is_one_line() {
        let entry = json!({"kind": "payment.captured", "at": "2026-01-01T00:00:00Z", "actor": "ops", "reason": "late",
                           "shipment": "0f5a-1", "amount": {"amount": 5, "currency": "EUR"}});
        let text = happening(&serde_json::from_value(entry).unwrap());
        assert_eq!(text, "2026-01-01 00:00:00Z  payment.captured  0f5a-1  0.05 EUR  (late)  by ops");
    }
}
