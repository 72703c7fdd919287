//! Reading one page of books, ours and theirs.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use oms_contract::reconciliation::{Compare, Source};
use oms_domain::Instant;
use oms_domain::ids::OrderId;
use oms_domain::order::Status;
use oms_domain::reconciliation::{Finding, OrderBooks, booking, needs_money, order, payment, promise, unreadable};
use oms_domain::returning::{ReturnId, ReturnState};
use oms_gateways::payment::{Authorization, Operation};
use oms_store::OpenCursor;
use std::collections::BTreeMap;
use temporalio_sdk::activities::ActivityError;

use super::ReconciliationActivities;
use crate::failure;

/// Questions to the gateway under way at once.
const AT_ONCE: usize = 8;

/// One reading of a page.
pub(super) struct Page {
    /// Entries on it.
    pub(super) entries: u64,
    /// What does not fit together.
    pub(super) findings: Vec<Finding>,
    /// Behind which entry the next page begins.
    pub(super) next: Option<String>,
}

impl ReconciliationActivities {
    /// Reads a page of the books that the comparison has come to.
    pub(super) async fn read(&self, page: &Compare) -> Result<Page, ActivityError> {
        match page.source {
            Source::Reservations => self.read_promises(page).await,
            Source::Payments => self.read_payments(page).await,
            Source::Bookings => self.read_bookings(page).await,
            Source::Orders => self.read_orders(page).await,
        }
    }

    async fn read_promises(&self, page: &Compare) -> Result<Page, ActivityError> {
        let after = page.after.as_deref().map(OrderId::parse).transpose().map_err(|_| bad_cursor())?;
        let promises = self.store.promised(after.as_ref(), page.limit).await.map_err(failure::store)?;
        let next = promises.last().filter(|_| promises.len() >= page.limit as usize).map(|p| p.order.to_string());
        let findings = promises.iter().filter_map(|p| promise(p, page.begun.before)).collect();
        Ok(Page { entries: promises.len() as u64, findings, next })
    }

    async fn read_payments(&self, page: &Compare) -> Result<Page, ActivityError> {
        let theirs = self.gateway.payments(page.begun.since, page.after.as_deref(), page.limit).await;
        let theirs = theirs.map_err(failure::gateway)?;
        let ids: Vec<OrderId> = theirs.entries.iter().filter_map(|p| p.order.clone()).collect();
        let orders = self.store.order_books(&ids).await.map_err(failure::store)?;
        let sums = self.store.payment_sums(&ids).await.map_err(failure::store)?;
        let judge = |entry| {
            let p: &oms_domain::reconciliation::GatewayPayment = entry;
            let ours = sums.get(&p.payment_id).copied().unwrap_or_default();
            let order = of(&orders, p.order.as_ref()).ok()?;
            payment(p, order, ours, page.begun.before)
        };
        let findings = theirs.entries.iter().filter_map(judge).collect();
        Ok(Page { entries: theirs.entries.len() as u64, findings, next: theirs.next })
    }

    async fn read_bookings(&self, page: &Compare) -> Result<Page, ActivityError> {
        let theirs = self.carrier.bookings(page.begun.since, page.after.as_deref(), page.limit).await;
        let theirs = theirs.map_err(failure::gateway)?;
        let ids: Vec<OrderId> = theirs.entries.iter().filter_map(|b| b.shipment.order().ok()).collect();
        let orders = self.store.order_books(&ids).await.map_err(failure::store)?;
        let judge = |b| {
            let b: &oms_domain::reconciliation::CarrierBooking = b;
            let order = of(&orders, b.shipment.order().ok().as_ref()).ok()?;
            booking(b, order, page.begun.before)
        };
        let mut findings = Vec::new();
        for finding in theirs.entries.iter().filter_map(judge) {
            if finding.order.is_some() || !self.is_of_a_return(&finding.subject).await? {
                findings.push(finding);
            }
        }
        Ok(Page { entries: theirs.entries.len() as u64, findings, next: theirs.next })
    }

    /// Whether a parcel is of a return that may still use it, or did.
    async fn is_of_a_return(&self, parcel: &str) -> Result<bool, ActivityError> {
        let Ok(id) = ReturnId::parse(parcel) else { return Ok(false) };
        let known = self.store.return_(&id).await.map_err(failure::store)?;
        Ok(known.is_some_and(|r| !matches!(r.body.state, ReturnState::Rejected | ReturnState::Expired)))
    }

    async fn read_orders(&self, page: &Compare) -> Result<Page, ActivityError> {
        let after = page.after.as_deref().map(|text| read_cursor(text).ok_or_else(bad_cursor)).transpose()?;
        let orders = self.store.open_orders_after(after.as_ref(), page.limit).await.map_err(failure::store)?;
        let next = orders.last().filter(|_| orders.len() >= page.limit as usize).map(|(cursor, _)| write_cursor(cursor));
        let entries = orders.len() as u64;
        let mut findings: Vec<Finding> = Vec::new();
        let mut old: Vec<OrderBooks> = Vec::new();
        for (cursor, books) in orders {
            match books {
                Some(books) => old.extend(Some(books).filter(|o| o.updated_at <= page.begun.before && o.rev > 0)),
                None => findings.push(unreadable(&cursor.id, cursor.placed_at)),
            }
        }
        let ids: Vec<OrderId> = old.iter().map(|o| o.id.clone()).collect();
        let running = self.runs.open(&ids).await.map_err(failure::engine)?;
        let mut asked: Vec<BoxFuture<'_, Result<Option<Finding>, ActivityError>>> = Vec::new();
        for books in &old {
            asked.push(self.judge(books, running.contains(&books.id), page.begun.before).boxed());
        }
        let judged: Vec<Option<Finding>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        findings.extend(judged.into_iter().flatten());
        Ok(Page { entries, findings, next })
    }

    async fn judge(&self, books: &OrderBooks, runs: bool, before: Instant) -> Result<Option<Finding>, ActivityError> {
        let funded = !runs || !needs_money(books) || self.is_funded(&books.id).await?;
        Ok(order(books, runs, funded, before))
    }

    /// Whether the gateway itself says that it holds or took money for the order.
    async fn is_funded(&self, order: &OrderId) -> Result<bool, ActivityError> {
        for key in self.store.asked_of(order).await.map_err(failure::store)?.authorizations {
            let known = self.gateway.lookup(&key).await.map_err(failure::gateway)?;
            if matches!(known, Some(Operation::Authorize(Authorization::Held { .. }))) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What we hold of an entry's order; an error: its row cannot be read, so that nothing can be said about the entry.
fn of<'a>(
    orders: &'a BTreeMap<OrderId, Option<OrderBooks>>,
    order: Option<&OrderId>,
) -> Result<Option<&'a OrderBooks>, RowUnreadable> {
    match order.and_then(|id| orders.get(id)) {
        Some(Some(books)) => Ok(Some(books)),
        Some(None) => Err(RowUnreadable),
        None => Ok(None),
    }
}

struct RowUnreadable;

fn bad_cursor() -> ActivityError {
    failure::missing("the cursor of a comparison cannot be read")
}

fn write_cursor(cursor: &OpenCursor) -> String {
    format!("{}|{}|{}", cursor.status, cursor.placed_at.to_rfc3339(), cursor.id)
}

fn read_cursor(text: &str) -> Option<OpenCursor> {
    let mut parts = text.splitn(3, '|');
    let status = Status::parse(parts.next()?)?;
    let placed_at: Instant = parts.next()?.parse().ok()?;
    Some(OpenCursor { status, placed_at, id: OrderId::parse(parts.next()?).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back() {
        let placed_at: Instant = "2026-01-31T12:00:00.123456Z".parse().unwrap();
        let cursor = OpenCursor { status: Status::InReview, placed_at, id: OrderId::from_key("t", "c", "k") };
        assert_eq!(read_cursor(&write_cursor(&cursor)), Some(cursor));
        assert_eq!(read_cursor("confirmed|yesterday|some-order"), None);
    }
}
