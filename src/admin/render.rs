//! Orders as text.

use std::fmt::Write;

use oms_domain::Instant;
use serde_json::Value;

use super::table::Table;
use crate::http::{Order, Page, Shipment, ShipmentLine, TimelineEntry};

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
    if !order.waiting.is_empty() {
        let _ = writeln!(text, "  waits    for {}", units(&order.waiting));
    }
    if let Some(review) = &order.review {
        let _ = writeln!(text, "  review   {}, decided by policy at {}", review.reasons.join(", "), instant(review.until));
    }
    if let Some(question) = &order.question {
        let _ =
            writeln!(text, "  question to the customer; without an answer `{}` at {}", question.default, instant(question.until));
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

fn units(lines: &[ShipmentLine]) -> String {
    lines.iter().map(|l| format!("{} x {}", l.quantity, l.sku)).collect::<Vec<_>>().join(", ")
}

fn shipment(shipment: &Shipment) -> String {
    let package = match (&shipment.carrier, &shipment.tracking_number) {
        (Some(carrier), Some(number)) => format!(", {carrier} {number}"),
        _ => String::new(),
    };
    format!("{} {} from {}: {}{package}", shipment.id, shipment.status, shipment.location, units(&shipment.lines))
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
        table.row([
            shipment.id.clone(),
            shipment.status.clone(),
            shipment.location.clone(),
            units(&shipment.lines),
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
    format!("{}  {}", instant(entry.at), what(entry, entry.shipment.as_deref()))
}

/// An order's timeline in short: a line per fact, counted from the first one; scans that decided nothing are left out.
pub(crate) fn story(order: &str, timeline: &[TimelineEntry]) -> String {
    let Some(began) = timeline.first().map(|entry| entry.at) else { return String::new() };
    let mut text = String::new();
    for entry in timeline.iter().filter(|entry| !entry.kind.starts_with("scan.")) {
        let seconds = (entry.at - began).as_seconds_f64();
        let shipment = entry.shipment.as_deref().map(|id| id.strip_prefix(order).unwrap_or(id).trim_start_matches('-'));
        let parcel = shipment.map(|number| format!("parcel {number}"));
        let _ = writeln!(text, "  {seconds:>6.1} s  {}", what(entry, parcel.as_deref()));
    }
    text
}

fn what(entry: &TimelineEntry, shipment: Option<&str>) -> String {
    let mut text = entry.kind.clone();
    if let Some(shipment) = shipment {
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

/// What an order waits on, and how to move it.
pub(super) fn why(id: &str, value: &Value) -> String {
    let word = |value: &Value, name: &str| value[name].as_str().unwrap_or("-").to_owned();
    let mut text = String::new();
    let _ = writeln!(text, "{} ({})", word(value, "status"), word(value, "stage"));
    for wait in value["waiting_on"].as_array().into_iter().flatten() {
        let until = at(&wait["until"]).map(|until| format!(", until {until}")).unwrap_or_default();
        let since = at(&wait["since"]).unwrap_or_default();
        let _ = writeln!(text, "  waits on  {} (since {since}{until})", word(wait, "on"));
    }
    if let Some(deadline) = at(&value["deadline"]) {
        let _ = writeln!(text, "  deadline  {deadline}: a person is called unless the order moves");
    }
    let next = match value["next_action"].as_str() {
        Some("ended") | None => None,
        Some("none") => Some("it goes on by itself".to_owned()),
        Some("review") => Some(format!("`oms order approve {id} --reason …`, or `reject`")),
        Some("decide") => Some(format!("`oms order decide {id} wait`, or `ship_available`, or `cancel`")),
        Some("release_hold") => Some(format!("`oms order release {id} HOLD`; `oms order show {id}` lists the holds")),
        Some("resolve_review_item") => Some("resolve its review items".to_owned()),
        Some(other) => Some(other.to_owned()),
    };
    if let Some(next) = next {
        let _ = writeln!(text, "  next      {next}");
    }
    let failing = &value["workflow_task_failing"];
    if failing.is_object() {
        let _ = writeln!(text, "  error     workers fail at the run's own next step (attempt {})", failing["attempt"]);
    }
    let error = &value["last_error"];
    if error.is_object() {
        let next = at(&error["next_attempt_at"]).map(|next| format!(", next at {next}")).unwrap_or_default();
        let (activity, message) = (word(error, "activity"), word(error, "message"));
        let _ = writeln!(text, "  error     {activity}: {message} (attempt {}{next})", error["attempt"]);
    }
    let open = value["review_items"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for item in open.filter(|_| value["next_action"] == "resolve_review_item") {
        let _ = writeln!(text, "  item      `oms review resolve {item} --action … --reason …`");
    }
    text
}

/// An instant in the API's JSON, to the second.
fn at(value: &Value) -> Option<String> {
    Some(instant(serde_json::from_value(value.clone()).ok()?))
}

/// What a redrive does, or would do.
pub(super) fn redrive(value: &Value) -> String {
    if let Some(id) = value["id"].as_str() {
        let state = value["state"].as_str().unwrap_or("running");
        return format!("redrive {id} is {state}: {} of {} orders done", value["done"], value["matched"]);
    }
    let mut text = format!("orders that match: {}; nothing was done\n", value["matched"]);
    for order in value["data"].as_array().into_iter().flatten() {
        let word = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
        let _ = writeln!(text, "  {}  would {}: {}", word("order_id"), word("would"), word("detail"));
    }
    text
}

/// A page of review items.
pub(super) fn items(value: &Value) -> String {
    let mut table = Table::new(&["opened", "item", "kind", "order", "what", "resolutions"]);
    for item in value["data"].as_array().into_iter().flatten() {
        let word = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let moves: Vec<&str> = item["resolutions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        table.row([
            at(&item["opened_at"]).unwrap_or_default(),
            word("id"),
            word("kind"),
            word("order_id"),
            word("detail"),
            moves.join(", "),
        ]);
    }
    if table.is_empty() {
        return "nothing needs a person\n".to_owned();
    }
    let mut text = table.render();
    if let Some(cursor) = value["next_cursor"].as_str() {
        let _ = writeln!(text, "more: --cursor {cursor}");
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
            "waiting": [{"sku": "MUG", "quantity": 1}], "review": {"reasons": ["amount"], "since": "2026-01-01T00:00:00Z",
            "until": "2026-01-03T00:00:00Z"}, "question": {"round": 1, "until": "2026-01-04T00:00:00Z", "default": "cancel"},
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
            "waits    for 1 x MUG",
            "review   amount, decided by policy at 2026-01-03 00:00:00Z",
            "without an answer `cancel` at 2026-01-04 00:00:00Z",
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
    fn a_wait_names_its_end_and_the_queue_its_next_moves() {
        let text = why(
            "o-1",
            &json!({
                "status": "backordered", "stage": "stock", "next_action": "resolve_review_item", "deadline": "2026-02-01T00:00:00Z",
                "waiting_on": [{"part": "stock", "on": "goods", "since": "2026-01-01T00:00:00Z", "until": "2026-01-31T00:00:00Z"}],
                "last_error": {"activity": "inventory.reserve", "message": "the database did not answer", "attempt": 3}, "review_items": ["i-1"]
            }),
        );
        for part in ["goods (since 2026-01-01 00:00:00Z, until 2026-01-31 00:00:00Z)", "reserve: the database did", "resolve i-1"]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let list =
            items(&json!({"data": [{"id": "i-1", "kind": "lost", "resolutions": ["retry", "cancel"]}], "next_cursor": null}));
        assert!(list.contains("retry, cancel"), "{list}");
        assert_eq!(items(&json!({"data": []})), "nothing needs a person\n");
    }

    #[test]
    fn a_dry_run_names_the_orders() {
        let dry = redrive(&json!({"matched": 1, "data": [{"order_id": "o-1", "would": "nudge", "detail": "nothing is stuck"}]}));
        assert_eq!(dry, "orders that match: 1; nothing was done\n  o-1  would nudge: nothing is stuck\n");
        let running = redrive(&json!({"id": "r-1", "state": "running", "matched": 3, "done": 1}));
        assert_eq!(running, "redrive r-1 is running: 1 of 3 orders done");
    }

    #[test]
    fn a_story_counts_from_its_beginning() {
        let entry = |kind: &str, at: &str| json!({"type": kind, "at": at, "shipment_id": "0f5a-2"});
        let facts = [
            entry("order.placed", "2026-01-01T00:00:00Z"),
            entry("scan.picked", "2026-01-01T00:00:01Z"),
            entry("shipment.booked", "2026-01-01T00:00:02.5Z"),
        ];
        let facts: Vec<TimelineEntry> = facts.into_iter().map(|f| serde_json::from_value(f).unwrap()).collect();
        assert_eq!(story("0f5a", &facts), "     0.0 s  order.placed  parcel 2\n     2.5 s  shipment.booked  parcel 2\n");
    }

    #[test]
    fn a_happening_is_one_line() {
        let entry = json!({"kind": "payment.captured", "at": "2026-01-01T00:00:00Z", "actor": "ops", "reason": "late",
                           "shipment": "0f5a-1", "amount": {"amount": 5, "currency": "EUR"}});
        let text = happening(&serde_json::from_value(entry).unwrap());
        assert_eq!(text, "2026-01-01 00:00:00Z  payment.captured  0f5a-1  0.05 EUR  (late)  by ops");
    }
}
