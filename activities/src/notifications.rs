//! Messages. The row says what is told to whom; names and addresses are read here and never pass through the engine.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Send, Sent};
use oms_contract::definitions::markers;
use oms_domain::Instant;
use oms_domain::customer::Email;
use oms_domain::ids::ShipmentId;
use oms_domain::message::{Channel, Locale, Topic};
use oms_domain::money::Money;
use oms_domain::returning::ReturnId;
use oms_gateways::Delivery;
use oms_gateways::mail::{MailAddress, MailMessage, Mailer};
use oms_gateways::sms::{Sms, Texter};
use oms_gateways::templates::{
    MessageContext, MessageLine, MessageShipment, MessageTotals, Rendered, TemplateError, Templates, TimeZone,
};
use oms_store::{MessageState, Store, StoreError, StoredMessage, StoredOrder};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Makes words that nobody can guess, for links.
pub type FreshToken = Arc<dyn Fn() -> String + std::marker::Send + Sync>;

/// The shop as its messages show it.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Its name.
    pub name: String,
    /// The sender's address.
    pub sender: Email,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Email>,
    /// Its logo: a URL, `data:` included.
    pub logo: Option<String>,
    /// The clock that dates are shown in.
    pub time_zone: TimeZone,
    /// The language for customers who named none.
    pub locale: Locale,
    /// Where the shop's customers reach the API, without a slash at the end.
    pub base_url: String,
    /// What its messages say.
    pub templates: Arc<Templates>,
}

impl Shop {
    /// A shop with the built-in templates, in English and UTC. Errors: [`TemplateError`].
    pub fn plain(name: impl Into<String>, sender: Email) -> Result<Self, TemplateError> {
        Ok(Self {
            name: name.into(),
            sender,
            reply_to: None,
            logo: None,
            time_zone: TimeZone::UTC,
            locale: Locale::En,
            base_url: "http://127.0.0.1:8080".to_owned(),
            templates: Arc::new(Templates::built_in()?),
        })
    }
}

/// Sends messages.
pub struct NotificationActivities {
    /// The database.
    pub store: Store,
    /// The way to send mail.
    pub mailer: Arc<dyn Mailer>,
    /// The way to send text messages.
    pub texter: Arc<dyn Texter>,
    /// The shop.
    pub shop: Shop,
    /// Makes the words of links.
    pub fresh_token: FreshToken,
    /// The time.
    pub clock: Clock,
}

/// Why a message did not go out.
enum Trouble {
    /// The engine tries again.
    Later(ActivityError),
    /// No attempt will help; a person must look.
    Never(&'static str),
}

/// What is in the message: the parcel's articles if it is about one, else the order's.
fn lines(order: &StoredOrder, message: &StoredMessage) -> Vec<MessageLine> {
    let parcel = message.shipment.as_ref().and_then(|id| order.life.shipments.iter().find(|s| s.id == *id));
    let whole = order.lines.iter().map(|line| MessageLine {
        sku: line.sku.clone(),
        name: line.name.to_string(),
        quantity: line.quantity,
        total: line.total,
    });
    let Some(parcel) = parcel else { return whole.collect() };
    let in_parcel = parcel.lines.iter().filter_map(|inside| {
        let line = order.lines.iter().find(|line| line.sku == inside.sku)?;
        let share = i128::from(line.total.minor) * i128::from(inside.quantity) / i128::from(line.quantity.max(1));
        let total = Money::new(i64::try_from(share).ok()?, line.total.currency);
        Some(MessageLine { sku: line.sku.clone(), name: line.name.to_string(), quantity: inside.quantity, total })
    });
    in_parcel.collect()
}

/// Where a message sends the customer, and until when.
#[derive(Debug, Default)]
struct Errand {
    link: Option<String>,
    until: Option<Instant>,
}

/// The return that a message tells of.
fn return_of(message: &StoredMessage) -> Option<ReturnId> {
    let id = message.fact_key.as_deref()?.strip_prefix("return/")?.strip_suffix("/labelled")?;
    ReturnId::parse(id).ok()
}

fn context(shop: &Shop, message: &StoredMessage, errand: Errand) -> MessageContext {
    let order = &message.order;
    let about = message.shipment.as_ref().and_then(|id| order.life.shipments.iter().find(|s| s.id == *id));
    let question = order.life.question.as_ref().filter(|_| message.topic == Topic::Question);
    MessageContext {
        shop_name: shop.name.clone(),
        logo: shop.logo.clone(),
        time_zone: shop.time_zone,
        customer_name: order.customer.name.to_string(),
        order: order.reference.as_ref().map_or_else(|| order.id.to_string(), ToString::to_string),
        placed_at: order.placed_at,
        lines: lines(order, message),
        totals: MessageTotals {
            subtotal: order.totals.subtotal,
            discount: order.totals.discount,
            shipping: order.totals.shipping,
            tax: order.totals.tax,
            total: order.totals.total,
        },
        shipment: about.map(|s| MessageShipment { carrier: s.carrier.clone(), tracking_number: s.tracking_number.clone() }),
        reason: order.life.reason,
        amount: message.amount.filter(|_| message.topic == Topic::Refunded),
        link: errand.link,
        until: errand.until,
        default: question.map(|q| q.default),
        // the fact of an approved return names carrier and number; other reasons are between the shop and itself
        number: message.detail.clone().filter(|_| message.topic == Topic::ReturnApproved),
    }
}

impl NotificationActivities {
    /// Where the customer goes from the message, if anywhere.
    async fn errand(&self, message: &StoredMessage, now: Instant) -> Result<Errand, Trouble> {
        let life = &message.order.life;
        match message.topic {
            Topic::Question => {
                let link = Some(self.decision_link(message, now).await?);
                Ok(Errand { link, until: life.question.as_ref().map(|question| question.until) })
            }
            Topic::ActionRequired => Ok(Errand { link: message.order.action_url.clone(), until: life.payment.action_until }),
            Topic::ReturnApproved => self.way_back(message).await,
            _ => Ok(Errand::default()),
        }
    }

    /// The label of a return, if its carrier gave one, and until when the goods are taken back.
    async fn way_back(&self, message: &StoredMessage) -> Result<Errand, Trouble> {
        let later = |error| Trouble::Later(failure::store(error));
        // messages of the first version do not say which return they tell of
        let Some(id) = return_of(message) else { return Ok(Errand::default()) };
        let until = self.store.return_(&id).await.map_err(later)?.and_then(|stored| stored.body.until);
        let Ok(parcel) = ShipmentId::parse(id.as_str()) else { return Ok(Errand { link: None, until }) };
        let label = self.store.label(&parcel).await.map_err(later)?;
        Ok(Errand { link: label.map(|_| format!("{}/v1/returns/{id}/label", self.shop.base_url)), until })
    }

    /// Where the customer decides.
    async fn decision_link(&self, message: &StoredMessage, now: Instant) -> Result<String, Trouble> {
        let round = message.subject().round.ok_or(Trouble::Never("the message does not say which question it asks"))?;
        let token = self.store.decision_token(&message.order_id, round, &(self.fresh_token)(), now).await;
        let token = token.map_err(|e| Trouble::Later(failure::store(e)))?;
        Ok(format!("{}/decide/{token}", self.shop.base_url))
    }

    fn render(&self, message: &StoredMessage, errand: Errand) -> Result<Rendered, Trouble> {
        let locale = message.order.customer.locale.unwrap_or(self.shop.locale);
        let context = context(&self.shop, message, errand);
        self.shop.templates.render(message.topic, message.channel, locale, &context).map_err(|error| {
            tracing::error!(%error, message_id = %message.id, "a message cannot be rendered");
            Trouble::Never("its template cannot be rendered; see the worker's log")
        })
    }

    async fn deliver(&self, message: &StoredMessage, now: Instant) -> Result<(), Trouble> {
        let (order, shop) = (&message.order, &self.shop);
        let rendered = self.render(message, self.errand(message, now).await?)?;
        let sent = match message.channel {
            Channel::Mail => {
                let mail = MailMessage {
                    message_id: message.id.clone(),
                    to: MailAddress { name: order.customer.name.to_string(), email: order.customer.email.clone() },
                    from: MailAddress { name: shop.name.clone(), email: shop.sender.clone() },
                    reply_to: shop.reply_to.clone(),
                    subject: rendered.subject,
                    text: rendered.text,
                    html: rendered.html,
                };
                self.mailer.send(&mail).await
            }
            Channel::Sms => {
                let to = order.customer.phone.clone().ok_or(Trouble::Never("the customer has no phone number"))?;
                self.texter.send(&Sms { message_id: message.id.clone(), to, text: rendered.text }).await
            }
        };
        match sent.map_err(|e| Trouble::Later(failure::gateway(e)))? {
            Delivery::Taken => Ok(()),
            Delivery::Refused { code } => {
                tracing::warn!(code, message_id = %message.id, "a message is refused for good");
                Err(Trouble::Never("the recipient's side refuses it for good; see the worker's log"))
            }
        }
    }

    async fn message(&self, input: &Send) -> Result<StoredMessage, Trouble> {
        match self.store.message(&input.message_id).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Trouble::Later(failure::missing("the message has no row"))),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, message_id = %input.message_id, "a message cannot be read");
                Err(Trouble::Never("its order cannot be read; see the worker's log"))
            }
            Err(error) => Err(Trouble::Later(failure::store(error))),
        }
    }

    async fn attempt(&self, input: &Send, now: Instant) -> Result<Sent, Trouble> {
        let later = |error| Trouble::Later(failure::store(error));
        let message = self.message(input).await?;
        match message.state {
            MessageState::Sent => return Ok(Sent::Sent),
            MessageState::Failed => return Ok(Sent::Failed { why: "a person must look at it".to_owned() }),
            MessageState::Pending | MessageState::Claimed | MessageState::Dropped => {}
        }
        if let Some(why) = message.subject().stale(&message.order.life, now) {
            self.store.mark_dropped(&message.id, why, now).await.map_err(later)?;
            return Ok(Sent::Dropped { why: why.to_owned() });
        }
        self.deliver(&message, now).await?;
        self.store.mark_sent(&message.id, now).await.map_err(later)?;
        Ok(Sent::Sent)
    }
}

#[activities]
impl NotificationActivities {
    /// Send one message, drop it as stale, or hand it to a person.
    #[activity(definition = markers::Send)]
    pub async fn send(self: Arc<Self>, _ctx: ActivityContext, input: Send) -> Result<Sent, ActivityError> {
        let now = (self.clock)();
        match self.attempt(&input, now).await {
            Ok(sent) => Ok(sent),
            Err(Trouble::Later(error)) => Err(error),
            Err(Trouble::Never(why)) => {
                self.store.mark_failed(&input.message_id, why, now).await.map_err(failure::store)?;
                Ok(Sent::Failed { why: why.to_owned() })
            }
        }
    }
}
