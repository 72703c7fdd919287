//! Extractors that refuse with problem documents and name the place.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path as ErrorPath, Segment};

use crate::problem::{Code, FieldError, Problem};

/// Largest body in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// A body byte by byte as it came, said to be JSON.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send the body as content-type application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TooLarge, "a body is at most 256 KiB"),
            _ => Problem::new(Code::Malformed, "the body could not be read to its end"),
        })?;
        Ok(Self(bytes))
    }
}

/// A JSON body before its shape is looked at.
#[derive(Debug)]
pub struct RawJson(pub Value);

impl<S: Send + Sync> FromRequest<S> for RawJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        let value = serde_json::from_slice(&bytes).map_err(|e| {
            Problem::new(Code::Malformed, format!("the body is no JSON at line {} column {}", e.line(), e.column()))
        })?;
        Ok(Self(value))
    }
}

fn is_json(request: &Request) -> bool {
    let Some(value) = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// A JSON body of one shape: unknown fields and wrong types are 422 with a pointer.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Serialize> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let RawJson(value) = RawJson::from_request(request, state).await?;
        shape(value).map(Self)
    }
}

/// Reads a body's shape. Errors: 422 with the pointer of the first field that does not fit.
pub fn shape<T: DeserializeOwned + Serialize>(value: Value) -> Result<T, Problem> {
    if !value.is_object() {
        return Err(field(FieldError::at("", "invalid_type", "expected an object")));
    }
    let shaped: T = serde_path_to_error::deserialize(&value).map_err(|e| misfit(e.path(), &e.inner().to_string()))?;
    // a derived shape also takes its fields from an array, which no document of ours offers
    let back = serde_json::to_value(&shaped).map_err(|_| Problem::internal())?;
    match array_for_object(&back, &value, String::new()) {
        Some(pointer) => Err(field(FieldError::at(pointer, "invalid_type", "expected an object"))),
        None => Ok(shaped),
    }
}

fn array_for_object(expected: &Value, given: &Value, at: String) -> Option<String> {
    match (expected, given) {
        (Value::Object(_), Value::Array(_)) => Some(at),
        (Value::Object(expected), Value::Object(given)) => {
            expected.iter().find_map(|(key, value)| array_for_object(value, given.get(key)?, format!("{at}/{}", escape(key))))
        }
        (Value::Array(expected), Value::Array(given)) => {
            expected.iter().zip(given).enumerate().find_map(|(n, (e, g))| array_for_object(e, g, format!("{at}/{n}")))
        }
        _ => None,
    }
}

fn field(error: FieldError) -> Problem {
    Problem::invalid(Code::ValidationFailed, vec![error])
}

/// What serde says, in our words: its own repeat the value, which may be personal.
fn misfit(path: &ErrorPath, message: &str) -> Problem {
    let mut pointer = pointer_of(path);
    let named = message.split('`').nth(1).unwrap_or_default();
    let expected = message.rsplit_once(", expected ").map(|(_, rest)| rest.replace('`', ""));
    let (code, detail) = if message.starts_with("missing field") {
        pointer = format!("{pointer}/{}", escape(named));
        ("missing", "this field is required".to_owned())
    } else if message.starts_with("unknown field") {
        let tail = format!("/{}", escape(named));
        if !pointer.ends_with(&tail) {
            pointer.push_str(&tail);
        }
        (
            "unknown_field",
            expected.map_or_else(|| "no field is expected here".to_owned(), |e| format!("unknown field; expected {e}")),
        )
    } else if message.starts_with("invalid type") || message.starts_with("invalid length") {
        let expected = expected.unwrap_or_else(|| "another type".to_owned());
        let expected = if expected.starts_with("struct ") { "an object".to_owned() } else { readable(&expected) };
        ("invalid_type", format!("expected {expected}"))
    } else {
        ("invalid", expected.map_or_else(|| "not a valid value".to_owned(), |e| format!("expected {e}")))
    };
    field(FieldError::at(pointer, code, detail))
}

fn readable(expected: &str) -> String {
    match expected {
        "i64" | "u64" | "u32" | "i32" => "a whole number".to_owned(),
        "a sequence" => "an array".to_owned(),
        other => other.to_owned(),
    }
}

fn pointer_of(path: &ErrorPath) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// One step of a JSON Pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Parts of the path. What cannot be decoded names nothing: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| Problem::not_found("thing"))
    }
}

/// The query string, every value a text. Unknown and repeated parameters are 422.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value)).map_err(|rejection| {
            let message = std::error::Error::source(&rejection).map(ToString::to_string).unwrap_or_default();
            let named = message.split('`').nth(1).unwrap_or_default().to_owned();
            let (code, detail) = if message.contains("unknown field") {
                ("unknown_parameter", "this query parameter is unknown")
            } else if message.contains("duplicate field") {
                ("invalid", "this query parameter is given twice")
            } else {
                ("invalid", "the query string cannot be read")
            };
            field(FieldError::of(named, code, detail))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        inner: Inner,
        list: Vec<Inner>,
        #[serde(default)]
        maybe: Option<Inner>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
        count: i64,
    }

    #[test]
    fn misfits_are_named_without_their_value() {
        let good = json!({"name": "a", "count": 1});
        let cases = [
            (json!([]), "", "invalid_type"),
            (json!("text"), "", "invalid_type"),
            (json!({"list": []}), "/inner", "missing"),
            (json!({"inner": {"name": "a"}, "list": []}), "/inner/count", "missing"),
            (json!({"inner": good, "list": [], "Secret": 1}), "/Secret", "unknown_field"),
            (json!({"inner": {"name": "a", "count": 1, "a/b": 1}, "list": []}), "/inner/a~1b", "unknown_field"),
            (json!({"inner": {"name": 7_000_123, "count": 1}, "list": []}), "/inner/name", "invalid_type"),
            (json!({"inner": good, "list": [good, {"name": "a", "count": "7000123"}]}), "/list/1/count", "invalid_type"),
            (json!({"inner": good, "list": [good, {"name": "a", "count": 1.5}]}), "/list/1/count", "invalid_type"),
            (json!({"inner": ["a", 1], "list": []}), "/inner", "invalid_type"),
            (json!({"inner": good, "list": [["a", 1]]}), "/list/0", "invalid_type"),
            (json!({"inner": good, "list": [], "maybe": ["a", 1]}), "/maybe", "invalid_type"),
        ];
        for (body, pointer, code) in cases {
            let problem = shape::<Outer>(body.clone()).unwrap_err();
            assert_eq!(problem.code(), Code::ValidationFailed, "{body}");
            let [error] = problem.errors() else { panic!("{body}: {problem:?}") };
            assert_eq!((error.pointer.as_deref(), error.code), (Some(pointer), code), "{body}");
            assert!(!error.detail.contains("7000123") && !error.detail.contains("struct"), "{}", error.detail);
        }
        assert!(shape::<Outer>(json!({"inner": good, "list": [good], "maybe": null})).is_ok());
    }
}
