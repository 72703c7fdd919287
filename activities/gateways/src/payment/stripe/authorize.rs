//! Holding funds.

use chrono::TimeDelta;
use oms_domain::payment::PaymentMethod;

use super::client::{Failure, Refusal};
use super::notes::{KEY, ORDER, TOMBSTONE};
use super::objects::{Intent, Method, id_of, money, seconds, wire};
use super::{PARTY, StripePayments};
use crate::GatewayError;
use crate::payment::{Authorization, AuthorizeRequest};
use crate::web::Form;

/// How long a hold lasts where the server does not say: what Stripe gives cards on line.
const HOLD: TimeDelta = TimeDelta::days(7);

impl StripePayments {
    /// Holds funds, once per key.
    pub(super) async fn hold(&self, request: &AuthorizeRequest) -> Result<Authorization, GatewayError> {
        if let Some(intent) = self.made_under(&request.key).await? {
            return self.go_on(intent, &request.key).await;
        }
        let amount = match wire(request.amount) {
            Some(amount) if amount > 0 => amount,
            Some(_) => return Ok(declined(None, "amount_invalid")),
            None => return Ok(declined(None, "currency_not_supported")),
        };
        let mut form = new_intent(amount, request.amount.currency.code(), &request.key, request.order_id.as_str());
        form.push(("payment_method".into(), request.method.0.clone()));
        form.push(("capture_method".into(), "manual".into()));
        form.push(("expand[]".into(), "latest_charge".into()));
        if let Some(customer) = self.customer_of(&request.method).await? {
            form.push(("customer".into(), customer));
        }
        if let Some(url) = &self.settings.return_url {
            form.push(("return_url".into(), url.clone()));
        }
        if self.settings.multicapture {
            form.push(("payment_method_options[card][request_multicapture]".into(), "if_available".into()));
        }
        match self.http.post::<Intent>("payment_intents", &form, &request.key).await {
            Ok(answer) if answer.replayed => match self.intent(&answer.body.id).await? {
                Some(intent) => self.go_on(intent, &request.key).await,
                None => Err(GatewayError::unknown_outcome(format!("{PARTY} answers with an intent that it does not have"))),
            },
            Ok(answer) => standing(&answer.body),
            Err(Failure::Card(error)) => Ok(declined(id_of(&error.payment_intent), &error.decline())),
            Err(Failure::Refused(refusal)) if is_business(&refusal) => Ok(declined(None, reason(&refusal))),
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// An intent that is there already, confirmed if the server had come no further than making it.
    async fn go_on(&self, intent: Intent, key: &str) -> Result<Authorization, GatewayError> {
        if intent.says(TOMBSTONE).is_some() {
            return standing(&intent);
        }
        let id = intent.id.clone();
        match self.confirmed(intent, key).await? {
            Ok(intent) => standing(&intent),
            Err(code) => Ok(declined(Some(&id), &code)),
        }
    }

    /// The intent, confirmed if the server had come no further than making it; or why the card will not.
    pub(super) async fn confirmed(&self, made: Intent, key: &str) -> Result<Result<Intent, String>, GatewayError> {
        if made.status != "requires_confirmation" {
            return Ok(Ok(made));
        }
        let path = format!("payment_intents/{}/confirm", made.id);
        let form = vec![("expand[]".to_owned(), "latest_charge".to_owned())];
        match self.http.post::<Intent>(&path, &form, &format!("{key}/confirm")).await {
            Ok(answer) => Ok(Ok(answer.body)),
            Err(Failure::Card(error)) => Ok(Err(error.decline())),
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// Whom a payment method belongs to: it can then only be charged together with its customer.
    async fn customer_of(&self, method: &PaymentMethod) -> Result<Option<String>, GatewayError> {
        match self.http.get::<Method>(&format!("payment_methods/{}", method.0), &[]).await {
            Ok(method) => Ok(id_of(&method.customer).map(str::to_owned)),
            // the hold itself will say what is wrong with it
            Err(Failure::Refused(_) | Failure::Card(_)) => Ok(None),
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// What became of a hold; `None` if there never was one.
    pub(super) async fn known_hold(&self, key: &str) -> Result<Option<Authorization>, GatewayError> {
        match self.made_under(key).await? {
            // the server came no further than making it: whoever asks for the hold again confirms it
            Some(intent) if intent.status == "requires_confirmation" => Ok(None),
            Some(intent) if intent.says(TOMBSTONE).is_none() => standing(&intent).map(Some),
            _ => Ok(None),
        }
    }
}

/// How an authorization stands. One that was let go whole is declined: a late repeat must not believe that funds are held.
pub(super) fn standing(intent: &Intent) -> Result<Authorization, GatewayError> {
    let voided = intent.says(TOMBSTONE).is_some() || (intent.status == "canceled" && intent.received() == 0);
    if voided {
        return Ok(declined(Some(&intent.id).filter(|_| intent.says(TOMBSTONE).is_none()).map(String::as_str), "voided"));
    }
    let payment_id = intent.id.clone();
    match intent.status.as_str() {
        "requires_capture" | "succeeded" | "canceled" => {
            let amount = money(intent.amount, &intent.currency)
                .ok_or_else(|| GatewayError::unavailable(format!("{PARTY} names a currency that nobody knows")))?;
            let ends = intent.charge().and_then(|c| c.payment_method_details.card.capture_before).map(seconds);
            let expires_at = ends.unwrap_or_else(|| intent.created_at() + HOLD);
            Ok(Authorization::Held { payment_id, amount, expires_at })
        }
        "requires_action" => {
            Ok(Authorization::ActionRequired { payment_id, action_url: intent.action_url().map(ToOwned::to_owned) })
        }
        "requires_payment_method" => {
            let code = intent.last_payment_error.as_ref().map_or_else(|| "declined".to_owned(), |e| e.decline());
            Ok(declined(Some(&payment_id), &code))
        }
        _ => Err(GatewayError::unknown_outcome(format!("{PARTY} is still working on the payment"))),
    }
}

/// The fields that every intent of ours has.
pub(super) fn new_intent(amount: i64, currency: &str, key: &str, order: &str) -> Form {
    vec![
        ("amount".into(), amount.to_string()),
        ("currency".into(), currency.to_ascii_lowercase()),
        // only cards can be held; naming them keeps the account's other methods, which redirect, out
        ("payment_method_types[]".into(), "card".into()),
        ("confirm".into(), "true".into()),
        (format!("metadata[{ORDER}]"), order.to_owned()),
        (format!("metadata[{KEY}]"), key.to_owned()),
    ]
}

/// Whether a refused request is about this customer's payment, and not about our request or the account.
pub(super) fn is_business(refusal: &Refusal) -> bool {
    let about = |field: &str| matches!(field, "payment_method" | "amount" | "currency" | "customer");
    refusal.status == 404 || refusal.error.param.as_deref().is_some_and(about)
}

/// The code of a business refusal.
pub(super) fn reason(refusal: &Refusal) -> &str {
    match (refusal.status, refusal.error.param.as_deref(), refusal.code()) {
        (404, _, _) | (_, Some("payment_method" | "customer"), "resource_missing") => "unknown_method",
        (_, _, code) => code,
    }
}

pub(super) fn declined(payment_id: Option<&str>, code: &str) -> Authorization {
    Authorization::Declined { payment_id: payment_id.map(str::to_owned), code: code.to_owned() }
}
