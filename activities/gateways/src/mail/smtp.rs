//! Mail over SMTP.

use async_trait::async_trait;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::time::Duration;

use super::{MailMessage, Mailer, build};
use crate::{Delivery, GatewayError};

/// How long one step of the conversation may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one message may take from end to end, waiting for a free connection included: less than an attempt of an activity gets.
const SEND_MAX: Duration = Duration::from_secs(14);
const CONNECTIONS_MAX: u32 = 4;

/// Codes that are about the connection, the login or a command, and not about this message (RFC 5321, 4954): an operator mends them, and
/// the message goes out.
const NOT_THE_MESSAGE: [&str; 11] = ["500", "501", "502", "503", "504", "521", "523", "530", "534", "535", "538"];

/// `SMTP_URL` cannot be used. Does not repeat it: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    /// It is not of a form that is known.
    #[error(
        "SMTP_URL must look like smtp://host:1025, smtp://user:password@host:587?tls=required or smtps://user:password@host:465; tls is \
         none, opportunistic or required"
    )]
    Unreadable,
    /// The password would travel in clear text to another machine.
    #[error("SMTP_URL would send its password unencrypted: add ?tls=required, or ?tls=none if nobody can listen in between")]
    PlainPassword,
    /// The certificate authority cannot be read.
    #[error("the file that SMTP_URL names by ca= cannot be read as a PEM certificate")]
    BadAuthority,
}

/// Sends mail to an SMTP server over a small pool of connections.
#[derive(Debug, Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpMailer {
    /// A mailer for `smtp://` and `smtps://` (TLS from the first byte). Of `smtp://`, `?tls=required` means STARTTLS or nothing,
    /// `?tls=opportunistic` STARTTLS if the server offers it (whoever sits in between can take the offer away, so it must be asked for);
    /// otherwise nothing is encrypted, which is refused for a password that leaves this machine unless `?tls=none` says so. `ca=FILE`
    /// names a private certificate authority. Opens no connection yet. Needs a Tokio runtime. Errors: [`SmtpUrlError`].
    pub fn from_url(url: &str) -> Result<Self, SmtpUrlError> {
        let mut parsed = reqwest::Url::parse(url).map_err(|_| SmtpUrlError::Unreadable)?;
        let parameter = |name: &str| parsed.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
        let (tls, authority) = (parameter("tls"), parameter("ca"));
        let host = parsed.host_str().ok_or(SmtpUrlError::Unreadable)?.trim_matches(['[', ']']).to_owned();
        let near = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if parsed.scheme() == "smtp" && tls.is_none() && parsed.password().is_some() && !near {
            return Err(SmtpUrlError::PlainPassword);
        }
        // lettre knows no word for "none"
        parsed.set_query(tls.as_deref().filter(|tls| *tls != "none").map(|tls| format!("tls={tls}")).as_deref());
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(parsed.as_str()).map_err(|_| SmtpUrlError::Unreadable)?;
        if let Some(file) = authority {
            let bad = |_| SmtpUrlError::BadAuthority;
            let pem = std::fs::read(file).map_err(|_| SmtpUrlError::BadAuthority)?;
            let trusted = Certificate::from_pem(&pem).map_err(bad)?;
            let parameters = TlsParameters::builder(host).add_root_certificate(trusted).build().map_err(bad)?;
            builder = match (parsed.scheme(), tls.as_deref()) {
                ("smtps", _) => builder.tls(Tls::Wrapper(parameters)),
                (_, Some("required")) => builder.tls(Tls::Required(parameters)),
                (_, Some("opportunistic")) => builder.tls(Tls::Opportunistic(parameters)),
                _ => builder,
            };
        }
        let transport = builder.timeout(Some(TIMEOUT)).pool_config(PoolConfig::new().max_size(CONNECTIONS_MAX)).build();
        Ok(Self { transport })
    }

    /// Connects, encrypts and logs in as for a message. Errors: [`GatewayError`], whose detail tells what the server said.
    pub async fn check(&self) -> Result<(), GatewayError> {
        match tokio::time::timeout(TIMEOUT, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(GatewayError::unavailable("SMTP: the server does not answer")),
            Ok(Err(error)) => Err(GatewayError::unavailable(format!("SMTP: {error}"))),
            Err(_) => Err(GatewayError::unavailable(format!("SMTP: no answer within {} s", TIMEOUT.as_secs()))),
        }
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, message: &MailMessage) -> Result<Delivery, GatewayError> {
        let mail = build(message)?;
        match tokio::time::timeout(SEND_MAX, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(Delivery::Taken),
            Ok(Err(error)) => classify(&error, message),
            Err(_) => Err(GatewayError::unknown_outcome(format!("SMTP: no end after {} s", SEND_MAX.as_secs()))),
        }
    }
}

/// 5xx about the message or its recipient is final. 4xx, and a connection that never came about, say that the message was not taken
/// yet. A conversation that broke off or fell silent may have ended just after it was.
fn classify(error: &Error, message: &MailMessage) -> Result<Delivery, GatewayError> {
    let code = error.status().map(|code| code.to_string());
    if let Some(code) = code.filter(|code| error.is_permanent() && !NOT_THE_MESSAGE.contains(&code.as_str())) {
        return Ok(Delivery::Refused { code });
    }
    let detail = format!("SMTP: {}", without_recipient(&error.to_string(), message));
    if error.is_timeout() || error.is_response() || error.to_string().starts_with("network error") {
        Err(GatewayError::unknown_outcome(detail))
    } else {
        Err(GatewayError::unavailable(detail))
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
