//! The order's own row.

#![allow(missing_docs, reason = "the macro generates constants that take no comment")]

use oms_contract::activity::{self, Append, Assess, Assessed, OpenedItem, Record, Recorded, Standing};
use oms_contract::definitions::markers;
use oms_contract::start::OrderLine;
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::reconciliation::revision;
use oms_gateways::replicas::Bell;
use oms_store::{Amend, AmendedLine, AskedOf, ItemResolution, ItemSource, NewItem, ResolvedItem, Store};
use std::sync::Arc;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::{Clock, failure};

/// Writes records.
pub struct OrderActivities {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// This program's build, noted with every record.
    pub build: String,
    /// Rung when there is something new of an order.
    pub bell: Bell,
}

fn recorded(row: oms_store::Recorded) -> Recorded {
    let oms_store::Recorded { rev, seq, status, lapsed, behind, confirmed_before: _ } = row;
    Recorded { rev, seq, status, lapsed, behind, standing: None }
}

/// What the rows and our ledgers say of an order whose run was reset.
fn standing(row: oms_store::Standing, asked: &AskedOf, order: &OrderId) -> Standing {
    let about = |prefix: &str, suffix: &str| -> Vec<String> {
        row.told.iter().filter_map(|key| key.strip_prefix(prefix)?.strip_suffix(suffix)).map(ToOwned::to_owned).collect()
    };
    let shipments = |names: Vec<String>| {
        row.life.shipments.iter().map(|s| s.id.clone()).filter(|id| names.iter().any(|n| *n == id.as_str())).collect::<Vec<_>>()
    };
    let taken = shipments([about("captured/", ""), about("waived/", "")].concat());
    let closed = shipments(about("closed/", ""));
    let edits = about("edit/", "/applied");
    let authorizations = asked.authorizations.iter().filter_map(|key| revision(key, order.as_str(), "authorize")).max();
    let booked = |id: &ShipmentId| {
        asked.bookings.iter().filter_map(|key| revision(key, id.as_str(), "book")).map(|r| (id.clone(), r)).collect::<Vec<_>>()
    };
    let bookings = row.life.shipments.iter().flat_map(|s| booked(&s.id)).collect();
    let lines = row.lines.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total }).collect();
    Standing {
        lines,
        total: row.totals.total,
        last_change: row.last_change,
        authorizations: authorizations.unwrap_or_default(),
        bookings,
        taken,
        closed,
        edits,
        life: row.life,
    }
}

fn amend(amend: activity::Amend) -> Amend {
    let lines = amend.lines.into_iter();
    Amend {
        edit: amend.edit,
        lines: lines.map(|line| AmendedLine { sku: line.sku, quantity: line.quantity, total: line.total }).collect(),
        totals: amend.totals,
    }
}

fn resolved(item: activity::ResolvedItem) -> ResolvedItem {
    let resolution = ItemResolution { action: item.action, reference: item.reference, reason: item.reason, actor: item.actor };
    ResolvedItem { item: item.item, resolution }
}

fn opened(order: &OrderId, item: OpenedItem) -> NewItem {
    NewItem {
        source: ItemSource::of_kind(&item.kind),
        id: item.id,
        kind: item.kind,
        order_id: Some(order.clone()),
        shipment_id: None,
        subject: item.subject,
        detail: item.detail,
    }
}

#[activities]
impl OrderActivities {
    /// Write the order's row, timeline, outbox and messages.
    #[activity(definition = markers::Record)]
    pub async fn record(self: Arc<Self>, _ctx: ActivityContext, input: Record) -> Result<Recorded, ActivityError> {
        let record = oms_store::Record {
            order_id: input.order_id,
            rev: input.rev,
            life: input.life,
            facts: input.facts,
            scans: input.scans.into_iter().map(|heard| (heard.scan, heard.result)).collect(),
            confirm: input.confirm,
            amend: input.amend.map(amend),
            address: input.address,
            resolved: input.resolved.into_iter().map(resolved).collect(),
            build: Some(self.build.clone()),
        };
        let written = self.store.record(&record, (self.clock)()).await.map_err(failure::store)?;
        self.bell.ring(&record.order_id);
        let mut answer = recorded(written);
        if written.confirmed_before {
            let order = &record.order_id;
            let row = self.store.standing(order).await.map_err(failure::store)?;
            let asked = self.store.asked_of(order).await.map_err(failure::store)?;
            answer.standing = Some(Box::new(standing(row, &asked, order)));
        }
        Ok(answer)
    }

    /// Let the shop's rules look at the order.
    #[activity(definition = markers::Assess)]
    pub async fn assess(self: Arc<Self>, _ctx: ActivityContext, input: Assess) -> Result<Assessed, ActivityError> {
        let evidence = self.store.evidence(&input.order_id, input.rules.window()).await.map_err(failure::store)?;
        Ok(Assessed { reasons: input.rules.judge(&evidence) })
    }

    /// Add to a closed order's story.
    #[activity(definition = markers::Append)]
    pub async fn append(self: Arc<Self>, _ctx: ActivityContext, input: Append) -> Result<Recorded, ActivityError> {
        let change = oms_store::Append {
            opened: input.opened.into_iter().map(|item| opened(&input.order_id, item)).collect(),
            settled: input.settled,
            resolved: input.resolved.into_iter().map(resolved).collect(),
            attention: input.attention,
            shipment_status: input.shipment,
            quiet: false,
        };
        let scan = input.scan.map(|heard| (heard.scan, heard.result));
        let row = self.store.append(&input.order_id, &input.facts, change, scan, (self.clock)()).await;
        let row = row.map_err(failure::store)?;
        self.bell.ring(&input.order_id);
        Ok(recorded(row))
    }
}
