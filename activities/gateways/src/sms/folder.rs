//! SMS' sandbox twin: a folder of JSON files.

use async_trait::async_trait;
use std::path::PathBuf;

use super::{Sms, Texter};
use crate::faults::Faults;
use crate::folder::leave;
use crate::{Delivery, GatewayError};
use oms_domain::party::Party;

/// Writes each message to `{message_id}.json`, once. Obeys the faults of [`Party::Sms`].
#[derive(Debug, Clone)]
pub struct SmsFolder {
    folder: PathBuf,
    faults: Faults,
}

impl SmsFolder {
    /// Messages into `folder`, which is made when the first one comes.
    pub fn new(folder: impl Into<PathBuf>, faults: Faults) -> Self {
        Self { folder: folder.into(), faults }
    }
}

#[async_trait]
impl Texter for SmsFolder {
    async fn send(&self, sms: &Sms) -> Result<Delivery, GatewayError> {
        let bytes =
            serde_json::to_vec(sms).map_err(|e| GatewayError::unavailable(format!("the message cannot be built: {e}")))?;
        leave(&self.folder, format!("{}.json", sms.message_id), bytes, &self.faults, Party::Sms).await.map(|()| Delivery::Taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, FaultMode};
    use crate::sandbox::Sandbox;
    use oms_domain::customer::Phone;
    use oms_domain::ids::MessageId;

    #[tokio::test]
    async fn each_message_is_written_once_and_faults_are_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::open(dir.path()).await.unwrap();
        let texter = SmsFolder::new(dir.path().join("sms"), sandbox.faults.clone());
        let sms = Sms {
            message_id: MessageId::parse("sms-00000001").unwrap(),
            to: Phone::parse("+4930123456").unwrap(),
            text: "Grüße".into(),
        };
        let path = dir.path().join("sms/sms-00000001.json");
        sandbox.faults.set(Party::Sms, &Fault::lasting(FaultMode::Down)).await.unwrap();
        assert!(matches!(texter.send(&sms).await, Err(GatewayError::Unavailable { .. })));
        assert!(!path.exists());
        sandbox.faults.set(Party::Sms, &Fault::lasting(FaultMode::CommitThenDrop)).await.unwrap();
        assert!(matches!(texter.send(&sms).await, Err(GatewayError::UnknownOutcome { .. })));
        texter.send(&sms).await.unwrap();
        assert_eq!(serde_json::from_slice::<Sms>(&std::fs::read(&path).unwrap()).unwrap(), sms);
        assert_eq!(std::fs::read_dir(dir.path().join("sms")).unwrap().count(), 1);
    }
}
