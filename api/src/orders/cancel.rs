//! `POST /v1/orders/{id}/cancel`: the order, or units of it that have not shipped.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use oms_contract::command::Cancel;
use oms_contract::workflow::CancelUpdate;
use oms_domain::ids::{OrderId, derive};
use oms_domain::life::{CancelVerdict, Why};
use oms_domain::order::{Action, Status};
use oms_domain::stock::Quantity;
use oms_store::StoredOrder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amend::{Amendment, Outcome, carry_out, read_lines, without};
use super::body::LineBody;
use super::command::{ACTOR, Verdict, ask, refused};
use super::edits::edit_id;
use super::effects::{EffectView, remaining};
use crate::extract::{Json, Path};
use crate::idempotency::{Begun, IdempotencyKey, Ticket, answer, begin, claim};
use crate::problem::{Code, Findings, Problem};
use crate::schema::{self, KeyHeader};
use crate::state::{AppState, SETTLE_MAX};

/// Units were taken off, and the order goes on.
const APPLIED: &str = "applied";

/// Attempts to take units off an order that changes meanwhile.
const ATTEMPTS_MAX: u32 = 5;

/// Why an order is cancelled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelOrder {
    #[schema(value_type = schema::Reason)]
    reason: String,
    /// Only these units; the order goes on with the rest. All of its units are the whole order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 100)]
    lines: Option<Vec<LineBody>>,
}

/// What became of a cancel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cancelled {
    /// `cancelled`: every undo is done. `cancelling`: accepted, the undo runs. `applied`: the units are off the order. `pending`: not
    /// decided within ten seconds; the edit tells.
    #[schema(value_type = String, example = "cancelling")]
    result: &'static str,
    /// The edit that takes the units off.
    #[serde(skip_serializing_if = "Option::is_none")]
    edit_id: Option<String>,
    /// With `cancelling`: the effects that are still to be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_effects: Option<Vec<EffectView>>,
}

impl Cancelled {
    /// An order that is cancelled, or will be.
    async fn whole(state: &AppState, order: &OrderId, verdict: CancelVerdict) -> Self {
        let remaining_effects = match verdict {
            CancelVerdict::Cancelling => remaining(state, order).await,
            CancelVerdict::Cancelled => None,
        };
        Self { result: verdict.as_str(), edit_id: None, remaining_effects }
    }

    /// Units that are taken off.
    fn units(result: &'static str, edit_id: String) -> Self {
        Self { result, edit_id: Some(edit_id), remaining_effects: None }
    }
}

/// Cancel an order, or units of it
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), KeyHeader),
    request_body = CancelOrder,
    responses(
        (status = 200, description = "Accepted, or done before", body = Cancelled),
        (status = 202, description = "Taking the units off is not decided yet", body = Cancelled),
        (status = 409, description = "`too_late` after shipping, with the `alternative` `return`; `not_allowed_now` on a rejected or completed order, `edit_refused` if the \
            units could not be taken off; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    Json(body): Json<CancelOrder>,
) -> Result<Response, Problem> {
    let mut findings = Findings::default();
    let reason = findings.body("/reason", Why::parse(&body.reason));
    let off = body.lines.as_deref().map(|lines| read_lines(lines, &mut findings));
    let Some(reason) = reason.filter(|_| findings.is_clean()) else { return Err(findings.into_problem()) };
    let order = state.order(&id).await?;
    let claim = claim(&key, &format!("POST /v1/orders/{id}/cancel"), &body)?;
    let edit_id = edit_id(&id, claim.as_ref().map(|claim| [&claim.client, &claim.key, &claim.fingerprint]));
    let ticket = match begin(&state, claim).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, subject } if subject == APPLIED => {
            return Ok(answer(status, true, Cancelled::units(APPLIED, edit_id)));
        }
        Begun::Done { status, .. } => {
            let result =
                if order.life.status == Status::Cancelled { CancelVerdict::Cancelled } else { CancelVerdict::Cancelling };
            return Ok(answer(status, true, Cancelled::whole(&state, &order.id, result).await));
        }
    };
    match off {
        None => whole(&state, order, ticket, reason).await,
        Some(off) => match units(&state, order, &edit_id, &reason, &off).await {
            Ok(Taken::Whole(order)) => whole(&state, *order, ticket, reason).await,
            Ok(Taken::Off) => {
                let replayed = ticket.replayed;
                ticket.finish(&state, StatusCode::OK, APPLIED).await;
                Ok(answer(StatusCode::OK, replayed, Cancelled::units(APPLIED, edit_id)))
            }
            // the key stays open: sent again, it waits on
            Ok(Taken::Pending(edit_id)) => {
                let body = Cancelled::units("pending", edit_id);
                Ok(answer(StatusCode::ACCEPTED, ticket.replayed, body))
            }
            Err(problem) => Err(ticket.refused(&state, problem).await),
        },
    }
}

/// What became of units that were to be taken off.
enum Taken {
    /// They are off.
    Off,
    /// Not decided yet; the edit that tells.
    Pending(String),
    /// They are all that the order has.
    Whole(Box<StoredOrder>),
}

/// Takes units off and leaves the others: an edit of the lines as they stand. If they change meanwhile, it is worked out anew under
/// the next id. An attempt whose proposal is there may have been accepted, its answer lost: only then it goes on, because no order
/// is at version 0; otherwise the run calls it outdated.
async fn units(
    state: &AppState,
    mut order: StoredOrder,
    edit_id: &str,
    reason: &Why,
    off: &[Quantity],
) -> Result<Taken, Problem> {
    for attempt in 0..ATTEMPTS_MAX {
        let edit_id = if attempt == 0 { edit_id.to_owned() } else { derive(&[edit_id, &attempt.to_string()]).to_string() };
        let (left, if_rev) = match state.store.edit(&edit_id).await? {
            Some(_) => (Vec::new(), 0),
            None => match without(&order, off)? {
                Some(left) => (left, order.rev),
                None => return Ok(Taken::Whole(Box::new(order))),
            },
        };
        let amendment = Amendment {
            edit_id: edit_id.clone(),
            if_match: None,
            if_rev: Some(if_rev),
            cancels: true,
            reason: Some(reason.clone()),
        };
        let (id, seen) = (order.id.clone(), if_rev);
        match carry_out(state, order, amendment, left).await {
            Ok(Outcome::Applied(_)) => return Ok(Taken::Off),
            Ok(Outcome::Pending) => return Ok(Taken::Pending(edit_id)),
            Err(problem) if problem.code() == Code::PreconditionFailed => {
                order = state.watch(&id, SETTLE_MAX, |order| order.rev > seen).await?;
            }
            Err(problem) => return Err(problem),
        }
    }
    Err(Problem::unavailable("the order is changing quickly; try again"))
}

async fn whole(state: &AppState, order: StoredOrder, ticket: Ticket, reason: Why) -> Result<Response, Problem> {
    let id = order.id.clone();
    let update_id = ticket.update_id("cancel", id.as_str());
    let command = Cancel { reason, actor: Some(ACTOR.to_owned()) };
    let judged = match ask(state, order, CancelUpdate, command, update_id).await {
        Ok(Verdict::Run(run)) if run.result == CancelVerdict::Cancelling => {
            // accepted; a row that cannot be read now does not change that
            let shown = state.watch(&id, SETTLE_MAX, |order| order.rev >= run.rev).await.ok();
            let done = shown.is_some_and(|order| order.life.status == Status::Cancelled);
            Ok(if done { CancelVerdict::Cancelled } else { CancelVerdict::Cancelling })
        }
        Ok(Verdict::Run(run)) => Ok(run.result),
        Ok(Verdict::Row(mut order)) => {
            let verdict = order.life.cancel();
            verdict.map_err(|refusal| refused(refusal, &order.life))
        }
        Err(problem) => Err(problem),
    };
    match judged {
        Ok(verdict) => {
            let replayed = ticket.replayed;
            ticket.finish(state, StatusCode::OK, verdict.as_str()).await;
            Ok(answer(StatusCode::OK, replayed, Cancelled::whole(state, &id, verdict).await))
        }
        // what has left comes back by a return, once it has arrived
        Err(problem) if problem.code() == Code::TooLate => {
            Err(ticket.refused(state, problem.with_alternative(Action::Return)).await)
        }
        Err(problem) => Err(ticket.refused(state, problem).await),
    }
}
