//! `POST /v1/orders/{id}/edits` and `GET /v1/orders/{id}/edits/{edit}`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use oms_domain::ids::derive;
use oms_domain::life::Why;
use oms_domain::stock::Quantity;
use oms_store::{ProposalState, StoredEdit, StoredOrder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amend::{Amendment, Outcome, carry_out, read_lines};
use super::body::LineBody;
use super::view::{OrderView, etag};
use crate::card::refuse_cards;
use crate::extract::{Path, RawJson, shape};
use crate::idempotency::{Begun, IdempotencyKey, answer, begin, claim};
use crate::problem::{Code, Findings, Problem};
use crate::schema::{self, KeyHeader, Money};
use crate::state::AppState;

/// What an order consists of from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditOrder {
    /// All lines, those that stay as they are included. An article that the order has already keeps its price.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<LineBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Reason>)]
    reason: Option<String>,
}

/// What became of an edit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Edited {
    /// `applied`, or `pending`: not decided within ten seconds; ask for the edit later.
    #[schema(value_type = String, example = "applied")]
    result: &'static str,
    /// The edit's id.
    edit_id: String,
    /// The order as it stands now, once the edit is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderView>,
}

/// A proposed change of lines.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Edit)]
pub(crate) struct EditView {
    id: String,
    order_id: String,
    /// `pending`, `applied` or `refused`.
    #[schema(value_type = String, example = "applied")]
    result: &'static str,
    /// Why it was refused: `out_of_stock`, `payment_declined`, …
    reason: Option<String>,
    /// The lines that it wants.
    lines: Vec<EditLine>,
    /// What the order costs with them.
    total: Money,
    created_at: DateTime<Utc>,
}

/// One line of a proposed change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditLine {
    sku: String,
    quantity: u32,
    unit_price: Money,
    total: Money,
}

impl From<StoredEdit> for EditView {
    fn from(edit: StoredEdit) -> Self {
        let result = match edit.state {
            ProposalState::Proposed => "pending",
            ProposalState::Applied => "applied",
            ProposalState::Refused => "refused",
        };
        let lines = edit.lines.iter().map(|line| EditLine {
            sku: line.sku.to_string(),
            quantity: line.quantity,
            unit_price: line.unit_price.into(),
            total: line.total.into(),
        });
        Self {
            lines: lines.collect(),
            id: edit.id,
            order_id: edit.order_id.to_string(),
            result,
            reason: edit.reason,
            total: edit.totals.total.into(),
            created_at: edit.created_at,
        }
    }
}

impl EditOrder {
    fn parse(&self) -> Result<(Vec<Quantity>, Option<Why>), Problem> {
        let mut findings = Findings::default();
        let lines = read_lines(&self.lines, &mut findings);
        let reason = findings.body_opt("/reason", self.reason.clone().map(Why::parse));
        findings.check().map(|()| (lines, reason))
    }
}

/// Change an order's lines
///
/// One transaction across stock, tax, shipping and authorization: all of it happens or none of it.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/edits",
    tag = "orders",
    params(
        ("id" = String, Path, description = "The order's id"),
        KeyHeader,
        ("If-Match" = Option<String>, Header, description = "The ETag that the change was made for, or the order's \
            `version` in quotes; 412 if the order has changed since"),
    ),
    request_body = EditOrder,
    responses(
        (status = 200, description = "Applied", body = Edited),
        (status = 202, description = "Not decided yet; the edit's own path tells", body = Edited, headers(
            ("Location" = String, description = "The edit's path"),
        )),
        (status = 409, description = "`edit_refused` if it could not be carried out and the order stands as it was (`errors` has the \
            reason: `out_of_stock`, `payment_declined`); `too_late` once labels are bought, `not_allowed_now`; with `allowed_actions`",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "`precondition_failed`: the order has changed since", body = crate::problem::ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn edit(
    State(state): State<AppState>,
    Path(id): Path<String>,
    key: IdempotencyKey,
    headers: HeaderMap,
    RawJson(body): RawJson,
) -> Result<Response, Problem> {
    refuse_cards(&body)?;
    let body: EditOrder = shape(body)?;
    let (lines, reason) = body.parse()?;
    let order = state.order(&id).await?;
    let claim = claim(&key, &format!("POST /v1/orders/{id}/edits"), &body)?;
    let edit_id = edit_id(&id, claim.as_ref().map(|claim| [&claim.client, &claim.key, &claim.fingerprint]));
    let ticket = match begin(&state, claim).await? {
        Begun::Go(ticket) => ticket,
        Begun::Done { status, .. } => return Ok(answer(status, true, applied(edit_id, &order, &state))),
    };
    let if_match = IfMatch::read(&headers);
    let if_rev = if_match.as_ref().and_then(IfMatch::rev);
    let amendment = Amendment { edit_id: edit_id.clone(), if_match, if_rev, cancels: false, reason };
    match carry_out(&state, order, amendment, lines).await {
        Ok(Outcome::Applied(order)) => {
            let replayed = ticket.replayed;
            ticket.finish(&state, StatusCode::OK, &edit_id).await;
            Ok(answer(StatusCode::OK, replayed, applied(edit_id, &order, &state)))
        }
        // the key stays open: sent again, it waits on
        Ok(Outcome::Pending) => {
            let location = format!("/v1/orders/{id}/edits/{edit_id}");
            let mut response = answer(StatusCode::ACCEPTED, ticket.replayed, Edited { result: "pending", edit_id, order: None });
            if let Ok(location) = location.parse() {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        Err(problem) => Err(ticket.refused(&state, problem).await),
    }
}

fn applied(edit_id: String, order: &StoredOrder, state: &AppState) -> Edited {
    Edited { result: "applied", edit_id, order: Some(OrderView::of(order, order.updated_at, &state.settings)) }
}

/// An edit's id. Of key and body: a key whose request was refused is free for other lines, and with the same ones it asks for the
/// same edit. Random without a key.
pub(crate) fn edit_id(order: &str, request: Option<[&String; 3]>) -> String {
    match request {
        Some([client, key, fingerprint]) => derive(&["edit", order, client, key, fingerprint]).to_string(),
        None => uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
    }
}

/// Read a change of lines
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/edits/{edit}",
    tag = "orders",
    params(("id" = String, Path, description = "The order's id"), ("edit" = String, Path, description = "The edit's id")),
    responses((status = 200, description = "What became of it", body = EditView))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    Path((id, edit)): Path<(String, String)>,
) -> Result<axum::Json<EditView>, Problem> {
    let order = state.order(&id).await?;
    let found = state.store.edit(&edit).await?.filter(|found| found.order_id == order.id);
    found.map(|edit| axum::Json(edit.into())).ok_or_else(|| Problem::not_found("edit"))
}

/// `If-Match` of RFC 9110. What is no entity tag matches nothing.
pub(crate) struct IfMatch(Vec<String>);

impl IfMatch {
    /// The header, if there is one and it is not `*`, which every order that exists satisfies.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::IF_MATCH);
        let tags: Vec<String> =
            values.iter().flat_map(|value| value.to_str().unwrap_or("?").split(',').map(|tag| tag.trim().to_owned())).collect();
        (values.iter().next().is_some() && !tags.iter().any(|tag| tag == "*")).then_some(Self(tags))
    }

    /// Compares strongly: a weak tag never matches. The bare version is as good as the ETag: what an edit changes has one number.
    /// Errors: 412.
    pub(crate) fn check(&self, order: &StoredOrder) -> Result<(), Problem> {
        let (tag, version) = (etag(order), format!("\"{}\"", order.rev));
        let current = |given: &String| given.as_bytes() == tag.as_bytes() || *given == version;
        if self.0.iter().any(current) { Ok(()) } else { Err(Self::stale()) }
    }

    /// The version that the newest tag names.
    pub(crate) fn rev(&self) -> Option<u64> {
        let rev = |tag: &String| tag.trim_matches('"').split('-').next()?.parse().ok();
        self.0.iter().filter_map(rev).max()
    }

    /// The order has changed since.
    pub(crate) fn stale() -> Problem {
        Problem::new(Code::PreconditionFailed, "the order has changed since this ETag; read it again and decide anew")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Option<IfMatch> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        IfMatch::read(&headers)
    }

    #[test]
    fn if_match_names_versions() {
        for (values, rev) in [
            (&["\"7\""][..], Some(Some(7))),
            (&["\"7-1.2\""], Some(Some(7))),
            (&["\"7\", \"9\""], Some(Some(9))),
            (&["\"7\"", "\"8\""], Some(Some(8))),
            (&["nonsense"], Some(None)),
            (&[""], Some(None)),
            (&["*"], None),
            (&[], None),
        ] {
            assert_eq!(of(values).map(|given| given.rev()), rev, "{values:?}");
        }
    }
}
