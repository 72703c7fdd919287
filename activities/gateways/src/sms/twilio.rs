//! Text messages in Twilio's wire format.
//!
//! Twilio has no idempotency keys. When the outcome of a send is unknown, the next attempt in the same process first reads the recipient's
//! newest messages: one that says the same and is no older than the first attempt is the same message. A process that is killed between
//! Twilio's answer and our own note of it sends the message twice: at least once is what this channel promises. Our id of a message travels
//! in the query of its `StatusCallback`, so that reports about either copy find it.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use oms_domain::Instant;
use oms_domain::ids::MessageId;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use sha1::Sha1;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Sms, Texter};
use crate::secret::Secret;
use crate::web::{self, WebError};
use crate::{Delivery, GatewayError};

/// Whose answers these are, in errors.
const PARTY: &str = "Twilio";

/// Clocks may differ by this much.
const SKEW: TimeDelta = TimeDelta::minutes(2);

/// Messages of unknown outcome that are remembered.
const DOUBTS_MAX: usize = 1_000;

/// Errors that are about the account, the sender or the callback, and not about this message: an operator mends them, then it goes out.
const OUR_FAULT: [i64; 11] = [20_005, 20_404, 21_603, 21_606, 21_609, 21_626, 21_659, 21_660, 21_701, 21_703, 21_704];

/// Messages to one recipient that are compared.
const COMPARED: &str = "20";

/// How to reach Twilio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwilioSettings {
    /// `AC…`: whose account.
    pub account_sid: String,
    /// Its auth token.
    pub auth_token: Secret,
    /// The number or messaging service (`MG…`) that messages come from.
    pub from: String,
    /// Where the server is.
    pub base_url: String,
    /// Where Twilio reports what became of a message; our id of it is added.
    pub status_callback: Option<String>,
    /// What one call may take.
    pub timeout: Duration,
}

/// Sends text messages through Twilio. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TwilioTexter {
    client: Client,
    base: String,
    settings: TwilioSettings,
    /// When messages of unknown outcome were first sent.
    doubts: Arc<Mutex<BTreeMap<MessageId, Instant>>>,
}

/// A message as Twilio lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    body: Option<String>,
    status: Option<String>,
    date_created: Option<String>,
}

/// A list of messages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Messages {
    messages: Vec<Listed>,
}

/// A call that came back.
enum Called {
    /// With success.
    Answered(Response),
    /// This message is refused for good, and under which of Twilio's error codes.
    Refused(String),
}

/// An error as Twilio describes it. Its message is not read: it repeats the number.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: Option<i64>,
}

impl TwilioTexter {
    /// A texter that calls nobody yet. Needs an installed TLS provider. Errors: [`WebError`].
    pub fn new(settings: TwilioSettings) -> Result<Self, WebError> {
        let (client, base) = (web::client(settings.timeout)?, web::base(PARTY, &settings.base_url)?);
        Ok(Self { client, base, settings, doubts: Arc::default() })
    }

    /// Asks the server whether it knows the account. Errors: [`GatewayError`], whose detail names the remedy.
    pub async fn check(&self) -> Result<(), GatewayError> {
        let request = self.client.get(format!("{}/2010-04-01/Accounts/{}.json", self.base, self.settings.account_sid));
        match self.call(request, false).await? {
            Called::Answered(_) => Ok(()),
            Called::Refused(code) => Err(GatewayError::unavailable(format!("{PARTY} refuses the account, code {code}"))),
        }
    }

    fn messages(&self) -> String {
        format!("{}/2010-04-01/Accounts/{}/Messages.json", self.base, self.settings.account_sid)
    }

    /// Whether the recipient was sent these words since then.
    async fn was_sent(&self, sms: &Sms, since: Instant) -> Result<bool, GatewayError> {
        let request = self.client.get(self.messages()).query(&[("To", sms.to.as_str()), ("PageSize", COMPARED)]);
        let Called::Answered(response) = self.call(request, false).await? else {
            return Err(GatewayError::unavailable(format!("{PARTY} does not list messages to this number")));
        };
        let bytes = response.bytes().await.map_err(|e| web::lost(PARTY, false, e))?;
        let listed: Messages = serde_json::from_slice(&bytes)
            .map_err(|_| GatewayError::unavailable(format!("{PARTY}'s list of messages cannot be read")))?;
        let recent = |date: &str| DateTime::parse_from_rfc2822(date).is_ok_and(|at| at.with_timezone(&Utc) >= since - SKEW);
        let same = |m: &Listed| {
            let failed = matches!(m.status.as_deref(), Some("failed" | "undelivered" | "canceled"));
            m.body.as_deref() == Some(&*sms.text) && m.date_created.as_deref().is_some_and(recent) && !failed
        };
        Ok(listed.messages.iter().any(same))
    }

    fn doubts(&self) -> MutexGuard<'_, BTreeMap<MessageId, Instant>> {
        // a panic elsewhere leaves the map whole
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubt(&self, id: &MessageId, at: Instant) {
        let mut doubts = self.doubts();
        doubts.entry(id.clone()).or_insert(at);
        if doubts.len() > DOUBTS_MAX {
            let oldest = doubts.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            oldest.and_then(|id| doubts.remove(&id));
        }
    }

    async fn call(&self, request: RequestBuilder, acts: bool) -> Result<Called, GatewayError> {
        let request = request.basic_auth(&self.settings.account_sid, Some(self.settings.auth_token.reveal()));
        let response = request.send().await.map_err(|e| web::lost(PARTY, acts, e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Called::Answered(response));
        }
        let body = response.bytes().await.unwrap_or_default();
        let code = serde_json::from_slice::<ErrorBody>(&body).unwrap_or_default().code;
        let detail = format!("{PARTY} answers {}, code {}", status.as_u16(), code.map_or("-".to_owned(), |c| c.to_string()));
        match (status, code) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Err(GatewayError::unavailable(format!("{detail}: correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN")))
            }
            (StatusCode::BAD_REQUEST, Some(code)) if !OUR_FAULT.contains(&code) => Ok(Called::Refused(code.to_string())),
            // a server error may have come after the effect
            _ if status.is_server_error() && acts && status != StatusCode::SERVICE_UNAVAILABLE => {
                Err(GatewayError::unknown_outcome(detail))
            }
            _ => Err(GatewayError::unavailable(detail)),
        }
    }

    async fn post(&self, sms: &Sms) -> Result<Delivery, GatewayError> {
        let mut form = vec![("To".to_owned(), sms.to.to_string()), ("Body".to_owned(), sms.text.clone())];
        let service = self.settings.from.starts_with("MG");
        form.push((if service { "MessagingServiceSid" } else { "From" }.to_owned(), self.settings.from.clone()));
        if let Some(url) = &self.settings.status_callback {
            let joint = if url.contains('?') { '&' } else { '?' };
            form.push(("StatusCallback".to_owned(), format!("{url}{joint}message={}", sms.message_id)));
        }
        let request = self.client.post(self.messages()).header("content-type", "application/x-www-form-urlencoded");
        Ok(match self.call(request.body(web::encode(&form)), true).await? {
            Called::Answered(_) => Delivery::Taken,
            Called::Refused(code) => Delivery::Refused { code },
        })
    }
}

#[async_trait]
impl Texter for TwilioTexter {
    async fn send(&self, sms: &Sms) -> Result<Delivery, GatewayError> {
        let began = oms_domain::instant(SystemTime::now());
        let doubt = self.doubts().get(&sms.message_id).copied();
        if let Some(since) = doubt
            && self.was_sent(sms, since).await?
        {
            self.doubts().remove(&sms.message_id);
            return Ok(Delivery::Taken);
        }
        let sent = self.post(sms).await;
        match &sent {
            Err(GatewayError::UnknownOutcome { .. }) => self.doubt(&sms.message_id, began),
            // the doubt about an earlier attempt stays until one is answered
            Err(GatewayError::Unavailable { .. } | GatewayError::LeftAlone { .. }) => {}
            Ok(_) => drop(self.doubts().remove(&sms.message_id)),
        }
        sent
    }
}

/// Whether a status callback is Twilio's: `X-Twilio-Signature` over the whole URL that was called and the form's parameters.
pub fn verify(url: &str, parameters: &[(String, String)], signature: &str, auth_token: &Secret) -> bool {
    let Ok(given) = STANDARD.decode(signature) else { return false };
    // compared in constant time
    signed(url, parameters, auth_token).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

/// The signature that a callback carries.
pub fn sign(url: &str, parameters: &[(String, String)], auth_token: &Secret) -> Option<String> {
    signed(url, parameters, auth_token).map(|mac| STANDARD.encode(mac.finalize().into_bytes()))
}

fn signed(url: &str, parameters: &[(String, String)], auth_token: &Secret) -> Option<Hmac<Sha1>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.reveal().as_bytes()).ok()?;
    mac.update(url.as_bytes());
    let mut sorted: Vec<_> = parameters.iter().collect();
    sorted.sort();
    // the same name with the same value counts once
    sorted.dedup();
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    Some(mac)
}

#[cfg(test)]
mod tests;
