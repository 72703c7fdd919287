//! The clerk: the one who writes the order's records, one after the other.

use oms_contract::activity::{Amend, HeardScan, Record, Recorded, ResolvedItem, Standing};
use oms_contract::definitions::Orders;
use oms_contract::names::Queue;
use oms_contract::search;
use oms_contract::start::OrderStart;
use oms_domain::event::Fact;
use oms_domain::ids::ShipmentId;
use oms_domain::life::Life;
use oms_domain::order::Status;
use oms_domain::shipment::{Shipment, ShipmentStatus};
use temporalio_workflow::WorkflowCancellationToken;

use super::desk::Desk;
use super::undo::Pending;
use super::{Order, watch};
use crate::policy;

/// Patch: parcels that left and arrived while the record that confirms the order was on its way count for its status.
const OVERTAKEN: &str = "overtaken";

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

/// What the record that confirms an order says.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// The plan.
    pub(super) shipments: Vec<Shipment>,
    /// Told only with that record: a wish that lapses or is overtaken has confirmed nothing.
    pub(super) fact: Fact,
}

/// What has happened and is not on record yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    rev: u64,
    facts: Vec<Fact>,
    scans: Vec<HeardScan>,
    dirty: bool,
    writing: bool,
    confirming: Option<Wish>,
    /// The shipments that the record on its way confirms.
    coming: Vec<Shipment>,
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
    pub(super) fn confirm(&mut self, wish: Wish) {
        self.confirming = Some(wish);
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

    /// The shipments that are confirmed by the record on its way, if it confirms.
    pub(super) fn coming(&self) -> &[Shipment] {
        &self.coming
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
    confirming: Option<Wish>,
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
        let mut facts = std::mem::take(&mut journal.facts);
        match &confirming {
            Some(wish) => {
                journal.coming.clone_from(&wish.shipments);
                life.status = Status::Confirmed;
                life.shipments.clone_from(&wish.shipments);
                facts.push(wish.fact.clone());
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
            facts,
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
        let coming = std::mem::take(&mut journal.coming);
        if written.lapsed || written.behind {
            // what was not written goes into the next one
            journal.amend = journal.amend.take().or(entry.record.amend);
            journal.address = journal.address.take().or(entry.record.address);
        }
        if written.lapsed {
            let wish = entry.confirming.map(|wish| wish.fact.key).unwrap_or_default();
            journal.facts.splice(0..0, entry.record.facts.into_iter().filter(|fact| fact.key != wish));
            journal.scans.splice(0..0, entry.record.scans);
            journal.resolved.splice(0..0, entry.record.resolved);
            journal.confirmation = Some(Confirmation::Lapsed);
            // a report of what nobody can have seen was of nothing
            let void = |shipment: &ShipmentId| coming.iter().any(|s| s.id == *shipment);
            journal.scans.retain(|heard| !void(&heard.scan.shipment));
            journal.facts.retain(|fact| !fact.shipment.as_ref().is_some_and(void));
            self.life.shipments.retain(|s| !void(&s.id));
            return;
        }
        journal.redirecting = journal.address.is_some();
        if let Some(wish) = entry.confirming {
            match &written.standing {
                Some(standing) => self.take_up(standing),
                // a report may have come before this
                None if !self.life.shipments.is_empty() => {}
                None => self.life.shipments = wish.shipments,
            }
            if self.life.status.can_become(Status::Confirmed) {
                self.life.status = Status::Confirmed;
            } else if written.standing.is_none() {
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

    /// Takes up what an earlier life of this run had done: a reset run has forgotten it, and what it has planned for itself is void.
    fn take_up(&mut self, standing: &Standing) {
        let stops = self.is_stopping().then_some(self.life.status);
        let own = std::mem::replace(&mut self.life, standing.life.clone());
        self.life.status = match (stops, self.life.status) {
            (Some(stops), _) => stops,
            // what has ended is seen through to its end once more
            (None, status) if status.is_terminal() => Status::Shipped,
            (None, status) => status,
        };
        // a worker may have died over this very record, and what ended since is in this run only
        let (order_id, over) = (&self.start.order_id, &self.over);
        self.life.holds.retain(|hold| !over.contains(hold.id.as_str()));
        self.life.attention.retain(|flag| !over.contains(&flag.item(order_id)));
        for shipment in own.shipments {
            // reported while the record was on its way
            if let Some(known) =
                self.life.shipments.iter_mut().find(|s| s.id == shipment.id && s.status.rank() < shipment.status.rank())
            {
                *known = shipment;
            }
        }
        self.life.heard = own.heard;
        self.life.editing = own.editing;
        for hold in own.holds {
            if !self.life.holds.iter().any(|known| known.id == hold.id) {
                self.life.holds.push(hold);
            }
        }
        for flag in own.attention {
            self.life.raise(flag);
        }
        self.lines.clone_from(&standing.lines);
        self.total = standing.total;
        self.changes = self.changes.max(standing.last_change);
        self.authorizations = self.authorizations.max(standing.authorizations);
        self.taken.clone_from(&standing.taken);
        self.closed.clone_from(&standing.closed);
        self.edits_made.clone_from(&standing.edits);
        self.adopted = self.life.shipments.iter().map(|s| s.id.clone()).collect();
        let called_off = |s: &&Shipment| s.stray || s.status == ShipmentStatus::Cancelled;
        self.replaced = self.life.shipments.iter().filter(called_off).map(|s| s.id.clone()).collect();
        for (shipment, revision) in &standing.bookings {
            if !self.has_departed(shipment) {
                self.register(Pending::CancelBooking { shipment: shipment.clone(), revision: *revision });
            }
        }
        if let Some(payment_id) = self.payment_id.clone().filter(|_| !self.life.is_funded()) {
            // the row stands between two holds, and this run has just made the second one
            let (held, expires_at) = (own.payment.authorized, own.payment.authorization_expires_at);
            self.hold(self.authorization, payment_id, held, expires_at, self.authorized_at);
        }
        self.journal.dirty = true;
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
        if let Some(status) = desk.read(|s| s.life.overtaken())
            && desk.ctx().patched(OVERTAKEN)
        {
            desk.write(|s| {
                s.life.status = status;
                s.journal.dirty = true;
            });
        }
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
