//! From placed to confirmed: stock promised, money held, both on record.

use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::ShipmentId;
use oms_domain::message::Topic;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use oms_domain::stock::Allocation;
use std::collections::BTreeMap;

use oms_contract::start::OrderStart;

use super::clerk::Confirmation;
use super::desk::Desk;
use super::{Stop, pay, reserve};

/// Arranges stock and money and confirms. A promise that ran out meanwhile is asked for anew, never silently extended.
pub(super) async fn arrange(desk: &Desk) -> Result<(), Stop> {
    let mut revision = 1;
    let mut allocations = reserve::reserve(desk, revision).await?;
    pay::authorize(desk).await?;
    loop {
        match confirm(desk, &allocations).await {
            Confirmation::Done => return Ok(()),
            Confirmation::Overtaken => return Err(Stop::Cancelled),
            Confirmation::Lapsed => {
                desk.note(Fact::new(format!("lapsed/{revision}"), FactKind::StockLapsed, desk.now()));
                revision += 1;
                allocations = reserve::reserve(desk, revision).await?;
            }
        }
    }
}

async fn confirm(desk: &Desk, allocations: &[Allocation]) -> Confirmation {
    let shipments = shipments(&desk.start(), allocations);
    let now = desk.now();
    desk.write(|s| {
        s.journal.note(Fact::new("confirmed", FactKind::OrderConfirmed, now).told_as(Topic::Confirmed));
        s.journal.confirm(shipments);
    });
    desk.until(|s| s.journal.confirmation().is_some() && s.journal.is_settled()).await;
    desk.read(|s| s.journal.confirmation()).unwrap_or(Confirmation::Overtaken)
}

/// One shipment per allocation, each with its exact share of the total: goods by value, the rest in proportion.
fn shipments(start: &OrderStart, allocations: &[Allocation]) -> Vec<Shipment> {
    let mut price: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for line in &start.lines {
        let sum = price.entry(&line.sku).or_default();
        sum.0 = sum.0.saturating_add(line.total.minor.unsigned_abs());
        sum.1 += u64::from(line.quantity);
    }
    let value = |allocation: &Allocation| -> u64 {
        allocation
            .lines
            .iter()
            .map(|line| {
                let (sum, units) = price.get(&line.sku).copied().unwrap_or((0, 1));
                u64::try_from(u128::from(sum) * u128::from(line.quantity) / u128::from(units.max(1))).unwrap_or(u64::MAX)
            })
            .fold(0, u64::saturating_add)
    };
    let shares = start.total.split(&allocations.iter().map(value).collect::<Vec<_>>());
    allocations
        .iter()
        .zip(shares)
        .zip(1..)
        .map(|((allocation, amount), number)| Shipment {
            id: ShipmentId::of(&start.order_id, number),
            location: allocation.location.clone(),
            status: ShipmentStatus::Pending,
            lines: allocation.lines.clone(),
            amount,
            carrier: None,
            tracking_number: None,
            more_packages: Vec::new(),
        })
        .collect()
}
