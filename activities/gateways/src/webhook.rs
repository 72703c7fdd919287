//! Sending events to addresses that strangers registered: signed as Standard Webhooks has it, with a limit on everything, and never to
//! a place that only we can reach.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use oms_domain::Instant;
use oms_domain::webhook::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use sha2::Sha256;

use crate::events::MEDIA_TYPE;

/// What a secret's text begins with; base64 of the key follows.
const SECRET_PREFIX: &str = "whsec_";

/// A request to make.
#[derive(Debug, Clone)]
pub struct Post<'a> {
    /// Where to.
    pub url: &'a str,
    /// The event's id: the same for every attempt.
    pub id: &'a str,
    /// The event.
    pub body: &'a str,
    /// The texts of the secrets to sign with, the newest first.
    pub secrets: Vec<&'a str>,
}

/// Why an event may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PostError {
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// What was wrong, in our own words.
    pub reason: String,
    /// The receiver says that it wants no more.
    pub gone: bool,
}

impl PostError {
    fn unanswered(reason: impl Into<String>) -> Self {
        Self { status: None, reason: reason.into(), gone: false }
    }
}

/// `webhook-signature`: one signature per secret over id, time and body. Errors: a secret that is none.
pub fn signature(secrets: &[&str], id: &str, timestamp: i64, body: &str) -> Result<String, PostError> {
    let mut signatures = Vec::new();
    for secret in secrets {
        let key = secret.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let mac = key.and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok());
        let mut mac = mac.ok_or_else(|| PostError::unanswered("its secret cannot be read: rotate it"))?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
    Ok(signatures.join(" "))
}

/// Looks names up and leaves out what is not public, so that a name that means us is as good as none.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("its address is not public".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Sends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    web: reqwest::Client,
    allow_private: bool,
}

impl WebhookSender {
    /// A sender whose calls take at most `limit`. `allow_private`: addresses that are not public are as good as others.
    /// Errors: the TLS backend is missing.
    pub fn new(limit: Duration, allow_private: bool) -> Result<Self, reqwest::Error> {
        // no redirect, which could lead inside; no proxy, which would look names up for us
        let mut web = reqwest::Client::builder().timeout(limit).redirect(Policy::none()).no_proxy().user_agent("oms-webhooks");
        if !allow_private {
            web = web.dns_resolver(Arc::new(PublicOnly));
        }
        Ok(Self { web: web.build()?, allow_private })
    }

    /// Sends one event; returns once the receiver has taken it. What the receiver says beside its status is not read.
    /// Errors: [`PostError`]; it may have arrived all the same.
    pub async fn send(&self, post: &Post<'_>, now: Instant) -> Result<u16, PostError> {
        let url = Url::parse(post.url).map_err(|_| PostError::unanswered("its URL cannot be read"))?;
        self.check(&url).map_err(PostError::unanswered)?;
        let timestamp = now.timestamp();
        let signature = signature(&post.secrets, post.id, timestamp, post.body)?;
        let request = self
            .web
            .post(url)
            .header("content-type", MEDIA_TYPE)
            .header("webhook-id", post.id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(post.body.to_owned());
        let answer = request.send().await.map_err(|error| PostError::unanswered(in_words(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(status.as_u16());
        }
        let gone = status == StatusCode::GONE;
        Err(PostError { status: Some(status.as_u16()), reason: format!("answered {}", status.as_u16()), gone })
    }

    fn check(&self, url: &Url) -> Result<(), &'static str> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its URL is neither http nor https");
        }
        // a name goes through the resolver; an address does not
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.allow_private && !is_public(address) => Err("its address is not public"),
            _ => Ok(()),
        }
    }
}

/// What went wrong, without the URL and without words of others.
fn in_words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot be connected to, or its address is not public"
    } else {
        "the connection broke"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_as_the_standard_shows() {
        // the worked example of the standard's own libraries
        let signed = signature(
            &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = signature(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA"], "a", 1, "b").unwrap();
        assert_eq!(two.split(' ').count(), 2);
        assert!(signature(&["hunter2"], "a", 1, "b").is_err());
    }

    #[tokio::test]
    async fn nothing_inside_is_reached() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sender = WebhookSender::new(Duration::from_secs(2), false).unwrap();
        let now = oms_domain::instant(std::time::SystemTime::now());
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"] {
            let url = format!("http://{host}:{port}/");
            let post = Post { url: &url, id: "a", body: "{}", secrets: vec!["whsec_AAAA"] };
            assert_eq!(sender.send(&post, now).await.unwrap_err().status, None, "{url}");
        }
        for url in ["ftp://example.com/", "file:///etc/passwd", "nonsense"] {
            let post = Post { url, id: "a", body: "{}", secrets: vec!["whsec_AAAA"] };
            assert!(sender.send(&post, now).await.is_err(), "{url}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }
}
