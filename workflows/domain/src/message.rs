//! Messages to the customer: which facts are told, and on which channels.

use serde::{Deserialize, Serialize};

use crate::Instant;
use crate::ids::ShipmentId;
use crate::life::Life;
use crate::order::Status;
use crate::payment::PaymentStatus;
use crate::shipment::ShipmentStatus;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Mail,
    /// Text message; only to customers who gave a phone number.
    Sms,
}

impl Channel {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Sms => "sms",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Mail, Self::Sms].into_iter().find(|c| c.as_str() == name)
    }
}

/// The language of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// Spanish.
    Es,
}

impl Locale {
    /// Every locale.
    pub const ALL: [Self; 3] = [Self::En, Self::De, Self::Es];

    /// The wire name: an ISO 639-1 code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Es => "es",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|l| l.as_str() == name)
    }
}

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// The order was accepted and paid for.
    Confirmed,
    /// A shipment left.
    Shipped,
    /// A shipment arrived.
    Delivered,
    /// The order was refused.
    Rejected,
    /// The order was cancelled.
    Cancelled,
    /// The order waits for stock.
    Backordered,
    /// The customer is asked what to do about a long wait.
    Question,
    /// The customer must authenticate the payment.
    ActionRequired,
    /// The order was changed.
    Edited,
    /// Money is on its way back.
    Refunded,
    /// The goods may be sent back.
    ReturnApproved,
    /// The customer's funds could not be held again.
    PaymentFailed,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 12] = [
        Self::Confirmed,
        Self::Shipped,
        Self::Delivered,
        Self::Rejected,
        Self::Cancelled,
        Self::Backordered,
        Self::Question,
        Self::ActionRequired,
        Self::Edited,
        Self::Refunded,
        Self::ReturnApproved,
        Self::PaymentFailed,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Backordered => "backordered",
            Self::Question => "question",
            Self::ActionRequired => "action_required",
            Self::Edited => "edited",
            Self::Refunded => "refunded",
            Self::ReturnApproved => "return_approved",
            Self::PaymentFailed => "payment_failed",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }

    /// The channels on which this topic is told to a customer. SMS only where it saves the customer a wait at the door.
    pub fn channels(self, has_phone: bool) -> &'static [Channel] {
        match self {
            Self::Shipped | Self::Delivered if has_phone => &[Channel::Mail, Channel::Sms],
            _ => &[Channel::Mail],
        }
    }

    /// The channels on which this topic is told to a customer who wants to hear on `wanted` only; an empty list wants all. What is
    /// told on none of them goes by mail: nobody misses that their order was refused.
    pub fn channels_for(self, has_phone: bool, wanted: &[Channel]) -> Vec<Channel> {
        let possible = self.channels(has_phone);
        let chosen: Vec<Channel> = possible.iter().copied().filter(|c| wanted.is_empty() || wanted.contains(c)).collect();
        if chosen.is_empty() { vec![Channel::Mail] } else { chosen }
    }

    /// Whether an order may have several messages of this topic, told apart by their facts.
    pub fn repeats(self) -> bool {
        matches!(
            self,
            Self::Question | Self::ActionRequired | Self::PaymentFailed | Self::Edited | Self::Refunded | Self::ReturnApproved
        )
    }

    /// Whether the message still makes sense for a cancelled order: what was promised before is no longer true.
    pub fn survives_cancellation(self) -> bool {
        matches!(self, Self::Cancelled | Self::Delivered | Self::Refunded | Self::ReturnApproved)
    }
}

/// A message older than this when its turn comes is dropped: news of yesterday confuses more than it helps.
pub const STALE_AFTER_HOURS: i64 = 24;

/// A message that is late by so much is dropped when the order has come further than it tells.
pub const OVERTAKEN_AFTER_MINUTES: i64 = 10;

/// What a message is about, as far as it decides whether it still makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// What it tells.
    pub topic: Topic,
    /// The shipment it is about.
    pub shipment: Option<&'a ShipmentId>,
    /// Which time the customer was asked, on a question.
    pub round: Option<u32>,
    /// Since when it waits: its fact, or a person's wish to have it sent again.
    pub since: Instant,
}

impl Subject<'_> {
    /// Why the message no longer makes sense, if it does not: the one rule, at the moment of sending.
    pub fn stale(&self, life: &Life, now: Instant) -> Option<&'static str> {
        let age = now - self.since;
        // a parcel that arrives at once is told of twice; after an outage only once
        let progress = matches!(self.topic, Topic::Shipped | Topic::Backordered) && self.told_in_vain(life).is_none();
        let overtaken = self.overtaken(life).filter(|_| !progress || age.num_minutes() >= OVERTAKEN_AFTER_MINUTES);
        overtaken.or_else(|| (age.num_hours() >= STALE_AFTER_HOURS).then_some("a day has passed"))
    }

    fn told_in_vain(&self, life: &Life) -> Option<&'static str> {
        let cancelled = matches!(life.status, Status::Cancelling | Status::Cancelled);
        (cancelled && !self.topic.survives_cancellation()).then_some("the order was cancelled")
    }

    /// What has happened to the order that the message does not know of, if anything.
    pub fn overtaken(&self, life: &Life) -> Option<&'static str> {
        if let Some(why) = self.told_in_vain(life) {
            return Some(why);
        }
        let shipment = self.shipment.and_then(|id| life.shipments.iter().find(|s| s.id == *id));
        let arrived = shipment.is_some_and(|s| s.status.rank() >= ShipmentStatus::Delivered.rank());
        match self.topic {
            Topic::Shipped if arrived => Some("the parcel has arrived"),
            Topic::Backordered if life.status.rank() >= Status::Confirmed.rank() && life.waiting.is_empty() => {
                Some("the order is confirmed")
            }
            Topic::Question if life.check_decision(self.round).is_err() => Some("the question was decided"),
            Topic::ActionRequired if life.payment.status != PaymentStatus::RequiresAction => Some("the payment was settled"),
            Topic::PaymentFailed if life.payment.status != PaymentStatus::Declined => Some("the payment was settled"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Location, OrderId};
    use crate::money::{Currency, Money};
    use crate::shipment::Shipment;
    use crate::shortage::{Decision, Question};

    #[test]
    fn wire_names_read_back() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
        }
        for locale in Locale::ALL {
            assert_eq!(Locale::parse(locale.as_str()), Some(locale));
        }
        assert_eq!(Channel::parse("sms"), Some(Channel::Sms));
    }

    #[test]
    fn customers_choose_their_channels_but_always_hear() {
        use Channel::{Mail, Sms};
        for (topic, phone, wanted, told) in [
            (Topic::Shipped, true, &[][..], &[Mail, Sms][..]),
            (Topic::Shipped, true, &[Sms], &[Sms]),
            (Topic::Shipped, true, &[Mail], &[Mail]),
            (Topic::Shipped, true, &[Sms, Mail], &[Mail, Sms]),
            (Topic::Shipped, false, &[Sms], &[Mail]),
            (Topic::Confirmed, true, &[Sms], &[Mail]),
            (Topic::Confirmed, true, &[], &[Mail]),
        ] {
            assert_eq!(topic.channels_for(phone, wanted), told, "{topic:?} {phone} {wanted:?}");
        }
    }

    fn life(status: Status) -> Life {
        Life { status, ..Life::placed(Currency::parse("EUR").unwrap()) }
    }

    fn at(hours: i64) -> Instant {
        Instant::from_timestamp(1_800_000_000 + hours * 3_600, 0).unwrap()
    }

    #[test]
    fn stale_messages_are_told_from_fresh_ones() {
        let order = OrderId::from_key("t", "c", "k");
        let parcel = ShipmentId::of(&order, 1);
        let subject = |topic| Subject { topic, shipment: Some(&parcel), round: Some(2), since: at(0) };
        let shipped = |status| {
            let mut life = life(Status::Shipped);
            life.shipments = vec![Shipment {
                id: parcel.clone(),
                location: Location::parse("berlin").unwrap(),
                status,
                lines: vec![],
                amount: Money::zero(Currency::parse("EUR").unwrap()),
                carrier: None,
                tracking_number: None,
                more_packages: vec![],
                stray: false,
            }];
            life
        };
        let asked = |round| Life {
            question: Some(Question { round, asked_at: at(0), until: at(72), default: Decision::Cancel }),
            ..life(Status::Backordered)
        };
        let mut acting = life(Status::Placed);
        acting.payment.status = PaymentStatus::RequiresAction;
        let mut declined = life(Status::Confirmed);
        declined.payment.status = PaymentStatus::Declined;
        for (topic, life, hours, stale) in [
            (Topic::Confirmed, life(Status::Confirmed), 23, false),
            (Topic::Confirmed, life(Status::Confirmed), 24, true),
            (Topic::Confirmed, life(Status::Cancelling), 0, true),
            (Topic::Cancelled, life(Status::Cancelled), 0, false),
            (Topic::Cancelled, life(Status::Cancelled), 24, true),
            (Topic::Refunded, life(Status::Cancelled), 0, false),
            (Topic::Edited, life(Status::Cancelled), 0, true),
            (Topic::Shipped, shipped(ShipmentStatus::InTransit), 0, false),
            (Topic::Shipped, shipped(ShipmentStatus::Delivered), 0, false),
            (Topic::Shipped, shipped(ShipmentStatus::Delivered), 1, true),
            (Topic::Shipped, shipped(ShipmentStatus::ReturnedToSender), 1, true),
            (Topic::Delivered, shipped(ShipmentStatus::Delivered), 0, false),
            (Topic::Backordered, life(Status::Backordered), 0, false),
            (Topic::Backordered, life(Status::Confirmed), 0, false),
            (Topic::Backordered, life(Status::Confirmed), 1, true),
            (Topic::Question, asked(2), 0, false),
            (Topic::Question, asked(3), 0, true),
            (Topic::Question, life(Status::Backordered), 0, true),
            (Topic::ActionRequired, acting.clone(), 0, false),
            (Topic::PaymentFailed, declined, 0, false),
            (Topic::PaymentFailed, life(Status::Confirmed), 0, true),
            (Topic::ActionRequired, life(Status::Placed), 0, true),
        ] {
            let why = subject(topic).stale(&life, at(hours));
            assert_eq!(why.is_some(), stale, "{topic:?} of an order {:?} after {hours} h: {why:?}", life.status);
        }
    }

    #[test]
    fn nobody_without_a_phone_is_texted() {
        assert!(Topic::ALL.iter().all(|t| !t.channels(false).contains(&Channel::Sms)));
        assert!(Topic::Shipped.channels(true).contains(&Channel::Sms));
    }
}
