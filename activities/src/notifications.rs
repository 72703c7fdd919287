//! Messages. The row says what is told to whom; names and addresses are read here and never pass through the engine.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{Send, Sent};
use oms_contract::definitions::markers;
use oms_domain::Instant;
use oms_domain::customer::Email;
use oms_domain::ids::ShipmentId;
use oms_domain::message::{Channel, STALE_AFTER_HOURS};
use oms_domain::order::Status;
use oms_gateways::mail::{MailAddress, MailMessage, Mailer};
use oms_gateways::sms::{Sms, Texter};
use oms_gateways::templates::{self, MessageContext, MessageLine, MessageShipment, MessageTotals};
use oms_store::{MessageState, Store, StoredMessage, StoredOrder};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// The shop as its messages show it.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Its name.
    pub name: String,
    /// The sender's address.
    pub sender: Email,
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
    /// The time.
    pub clock: Clock,
}

/// Why a message no longer makes sense, if it does not.
fn stale(message: &StoredMessage, now: Instant) -> Option<&'static str> {
    let cancelled = matches!(message.order.life.status, Status::Cancelling | Status::Cancelled);
    if cancelled && !message.topic.survives_cancellation() {
        return Some("the order was cancelled");
    }
    ((now - message.fact_at).num_hours() >= STALE_AFTER_HOURS).then_some("a day has passed")
}

fn context(shop: &Shop, order: &StoredOrder, shipment: Option<&ShipmentId>) -> MessageContext {
    let about = shipment.and_then(|id| order.life.shipments.iter().find(|s| s.id == *id));
    MessageContext {
        shop_name: shop.name.clone(),
        customer_name: order.customer.name.to_string(),
        order: order.reference.as_ref().map_or_else(|| order.id.to_string(), ToString::to_string),
        lines: order
            .lines
            .iter()
            .map(|line| MessageLine { name: line.name.to_string(), quantity: line.quantity, total: line.total })
            .collect(),
        totals: MessageTotals {
            subtotal: order.totals.subtotal,
            shipping: order.totals.shipping,
            tax: order.totals.tax,
            total: order.totals.total,
        },
        shipment: about.map(|s| MessageShipment { carrier: s.carrier.clone(), tracking_number: s.tracking_number.clone() }),
        reason: order.life.reason,
    }
}

impl NotificationActivities {
    async fn deliver(&self, message: &StoredMessage) -> Result<(), ActivityError> {
        let order = &message.order;
        let context = context(&self.shop, order, message.shipment.as_ref());
        let rendered = templates::render(message.topic, message.channel, &context)
            .map_err(|_| failure::missing("the message's template cannot be rendered"))?;
        match message.channel {
            Channel::Mail => {
                let mail = MailMessage {
                    message_id: message.id.clone(),
                    to: MailAddress { name: order.customer.name.to_string(), email: order.customer.email.clone() },
                    from: MailAddress { name: self.shop.name.clone(), email: self.shop.sender.clone() },
                    subject: rendered.subject,
                    text: rendered.text,
                    html: rendered.html,
                };
                self.mailer.send(&mail).await.map_err(failure::gateway)
            }
            Channel::Sms => {
                let to = order.customer.phone.clone();
                let to = to.ok_or_else(|| failure::missing("the customer has no phone number"))?;
                let sms = Sms { message_id: message.id.clone(), to, text: rendered.text };
                self.texter.send(&sms).await.map_err(failure::gateway)
            }
        }
    }
}

#[activities]
impl NotificationActivities {
    /// Send one message, or drop it as stale.
    #[activity(definition = markers::Send)]
    pub async fn send(self: Arc<Self>, _ctx: ActivityContext, input: Send) -> Result<Sent, ActivityError> {
        let message = self.store.message(&input.message_id).await.map_err(failure::store)?;
        let message = message.ok_or_else(|| failure::missing("the message has no row"))?;
        if message.state == MessageState::Sent {
            return Ok(Sent::Sent);
        }
        let now = (self.clock)();
        if let Some(why) = stale(&message, now) {
            self.store.mark_dropped(&message.id, why, now).await.map_err(failure::store)?;
            return Ok(Sent::Dropped { why: why.to_owned() });
        }
        self.deliver(&message).await?;
        self.store.mark_sent(&message.id, now).await.map_err(failure::store)?;
        Ok(Sent::Sent)
    }
}
