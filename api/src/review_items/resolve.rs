//! `POST /v1/review-items/{id}/resolve`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::{Cancel, Resolve};
use oms_contract::workflow::{CancelUpdate, ResolveUpdate};
use oms_domain::customer::Line;
use oms_domain::ids::{Invalid, MessageId, OrderId, derive};
use oms_domain::life::{Refusal, RefusalCode, Why};
use oms_domain::returning::ReturnId;
use oms_domain::review::Resolution;
use oms_store::{ItemResolution, ItemSource, ItemState, ResolveOutcome, ReviewItem, StoreError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::list::find;
use super::{OPEN_RETURN, moves, opens_return};
use crate::engine::EngineError;
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::orders::command::{ACTOR, Verdict, ask, refused};
use crate::problem::{Code, Findings, Problem};
use crate::returns::request::open_arrived;
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// What a person decided about an item.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveItem {
    /// One of the item's `resolutions`.
    #[schema(pattern = "^(retry|use_external_reference|refund_and_close|cancel|open_return)$", example = "retry")]
    action: String,
    #[schema(value_type = schema::Reason)]
    reason: String,
    /// Where it was settled outside: a payment's, a parcel's or a ticket's number. Required by `use_external_reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Line>)]
    reference: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolvedView {
    /// `resolved`.
    #[schema(value_type = String, example = "resolved")]
    result: &'static str,
}

const RESOLVED: ResolvedView = ResolvedView { result: "resolved" };

impl ResolveItem {
    /// The resolution that stands for opening a return: settled elsewhere, namely by that return. The same item opens the same one.
    fn opening(&self, item: &str) -> Result<ItemResolution, Problem> {
        let mut findings = Findings::default();
        let reason = findings.body("/reason", Why::parse(&self.reason));
        if self.reference.is_some() {
            findings.body::<()>("/reference", Err(Invalid::new("a return that is opened here gets its id here")));
        }
        let reference = Some(derive(&["return", "review item", item]).to_string());
        match reason {
            Some(reason) if findings.is_clean() => {
                Ok(ItemResolution { action: Resolution::UseExternalReference, reference, reason, actor: ACTOR.to_owned() })
            }
            _ => Err(findings.into_problem()),
        }
    }

    fn parse(&self) -> Result<ItemResolution, Problem> {
        let mut findings = Findings::default();
        let action = Resolution::parse(&self.action);
        let names = "retry, use_external_reference, refund_and_close, cancel or open_return";
        let action = findings.body("/action", action.ok_or_else(|| Invalid::new(names)));
        let reason = findings.body("/reason", Why::parse(&self.reason));
        let reference = findings.body_opt("/reference", self.reference.clone().map(Line::parse));
        if action == Some(Resolution::UseExternalReference) && self.reference.is_none() {
            findings.body::<()>("/reference", Err(Invalid::new("use_external_reference needs the reference")));
        }
        match (action, reason) {
            (Some(action), Some(reason)) if findings.is_clean() => {
                let reference = reference.map(|reference| reference.to_string());
                Ok(ItemResolution { action, reference, reason, actor: ACTOR.to_owned() })
            }
            _ => Err(findings.into_problem()),
        }
    }
}

/// Resolve an item of the review queue
///
/// Of two people who resolve one item, one wins. `open_return` (of a parcel that came back to the sender) opens an approved return whose
/// goods are at the shop: receive them as inspected, and they go back on the shelf and are paid back. The item is then resolved by
/// `use_external_reference` with the return's id.
#[utoipa::path(
    post,
    path = "/v1/review-items/{id}/resolve",
    tag = "review",
    params(("id" = String, Path, description = "The item's id"), KeyHeader),
    request_body = ResolveItem,
    responses(
        (status = 200, description = "Resolved by this request", body = ResolvedView),
        (status = 409, description = "`already_resolved` by somebody else or by itself; `too_late` or `not_allowed_now` if the order does \
            not allow the action any more", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resolve(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<ResolveItem>,
) -> Result<Response, Problem> {
    let opens = body.action == OPEN_RETURN;
    let resolution = if opens { body.opening(&id)? } else { body.parse()? };
    let item = find(&state, &id).await?;
    let ticket = match begin(&state, claim(&key, &format!("POST /v1/review-items/{id}/resolve"), &body)?).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, RESOLVED)),
    };
    if opens && let Err(problem) = open_return(&state, &item, &resolution).await {
        return Err(ticket.refused(&state, problem).await);
    }
    match settle(&state, &item, &ticket, resolution).await {
        Ok(()) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, RESOLVED.result).await;
            Ok(answer(StatusCode::OK, replayed, RESOLVED))
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

/// Opens the return of a parcel that came back. Before the item is resolved: a crash between the two loses nothing, and the goods are
/// to be inspected whoever resolves the item. Errors: 422 if the item is about something else; 409 once it is closed.
async fn open_return(state: &AppState, item: &ReviewItem, resolution: &ItemResolution) -> Result<(), Problem> {
    let Some(reference) = resolution.reference.as_deref().filter(|_| item.resolution.as_ref() != Some(resolution)) else {
        return Ok(());
    };
    if item.state != ItemState::Open {
        return Err(already(item));
    }
    let (Some(_), Some(order_id), Some(shipment)) = (opens_return(item), &item.order_id, &item.shipment_id) else {
        let detail = format!("{} is about no parcel that came back, so there is no return to open", item.kind);
        return Err(Problem::at("/action", Code::ValidationFailed, detail));
    };
    let row = state.order(order_id.as_str()).await?;
    let parcel = row.life.shipments.iter().find(|parcel| parcel.id == *shipment);
    let lines = parcel.map(|parcel| parcel.lines.clone()).unwrap_or_default();
    let id = ReturnId::parse(reference).map_err(|_| Problem::internal())?;
    let why = (resolution.reason.to_string(), resolution.actor.clone());
    open_arrived(state, id, order_id.clone(), lines, why).await.map(drop)
}

/// Has the one who may decide about the item decide: its run while there is one, else the store.
async fn settle(state: &AppState, item: &ReviewItem, ticket: &Ticket, resolution: ItemResolution) -> Result<(), Problem> {
    let ours = ticket.replayed && item.resolution.as_ref() == Some(&resolution);
    if item.state != ItemState::Open && !ours {
        return Err(already(item));
    }
    let allowed = moves(item);
    if !ours && !allowed.contains(&resolution.action) {
        let allowed: Vec<&str> = allowed.iter().map(|action| action.as_str()).collect();
        let detail = format!("{} can be resolved by {}", item.kind, allowed.join(", "));
        return Err(Problem::at("/action", Code::ValidationFailed, detail));
    }
    let update_id = ticket.update_id("resolve", &item.id);
    match (item.source, &item.order_id) {
        // what is written may be of a task that the engine never heard of: whoever decides is asked under the same id, and answers once
        (ItemSource::Order | ItemSource::Refund | ItemSource::Return, _) if ours => {
            again(state, item, update_id, resolution).await
        }
        (ItemSource::Order, Some(order)) => by_order(state, item, order, update_id, resolution).await,
        (ItemSource::Refund, _) => by_story(state, item, format!("refund/{}", item.subject), update_id, resolution).await,
        (ItemSource::Return, _) => by_story(state, item, format!("return/{}", item.subject), update_id, resolution).await,
        _ => by_store(state, item, update_id, resolution, ours).await,
    }
}

/// Makes sure that whoever decides knows a resolution of ours that is written down. A refusal or a run that has closed knows it.
async fn again(state: &AppState, item: &ReviewItem, update_id: String, resolution: ItemResolution) -> Result<(), Problem> {
    let command = command(item, &resolution);
    let asked = match (item.source, &item.order_id) {
        (ItemSource::Order, Some(order)) => state.engine.update(order, ResolveUpdate, command, update_id).await.map(drop),
        (ItemSource::Refund, _) => state.engine.resolve_beside(format!("refund/{}", item.subject), command, update_id).await,
        _ => state.engine.resolve_beside(format!("return/{}", item.subject), command, update_id).await,
    };
    match asked {
        Ok(()) | Err(EngineError::Refused(_) | EngineError::NoRun) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn command(item: &ReviewItem, resolution: &ItemResolution) -> Resolve {
    Resolve {
        item: item.id.clone(),
        action: resolution.action,
        reference: resolution.reference.clone(),
        reason: resolution.reason.clone(),
        actor: Some(resolution.actor.clone()),
    }
}

fn already(item: &ReviewItem) -> Problem {
    let how = if item.state == ItemState::Settled { "what it was about is over" } else { "somebody else resolved it" };
    Problem::new(Code::AlreadyResolved, format!("nothing is left to resolve: {how}"))
}

/// An item of an order's own: its run decides while it goes on.
async fn by_order(
    state: &AppState,
    item: &ReviewItem,
    order: &OrderId,
    update_id: String,
    resolution: ItemResolution,
) -> Result<(), Problem> {
    let row = state.order(order.as_str()).await?;
    if row.life.status.is_terminal() {
        return closed(state, item, resolution).await;
    }
    match state.engine.update(order, ResolveUpdate, command(item, &resolution), update_id).await {
        Ok(_) => {
            shown(state, &item.id).await;
            Ok(())
        }
        Err(EngineError::Refused(refusal)) => Err(why_not(state, item, resolution.action, refusal).await),
        Err(EngineError::NoRun) => closed(state, item, resolution).await,
        Err(error) => Err(error.into()),
    }
}

/// An item of a refund or a return: its run decides while it goes on.
async fn by_story(
    state: &AppState,
    item: &ReviewItem,
    workflow_id: String,
    update_id: String,
    resolution: ItemResolution,
) -> Result<(), Problem> {
    match state.engine.resolve_beside(workflow_id, command(item, &resolution), update_id).await {
        Ok(()) => {
            shown(state, &item.id).await;
            Ok(())
        }
        Err(EngineError::Refused(refusal)) => Err(why_not(state, item, resolution.action, refusal).await),
        Err(EngineError::NoRun) => closed(state, item, resolution).await,
        Err(error) => Err(error.into()),
    }
}

/// An item whose run has closed. Nobody is left to move money or goods, so only what needs neither is decided here.
async fn closed(state: &AppState, item: &ReviewItem, resolution: ItemResolution) -> Result<(), Problem> {
    if matches!(resolution.action, Resolution::RefundAndClose | Resolution::Cancel) {
        let detail =
            "the order has ended; ask for a refund or a return of it, then resolve this with use_external_reference and its id";
        return Err(Problem::new(Code::NotAllowedNow, detail));
    }
    in_store(state, &item.id, &resolution).await
}

/// An item of nobody's run: one transaction decides, then what was decided is carried out. `ours`: an earlier request under the same
/// key decided, and may have stopped there.
async fn by_store(
    state: &AppState,
    item: &ReviewItem,
    update_id: String,
    resolution: ItemResolution,
    ours: bool,
) -> Result<(), Problem> {
    let Some(order) = &item.order_id else {
        let again = resolution.action == Resolution::Retry && item.source == ItemSource::Webhook;
        if !ours {
            closed(state, item, resolution).await?;
        }
        if again {
            state.store.enable_webhook(&item.subject, state.now()).await?;
        }
        return Ok(());
    };
    if resolution.action == Resolution::RefundAndClose {
        return closed(state, item, resolution).await;
    }
    let row = state.order(order.as_str()).await?;
    if !ours {
        if resolution.action == Resolution::Cancel {
            row.life.check_cancel().map_err(|refusal| refused(refusal, &row.life))?;
        }
        in_store(state, &item.id, &resolution).await?;
    }
    match resolution.action {
        Resolution::Cancel => {
            let command = Cancel { reason: resolution.reason, actor: Some(resolution.actor) };
            match ask(state, row, CancelUpdate, command, update_id).await? {
                Verdict::Run(_) => Ok(()),
                Verdict::Row(row) => row.life.check_cancel().map_err(|refusal| refused(refusal, &row.life)),
            }
        }
        Resolution::Retry if item.source == ItemSource::Message => {
            let id = MessageId::parse(item.subject.as_str()).map_err(|_| Problem::internal())?;
            state.store.retry_message(&id, state.now()).await?;
            Ok(())
        }
        Resolution::Retry => {
            // the run tries again by itself sooner or later; this only makes it sooner
            if let Err(error) = state.engine.nudge(order).await {
                tracing::info!(%error, %order, "an order could not be told to try again now");
            }
            Ok(())
        }
        Resolution::UseExternalReference | Resolution::RefundAndClose => Ok(()),
    }
}

async fn in_store(state: &AppState, id: &str, resolution: &ItemResolution) -> Result<(), Problem> {
    match state.store.resolve_item(id, resolution, state.now()).await? {
        ResolveOutcome::Done(_) => Ok(()),
        ResolveOutcome::AlreadyClosed(item) => Err(already(&item)),
        ResolveOutcome::Unknown => Err(Problem::not_found("review item")),
    }
}

/// Waits a little until the queue shows what a run decided; answers the item if it is closed. The decision stands either way.
async fn shown(state: &AppState, id: &str) -> Option<ReviewItem> {
    let until = Instant::now() + SETTLE_MAX;
    loop {
        let seen: Result<Option<ReviewItem>, StoreError> = state.store.review_item(id).await;
        match seen {
            Ok(Some(item)) if item.state != ItemState::Open => return Some(item),
            Ok(None) => return None,
            _ if Instant::now() >= until => return None,
            _ => sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// A run's refusal: that the item is closed, or that the order does not allow the action.
async fn why_not(state: &AppState, item: &ReviewItem, action: Resolution, refusal: Refusal) -> Problem {
    if refusal.code == RefusalCode::ValidationFailed {
        return Problem::at("/action", Code::ValidationFailed, refusal.detail);
    }
    if refusal.code == RefusalCode::NotAllowedNow {
        if let Some(item) = shown(state, &item.id).await {
            return already(&item);
        }
        // only a cancel can be refused for another reason
        if action != Resolution::Cancel {
            return Problem::new(Code::AlreadyResolved, "nothing is left to resolve: the item is being closed");
        }
    }
    let allowed = match &item.order_id {
        Some(order) => state.store.order(order).await.ok().flatten().map(|row| row.life.allowed_actions()).unwrap_or_default(),
        None => Vec::new(),
    };
    Problem::refused(refusal, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(action: &str, reason: &str, reference: Option<&str>) -> Result<ItemResolution, Problem> {
        ResolveItem { action: action.to_owned(), reason: reason.to_owned(), reference: reference.map(str::to_owned) }.parse()
    }

    #[test]
    fn decisions_are_checked() {
        assert!(parse("retry", "try again", None).is_ok());
        assert_eq!(parse("use_external_reference", "paid by hand", Some("T-1")).unwrap().reference.as_deref(), Some("T-1"));
        for (action, reason, reference, pointer) in [
            ("forget", "no", None, "/action"),
            ("retry", "", None, "/reason"),
            ("use_external_reference", "paid by hand", None, "/reference"),
            ("use_external_reference", "paid by hand", Some(""), "/reference"),
            ("retry", "x", Some("a\nb"), "/reference"),
        ] {
            let problem = parse(action, reason, reference).unwrap_err();
            assert_eq!(problem.errors()[0].pointer.as_deref(), Some(pointer), "{action}");
            assert_eq!(problem.errors().len(), 1);
        }
    }
}
