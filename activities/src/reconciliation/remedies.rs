//! What is done about a finding. Every remedy may be carried out twice.

use oms_contract::activity::effect_key;
use oms_contract::reconciliation::SettleFindings;
use oms_contract::start::{OrderLine, OrderStart, OrderTerms, SHAPE, Unwind};
use oms_domain::ids::{OrderId, ShipmentId};
use oms_domain::reconciliation::{Action, Finding, Remedy, revision};
use oms_gateways::carrier::CancelRequest;
use oms_gateways::payment::{Void, VoidRequest};
use oms_store::{ItemSource, NewItem};
use temporalio_sdk::activities::ActivityError;

use super::ReconciliationActivities;
use crate::failure;

const LOST: &str = "the order's run was gone: ended by hand, or lost";

impl ReconciliationActivities {
    /// Does what a finding needs; answers what was done.
    pub(super) async fn remedy(&self, finding: &Finding, settle: &SettleFindings) -> Result<Action, ActivityError> {
        match &finding.remedy {
            Remedy::Review => self.queue(finding).await,
            Remedy::Release { order } => {
                let released = self.store.release(order, (self.clock)()).await.map_err(failure::store)?;
                Ok(if released { Action::Repaired } else { Action::None })
            }
            Remedy::Void { order, revision } => self.void(order, *revision).await,
            Remedy::CancelBooking { shipment, revision } => self.cancel_booking(shipment, *revision).await,
            Remedy::Restart { order } => self.restart(finding, order, settle).await,
        }
    }

    pub(super) async fn queue(&self, finding: &Finding) -> Result<Action, ActivityError> {
        let item = NewItem {
            id: finding.item(),
            kind: finding.kind.as_str().to_owned(),
            order_id: finding.order.clone(),
            shipment_id: None,
            subject: finding.subject.clone(),
            detail: finding.detail.clone(),
            source: ItemSource::Reconciliation,
        };
        self.store.open_item(&item, (self.clock)()).await.map_err(failure::store)?;
        Ok(Action::Queued)
    }

    /// Under the same key as the order's own undo, so both together let go once.
    async fn void(&self, order: &OrderId, revision: u32) -> Result<Action, ActivityError> {
        let now = (self.clock)();
        let key = effect_key(order.as_str(), "void", revision);
        let authorize_key = effect_key(order.as_str(), "authorize", revision);
        let request = VoidRequest { key: key.clone(), authorize_key, order_id: order.clone(), now };
        let payment_id = match self.gateway.void(request).await.map_err(failure::gateway)? {
            Void::Released { payment_id } => Some(payment_id),
            Void::Nothing => None,
        };
        self.store.record_void(order, &key, payment_id.as_deref(), now).await.map_err(failure::store)?;
        Ok(if payment_id.is_some() { Action::Repaired } else { Action::None })
    }

    async fn cancel_booking(&self, shipment: &ShipmentId, revision: u32) -> Result<Action, ActivityError> {
        let now = (self.clock)();
        let book_key = effect_key(shipment.as_str(), "book", revision);
        let key = effect_key(shipment.as_str(), "cancel", revision);
        let request = CancelRequest { key, book_key: book_key.clone(), shipment_id: shipment.clone(), now };
        self.carrier.cancel(request).await.map_err(failure::gateway)?;
        self.store.record_booking_cancelled(&book_key, now).await.map_err(failure::store)?;
        Ok(Action::Repaired)
    }

    /// Starts the order's run again to take back what the lost one had begun. One that ended well although its order has not is a
    /// person's, and so is one whose record lags behind: what has left cannot be taken back.
    async fn restart(&self, finding: &Finding, order: &OrderId, settle: &SettleFindings) -> Result<Action, ActivityError> {
        let Some(start) = self.unwinding(order, settle).await? else { return Ok(Action::None) };
        if self.store.is_past_undo(order).await.map_err(failure::store)? {
            let detail = format!("{}, although a parcel has left or money was taken", finding.detail);
            return self.queue(&Finding { detail, ..finding.clone() }).await;
        }
        match self.runs.restart(start).await.map_err(failure::engine)? {
            true => Ok(Action::Repaired),
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
