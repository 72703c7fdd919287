//! Text messages.

use async_trait::async_trait;
use oms_domain::customer::Phone;
use oms_domain::ids::MessageId;
use serde::{Deserialize, Serialize};

use crate::{Delivery, GatewayError};

mod folder;
pub mod twilio;
pub use folder::SmsFolder;

/// One text message. Personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sms {
    /// Its id: the same for every attempt to send it.
    pub message_id: MessageId,
    /// Who gets it.
    pub to: Phone,
    /// What it says.
    pub text: String,
}

/// A way to send text messages.
#[async_trait]
pub trait Texter: Send + Sync {
    /// Hands a message over. Errors: [`GatewayError`].
    async fn send(&self, sms: &Sms) -> Result<Delivery, GatewayError>;
}
