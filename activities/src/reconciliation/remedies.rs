//! What is done about a finding. Every remedy may be carried out twice.

use oms_contract::activity::effect_key;
use oms_contract::reconciliation::SettleFindings;
use oms_contract::start::{OrderLine, OrderStart, OrderTerms, SHAPE, Unwind};
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::reconciliation::{Action, Finding, Remedy, revision};
use oms_domain::review::Resolution;
use oms_gateways::carrier::CancelRequest;
use oms_gateways::payment::{Void, VoidRequest};
use oms_store::{Append, ItemSource, ItemState, NewItem, ReviewItem};
use temporalio_sdk::activities::ActivityError;

use super::ReconciliationActivities;
use crate::failure;

/// Who acts, as the timeline shows it.
const ACTOR: &str = "reconciliation";
const LOST: &str = "the order's run was gone: ended by hand, or lost";

/// What was done about a finding.
fn fact(key: String, kind: FactKind, finding: &Finding, now: Instant) -> Fact {
    Fact::new(key, kind, now).by(ACTOR).because(finding.detail.as_str())
}

/// Whether a person has dealt with exactly this.
fn is_accepted(item: &ReviewItem, finding: &Finding) -> bool {
    let again = item.resolution.as_ref().is_none_or(|how| how.action == Resolution::Retry);
    item.state == ItemState::Resolved && item.detail == finding.detail && !again
}

impl ReconciliationActivities {
    /// Does what a finding needs; answers what was done, and the review item if it is a person's.
    pub(super) async fn remedy(
        &self,
        finding: &Finding,
        settle: &SettleFindings,
    ) -> Result<(Action, Option<String>), ActivityError> {
        let action = match &finding.remedy {
            Remedy::Review => return self.queue(finding).await,
            Remedy::Restart { order } => return self.restart(finding, order, settle).await,
            Remedy::Release { order } => self.release(finding, order).await?,
            Remedy::Void { order, revision } => self.void(finding, order, *revision).await?,
            Remedy::CancelBooking { shipment, revision } => self.cancel_booking(finding, shipment, *revision).await?,
        };
        Ok((action, None))
    }

    /// Gives a finding to a person, once; and once more if the item closed by itself, or if the figures are no longer those that the
    /// person has dealt with.
    pub(super) async fn queue(&self, finding: &Finding) -> Result<(Action, Option<String>), ActivityError> {
        for episode in 1u32.. {
            let id = finding.item(episode);
            match self.store.review_item(&id).await.map_err(failure::store)? {
                None => self.open(finding, id.clone()).await?,
                Some(known) if known.state == ItemState::Open => {}
                Some(known) if is_accepted(&known, finding) => return Ok((Action::None, None)),
                Some(_) => continue,
            }
            return Ok((Action::Queued, Some(id)));
        }
        Ok((Action::None, None))
    }

    async fn open(&self, finding: &Finding, id: String) -> Result<(), ActivityError> {
        let item = NewItem {
            id,
            kind: finding.kind.as_str().to_owned(),
            order_id: finding.order.clone(),
            shipment_id: None,
            subject: finding.subject.clone(),
            detail: finding.detail.clone(),
            source: ItemSource::Reconciliation,
        };
        self.store.open_item(&item, (self.clock)()).await.map_err(failure::store)?;
        Ok(())
    }

    /// What was done, on the timeline of the order, if there is such an order.
    async fn tell(&self, finding: &Finding, fact: Fact) -> Result<(), ActivityError> {
        let Some(order) = &finding.order else { return Ok(()) };
        let told = self.store.append(order, &[fact], Append { quiet: true, ..Append::default() }, None, (self.clock)()).await;
        told.map(|_| ()).map_err(failure::store)
    }

    async fn release(&self, finding: &Finding, order: &OrderId) -> Result<Action, ActivityError> {
        let now = (self.clock)();
        let fact = fact(format!("reconciled/release/{}", now.timestamp_micros()), FactKind::StockReleased, finding, now);
        let released = self.store.release_orphan(order, &fact, now).await.map_err(failure::store)?;
        Ok(if released { Action::Repaired } else { Action::None })
    }

    /// Under the same key as the order's own undo, so both together let go once.
    async fn void(&self, finding: &Finding, order: &OrderId, revision: u32) -> Result<Action, ActivityError> {
        let now = (self.clock)();
        let key = effect_key(order.as_str(), "void", revision);
        let authorize_key = effect_key(order.as_str(), "authorize", revision);
        let request = VoidRequest { key: key.clone(), authorize_key, order_id: order.clone(), now };
        let payment_id = match self.gateway.void(request).await.map_err(failure::gateway)? {
            Void::Released { payment_id } => Some(payment_id),
            Void::Nothing => None,
        };
        self.store.record_void(order, &key, payment_id.as_deref(), now).await.map_err(failure::store)?;
        if payment_id.is_none() {
            return Ok(Action::None);
        }
        self.tell(finding, fact(format!("reconciled/void/{revision}"), FactKind::PaymentVoided, finding, now)).await?;
        Ok(Action::Repaired)
    }

    async fn cancel_booking(&self, finding: &Finding, shipment: &ShipmentId, revision: u32) -> Result<Action, ActivityError> {
        let now = (self.clock)();
        let book_key = effect_key(shipment.as_str(), "book", revision);
        let key = effect_key(shipment.as_str(), "cancel", revision);
        let request = CancelRequest { key, book_key: book_key.clone(), shipment_id: shipment.clone(), now };
        self.carrier.cancel(request).await.map_err(failure::gateway)?;
        self.store.record_booking_cancelled(&book_key, now).await.map_err(failure::store)?;
        let name = format!("reconciled/cancel/{shipment}/{revision}");
        self.tell(finding, fact(name, FactKind::ShipmentBookingCancelled, finding, now).about(shipment)).await?;
        Ok(Action::Repaired)
    }

    /// Starts the order's run again to take back what the lost one had begun. One that ended well although its order has not is a
    /// person's, and so is one whose record lags behind: what has left cannot be taken back.
    async fn restart(
        &self,
        finding: &Finding,
        order: &OrderId,
        settle: &SettleFindings,
    ) -> Result<(Action, Option<String>), ActivityError> {
        let Some(start) = self.unwinding(order, settle).await? else { return Ok((Action::None, None)) };
        if self.store.is_past_undo(order).await.map_err(failure::store)? {
            let detail = format!("{}, although a parcel has left or money was taken", finding.detail);
            return self.queue(&Finding { detail, ..finding.clone() }).await;
        }
        match self.runs.restart(start).await.map_err(failure::engine)? {
            // the run itself tells that it takes back, and why
            true => Ok((Action::Repaired, None)),
            false => self.queue(finding).await,
        }
    }

    /// What the order's new run is started with; none if there is nothing to take back any more, or no longer safely.
    async fn unwinding(&self, order: &OrderId, settle: &SettleFindings) -> Result<Option<OrderStart>, ActivityError> {
        let row = self.store.order(order).await.map_err(failure::store)?;
        let books = self.store.order_books(std::slice::from_ref(order)).await.map_err(failure::store)?.remove(order).flatten();
        let (Some(row), Some(books)) = (row, books) else { return Ok(None) };
        if books.life.status.is_terminal() || books.life.departed() {
            return Ok(None);
        }
        let terms = self.store.order_terms(order).await.map_err(failure::store)?;
        let before = || OrderTerms { patience: settle.patience, ..OrderTerms::default() };
        let terms = terms.map_or_else(before, |kept| OrderTerms::read(&kept));
        let asked = self.store.asked_of(order).await.map_err(failure::store)?;
        let known = asked.authorizations.iter().filter_map(|key| revision(key, order.as_str(), "authorize")).max();
        // one more may have been asked for whose answer nobody wrote down: undoing what never was is harmless
        let authorizations = (1..=known.unwrap_or_default() + 1).collect();
        let mut bookings = Vec::new();
        for shipment in &books.life.shipments {
            let known = asked.bookings.iter().filter_map(|key| revision(key, shipment.id.as_str(), "book")).max();
            bookings.extend((1..=known.unwrap_or_default() + 1).map(|revision| (shipment.id.clone(), revision)));
        }
        let lines = row.lines.iter().map(|l| OrderLine { sku: l.sku.clone(), quantity: l.quantity, total: l.total });
        let unwind = Unwind { life: books.life, rev: books.rev, authorizations, bookings, reason: LOST.to_owned() };
        Ok(Some(OrderStart {
            order_id: row.id.clone(),
            placed_at: row.placed_at,
            currency: row.currency,
            lines: lines.collect(),
            total: row.totals.total,
            method: row.payment_method.clone(),
            rules: row.price_rules,
            on_shortage: row.on_shortage,
            strategy: terms.strategy,
            risk: terms.risk,
            policies: terms.policies,
            shape: SHAPE,
            unwind: Some(unwind),
            deadlines: terms.deadlines,
            patience: terms.patience,
            search_attributes: true,
        }))
    }
}
