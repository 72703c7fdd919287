//! Mail over SMTP.

use async_trait::async_trait;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::time::Duration;

use super::{MailMessage, Mailer, build};
use crate::GatewayError;

/// How long one step of the conversation may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one message may take from end to end, waiting for a free connection included.
const SEND_MAX: Duration = Duration::from_secs(60);
const CONNECTIONS_MAX: u32 = 4;

/// `SMTP_URL` cannot be used. Does not repeat it: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SMTP_URL must look like smtp://host:1025, smtp://user:password@host:587?tls=required or smtps://user:password@host:465")]
pub struct SmtpUrlError;

/// Sends mail to an SMTP server over a small pool of connections.
#[derive(Debug, Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpMailer {
    /// A mailer for `smtp://` (plain, or STARTTLS with `?tls=required`) and `smtps://`. Opens no connection yet. Needs a
    /// Tokio runtime. Errors: [`SmtpUrlError`].
    pub fn from_url(url: &str) -> Result<Self, SmtpUrlError> {
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| SmtpUrlError)?;
        let transport = builder.timeout(Some(TIMEOUT)).pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX)).build();
        Ok(Self { transport })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, message: &MailMessage) -> Result<(), GatewayError> {
        let mail = build(message)?;
        match tokio::time::timeout(SEND_MAX, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(classify(&error, message)),
            Err(_) => Err(GatewayError::unknown_outcome(format!("SMTP: no end after {} s", SEND_MAX.as_secs()))),
        }
    }
}

/// A reply of 4xx or 5xx, or a connection that never came about, says that the message was not taken. A conversation that
/// broke off or fell silent may have ended just after it was.
fn classify(error: &Error, message: &MailMessage) -> GatewayError {
    let detail = format!("SMTP: {}", without_recipient(&error.to_string(), message));
    if error.is_timeout() || error.is_response() || error.to_string().starts_with("network error") {
        GatewayError::unknown_outcome(detail)
    } else {
        GatewayError::unavailable(detail)
    }
}

/// The server's words without the recipient, whom servers like to repeat.
fn without_recipient(text: &str, message: &MailMessage) -> String {
    let address = message.to.email.as_str();
    let local = address.split('@').next().unwrap_or(address);
    let hidden = |word: &str| word.contains('@') || word.trim_matches(|c: char| !c.is_alphanumeric()).eq_ignore_ascii_case(local);
    let words: Vec<&str> = text.split_whitespace().map(|word| if hidden(word) { "…" } else { word }).collect();
    words.join(" ").chars().take(300).collect()
}
