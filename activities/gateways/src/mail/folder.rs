//! Mail's sandbox twin: a folder of `.eml` files that any mail program opens.

use async_trait::async_trait;
use std::path::PathBuf;

use super::{MailMessage, Mailer, build};
use crate::faults::Faults;
use crate::folder::leave;
use crate::{Delivery, GatewayError};
use oms_domain::party::Party;

/// Writes each message to `{message_id}.eml`, once. Obeys the faults of [`Party::Mail`].
#[derive(Debug, Clone)]
pub struct MailFolder {
    folder: PathBuf,
    faults: Faults,
}

impl MailFolder {
    /// Mail into `folder`, which is made when the first message comes.
    pub fn new(folder: impl Into<PathBuf>, faults: Faults) -> Self {
        Self { folder: folder.into(), faults }
    }
}

#[async_trait]
impl Mailer for MailFolder {
    async fn send(&self, message: &MailMessage) -> Result<Delivery, GatewayError> {
        let bytes = build(message)?.formatted();
        leave(&self.folder, format!("{}.eml", message.message_id), bytes, &self.faults, Party::Mail)
            .await
            .map(|()| Delivery::Taken)
    }
}
