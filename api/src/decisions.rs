//! The customer's page for a decision about a long wait: a link out of a mail, three buttons, no account. The token is the right to
//! decide; the page shows articles and instants, nothing about a person.

mod page;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use oms_contract::command::Decide;
use oms_domain::ids::derive;
use oms_domain::life::Life;
use oms_domain::shortage::Decision;
use oms_store::StoredOrder;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extract::{Path, shape};
use crate::orders::decide::{DecideWait, Decided, carry};
use crate::problem::{Code, Problem};
use crate::state::AppState;
use page::Reader;

/// Who decides with a token.
const ACTOR: &str = "customer";

/// Longest token.
const TOKEN_MAX: usize = 128;

/// Nothing but the page's own style is loaded, it is framed by nobody, and its address, which holds the token, is told to nobody.
const HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex"),
    ("content-type", "text/html; charset=utf-8"),
];

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show, decide))
}

/// The customer's page
///
/// In the customer's language, dates by the shop's clock.
#[utoipa::path(
    get,
    path = "/decide/{token}",
    tag = "pages",
    params(("token" = String, Path, description = "The token of the customer's link")),
    responses((status = 200, description = "What is missing, since when, until when, and three buttons; or that it is decided", body = String,
        content_type = "text/html"))
)]
pub(crate) async fn show(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    let (order, round) = match find(&state, &token).await {
        Err(problem) if problem.code() == Code::NotFound => {
            return Ok(html(StatusCode::NOT_FOUND, Reader::of(&state.settings.shop, None).unknown()));
        }
        found => found?,
    };
    let reader = Reader::of(&state.settings.shop, Some(&order));
    Ok(match open(&order.life, round) {
        true => html(StatusCode::OK, reader.question(&order, &token)),
        false => html(StatusCode::OK, reader.over()),
    })
}

/// The customer's decision
///
/// From the page's form, or as JSON. The first decision counts.
#[utoipa::path(
    post,
    path = "/decide/{token}",
    tag = "pages",
    params(("token" = String, Path, description = "The token of the customer's link")),
    request_body(content((DecideWait = "application/json"), (DecideWait = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "Decided", content((Decided = "application/json"), (String = "text/html"))),
        (status = 409, description = "Decided before: `not_allowed_now` for JSON, a page for the form",
            body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn decide(
    State(state): State<AppState>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (decision, form) = read(&headers, &body)?;
    let (order, round) = match find(&state, &token).await {
        Err(problem) if form && problem.code() == Code::NotFound => {
            return Ok(html(StatusCode::NOT_FOUND, Reader::of(&state.settings.shop, None).unknown()));
        }
        found => found?,
    };
    let settings = state.settings.clone();
    let reader = Reader::of(&settings.shop, Some(&order));
    // a link goes out after its question is on record, so a row without the question has seen its end
    if !open(&order.life, round) {
        return match form {
            true => Ok(html(StatusCode::CONFLICT, reader.over())),
            false => Err(Problem::new(Code::NotAllowedNow, "this is already decided; nothing was changed")),
        };
    }
    let id = order.id.to_string();
    // the same button pressed twice is one decision
    let update_id = derive(&["decide", &id, &round.to_string(), decision.as_str()]).to_string();
    let command = Decide { decision, round: Some(round), actor: Some(ACTOR.to_owned()) };
    match carry(&state, order, command, update_id).await {
        Ok(()) if form => Ok(html(StatusCode::OK, reader.decided(decision))),
        Ok(()) => Ok(([("cache-control", "no-store")], axum::Json(Decided { result: decision.as_str() })).into_response()),
        Err(problem) if form && problem.code() == Code::NotAllowedNow => Ok(html(StatusCode::CONFLICT, reader.over())),
        // whoever holds the link is not told what the shop may do
        Err(problem) => Err(problem.with_allowed(Vec::new())),
    }
}

/// The order and the round that a token decides. Errors: 404.
async fn find(state: &AppState, token: &str) -> Result<(StoredOrder, u32), Problem> {
    let missing = || Problem::not_found("decision; take the link of the newest message");
    let plain = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !plain {
        return Err(missing());
    }
    let (order, round) = state.store.decision_by_token(token).await?.ok_or_else(missing)?;
    Ok((state.store.order(&order).await?.ok_or_else(missing)?, round))
}

fn open(life: &Life, round: u32) -> bool {
    life.check_decision(Some(round)).is_ok()
}

/// The decision, and whether it came from the page's form. Errors: 400, 415, 422.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Decision, bool), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/json" => {
            let value: Value = serde_json::from_slice(body).map_err(|_| Problem::new(Code::Malformed, "the body is no JSON"))?;
            Ok((shape::<DecideWait>(value)?.parse()?, false))
        }
        "application/x-www-form-urlencoded" => {
            let text = std::str::from_utf8(body).unwrap_or_default();
            let given = text.split('&').find_map(|field| field.strip_prefix("decision=")).unwrap_or_default();
            Ok((DecideWait { decision: given.to_owned() }.parse()?, true))
        }
        _ => Err(Problem::new(Code::UnsupportedMediaType, "send the page's form, or application/json")),
    }
}

fn html(status: StatusCode, page: String) -> Response {
    (status, HEADERS, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(kind: &'static str, body: &str) -> Result<(Decision, bool), Problem> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        read(&headers, body.as_bytes())
    }

    #[test]
    fn a_decision_is_read_from_form_or_json() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(given(form, "decision=wait").unwrap(), (Decision::Wait, true));
        assert_eq!(given(form, "x=1&decision=ship_available").unwrap(), (Decision::ShipAvailable, true));
        assert_eq!(given("application/json; charset=utf-8", r#"{"decision": "cancel"}"#).unwrap(), (Decision::Cancel, false));
        for (kind, body, code) in [
            (form, "", Code::ValidationFailed),
            (form, "decision=both", Code::ValidationFailed),
            ("application/json", "{", Code::Malformed),
            ("application/json", "{}", Code::ValidationFailed),
            ("text/plain", "decision=wait", Code::UnsupportedMediaType),
        ] {
            assert_eq!(given(kind, body).unwrap_err().code(), code, "{kind} {body}");
        }
    }
}
