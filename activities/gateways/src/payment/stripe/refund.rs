//! Returning taken funds.

use super::client::Failure;
use super::look::PAGE;
use super::notes::{KEY, Note};
use super::objects::{Intent, Page, Refund as Returned, money, wire};
use super::{PARTY, StripePayments};
use crate::GatewayError;
use crate::payment::{Refund, RefundRequest};

/// Pages of refunds that one intent may have.
const PAGES_MAX: usize = 20;

/// An intent with the money that went back through it.
pub(super) struct Source {
    pub(super) intent: Intent,
    refunds: Vec<Returned>,
}

impl Source {
    /// Returned under a key.
    fn under(&self, key: &str) -> i64 {
        self.refunds.iter().filter(|r| r.counts() && r.metadata.get(KEY).is_some_and(|k| k == key)).map(|r| r.amount).sum()
    }

    /// Returned, by whomever. A server that does not say what an intent received lists what a partial capture released as a refund, too.
    pub(super) fn returned(&self) -> i64 {
        let all: i64 = self.refunds.iter().filter(|r| r.counts()).map(|r| r.amount).sum();
        let released = self.intent.amount - self.intent.received();
        let silent = self.intent.amount_received.is_none();
        let is_release = |r: &Returned| silent && r.amount == released && !r.metadata.contains_key(KEY);
        if self.refunds.iter().any(is_release) { all - released } else { all }
    }

    /// Still there to be returned.
    fn rest(&self) -> i64 {
        (self.intent.received() - self.returned()).max(0)
    }
}

impl StripePayments {
    /// Returns funds, once per key, from the first intent on.
    pub(super) async fn give_back(&self, request: &RefundRequest) -> Result<Refund, GatewayError> {
        let Some(root) = self.intent(&request.payment_id).await? else { return Ok(refused("payment_not_found")) };
        if !root.currency.eq_ignore_ascii_case(request.amount.currency.code()) {
            return Ok(refused("currency_mismatch"));
        }
        let Some(amount) = wire(request.amount).filter(|amount| *amount > 0) else { return Ok(refused("amount_invalid")) };
        let note = root.note(&request.key);
        if let Some(Note::Refused(code)) = note {
            return Ok(Refund::Refused { code });
        }
        let sources = self.sources(&root).await?;
        let mut open = amount - sources.iter().map(|s| s.under(&request.key)).sum::<i64>();
        if open <= 0 {
            return Ok(Refund::Returned { amount: request.amount });
        }
        if open > sources.iter().map(Source::rest).sum() {
            return self.refuse_refund(&root, request, "amount_exceeds_captured").await;
        }
        if note.is_none() {
            // by this a lookup, which knows only the key, finds the payment
            self.write_note(&root, &request.key, &Note::Refund(amount)).await?;
        }
        for source in &sources {
            let part = source.rest().min(open);
            if part == 0 {
                continue;
            }
            let first = source.intent.id == root.id;
            let under = if first { request.key.clone() } else { format!("{}/{}", request.key, source.intent.id) };
            if let Err(code) = self.return_from(&source.intent, part, &request.key, &under).await? {
                return self.refuse_refund(&root, request, &code).await;
            }
            open -= part;
        }
        Ok(Refund::Returned { amount: request.amount })
    }

    /// Returns a part through one intent, or says why the server will not.
    async fn return_from(&self, intent: &Intent, part: i64, key: &str, under: &str) -> Result<Result<(), String>, GatewayError> {
        let form = vec![
            ("payment_intent".to_owned(), intent.id.clone()),
            ("amount".to_owned(), part.to_string()),
            (format!("metadata[{KEY}]"), key.to_owned()),
        ];
        match self.http.post::<Returned>("refunds", &form, under).await {
            Ok(answer) if !answer.body.counts() => {
                Ok(Err(answer.body.failure_reason.unwrap_or_else(|| "refund_failed".to_owned())))
            }
            Ok(_) => Ok(Ok(())),
            Err(Failure::Card(error)) => Ok(Err(error.decline())),
            Err(Failure::Refused(refusal)) => match refusal.code() {
                "invalid_request" => Err(Failure::Refused(refusal).unexpected()),
                code => Ok(Err(code.to_owned())),
            },
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// The intents of an authorization, each with its refunds.
    pub(super) async fn sources(&self, root: &Intent) -> Result<Vec<Source>, GatewayError> {
        let mut sources = vec![Source { refunds: self.refunds_of(root).await?, intent: root.clone() }];
        for id in root.later() {
            if let Some(intent) = self.intent(&id).await? {
                sources.push(Source { refunds: self.refunds_of(&intent).await?, intent });
            }
        }
        Ok(sources)
    }

    async fn refunds_of(&self, intent: &Intent) -> Result<Vec<Returned>, GatewayError> {
        if intent.received() == 0 {
            return Ok(Vec::new());
        }
        let mut refunds: Vec<Returned> = Vec::new();
        for _ in 0..PAGES_MAX {
            let last = refunds.last().map(|r| r.id.clone());
            let mut parameters = vec![("payment_intent", intent.id.as_str()), ("limit", PAGE)];
            parameters.extend(last.as_deref().map(|id| ("starting_after", id)));
            let page: Page<Returned> = self.http.get("refunds", &parameters).await.map_err(Failure::unexpected)?;
            let more = page.has_more && !page.data.is_empty();
            refunds.extend(page.data);
            if !more {
                return Ok(refunds);
            }
        }
        Err(GatewayError::unavailable(format!("{PARTY}'s list of refunds does not end")))
    }

    async fn refuse_refund(&self, root: &Intent, request: &RefundRequest, code: &str) -> Result<Refund, GatewayError> {
        self.write_note(root, &request.key, &Note::Refused(code.to_owned())).await?;
        Ok(refused(code))
    }

    /// What became of a refund; `None` while it is not whole.
    pub(super) async fn known_refund(&self, key: &str) -> Result<Option<Refund>, GatewayError> {
        let Some((root, note)) = self.noted_under(key).await? else { return Ok(None) };
        Ok(match note {
            Note::Refused(code) => Some(Refund::Refused { code }),
            Note::Refund(amount) => {
                let done: i64 = self.sources(&root).await?.iter().map(|s| s.under(key)).sum();
                money(amount, &root.currency).filter(|_| done >= amount).map(|amount| Refund::Returned { amount })
            }
            _ => None,
        })
    }
}

fn refused(code: &str) -> Refund {
    Refund::Refused { code: code.to_owned() }
}
