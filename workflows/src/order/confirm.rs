//! From placed to confirmed: stock promised, money held, both on record.

use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{Location, ShipmentId, Sku};
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::pricing::Totals;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::{Allocation, Quantity, demand};
use std::collections::BTreeMap;

use super::clerk::{Confirmation, Wish};
use super::desk::Desk;
use super::{Order, Stop, pay, reserve, shortage};

/// Arranges stock and money and confirms. A promise that ran out meanwhile is asked for anew, never silently extended.
pub(super) async fn arrange(desk: &Desk) -> Result<(), Stop> {
    reserve::reserve(desk).await?;
    pay::authorize(desk).await?;
    shortage::fill(desk).await?;
    loop {
        desk.until(|s| !s.life.editing).await;
        match confirm(desk).await {
            Confirmation::Done => return Ok(()),
            Confirmation::Overtaken => return Err(Stop::Cancelled),
            Confirmation::Lapsed => {
                let revision = desk.read(|s| s.reservation);
                desk.note(Fact::new(format!("lapsed/{revision}"), FactKind::StockLapsed, desk.now()));
                reserve::reserve(desk).await?;
            }
        }
    }
}

async fn confirm(desk: &Desk) -> Confirmation {
    let now = desk.now();
    desk.write(|s| {
        s.confirming = true;
        let shipments = s.plan_shipments();
        let fact = Fact::new("confirmed", FactKind::OrderConfirmed, now).told_as(Topic::Confirmed);
        s.journal.confirm(Wish { shipments, fact });
    });
    desk.until(|s| s.journal.confirmation().is_some() && s.journal.is_settled()).await;
    desk.write(|s| {
        s.confirming = false;
        s.confirmed_at = Some(now);
        // they are numbered from one without gaps
        s.shipments_made = u32::try_from(s.life.shipments.len()).unwrap_or(u32::MAX);
    });
    desk.read(|s| s.journal.confirmation()).unwrap_or(Confirmation::Overtaken)
}

impl Order {
    /// Shipments for what is promised and in none yet, one per place, each with its exact share of the money: goods by value, the
    /// rest in proportion. What still waits keeps its share back.
    pub(super) fn plan_shipments(&self) -> Vec<Shipment> {
        let fresh = self.unassigned();
        let waiting = self.life.waiting.iter().map(|line| self.value(line)).fold(0, u64::saturating_add);
        let mut weights: Vec<u64> = fresh.iter().map(|a| self.value_of(&a.lines)).collect();
        if waiting > 0 {
            weights.push(waiting);
        }
        let shares = self.unassigned_money(|_| true).split(&weights);
        fresh
            .into_iter()
            .zip(shares)
            .zip(self.shipments_made + 1..)
            .map(|((allocation, amount), number)| Shipment {
                id: ShipmentId::of(&self.start.order_id, number),
                location: allocation.location,
                status: ShipmentStatus::Pending,
                lines: allocation.lines,
                amount,
                carrier: None,
                tracking_number: None,
                more_packages: Vec::new(),
                stray: false,
            })
            .collect()
    }

    /// Adds shipments for what is promised and in none yet.
    pub(super) fn add_shipments(&mut self) {
        let more = self.plan_shipments();
        self.shipments_made = self.shipments_made.saturating_add(u32::try_from(more.len()).unwrap_or(u32::MAX));
        self.life.shipments.extend(more);
    }

    /// Spreads the money anew over what has not left, after the order's total changed; and when nothing more will leave, says so.
    pub(super) fn share_out(&mut self) {
        let here = |s: &Shipment| !s.status.departed() && s.status != ShipmentStatus::Cancelled;
        let waiting = self.life.waiting.iter().map(|line| self.value(line)).fold(0, u64::saturating_add);
        let mut weights: Vec<u64> = self.life.shipments.iter().filter(|s| here(s)).map(|s| self.value_of(&s.lines)).collect();
        if waiting > 0 {
            weights.push(waiting);
        }
        let shares = self.unassigned_money(|s| !here(s)).split(&weights);
        for (shipment, amount) in self.life.shipments.iter_mut().filter(|s| here(s)).zip(shares) {
            shipment.amount = amount;
        }
        if self.life.status == Status::PartiallyShipped && self.life.all_departed() {
            // the edge exists
            let _ = self.life.become_(Status::Shipped);
        }
    }

    /// The sums of a changed order as its parcels carry them. What left stands at the price that it left at: if that is more than the
    /// new sums say, or nothing more is to come that could carry the rest, the fee for shipping gives way, and then the tax.
    pub(super) fn carried(&self, totals: Totals) -> Totals {
        let zero = Money::zero(totals.total.currency);
        let sum = self.life.live_shipments().fold(zero, |sum, s| sum.plus(s.amount).unwrap_or(sum));
        let open = totals.total.minor - sum.minor;
        let planned = self.life.waiting.is_empty() && self.life.live_shipments().next().is_some();
        if open == 0 || open > 0 && !planned {
            return totals;
        }
        let money = |minor| Money::new(minor, totals.total.currency);
        let shipping = (totals.shipping.minor - open).max(0);
        let tax = totals.tax.minor - (open - (totals.shipping.minor - shipping));
        Totals { shipping: money(shipping), tax: money(tax), total: sum, ..totals }
    }

    /// What the order costs beyond the shipments that `counts` says have their share.
    fn unassigned_money(&self, counts: impl Fn(&Shipment) -> bool) -> Money {
        let assigned = self.life.live_shipments().filter(|s| counts(s));
        let rest = assigned.fold(self.total, |rest, s| rest.minus(s.amount).unwrap_or(rest));
        if rest.minor > 0 { rest } else { Money::zero(self.total.currency) }
    }

    /// What is promised and in no shipment.
    fn unassigned(&self) -> Vec<Allocation> {
        let mut taken: BTreeMap<(&Location, &Sku), u32> = BTreeMap::new();
        for shipment in self.life.live_shipments().filter(|s| !self.is_replaced(&s.id)) {
            for line in &shipment.lines {
                *taken.entry((&shipment.location, &line.sku)).or_default() += line.quantity;
            }
        }
        let left = |location: &Location, line: &Quantity| -> Option<Quantity> {
            let gone = taken.get(&(location, &line.sku)).copied().unwrap_or(0);
            let quantity = line.quantity.saturating_sub(gone);
            (quantity > 0).then(|| Quantity { sku: line.sku.clone(), quantity })
        };
        self.allocations
            .iter()
            .map(|a| Allocation {
                location: a.location.clone(),
                lines: a.lines.iter().filter_map(|line| left(&a.location, line)).collect(),
            })
            .filter(|a| !a.lines.is_empty())
            .collect()
    }

    /// Whether everything that is promised is in some shipment, wherever it leaves from.
    pub(super) fn is_assigned(&self) -> bool {
        let promised = demand(self.allocations.iter().flat_map(|a| &a.lines).map(|l| (&l.sku, l.quantity)));
        let live = self.life.live_shipments().filter(|s| !self.is_replaced(&s.id));
        let assigned = demand(live.flat_map(|s| &s.lines).map(|l| (&l.sku, l.quantity)));
        promised.iter().all(|(sku, units)| assigned.get(sku).is_some_and(|assigned| assigned >= units))
    }

    fn value_of(&self, lines: &[Quantity]) -> u64 {
        lines.iter().map(|line| self.value(line)).fold(0, u64::saturating_add)
    }

    /// What some units are worth by the frozen prices, in minor units.
    fn value(&self, units: &Quantity) -> u64 {
        let (mut sum, mut ordered) = (0u64, 0u64);
        for line in self.lines.iter().filter(|line| line.sku == units.sku) {
            sum = sum.saturating_add(line.total.minor.unsigned_abs());
            ordered += u64::from(line.quantity);
        }
        u64::try_from(u128::from(sum) * u128::from(units.quantity) / u128::from(ordered.max(1))).unwrap_or(u64::MAX)
    }
}
