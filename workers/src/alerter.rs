//! Alerts to operators: what was newly opened in the review queue is told once per kind and window, by mail, to a web address, or both.
//! An alert is claimed in SQL before it is sent, so that several processes send one; a claim that led to nothing runs out.

use oms_domain::customer::Email;
use oms_domain::ids::MessageId;
use oms_gateways::Delivery;
use oms_gateways::mail::{MailAddress, MailMessage};
use oms_store::{Alert, AlertWay};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::Parts;

const EVERY: Duration = Duration::from_secs(1);
/// A claim that was not followed by an end within this is free again.
const CLAIM_MAX: Duration = Duration::from_secs(60);
/// How long one POST may take.
const POST_MAX: Duration = Duration::from_secs(10);
const BATCH_MAX: u32 = 20;

/// Whom to tell that a person is needed, and how often. Nobody, unless something is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// By mail to this address.
    pub mail: Option<Email>,
    /// By a POST of a JSON document to this URL.
    pub webhook: Option<String>,
    /// For how long a kind that was told is not told again; what is opened meanwhile is counted in the next alert.
    pub window: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { mail: None, webhook: None, window: Duration::from_secs(900) }
    }
}

impl Alerts {
    fn ways(&self) -> Vec<AlertWay> {
        let mail = self.mail.as_ref().map(|_| AlertWay::Mail);
        mail.into_iter().chain(self.webhook.as_ref().map(|_| AlertWay::Webhook)).collect()
    }
}

/// Tells until told to stop. Returns at once when there is nobody to tell.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) {
    let ways = parts.alerts.ways();
    if ways.is_empty() {
        return;
    }
    let web = match reqwest::Client::builder().timeout(POST_MAX).redirect(reqwest::redirect::Policy::none()).build() {
        Ok(web) => web,
        Err(error) => {
            tracing::error!(%error, "operators cannot be alerted");
            return;
        }
    };
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = round(&parts, &ways, &web).await {
            tracing::warn!(%error, "alerts could not be read; tried again soon");
        }
    }
}

async fn round(parts: &Parts, ways: &[AlertWay], web: &reqwest::Client) -> Result<(), oms_store::StoreError> {
    let now = (parts.clock)();
    parts.store.raise_alerts(ways, parts.alerts.window, now).await?;
    // one at a time: a claim must not run out while others before it are sent
    for _ in 0..BATCH_MAX {
        let now = (parts.clock)();
        let Some(alert) = parts.store.claim_alerts(now - CLAIM_MAX, 1, now).await?.pop() else { break };
        match tell(parts, web, &alert).await {
            Ok(()) => parts.store.alert_sent(&alert.id, alert.way, (parts.clock)()).await?,
            Err(reason) => tracing::warn!(reason, kind = alert.kind, "an alert could not be sent; tried again in a minute"),
        }
    }
    Ok(())
}

async fn tell(parts: &Parts, web: &reqwest::Client, alert: &Alert) -> Result<(), String> {
    match (alert.way, &parts.alerts.mail, &parts.alerts.webhook) {
        (AlertWay::Mail, Some(to), _) => {
            let mail = letter(parts, alert, to.clone()).ok_or("its id is no message id")?;
            match parts.gateways.mailer.send(&mail).await.map_err(|e| e.to_string())? {
                Delivery::Taken => Ok(()),
                Delivery::Refused { code } => Err(format!("the mail server refuses it for good ({code})")),
            }
        }
        (AlertWay::Webhook, _, Some(url)) => {
            let answer = web.post(url).json(&document(parts, alert)).send().await.map_err(|e| e.without_url().to_string())?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(format!("the webhook answered {status}")) }
        }
        // made under other settings, by another process
        _ => Err("this way is not set here".to_owned()),
    }
}

/// Where the items of an alert are listed.
fn list(parts: &Parts, alert: &Alert) -> String {
    format!("{}/v1/review-items?state=open&kind={}", parts.gateways.shop.base_url, alert.kind)
}

fn document(parts: &Parts, alert: &Alert) -> serde_json::Value {
    json!({
        "id": alert.id, "type": "review_items.opened", "shop": parts.gateways.shop.name, "kind": alert.kind, "count": alert.items,
        "items": alert.sample, "at": alert.created_at, "url": list(parts, alert),
    })
}

fn letter(parts: &Parts, alert: &Alert, to: Email) -> Option<MailMessage> {
    let shop = &parts.gateways.shop;
    let (count, kind, url) = (alert.items, alert.kind.as_str(), list(parts, alert));
    let things = if count == 1 { "thing needs" } else { "things need" };
    let first = alert.sample.join(", ");
    Some(MailMessage {
        message_id: MessageId::parse(alert.id.clone()).ok()?,
        to: MailAddress { name: String::new(), email: to },
        from: MailAddress { name: shop.name.clone(), email: shop.sender.clone() },
        reply_to: None,
        subject: format!("{count} {things} a person: {kind}"),
        text: format!("{count} {things} a person: {kind}.\n\nReview items: {first}\nAll that are open: {url}\n"),
        // kinds and ids are plain words; the URL is the operator's own setting
        html: format!(
            "<p><strong>{count} {things} a person: {kind}.</strong></p><p>Review items: {first}</p><p><a href=\"{}\">All that are \
             open</a></p>",
            url.replace('&', "&amp;").replace('"', "&quot;")
        ),
    })
}
