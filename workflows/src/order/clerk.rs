//! The clerk: the one who writes the order's records, one after the other.

use oms_contract::activity::{Amend, HeardScan, Record, Recorded, ResolvedItem};
use oms_contract::definitions::Orders;
use oms_contract::names::Queue;
use oms_contract::search;
use oms_contract::start::OrderStart;
use oms_domain::event::Fact;
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::shipment::Shipment;
use temporalio_workflow::WorkflowCancellationToken;

use super::desk::Desk;
use super::{Order, watch};
use crate::policy;

/// What became of a wish to confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// On record; the reservation no longer expires.
    Done,
    /// The reservation had run out; nothing was written.
    Lapsed,
    /// A cancel came first.
    Overtaken,
}

/// What has happened and is not on record yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    rev: u64,
    facts: Vec<Fact>,
    scans: Vec<HeardScan>,
    dirty: bool,
    writing: bool,
    confirming: Option<Vec<Shipment>>,
    confirmation: Option<Confirmation>,
    amend: Option<Amend>,
    address: Option<String>,
    redirecting: bool,
    resolved: Vec<ResolvedItem>,
    attributes: Option<Attributes>,
}

/// Search attributes as last written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attributes {
    status: Status,
    reason: Option<&'static str>,
    holds: Vec<String>,
    attention: bool,
}

impl Attributes {
    fn of(life: &Life) -> Self {
        let mut holds: Vec<String> = life.holds.iter().map(|h| h.kind.to_string()).collect();
        holds.sort();
        holds.dedup();
        Self { status: life.status, reason: life.reason.map(|r| r.as_str()), holds, attention: !life.attention.is_empty() }
    }
}

impl Journal {
    /// The journal of a new order, which the intake has put on record as `placed`.
    pub(super) fn opening(placed: Fact) -> Self {
        let attributes = Attributes { status: Status::Placed, reason: None, holds: Vec::new(), attention: false };
        Self { facts: vec![placed], attributes: Some(attributes), ..Self::default() }
    }

    /// A fact that may wait for the next record.
    pub(super) fn note(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    /// A fact that wants a record now.
    pub(super) fn publish(&mut self, fact: Fact) {
        self.facts.push(fact);
        self.dirty = true;
    }

    /// A report and what became of it.
    pub(super) fn hear(&mut self, heard: HeardScan) {
        self.scans.push(heard);
        self.dirty = true;
    }

    /// Asks for the record that confirms the order.
    pub(super) fn confirm(&mut self, shipments: Vec<Shipment>) {
        self.confirming = Some(shipments);
        self.confirmation = None;
        self.dirty = true;
    }

    /// The order's lines and sums change with the next record.
    pub(super) fn amend(&mut self, amend: Amend) {
        self.amend = Some(amend);
        self.dirty = true;
    }

    /// The parcel's address changes with the next record.
    pub(super) fn redirect(&mut self, change: String) {
        self.address = Some(change);
        self.redirecting = true;
        self.dirty = true;
    }

    /// Whether a new address is not on record yet.
    pub(super) fn is_redirecting(&self) -> bool {
        self.redirecting
    }

    /// A person resolved a review item.
    pub(super) fn resolve(&mut self, item: ResolvedItem) {
        self.resolved.push(item);
        self.dirty = true;
    }

    /// The journal of a run that goes on where an earlier one was ended by hand.
    pub(super) fn resuming(rev: u64) -> Self {
        Self { rev, dirty: true, ..Self::default() }
    }

    pub(super) fn confirmation(&self) -> Option<Confirmation> {
        self.confirmation
    }

    /// The newest record that was begun.
    pub(super) fn rev(&self) -> u64 {
        self.rev
    }

    /// The record that will show what happens now.
    pub(super) fn next_rev(&self) -> u64 {
        self.rev + 1
    }

    /// Whether no record is on its way.
    pub(super) fn is_settled(&self) -> bool {
        !self.writing
    }

    /// Whether everything is on record.
    pub(super) fn is_written(&self) -> bool {
        !self.dirty && !self.writing
    }
}

/// What one record is made of, and what it confirms.
struct Entry {
    record: Record,
    confirming: Option<Vec<Shipment>>,
}

impl Order {
    fn next_entry(&mut self) -> Entry {
        let due = watch::due(self);
        let journal = &mut self.journal;
        journal.dirty = false;
        journal.writing = true;
        journal.rev += 1;
        let mut life = self.life.clone();
        let confirming = journal.confirming.take().filter(|_| life.status.can_become(Status::Confirmed));
        match &confirming {
            Some(shipments) => {
                life.status = Status::Confirmed;
                life.shipments.clone_from(shipments);
            }
            None if journal.confirmation.is_none() && life.shipments.is_empty() => {
                journal.confirmation = Some(Confirmation::Overtaken);
            }
            None => {}
        }
        life.due_at = due;
        let record = Record {
            order_id: self.start.order_id.clone(),
            rev: journal.rev,
            life,
            facts: std::mem::take(&mut journal.facts),
            scans: std::mem::take(&mut journal.scans),
            confirm: confirming.is_some(),
            amend: journal.amend.take(),
            address: journal.address.take(),
            resolved: std::mem::take(&mut journal.resolved),
        };
        Entry { record, confirming }
    }

    fn file(&mut self, entry: Entry, written: &Recorded) {
        let journal = &mut self.journal;
        journal.writing = false;
        if written.lapsed {
            // nothing was written: what this record held goes into the next one
            journal.facts.splice(0..0, entry.record.facts);
            journal.scans.splice(0..0, entry.record.scans);
            journal.resolved.splice(0..0, entry.record.resolved);
            journal.amend = journal.amend.take().or(entry.record.amend);
            journal.address = journal.address.take().or(entry.record.address);
            journal.confirmation = Some(Confirmation::Lapsed);
            return;
        }
        journal.redirecting = journal.address.is_some();
        if let Some(shipments) = entry.confirming {
            self.life.shipments = shipments;
            if self.life.status.can_become(Status::Confirmed) {
                self.life.status = Status::Confirmed;
            } else {
                // a cancel came while the record was on its way; it undoes what is now known to exist
                self.journal.dirty = true;
            }
            self.journal.confirmation = Some(Confirmation::Done);
        }
        if written.status == Status::Cancelling && !self.is_stopping() {
            // a cancel was on record before its worker died: the row never moves back, so the run follows
            let _ = self.life.cancel();
        }
        if written.rev > self.journal.rev {
            // this run was reset: go on from where the row is, and show it this run's state under a newer number
            self.journal.rev = written.rev;
            self.journal.dirty = true;
        }
    }
}

/// Writes records as long as the run lives.
pub(super) async fn keep_records(desk: Desk) {
    loop {
        desk.until(|s| s.journal.dirty).await;
        let entry = desk.write(Order::next_entry);
        show(&desk, &entry.record.life);
        let written = write(&desk, &entry.record).await;
        desk.write(|s| s.file(entry, &written));
    }
}

/// On the workflow's own worker if that works within seconds, else by the queue, without end. The last record goes by the queue at once:
/// a local one is written before the engine has the command that led to it, and if the worker dies in between, the row would have ended
/// while its run knows nothing of it.
async fn write(desk: &Desk, record: &Record) -> Recorded {
    let OrderStart { patience, shape, .. } = desk.start();
    let last = record.life.status.is_terminal() && shape >= 2;
    if !patience.local_record.is_zero() && !last {
        let local = policy::local_record(&patience, WorkflowCancellationToken::new());
        if let Ok(written) = desk.ctx().execute_local_activity(Orders::record, record.clone(), local).await {
            return written;
        }
    }
    desk.must(Queue::Orders, "write the order's record", || Orders::record, record.clone()).await
}

/// Shows operators the order as this record shows it to readers.
fn show(desk: &Desk, life: &Life) {
    let now = Attributes::of(life);
    let before = desk.write(|s| s.journal.attributes.replace(now.clone()));
    if !desk.start().search_attributes || before.as_ref() == Some(&now) {
        return;
    }
    let mut updates = Vec::new();
    if before.as_ref().map(|b| b.status) != Some(now.status) {
        updates.push(search::ORDER_STATUS.value_set(now.status.as_str().to_owned()));
    }
    if let Some(reason) = now.reason {
        updates.push(search::ORDER_REASON.value_set(reason.to_owned()));
    }
    if before.as_ref().map(|b| &b.holds) != Some(&now.holds) {
        updates.push(search::HOLD_KINDS.value_set(now.holds));
    }
    if before.as_ref().map(|b| b.attention) != Some(now.attention) {
        updates.push(search::NEEDS_ATTENTION.value_set(now.attention));
    }
    desk.ctx().upsert_search_attributes(updates);
}
