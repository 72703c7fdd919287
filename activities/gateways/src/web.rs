//! HTTP as every adapter speaks it: forms, and what it means when a call does not come back.

use reqwest::{Client, Url};
use std::time::Duration;

use crate::GatewayError;

/// A connection comes about within this, or the party counts as unreachable.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// An HTTP client cannot be made, or its base URL is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// Not an `http` or `https` URL.
    #[error("{party}'s base URL must look like https://host or http://127.0.0.1:PORT")]
    BadUrl {
        /// Whose.
        party: &'static str,
    },
    /// The TLS library or the system refuses.
    #[error("no HTTP client can be made ({detail})")]
    Client {
        /// Why.
        detail: String,
    },
}

/// A client that follows no redirects (a moved party is a wrong setting, not an answer) and gives up after `timeout`.
pub(crate) fn client(timeout: Duration) -> Result<Client, WebError> {
    Client::builder()
        .timeout(timeout)
        .connect_timeout(CONNECT_MAX.min(timeout))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| WebError::Client { detail: e.without_url().to_string() })
}

/// The base URL without a slash at its end.
pub(crate) fn base(party: &'static str, url: &str) -> Result<String, WebError> {
    let fits = Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host_str().is_some());
    if fits { Ok(url.trim_end_matches('/').to_owned()) } else { Err(WebError::BadUrl { party }) }
}

/// The fields of a form.
pub(crate) type Form = Vec<(String, String)>;

/// The fields as `application/x-www-form-urlencoded`.
pub(crate) fn encode(form: &[(String, String)]) -> String {
    Url::parse_with_params("http://form.invalid", form).ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// What a call that did not come back means. `acts`: whether the request, had it arrived, would have done something.
pub(crate) fn lost(party: &str, acts: bool, error: reqwest::Error) -> GatewayError {
    let what = match (error.is_connect(), error.is_timeout()) {
        (true, _) => "cannot be reached",
        (false, true) => "did not answer in time",
        (false, false) => "broke the connection off",
    };
    // reqwest's own text is left out: it holds the URL, which may hold a recipient's number
    let detail = format!("{party} {what}");
    if acts && !error.is_connect() { GatewayError::unknown_outcome(detail) } else { GatewayError::unavailable(detail) }
}
