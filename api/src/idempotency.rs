//! `Idempotency-Key`: the same key with the same request has its effect once, however often it is sent.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use oms_domain::ids::derive;
use oms_store::{Claimed, KeyClaim};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::problem::{Code, FieldError, Problem};
use crate::state::AppState;

/// The tenant of every order, until there are several.
pub const TENANT: &str = "default";

/// The client of every request, until there is identity.
pub const CLIENT: &str = "public";

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let bytes = value.as_bytes();
        let good = is_key(bytes) && values.next().is_none();
        if !good {
            let rule = "an Idempotency-Key is 1 to 255 visible ASCII characters, given once";
            return Err(Problem::invalid(Code::ValidationFailed, vec![FieldError::of("Idempotency-Key", "invalid", rule)]));
        }
        Ok(Self(Some(String::from_utf8_lossy(bytes).into_owned())))
    }
}

/// Whether the text can be a key.
pub fn is_key(text: &[u8]) -> bool {
    (1..=255).contains(&text.len()) && text.iter().all(|b| (0x21..=0x7e).contains(b))
}

/// Names a request: hex SHA-256 of where it went and of its body as it was parsed, so that white space and the order of fields do
/// not matter.
pub fn fingerprint(route: &str, body: &impl Serialize) -> Result<String, Problem> {
    let canonical = serde_json::to_string(body).map_err(|_| Problem::internal())?;
    Ok(hex::encode(Sha256::digest(format!("{route}\n{canonical}"))))
}

/// The claim that a key makes for a request. `None` without a key.
pub fn claim(key: &IdempotencyKey, route: &str, body: &impl Serialize) -> Result<Option<KeyClaim>, Problem> {
    let Some(key) = &key.0 else { return Ok(None) };
    Ok(Some(KeyClaim { client: CLIENT.to_owned(), key: key.clone(), fingerprint: fingerprint(route, body)? }))
}

/// The key came before with another request.
pub fn reused() -> Problem {
    not_again("this Idempotency-Key came before with another request; use a new one")
}

/// The key placed an order that has been removed by age.
pub fn outlived() -> Problem {
    not_again("this Idempotency-Key placed an order that has been removed by age since; use a new one")
}

fn not_again(rule: &str) -> Problem {
    Problem::invalid(
        Code::IdempotencyKeyReused,
        vec![FieldError::of("Idempotency-Key", Code::IdempotencyKeyReused.as_str(), rule)],
    )
}

/// A command under its key.
pub enum Begun {
    /// Do it (again).
    Go(Ticket),
    /// It was done and answered.
    Done {
        /// The first answer's status.
        status: StatusCode,
        /// What was noted about it.
        subject: String,
    },
}

/// The right to carry a command out.
pub struct Ticket {
    claim: Option<KeyClaim>,
    /// The key was seen before.
    pub replayed: bool,
}

/// Claims the key for the request. Errors: 422 if it came with another request; 503.
pub async fn begin(state: &AppState, claim: Option<KeyClaim>) -> Result<Begun, Problem> {
    let Some(claim) = claim else { return Ok(Begun::Go(Ticket { claim: None, replayed: false })) };
    Ok(match state.store.claim_key(&claim, state.now()).await? {
        Claimed::Fresh => Begun::Go(Ticket { claim: Some(claim), replayed: false }),
        Claimed::Again => Begun::Go(Ticket { claim: Some(claim), replayed: true }),
        Claimed::Done { status, subject } => {
            Begun::Done { status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK), subject }
        }
        Claimed::Reused => return Err(reused()),
    })
}

impl Ticket {
    /// A stable id for what the engine is asked under this key; random without one.
    pub fn update_id(&self, command: &str, about: &str) -> String {
        match &self.claim {
            Some(claim) => derive(&["update", TENANT, &claim.client, &claim.key, command, about]).to_string(),
            None => uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string(),
        }
    }

    /// Notes the answer, so that the same key gets it again. The effect has happened: failing to note it only makes a repeat
    /// ask once more, which the effect's own id answers.
    pub async fn finish(self, state: &AppState, status: StatusCode, subject: &str) {
        let Some(claim) = self.claim else { return };
        if let Err(error) = state.store.finish_key(&claim, status.as_u16(), subject, state.now()).await {
            tracing::warn!(%error, "an idempotency key's answer was not noted");
        }
    }

    /// Gives the key back after a refusal: a refused request does not use it up. After anything else it keeps it, because the
    /// effect may have happened.
    pub async fn refused(self, state: &AppState, problem: Problem) -> Problem {
        let Some(claim) = self.claim.filter(|_| problem.code().status().is_client_error()) else { return problem };
        if let Err(error) = state.store.abandon_key(&claim).await {
            tracing::warn!(%error, "an idempotency key was not given back");
        }
        problem
    }
}

/// An answer, marked if its key was seen before.
pub fn answer(status: StatusCode, replayed: bool, body: impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    async fn read(values: &[&[u8]]) -> Result<IdempotencyKey, Problem> {
        let mut request = Request::builder();
        for value in values {
            request = request.header("Idempotency-Key", HeaderValue::from_bytes(value).unwrap());
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        IdempotencyKey::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn keys_are_bounded() {
        assert_eq!(read(&[]).await, Ok(IdempotencyKey(None)));
        assert_eq!(read(&[b"a"]).await, Ok(IdempotencyKey(Some("a".into()))));
        assert!(read(&[&[b'~'; 255]]).await.is_ok());
        for bad in [&b""[..], b"a b", "ä".as_bytes(), &[b'a'; 256]] {
            let problem = read(&[bad]).await.unwrap_err();
            assert_eq!(problem.code(), Code::ValidationFailed);
            assert_eq!(problem.errors()[0].parameter.as_deref(), Some("Idempotency-Key"));
        }
        assert!(read(&[b"a", b"b"]).await.is_err());
    }

    #[test]
    fn fingerprints_tell_requests_apart() {
        let one = fingerprint("POST /a", &json!({"a": 1})).unwrap();
        assert_eq!(one.len(), 64);
        assert_ne!(one, fingerprint("POST /b", &json!({"a": 1})).unwrap());
        assert_ne!(one, fingerprint("POST /a", &json!({"a": 2})).unwrap());
    }
}
