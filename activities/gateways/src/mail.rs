//! Mail: one message, built the same way wherever it goes.

use async_trait::async_trait;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use oms_domain::customer::Email;
use oms_domain::ids::MessageId;

use crate::{Delivery, GatewayError};

mod folder;
mod smtp;
pub use folder::MailFolder;
pub use smtp::{SmtpMailer, SmtpUrlError};

/// A name and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress {
    /// The name that is shown.
    pub name: String,
    /// The address.
    pub email: Email,
}

/// One message. Personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailMessage {
    /// Its id: the same for every attempt to send it, so that a recipient can tell a repeat.
    pub message_id: MessageId,
    /// Who gets it.
    pub to: MailAddress,
    /// Who it comes from.
    pub from: MailAddress,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Email>,
    /// Subject.
    pub subject: String,
    /// Body as plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// A way to send mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Hands a message over. A repeat may arrive twice, under one `Message-ID`. Errors: [`GatewayError`].
    async fn send(&self, message: &MailMessage) -> Result<Delivery, GatewayError>;
}

/// Builds the message as it travels: multipart/alternative, UTF-8, with a `Message-ID` that is the same in every attempt.
fn build(message: &MailMessage) -> Result<Message, GatewayError> {
    // lettre's own words are left out of the errors: they may repeat the address
    let mailbox = |a: &MailAddress| -> Result<Mailbox, GatewayError> {
        let address = a.email.as_str().parse().map_err(|_| GatewayError::unavailable("an address cannot be used in mail"))?;
        Ok(Mailbox::new(Some(one_line(&a.name)), address))
    };
    let sender = message.from.email.as_str();
    let domain = sender.rsplit_once('@').map_or(sender, |(_, domain)| domain);
    let mut builder = Message::builder();
    if let Some(reply_to) = &message.reply_to {
        builder = builder.reply_to(mailbox(&MailAddress { name: message.from.name.clone(), email: reply_to.clone() })?);
    }
    builder
        .message_id(Some(format!("<{}@{domain}>", message.message_id)))
        .date_now()
        .from(mailbox(&message.from)?)
        .to(mailbox(&message.to)?)
        .subject(one_line(&message.subject))
        // RFC 3834: holiday notices are not answered to machines
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()))
        .multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()))
        .map_err(|_| GatewayError::unavailable("the message cannot be built"))
}

/// The text without anything that could start another header.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
