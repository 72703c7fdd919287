//! `POST /v1/orders`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use oms_contract::start::{OrderLine, OrderStart, OrderTerms, SHAPE};
use oms_domain::customer::Line;
use oms_domain::ids::OrderId;
use oms_store::{Intake, NewOrder, StoredOrder};
use serde_json::Value;

use super::body::{ParsedOrder, PlaceOrder};
use super::view::{OrderView, location};
use crate::card::refuse_cards;
use crate::engine::Labels;
use crate::extract::{RawJson, shape};
use crate::idempotency::{CLIENT, IdempotencyKey, TENANT, answer, fingerprint, outlived, reused};
use crate::problem::{Code, FieldError, Problem};
use crate::schema::KeyHeader;
use crate::state::AppState;

/// Longest `Prefer: wait`, in seconds.
const WAIT_MAX: u64 = 30;

/// Place an order
///
/// The order survives anything from its 201 on. Prices come from the catalogue and freeze here.
#[utoipa::path(
    post,
    path = "/v1/orders",
    tag = "orders",
    params(
        KeyHeader,
        ("Prefer" = Option<String>, Header, description = "`wait=N`: answer once the order is decided, or after N seconds (30 at most)")
    ),
    request_body = PlaceOrder,
    responses(
        (status = 201, description = "Taken in. A decided refusal is 201 too, with `status: rejected`", body = OrderView, headers(
            ("Location" = String, description = "The order's path"),
            ("Preference-Applied" = String, description = "The wait that was kept"),
            ("Idempotency-Replayed" = String, description = "`true` if the key was seen before"),
        )),
    )
)]
pub(crate) async fn place(
    State(state): State<AppState>,
    key: IdempotencyKey,
    headers: HeaderMap,
    RawJson(body): RawJson,
) -> Result<Response, Problem> {
    let (mut order, replayed) = place_one(&state, &key, body).await?;
    let wait = preferred_wait(&headers);
    // a row that cannot be read again is shown as it was taken in: the order is placed all the same
    let limit = Duration::from_secs(wait.unwrap_or(0));
    if wait.is_some()
        && let Ok(seen) = state.watch(&order.id, limit, |o| o.life.status.is_decided()).await
    {
        order = seen;
    }
    let view = OrderView::of(&order, order.updated_at, &state.settings);
    let mut response = answer(StatusCode::CREATED, replayed, view);
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location(&order)) {
        headers.insert(header::LOCATION, location);
    }
    if let Some(applied) = wait.and_then(|n| HeaderValue::from_str(&format!("wait={n}")).ok()) {
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
    Ok(response)
}

/// Takes one order in and starts its run; answers its row, and whether the key brought it before. Everything that places orders
/// comes through here.
pub(crate) async fn place_one(state: &AppState, key: &IdempotencyKey, body: Value) -> Result<(StoredOrder, bool), Problem> {
    refuse_cards(&body)?;
    let body: PlaceOrder = shape(body)?;
    let parsed = body.parse(&state.settings.payment_methods)?;
    let new = new_order(state, key, parsed, fingerprint("POST /v1/orders", &body.canonical())?);
    let (order, replayed) = take_in(state, &new).await?;
    if order.rev == 0 {
        // the row of an earlier request froze the terms too
        let kept = if replayed { state.store.order_terms(&order.id).await? } else { None };
        start(
            state,
            &order,
            kept.map_or_else(|| terms(state, order.channel.as_ref().map(Line::as_str)), |kept| OrderTerms::read(&kept)),
        )
        .await?;
    }
    if !replayed {
        metrics::counter!("oms_orders_placed_total").increment(1);
    }
    Ok((order, replayed))
}

fn new_order(state: &AppState, key: &IdempotencyKey, parsed: ParsedOrder, fingerprint: String) -> NewOrder {
    let id = match &key.0 {
        Some(key) => OrderId::from_key(TENANT, CLIENT, key),
        None => OrderId::from_random(rand::random()),
    };
    NewOrder {
        id,
        client: CLIENT.to_owned(),
        fingerprint,
        customer: parsed.customer,
        ship_to: parsed.ship_to,
        bill_to: parsed.bill_to,
        currency: parsed.currency,
        lines: parsed.lines,
        discounts: parsed.discounts,
        on_shortage: parsed.on_shortage,
        shape: SHAPE,
        payment_method: parsed.method,
        reference: parsed.reference,
        terms: terms(state, parsed.channel.as_ref().map(Line::as_str)).keep(),
        channel: parsed.channel,
        test: state.settings.test_orders,
    }
}

/// The order's row, and whether it was there before.
async fn take_in(state: &AppState, new: &NewOrder) -> Result<(StoredOrder, bool), Problem> {
    let at_lines = |lines: Vec<usize>, code: Code, detail: &str| {
        lines.into_iter().map(|n| FieldError::at(format!("/lines/{n}/sku"), code.as_str(), detail)).collect()
    };
    match state.store.intake(new, &state.settings.price_rules, state.now()).await? {
        Intake::Placed(order) => Ok((order, false)),
        Intake::Known(order) => Ok((order, true)),
        Intake::KeyReused => Err(reused()),
        Intake::Gone => Err(outlived()),
        Intake::UnknownSku { lines } => {
            Err(Problem::invalid(Code::UnknownSku, at_lines(lines, Code::UnknownSku, "this SKU is not in the catalogue")))
        }
        Intake::CurrencyMismatch { expected, .. } => {
            Err(Problem::at("/currency", Code::CurrencyMismatch, format!("a line is priced in {expected}, not in this currency")))
        }
        Intake::DiscountTooLarge { discount } => {
            let rule = "a discount is at most what its line costs, and all of them at most what the goods cost";
            Err(Problem::at(format!("/discounts/{discount}/amount"), Code::ValidationFailed, rule))
        }
        Intake::TooLarge => Err(Problem::at("/lines", Code::ValidationFailed, "the order's total is too large")),
    }
}

/// What orders are placed on now, through a channel.
fn terms(state: &AppState, channel: Option<&str>) -> OrderTerms {
    let settings = &state.settings;
    let own = channel.and_then(|channel| settings.channels.get(channel));
    let (deadlines, policies) = own.copied().unwrap_or((settings.deadlines, settings.policies));
    OrderTerms { strategy: settings.strategy, risk: settings.risk, policies, deadlines, patience: settings.patience }
}

/// Starts the order's run, or finds it started.
async fn start(state: &AppState, order: &StoredOrder, terms: OrderTerms) -> Result<(), Problem> {
    let start = OrderStart {
        order_id: order.id.clone(),
        placed_at: order.placed_at,
        currency: order.currency,
        lines: order
            .lines
            .iter()
            .map(|line| OrderLine { sku: line.sku.clone(), quantity: line.quantity, total: line.total })
            .collect(),
        total: order.totals.total,
        method: order.payment_method.clone(),
        rules: Some(order.price_rules.unwrap_or(state.settings.price_rules)),
        on_shortage: order.on_shortage,
        strategy: terms.strategy,
        risk: terms.risk,
        policies: terms.policies,
        shape: SHAPE,
        unwind: None,
        deadlines: terms.deadlines,
        patience: terms.patience,
        search_attributes: state.settings.search_attributes,
    };
    let labels = Labels { customer: order.customer.id.clone(), channel: order.channel.as_ref().map(ToString::to_string) };
    Ok(state.engine.start_order(start, labels).await?)
}

/// `Prefer: wait=N` of RFC 7240, cut to [`WAIT_MAX`]; anything malformed is ignored.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| {
            let seconds = seconds.trim();
            let digits = !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit());
            // a number too large to read is above the limit all the same
            digits.then(|| seconds.parse::<u64>().unwrap_or(u64::MAX).min(WAIT_MAX))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_cut_and_nonsense_is_ignored() {
        for (value, wait) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = 0", Some(0)),
            ("wait=31", Some(30)),
            ("wait=99999999999999999999999", Some(30)),
            ("wait=5;x=1", Some(5)),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait=ten", None),
            ("return=minimal", None),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))]);
            assert_eq!(preferred_wait(&headers), wait, "{value}");
        }
    }
}
