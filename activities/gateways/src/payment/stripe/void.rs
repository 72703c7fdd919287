//! Releasing what is held.

use super::client::Failure;
use super::notes::{KEY, Note, ORDER, TOMBSTONE};
use super::objects::Intent;
use super::{PARTY, StripePayments};
use crate::GatewayError;
use crate::payment::{Void, VoidRequest};

/// A marker needs some amount in some currency; nothing is ever held for it.
const MARK_AMOUNT: &str = "100";
const MARK_CURRENCY: &str = "usd";

impl StripePayments {
    /// Lets go of what is held, and sees to it that nothing will be.
    pub(super) async fn let_go(&self, request: &VoidRequest) -> Result<Void, GatewayError> {
        let Some(root) = self.made_under(&request.authorize_key).await? else { return self.mark(request).await };
        if root.says(TOMBSTONE).is_some() {
            return self.end_mark(&root, request).await;
        }
        let held = matches!(root.status.as_str(), "requires_capture" | "requires_action");
        let released = match root.note(&request.key) {
            Some(Note::Void(released)) => released,
            _ => {
                self.write_note(&root, &request.key, &Note::Void(held)).await?;
                held
            }
        };
        match root.status.as_str() {
            "requires_capture" | "requires_action" | "requires_payment_method" | "requires_confirmation" => {
                self.cancel(&root, &request.key).await?;
            }
            // taken, or ended by itself: nothing is held any more, and the note stops later shares
            "succeeded" | "canceled" => {}
            _ => return Err(GatewayError::unknown_outcome(format!("{PARTY} is still working on the payment"))),
        }
        Ok(if released { Void::Released { payment_id: root.id } } else { Void::Nothing })
    }

    /// Cancels an intent; one that is cancelled already is as good.
    pub(super) async fn cancel(&self, intent: &Intent, key: &str) -> Result<(), GatewayError> {
        let path = format!("payment_intents/{}/cancel", intent.id);
        match self.http.post::<Intent>(&path, &Vec::new(), key).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(_)) => match self.intent(&intent.id).await? {
                Some(now) if now.status == "canceled" => Ok(()),
                _ => Err(GatewayError::unknown_outcome(format!("{PARTY} says that the payment has moved meanwhile"))),
            },
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// Nothing was asked for under the key: uses it up, so that nothing will be.
    async fn mark(&self, request: &VoidRequest) -> Result<Void, GatewayError> {
        let form = vec![
            ("amount".to_owned(), MARK_AMOUNT.to_owned()),
            ("currency".to_owned(), MARK_CURRENCY.to_owned()),
            ("payment_method_types[]".to_owned(), "card".to_owned()),
            (format!("metadata[{ORDER}]"), request.order_id.to_string()),
            (format!("metadata[{KEY}]"), request.authorize_key.clone()),
            (format!("metadata[{TOMBSTONE}]"), request.key.clone()),
        ];
        match self.http.post::<Intent>("payment_intents", &form, &request.authorize_key).await {
            Ok(answer) if answer.body.says(TOMBSTONE).is_some() => self.end_mark(&answer.body, request).await,
            // the search did not show it yet
            Ok(_) => {
                Err(GatewayError::unknown_outcome(format!("{PARTY} has a payment under the key that its search does not show")))
            }
            Err(failure) => Err(failure.unexpected()),
        }
    }

    async fn end_mark(&self, mark: &Intent, request: &VoidRequest) -> Result<Void, GatewayError> {
        if mark.status != "canceled" {
            self.cancel(mark, &request.key).await?;
        }
        Ok(Void::Nothing)
    }

    /// What became of a void; `None` while nothing did.
    pub(super) async fn known_void(&self, order: &str, key: &str) -> Result<Option<Void>, GatewayError> {
        let ours = |i: &Intent| i.says(ORDER) == Some(order);
        let found = self.find(&format!("metadata['{ORDER}']:'{order}'"), ours).await?;
        for id in found.into_iter().filter(|i| i.says(super::notes::OF).is_none()).map(|i| i.id) {
            let Some(intent) = self.intent(&id).await? else { continue };
            let ended = matches!(intent.status.as_str(), "canceled" | "succeeded");
            if intent.says(TOMBSTONE) == Some(key) && ended {
                return Ok(Some(Void::Nothing));
            }
            if let (Some(Note::Void(released)), true) = (intent.note(key), ended) {
                return Ok(Some(if released { Void::Released { payment_id: intent.id } } else { Void::Nothing }));
            }
        }
        Ok(None)
    }
}
