//! Returns: goods that come back, judged unit by unit.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::Instant;
use crate::ids::{Invalid, Location, OrderId, Sku, derive, minted, text};
use crate::life::{Refusal, RefusalCode};
use crate::shipment::{Shipment, ShipmentStatus};
use crate::stock::{Quantity, demand};

text!(
    /// A return's id. UUIDv5 of its order and the key of whoever asked, or a random UUID without one.
    ReturnId, minted
);

impl ReturnId {
    /// The return that was asked for under `key`.
    pub fn from_key(order: &OrderId, key: &str) -> Self {
        Self(derive(&["return", order.as_str(), key]).to_string())
    }

    /// A return's id from 16 random bytes that the caller drew.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}

/// Where a return stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnState {
    /// The customer asks.
    Requested,
    /// The shop takes the goods back.
    Approved,
    /// The shop does not.
    Rejected,
    /// Some of the goods came back.
    Received,
    /// Everything that will come back has, and its money is on its way.
    Completed,
    /// Nobody decided, or nothing came, in time.
    Expired,
}

impl ReturnState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Requested, Self::Approved, Self::Rejected, Self::Received, Self::Completed, Self::Expired];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Received => "received",
            Self::Completed => "completed",
            Self::Expired => "expired",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether the return's run closes here.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Rejected | Self::Completed | Self::Expired)
    }
}

/// What becomes of a unit that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Sold again, and refunded.
    Restock,
    /// Thrown away, and refunded.
    Scrap,
    /// Not taken back, not refunded.
    Rejected,
}

impl Condition {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restock => "restock",
            Self::Scrap => "scrap",
            Self::Rejected => "rejected",
        }
    }

    /// Reads the wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Restock, Self::Scrap, Self::Rejected].into_iter().find(|c| c.as_str() == name)
    }
}

/// Units as the inspection found them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
    /// What becomes of them.
    pub condition: Condition,
    /// Where they lie now; needed to sell them again.
    #[serde(default)]
    pub location: Option<Location>,
}

/// The carrier's label of the parcel that comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnLabel {
    /// Who carries it.
    pub carrier: String,
    /// Its number.
    pub tracking_number: String,
}

/// A return's whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// Where it stands.
    pub state: ReturnState,
    /// What is to come back.
    pub lines: Vec<Quantity>,
    /// What came back, in the order in which it was inspected.
    #[serde(default)]
    pub units: Vec<Inspected>,
    /// The label, once there is one.
    #[serde(default)]
    pub label: Option<ReturnLabel>,
    /// Why it was rejected, in the actor's words.
    #[serde(default)]
    pub rejected_because: Option<String>,
    /// How many times goods came back.
    #[serde(default)]
    pub receipts: u32,
    /// The goods are at the shop already, because their parcel came back to the sender: they need no label.
    #[serde(default)]
    pub arrived: bool,
    /// Until when goods are taken back, once it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

impl Return {
    /// A return that is asked for.
    pub fn requested(lines: Vec<Quantity>) -> Self {
        Self {
            state: ReturnState::Requested,
            lines,
            units: Vec::new(),
            label: None,
            rejected_because: None,
            receipts: 0,
            arrived: false,
            until: None,
        }
    }

    /// Whether the shop may still say yes or no. Errors: [`Refusal`].
    pub fn check_decide(&self) -> Result<(), Refusal> {
        match self.state {
            ReturnState::Requested => Ok(()),
            state => Err(Refusal::new(RefusalCode::NotAllowedNow, format!("the return is {} already", state.as_str()))),
        }
    }

    /// The shop takes the goods back. Errors: [`Refusal`] once it is decided.
    pub fn approve(&mut self) -> Result<(), Refusal> {
        self.check_decide()?;
        self.state = ReturnState::Approved;
        Ok(())
    }

    /// The shop does not take the goods back. Errors: [`Refusal`] once it is decided.
    pub fn reject(&mut self, because: &str) -> Result<(), Refusal> {
        self.check_decide()?;
        self.state = ReturnState::Rejected;
        self.rejected_because = Some(because.to_owned());
        Ok(())
    }

    /// Units of an article that have not come back yet.
    pub fn missing(&self, sku: &Sku) -> u32 {
        let asked: u32 = self.lines.iter().filter(|l| l.sku == *sku).map(|l| l.quantity).sum();
        let came: u32 = self.units.iter().filter(|u| u.sku == *sku).map(|u| u.quantity).sum();
        asked.saturating_sub(came)
    }

    fn is_all_here(&self) -> bool {
        self.lines.iter().all(|l| self.missing(&l.sku) == 0)
    }

    /// Whether these units may be received now; none only to complete. Errors: [`Refusal`].
    pub fn check_receive(&self, units: &[Inspected], complete: bool) -> Result<(), Refusal> {
        if !matches!(self.state, ReturnState::Approved | ReturnState::Received) {
            let detail = format!("the return is {}; goods are received while it is approved", self.state.as_str());
            return Err(Refusal::new(RefusalCode::NotAllowedNow, detail));
        }
        let invalid = |detail: String| Err(Refusal::new(RefusalCode::ValidationFailed, detail));
        if units.is_empty() && !complete {
            return invalid("name the units that came, or say complete".to_owned());
        }
        if units.iter().any(|u| u.quantity == 0 || (u.condition == Condition::Restock && u.location.is_none())) {
            return invalid("units to restock need a location, and every entry at least one unit".to_owned());
        }
        for (sku, quantity) in demand(units.iter().map(|u| (&u.sku, u.quantity))) {
            if quantity > self.missing(&sku) {
                return invalid(format!("of {sku} only {} more units are expected back", self.missing(&sku)));
            }
        }
        Ok(())
    }

    /// Goods came back; answers the receipt's number, from 1. `complete`: nothing more will come. Errors: [`Refusal`].
    pub fn receive(&mut self, units: &[Inspected], complete: bool) -> Result<u32, Refusal> {
        self.check_receive(units, complete)?;
        self.units.extend_from_slice(units);
        self.receipts += 1;
        self.state = if complete || self.is_all_here() { ReturnState::Completed } else { ReturnState::Received };
        Ok(self.receipts)
    }

    /// The time is over: what came has come. Answers whether anything changed.
    pub fn expire(&mut self) -> bool {
        let next = match self.state {
            ReturnState::Requested | ReturnState::Approved => ReturnState::Expired,
            ReturnState::Received => ReturnState::Completed,
            _ => return false,
        };
        self.state = next;
        true
    }

    /// Units that this return claims: of an open one all that were asked for, of a closed one those that came.
    pub fn claims(&self) -> Vec<Quantity> {
        match self.state {
            ReturnState::Rejected | ReturnState::Expired => Vec::new(),
            ReturnState::Completed => demanded(self.units.iter().map(|u| (&u.sku, u.quantity))),
            _ => self.lines.clone(),
        }
    }
}

/// Units that are paid back after an inspection.
pub fn refunded_units(units: &[Inspected]) -> Vec<Quantity> {
    demanded(units.iter().filter(|u| u.condition != Condition::Rejected).map(|u| (&u.sku, u.quantity)))
}

fn demanded<'a>(units: impl Iterator<Item = (&'a Sku, u32)>) -> Vec<Quantity> {
    demand(units).into_iter().map(|(sku, quantity)| Quantity { sku, quantity }).collect()
}

/// Units that may still be returned and that no return claims: those at the customer's, or those whose parcels came back to the sender
/// (`arrived`).
pub fn returnable(shipments: &[Shipment], others: &[Return], arrived: bool) -> BTreeMap<Sku, u32> {
    let from = returnable_from(arrived);
    let there = shipments.iter().filter(|s| s.status == from).flat_map(|s| &s.lines);
    let mut left = demand(there.map(|l| (&l.sku, l.quantity)));
    for claimed in others.iter().filter(|other| other.arrived == arrived).flat_map(Return::claims) {
        if let Some(units) = left.get_mut(&claimed.sku) {
            *units = units.saturating_sub(claimed.quantity);
        }
    }
    left
}

/// Where a parcel must stand so that its goods may be returned.
pub fn returnable_from(arrived: bool) -> ShipmentStatus {
    if arrived { ShipmentStatus::ReturnedToSender } else { ShipmentStatus::Delivered }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(name: &str, quantity: u32, condition: Condition) -> Inspected {
        let location = (condition == Condition::Restock).then(|| Location::parse("berlin").unwrap());
        Inspected { sku: Sku::parse(name).unwrap(), quantity, condition, location }
    }
    fn asked(lines: &[(&str, u32)]) -> Return {
        Return::requested(lines.iter().map(|(n, q)| Quantity { sku: Sku::parse(*n).unwrap(), quantity: *q }).collect())
    }

    #[test]
    fn decided_once() {
        let mut one = asked(&[("a", 1)]);
        assert!(one.check_receive(&[units("a", 1, Condition::Scrap)], false).is_err());
        one.approve().unwrap();
        assert_eq!(one.reject("no").unwrap_err().code, RefusalCode::NotAllowedNow);
        let mut other = asked(&[("a", 1)]);
        other.reject("no").unwrap();
        assert!(other.approve().is_err() && !other.expire() && other.claims().is_empty());
    }

    #[test]
    fn parcels_come_in_parts() {
        let mut back = asked(&[("a", 3), ("b", 1)]);
        back.approve().unwrap();
        assert_eq!(back.receive(&[units("a", 2, Condition::Restock)], false).unwrap(), 1);
        assert_eq!((back.state, back.missing(&Sku::parse("a").unwrap())), (ReturnState::Received, 1));
        for bad in [units("a", 2, Condition::Scrap), units("c", 1, Condition::Scrap), units("a", 0, Condition::Scrap)] {
            assert_eq!(back.check_receive(&[bad], false).unwrap_err().code, RefusalCode::ValidationFailed);
        }
        let nowhere = Inspected { location: None, ..units("a", 1, Condition::Restock) };
        assert!(back.check_receive(&[nowhere], false).is_err() && back.check_receive(&[], false).is_err());
        let rest = [units("a", 1, Condition::Scrap), units("b", 1, Condition::Rejected)];
        assert_eq!(back.receive(&rest, false).unwrap(), 2);
        assert_eq!(back.state, ReturnState::Completed);
        assert_eq!(refunded_units(&back.units).iter().map(|l| l.quantity).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn time_ends_it() {
        let mut back = asked(&[("a", 3)]);
        back.approve().unwrap();
        let mut part = back.clone();
        assert!(back.expire());
        assert_eq!(back.state, ReturnState::Expired);
        part.receive(&[units("a", 1, Condition::Scrap)], false).unwrap();
        assert!(part.expire() && part.state == ReturnState::Completed);
        assert_eq!(part.claims()[0].quantity, 1, "the others may be returned another time");
    }
}
