//! Taking held funds, share by share.

use super::authorize::{is_business, new_intent, reason};
use super::client::{Failure, Refusal};
use super::notes::{Note, OF, ORDER, field};
use super::objects::{Intent, id_of, wire};
use super::{PARTY, StripePayments, lacks, learn, order_of_shipment};
use crate::GatewayError;
use crate::payment::{Capture, CaptureRequest};

impl StripePayments {
    /// Takes a share, once per key.
    pub(super) async fn take(&self, request: &CaptureRequest) -> Result<Capture, GatewayError> {
        let Some(root) = self.intent(&request.payment_id).await? else { return Ok(refused("payment_not_found")) };
        if !root.currency.eq_ignore_ascii_case(request.amount.currency.code()) {
            return Ok(refused("currency_mismatch"));
        }
        let Some(amount) = wire(request.amount).filter(|amount| *amount >= 0) else { return Ok(refused("amount_invalid")) };
        match root.note(&request.key) {
            Some(Note::Refused(code)) => return Ok(Capture::Refused { code }),
            // noted and then refused or never sent: it goes on below
            Some(Note::Taken(_)) if root.received() == 0 => {}
            Some(Note::Taken(_)) => return Ok(taken(request)),
            Some(Note::Taking(_)) if root.received() == 0 => {}
            Some(Note::Taking(_)) if root.took(&request.key, amount) => return self.confirm(&root, request, amount).await,
            Some(Note::Taking(_)) => return self.give_way(&root, request, amount).await,
            Some(Note::Later(_, intent)) => return self.take_later(&root, request, amount, intent).await,
            Some(_) => return Err(GatewayError::unavailable("the idempotency key was used for another kind of operation")),
            None => {}
        }
        let others = root.noted() - if root.note(&request.key).is_some() { amount } else { 0 };
        let refusal = match root.status.as_str() {
            _ if root.is_voided() => Some("voided"),
            "requires_capture" | "succeeded" => (others + amount > root.amount).then_some("amount_exceeds_authorized"),
            "canceled" if root.cancellation_reason.as_deref() == Some("automatic") => Some("authorization_expired"),
            "canceled" => Some("voided"),
            _ => Some("not_authorized"),
        };
        if let Some(code) = refusal {
            return self.refuse(&root, request, code).await;
        }
        if amount == 0 {
            return Ok(taken(request));
        }
        if root.status == "succeeded" {
            return self.take_later(&root, request, amount, None).await;
        }
        self.take_now(&root, request, amount).await
    }

    /// Takes from the hold itself.
    async fn take_now(&self, root: &Intent, request: &CaptureRequest, amount: i64) -> Result<Capture, GatewayError> {
        let path = format!("payment_intents/{}/capture", root.id);
        let mut form = vec![("amount_to_capture".to_owned(), amount.to_string())];
        let several = root.charge().is_some_and(|c| c.payment_method_details.card.multicapture.status == "available");
        if self.settings.multicapture && several && amount < root.held() {
            form.push(("final_capture".into(), "false".into()));
        }
        if lacks(&self.limits.no_capture_metadata) {
            return self.take_alone(root, request, amount, &path, form).await;
        }
        // note and capture are one request, so each is there exactly when the other is
        let mut noted = form.clone();
        noted.push((format!("metadata[{}]", field(&request.key)), Note::Taken(amount).text()));
        match self.http.post::<Intent>(&path, &noted, &request.key).await {
            Ok(_) => Ok(taken(request)),
            Err(Failure::Refused(refusal)) if is_about_metadata(&refusal) => {
                learn(&self.limits.no_capture_metadata);
                self.take_alone(root, request, amount, &path, form).await
            }
            Err(failure) => self.not_taken(root, request, failure).await,
        }
    }

    /// Takes from the hold on a server that notes and captures in two requests: another share may be doing the same, and only one of them
    /// will get it.
    async fn take_alone(
        &self,
        root: &Intent,
        request: &CaptureRequest,
        amount: i64,
        path: &str,
        form: Vec<(String, String)>,
    ) -> Result<Capture, GatewayError> {
        // an earlier attempt may be on its way still: it is repeated under its key, and what was taken decides
        let begun = matches!(root.note(&request.key), Some(Note::Taking(_)));
        self.write_note(root, &request.key, &Note::Taking(amount)).await?;
        let moved = || GatewayError::unknown_outcome(format!("{PARTY} says that the payment has moved meanwhile"));
        let seen = self.intent(&root.id).await?.filter(|intent| intent.status == "requires_capture").ok_or_else(moved)?;
        match seen.contended(&request.key) {
            None => {}
            Some(true) if begun => {}
            Some(true) => return self.give_way(&seen, request, amount).await,
            // the other one gives way
            Some(false) => return Err(GatewayError::unavailable("another share of the payment is being taken")),
        }
        match self.http.post::<Intent>(path, &form, &request.key).await {
            Ok(_) => self.confirm(root, request, amount).await,
            Err(failure) => self.not_taken(root, request, failure).await,
        }
    }

    /// Notes that a capture that was begun took.
    async fn confirm(&self, root: &Intent, request: &CaptureRequest, amount: i64) -> Result<Capture, GatewayError> {
        self.write_note(root, &request.key, &Note::Taken(amount)).await?;
        Ok(taken(request))
    }

    /// Takes by an intent of its own instead of a capture that was begun and took nothing.
    async fn give_way(&self, root: &Intent, request: &CaptureRequest, amount: i64) -> Result<Capture, GatewayError> {
        self.write_note(root, &request.key, &Note::Later(amount, None)).await?;
        self.take_later(root, request, amount, None).await
    }

    /// What a capture means that was not made.
    async fn not_taken(&self, root: &Intent, request: &CaptureRequest, failure: Failure) -> Result<Capture, GatewayError> {
        let refusal = match failure {
            Failure::Card(error) => error.decline(),
            Failure::Refused(refusal) => refusal.code().to_owned(),
            failure => return Err(failure.unexpected()),
        };
        match refusal.as_str() {
            "capture_charge_authorization_expired" | "charge_expired_for_capture" => {
                self.refuse(root, request, "authorization_expired").await
            }
            "amount_too_large" => self.refuse(root, request, "amount_exceeds_authorized").await,
            // something else moved the payment meanwhile: the next attempt sees how it stands
            "payment_intent_unexpected_state" | "charge_already_captured" | "invalid_request" => {
                Err(GatewayError::unknown_outcome(format!("{PARTY} says that the payment has moved meanwhile")))
            }
            code => self.refuse(root, request, code).await,
        }
    }

    /// Takes by an intent of its own: the first one is captured and gives no more.
    async fn take_later(
        &self,
        root: &Intent,
        request: &CaptureRequest,
        amount: i64,
        known: Option<String>,
    ) -> Result<Capture, GatewayError> {
        let found = match &known {
            Some(id) => self.intent(id).await?,
            None if root.note(&request.key).is_some() => self.made_under(&request.key).await?,
            None => {
                self.write_note(root, &request.key, &Note::Later(amount, None)).await?;
                None
            }
        };
        let made = match found {
            Some(intent) => intent,
            None => match self.make_later(root, request, amount).await? {
                Ok(intent) => intent,
                Err(code) => return self.refuse(root, request, &code).await,
            },
        };
        let made = match self.confirmed(made, &request.key).await? {
            Ok(intent) => intent,
            Err(code) => return self.refuse(root, request, &code).await,
        };
        let made = match self.captured(made, &request.key).await {
            Ok(intent) => intent,
            Err(failure) => return self.not_taken(root, request, failure).await,
        };
        match made.status.as_str() {
            "succeeded" => {
                if known.is_none() {
                    self.write_note(root, &request.key, &Note::Later(amount, Some(made.id))).await?;
                }
                Ok(taken(request))
            }
            "requires_payment_method" | "requires_action" | "canceled" => {
                let code = match (&made.last_payment_error, made.status.as_str()) {
                    (Some(error), _) => error.decline(),
                    (None, "requires_action") => "authentication_required".to_owned(),
                    (None, _) => "card_declined".to_owned(),
                };
                if made.status != "canceled" {
                    self.cancel(&made, &format!("{}/cancel", request.key)).await?;
                }
                self.refuse(root, request, &code).await
            }
            _ => Err(GatewayError::unknown_outcome(format!("{PARTY} is still working on the payment"))),
        }
    }

    /// The intent, taken if the server had come no further than holding it.
    async fn captured(&self, made: Intent, key: &str) -> Result<Intent, Failure> {
        if made.status != "requires_capture" {
            return Ok(made);
        }
        let path = format!("payment_intents/{}/capture", made.id);
        Ok(self.http.post::<Intent>(&path, &Vec::new(), &format!("{key}/later/capture")).await?.body)
    }

    /// Makes that intent, or says why the server will not.
    async fn make_later(
        &self,
        root: &Intent,
        request: &CaptureRequest,
        amount: i64,
    ) -> Result<Result<Intent, String>, GatewayError> {
        let Some(method) = id_of(&root.payment_method) else { return Ok(Err("unknown_method".into())) };
        let mut form = new_intent(amount, &root.currency, &request.key, root.says(ORDER).unwrap_or_default());
        form.push(("payment_method".into(), method.to_owned()));
        form.push(("capture_method".into(), "automatic".into()));
        form.push(("off_session".into(), "true".into()));
        form.push((format!("metadata[{OF}]"), root.id.clone()));
        form.extend(id_of(&root.customer).map(|customer| ("customer".to_owned(), customer.to_owned())));
        // a key is good for one request, and a capture that came second may have used up the share's own
        match self.http.post::<Intent>("payment_intents", &form, &format!("{}/later", request.key)).await {
            Ok(answer) => self
                .intent(&answer.body.id)
                .await?
                .map(Ok)
                .ok_or_else(|| GatewayError::unknown_outcome(format!("{PARTY} answers with an intent that it does not have"))),
            Err(Failure::Card(error)) => Ok(Err(error.decline())),
            Err(Failure::Refused(refusal)) if is_business(&refusal) => Ok(Err(reason(&refusal).to_owned())),
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// Notes a refusal, so that nothing is ever taken under the key.
    async fn refuse(&self, root: &Intent, request: &CaptureRequest, code: &str) -> Result<Capture, GatewayError> {
        self.write_note(root, &request.key, &Note::Refused(code.to_owned())).await?;
        Ok(refused(code))
    }

    /// What became of a capture; `None` while nothing did.
    pub(super) async fn known_take(&self, subject: &str, key: &str) -> Result<Option<Capture>, GatewayError> {
        if order_of_shipment(subject).is_none() {
            return Ok(None);
        }
        let Some((root, note)) = self.noted_under(key).await? else { return Ok(None) };
        let amount = |wired| super::objects::money(wired, &root.currency);
        Ok(match note {
            Note::Refused(code) => Some(Capture::Refused { code }),
            Note::Taken(wired) if root.received() > 0 => amount(wired).map(|amount| Capture::Taken { amount }),
            Note::Later(wired, Some(id)) => {
                let done = self.intent(&id).await?.is_some_and(|intent| intent.status == "succeeded");
                amount(wired).filter(|_| done).map(|amount| Capture::Taken { amount })
            }
            _ => None,
        })
    }
}

/// Whether a server objects to the note and not to the capture: a real server names another code for what it will not capture.
fn is_about_metadata(refusal: &Refusal) -> bool {
    let code = refusal.error.code.as_deref();
    refusal.status == 400 && matches!(code, None | Some("parameter_unknown"))
}

fn taken(request: &CaptureRequest) -> Capture {
    Capture::Taken { amount: request.amount }
}

fn refused(code: &str) -> Capture {
    Capture::Refused { code: code.to_owned() }
}
