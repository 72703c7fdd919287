//! `GET /v1/orders/{id}/why`: what an order waits on, since when, until when, and what goes wrong meanwhile.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use oms_contract::command::{StatusAnswer, Wait};
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::payment::PaymentStatus;
use oms_domain::shipment::ShipmentStatus;
use oms_store::StoredOrder;
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::{Look, Trouble};
use crate::extract::Path;
use crate::problem::Problem;
use crate::review_items::open_items_of;
use crate::state::AppState;

/// A run's next step that no worker takes for this long is worth a word.
const UNSERVED_AFTER: chrono::Duration = chrono::Duration::seconds(5);

/// Why an order stands where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhyView {
    /// The order's status.
    #[schema(value_type = String, example = "confirmed")]
    status: &'static str,
    /// `arranging` (stock and money), `review`, `stock`, `payment`, `booking`, `handover`, `transit`, `settling` (what is left of the
    /// money), `undoing` or `ended`.
    #[schema(value_type = String, example = "handover")]
    stage: &'static str,
    waiting_on: Vec<WaitView>,
    /// When a person is called unless the order moves.
    deadline: Option<DateTime<Utc>>,
    /// Who could move it now: `resolve_review_item`, `review`, `release_hold`, `decide`, `none` (it goes on by itself), or `ended`.
    #[schema(value_type = String, example = "none")]
    next_action: &'static str,
    /// The step that fails most often, if one does.
    last_error: Option<LastError>,
    /// Workers fail at the run's own next step again and again.
    workflow_task_failing: Option<FailingTask>,
    /// Whether a person must look: for a flag of the order's own, for an open review item, or because its run cannot go on.
    needs_attention: bool,
    /// Ids of open review items, oldest first.
    review_items: Vec<String>,
    /// `run`: the run itself answered. `row`: it did not within a second, and this is what its last record says.
    #[schema(value_type = String, example = "run")]
    source: &'static str,
    /// Up to when this is known to be so.
    as_of: DateTime<Utc>,
}

/// One thing that an order waits on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Wait)]
pub(crate) struct WaitView {
    /// Which part of the order waits: a step, or a shipment.
    part: String,
    /// On what.
    on: String,
    since: DateTime<Utc>,
    /// Until when at most, if the wait has an end of its own.
    until: Option<DateTime<Utc>>,
}

/// A step that failed and is tried again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastError {
    /// Which.
    activity: String,
    /// What the last attempt said.
    message: String,
    /// Number of the attempt that comes next or runs.
    attempt: u32,
    /// When the next attempt starts; `null` while one runs.
    next_attempt_at: Option<DateTime<Utc>>,
}

/// The run's next step fails on workers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailingTask {
    attempt: u32,
}

impl From<Wait> for WaitView {
    fn from(wait: Wait) -> Self {
        Self { part: wait.part, on: wait.on, since: wait.since, until: wait.until }
    }
}

impl From<Trouble> for LastError {
    fn from(trouble: Trouble) -> Self {
        let Trouble { activity, message, attempt, next_attempt_at } = trouble;
        Self { activity, message, attempt, next_attempt_at }
    }
}

/// Why an order stands where it stands
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/why",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id")),
    responses((status = 200, description = "What it waits on, and what goes wrong meanwhile", body = WhyView))
)]
pub(crate) async fn why(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<WhyView>, Problem> {
    let order = state.order(&id).await?;
    let review_items = open_items_of(&state, &order.id).await?;
    if order.life.status.is_terminal() {
        let as_of = order.updated_at;
        return Ok(Json(view(&order, Vec::new(), None, review_items, ("row", as_of))));
    }
    let (answer, look) = futures::join!(state.engine.status(&order.id), state.engine.look(&order.id));
    let look = look.map_err(|error| tracing::info!(%error, "the engine tells nothing of the run")).ok();
    Ok(Json(match answer {
        Ok(answer) if answer.rev >= order.rev => {
            let now = state.now();
            let waits = waits_of(&answer, order.updated_at);
            let order = StoredOrder { life: answer.life, rev: answer.rev, ..order };
            view(&order, waits, look, review_items, ("run", now))
        }
        answer => {
            if let Err(error) = answer {
                tracing::info!(%error, "the row is shown instead of the run");
            }
            let mut waits = waits_in(&order.life, order.updated_at);
            let stale = state.now() - UNSERVED_AFTER;
            if let Some(since) = look.as_ref().and_then(|look| look.unserved_since).filter(|since| *since < stale) {
                waits.insert(0, wait("run", "a worker of queue orders that takes its next step", since, None));
            }
            let as_of = order.updated_at;
            view(&order, waits, look, review_items, ("row", as_of))
        }
    }))
}

fn view(
    order: &StoredOrder,
    waiting_on: Vec<WaitView>,
    look: Option<Look>,
    review_items: Vec<String>,
    (source, as_of): (&'static str, DateTime<Utc>),
) -> WhyView {
    let life = &order.life;
    let failing = look.as_ref().and_then(|look| look.failing_attempt);
    WhyView {
        status: life.status.as_str(),
        stage: stage(life),
        waiting_on,
        deadline: life.due_at.filter(|_| !life.status.is_terminal()),
        next_action: next_action(life, !review_items.is_empty()),
        last_error: look.and_then(|look| look.trouble).map(Into::into),
        workflow_task_failing: failing.map(|attempt| FailingTask { attempt }),
        needs_attention: !life.attention.is_empty() || !review_items.is_empty() || failing.is_some(),
        review_items,
        source,
        as_of,
    }
}

/// What the run says; a run of the first shape says it in one sentence.
fn waits_of(answer: &StatusAnswer, since: DateTime<Utc>) -> Vec<WaitView> {
    if answer.waits.is_empty() && !answer.status.is_terminal() {
        return vec![wait("order", &answer.waiting_on, since, None)];
    }
    answer.waits.iter().cloned().map(Into::into).collect()
}

fn wait(part: &str, on: &str, since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> WaitView {
    WaitView { part: part.to_owned(), on: on.to_owned(), since, until }
}

/// What the order's row tells of its waits.
fn waits_in(life: &Life, since: DateTime<Utc>) -> Vec<WaitView> {
    let mut waits: Vec<WaitView> = Vec::new();
    for hold in &life.holds {
        waits.push(wait("hold", &format!("the release of hold {} ({})", hold.id, hold.kind), hold.placed_at, hold.until));
    }
    if let Some(review) = &life.review {
        waits.push(wait("review", &format!("a manual review ({})", review.reasons.join(", ")), review.since, Some(review.until)));
    }
    if let Some(question) = &life.question {
        waits.push(wait("question", "the customer's decision about the wait", question.asked_at, Some(question.until)));
    }
    if !life.waiting.is_empty() {
        let units: Vec<String> = life.waiting.iter().map(|line| format!("{} x {}", line.quantity, line.sku)).collect();
        waits.push(wait("stock", &format!("stock of {}", units.join(", ")), since, None));
    }
    if life.payment.status == PaymentStatus::RequiresAction {
        waits.push(wait("payment", "the customer's authentication", since, None));
    }
    for shipment in life.live_shipments() {
        let on = match shipment.status {
            ShipmentStatus::Pending => "a courier's booking",
            ShipmentStatus::Booked | ShipmentStatus::Picked | ShipmentStatus::Packed => "the handover to the carrier",
            ShipmentStatus::Shipped | ShipmentStatus::InTransit | ShipmentStatus::Lost => "the carrier's delivery",
            ShipmentStatus::Delivered | ShipmentStatus::ReturnedToSender | ShipmentStatus::Cancelled => continue,
        };
        waits.push(wait(shipment.id.as_str(), on, since, None));
    }
    if waits.is_empty() {
        let on = if stage(life) == "undoing" { "what it had begun to be undone" } else { "its next step" };
        waits.push(wait("order", on, since, life.due_at));
    }
    waits
}

/// Where the order is, coarsely.
fn stage(life: &Life) -> &'static str {
    match life.status {
        status if status.is_terminal() => "ended",
        Status::Cancelling => "undoing",
        _ if life.refusing.is_some() => "undoing",
        Status::InReview => "review",
        _ if life.payment.status == PaymentStatus::RequiresAction => "payment",
        Status::Backordered => "stock",
        Status::Placed => "arranging",
        _ => shipping_stage(life),
    }
}

/// The stage of the shipment that is furthest behind.
fn shipping_stage(life: &Life) -> &'static str {
    let rank = |status: ShipmentStatus| match status {
        ShipmentStatus::Pending => 0,
        ShipmentStatus::Booked | ShipmentStatus::Picked | ShipmentStatus::Packed => 1,
        ShipmentStatus::Shipped | ShipmentStatus::InTransit | ShipmentStatus::Lost => 2,
        ShipmentStatus::Delivered | ShipmentStatus::ReturnedToSender | ShipmentStatus::Cancelled => 3,
    };
    match life.live_shipments().map(|shipment| rank(shipment.status)).min() {
        _ if !life.waiting.is_empty() && life.live_shipments().all(|s| rank(s.status) > 0) => "stock",
        None | Some(0) => "booking",
        Some(1) => "handover",
        Some(2) => "transit",
        Some(_) => "settling",
    }
}

fn next_action(life: &Life, items: bool) -> &'static str {
    match life {
        Life { review: Some(_), .. } => "review",
        _ if items => "resolve_review_item",
        life if life.status.is_terminal() => "ended",
        Life { question: Some(_), .. } => "decide",
        Life { holds, .. } if !holds.is_empty() => "release_hold",
        _ => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::ids::{Location, OrderId, ShipmentId};
    use oms_domain::money::{Currency, Money};
    use oms_domain::shipment::Shipment;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn life(status: Status, shipments: &[ShipmentStatus]) -> Life {
        let eur = Currency::parse("EUR").unwrap();
        let order = OrderId::from_random([1; 16]);
        let mut life = Life { status, ..Life::placed(eur) };
        for (n, status) in (1..).zip(shipments) {
            life.shipments.push(Shipment {
                id: ShipmentId::of(&order, n),
                location: Location::parse("berlin").unwrap(),
                status: *status,
                lines: vec![],
                amount: Money::zero(eur),
                carrier: None,
                tracking_number: None,
                more_packages: vec![],
                stray: false,
            });
        }
        life
    }

    #[test]
    fn the_stage_is_that_of_the_last_shipment() {
        use ShipmentStatus::{Booked, Cancelled, Delivered, Pending, Shipped};
        for (status, shipments, expected) in [
            (Status::Placed, vec![], "arranging"),
            (Status::InReview, vec![], "review"),
            (Status::Backordered, vec![], "stock"),
            (Status::Confirmed, vec![Booked, Pending], "booking"),
            (Status::Confirmed, vec![Booked, Cancelled], "handover"),
            (Status::PartiallyShipped, vec![Shipped, Booked], "handover"),
            (Status::Shipped, vec![Shipped, Delivered], "transit"),
            (Status::Shipped, vec![Delivered], "settling"),
            (Status::Cancelling, vec![Booked], "undoing"),
            (Status::Completed, vec![Delivered], "ended"),
        ] {
            assert_eq!(stage(&life(status, &shipments)), expected, "{status} {shipments:?}");
        }
    }

    #[test]
    fn every_open_order_waits_on_something() {
        for status in Status::ALL.into_iter().filter(|status| !status.is_terminal()) {
            let waits = waits_in(&life(status, &[]), at(7));
            assert_eq!(waits.len(), 1, "{status}");
            assert_eq!(waits[0].since, at(7));
        }
        let waits = waits_in(&life(Status::PartiallyShipped, &[ShipmentStatus::Shipped, ShipmentStatus::Booked]), at(7));
        assert_eq!(waits.len(), 2);
        assert!(waits[0].on.contains("delivery") && waits[1].on.contains("handover"), "{waits:?}");
    }

    #[test]
    fn a_run_of_the_first_shape_is_understood() {
        let life = life(Status::Confirmed, &[]);
        let answer =
            StatusAnswer { status: Status::Confirmed, life, rev: 3, waiting_on: "the carrier".into(), waits: Vec::new() };
        assert_eq!(waits_of(&answer, at(1)), [wait("order", "the carrier", at(1), None)]);
    }
}
