//! The watchdog: looks from outside at orders that should have moved. An order watches itself, but not when its run was ended by hand,
//! when its workflow task fails again and again, or when nobody answers for it. Each such order becomes one review item, which settles
//! by itself once the order is well again. So does a shipment that no warehouse takes over in time.

use futures::StreamExt;
use oms_contract::names::{order_of_workflow, order_workflow};
use oms_contract::workflow::{Order, StatusQuery};
use oms_domain::Instant;
use oms_domain::ids::{OrderId, ShipmentId, derive};
use oms_domain::review::{NO_SCAN, STUCK};
use oms_store::{
    ItemFilter, ItemSource, ItemState, NO_ACKNOWLEDGEMENT, NewItem, ReviewItem, SILENT, StoreError, StoredOrder, TERMINATED,
    WORKFLOW_TASK_FAILING,
};
use oms_temporal::describe::{CallError, describe, reported_failing};
use std::collections::BTreeMap;
use std::time::Duration;
use temporalio_client::{RetryOptions, RpcOptions, WorkflowQueryOptions};
use tokio_util::sync::CancellationToken;

use crate::{Parts, stories};

/// One question to the engine may take this long.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Orders asked at once.
const AT_ONCE: usize = 32;
/// Orders looked at per round.
const ROUND_MAX: u32 = 400;
/// A run that is well is not asked again for this long, unless its order moves.
const CALM_MAX: Duration = Duration::from_secs(300);
/// An intake whose run has not recorded anything for this long is looked at.
const UNRECORDED: Duration = Duration::from_secs(20);
/// Items per page.
const PAGE: u32 = 100;

/// Watches until told to stop.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let every = parts.watch_every;
    let mut watchdog = Watchdog { parts, calm: BTreeMap::new(), doubted: BTreeMap::new() };
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(watchdog.round()).await {
            tracing::warn!(%error, "the watchdog could not look at all orders; it looks again soon");
        }
    }
}

/// What a look at an order found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// Nothing is wrong, and nothing is to be asked again before then.
    Well(Instant),
    /// It is past its deadline and nobody answers for it: trouble if it stays so.
    Doubtful(String),
    /// A person is needed.
    Trouble(&'static str, String),
    /// The engine gave no answer, which says nothing about the order.
    Unknown,
}

struct Watchdog {
    parts: Parts,
    /// Orders that were well, at which version and until when that is good enough.
    calm: BTreeMap<OrderId, (u64, Instant)>,
    /// Orders that were doubtful in the last round, at which version.
    doubted: BTreeMap<OrderId, u64>,
}

impl Watchdog {
    /// One thing that cannot be looked at does not keep the others from being looked at.
    async fn round(&mut self) -> Result<(), StoreError> {
        let now = (self.parts.clock)();
        let orders = self.orders(now).await;
        let hand_offs = self.hand_offs(now).await;
        let settled = self.settle(now).await;
        orders.and(hand_offs).and(settled)
    }

    async fn orders(&mut self, now: Instant) -> Result<(), StoreError> {
        self.calm.retain(|_, (_, until)| *until > now);
        let suspects = self.suspects(now).await?;
        let looked = looks(&self.parts, suspects).await;
        let mut doubted = BTreeMap::new();
        let mut outcome = Ok(());
        for (id, rev, finding) in looked {
            let (kind, detail) = match finding {
                Finding::Well(until) => {
                    self.calm.insert(id, (rev, until));
                    continue;
                }
                Finding::Unknown => continue,
                Finding::Trouble(kind, detail) => (kind, detail),
                Finding::Doubtful(detail) => {
                    doubted.insert(id.clone(), rev);
                    if self.doubted.get(&id) != Some(&rev) {
                        continue;
                    }
                    (SILENT, detail)
                }
            };
            match self.flag(&id, rev, kind, detail, now).await {
                Ok(true) => {}
                // somebody knows, or has decided: others come first
                Ok(false) => drop(self.calm.insert(id, (rev, now + CALM_MAX))),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        self.doubted = doubted;
        outcome
    }

    /// Orders to look at: overdue ones, intakes without a record, and those of which the engine itself reports that they fail.
    async fn suspects(&self, now: Instant) -> Result<Vec<(OrderId, u64)>, StoreError> {
        let calm = |id: &OrderId, rev: u64| self.calm.get(id).is_some_and(|(at, _)| *at == rev);
        // those that are well stay on the list; more of them than this are not skipped but seen later
        let overdue = self.parts.store.overdue_orders(now, 10 * ROUND_MAX).await?;
        let mut suspects: BTreeMap<OrderId, u64> =
            overdue.into_iter().filter(|o| !calm(&o.id, o.rev)).take(ROUND_MAX as usize).map(|o| (o.id, o.rev)).collect();
        let unrecorded = self.parts.store.unstarted(now - UNRECORDED, PAGE).await?;
        suspects.extend(unrecorded.into_iter().filter(|row| !calm(&row.id, 0)).map(|row| (row.id, 0)));
        match reported_failing(&self.parts.client, "Order", PAGE as i32, ASK_MAX).await {
            Ok(workflows) => {
                for id in workflows.unwrap_or_default().iter().filter_map(|id| order_of_workflow(id)) {
                    match self.parts.store.order(&id).await {
                        Ok(Some(row)) => drop(suspects.insert(id, row.rev)),
                        Ok(None) => {}
                        Err(StoreError::Corrupt { .. }) => drop(suspects.insert(id, 0)),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the engine was not asked for failing runs"),
        }
        Ok(suspects.into_iter().collect())
    }

    /// Opens an item about an order; `false`: there is one, open or resolved.
    async fn flag(&self, id: &OrderId, rev: u64, kind: &str, detail: String, now: Instant) -> Result<bool, StoreError> {
        let item = NewItem {
            id: String::new(),
            kind: kind.to_owned(),
            order_id: Some(id.clone()),
            shipment_id: None,
            subject: id.to_string(),
            detail,
            source: ItemSource::Watchdog,
        };
        let opened = match open(&self.parts, item.clone(), rev, now).await {
            // a row that cannot be read cannot be written to either: the item names the order all the same
            Err(StoreError::Corrupt { .. }) => open(&self.parts, NewItem { order_id: None, ..item }, rev, now).await?,
            opened => opened?,
        };
        if opened {
            tracing::warn!(order_id = %id, kind, "an order needs a person");
        }
        Ok(opened)
    }

    /// Tells the warehouse once more of shipments that it has not taken over in half of its time, and calls a person for those that it has
    /// not in all of it.
    async fn hand_offs(&self, now: Instant) -> Result<(), StoreError> {
        let Some(most) = self.parts.handoff_max else { return Ok(()) };
        for waiting in self.parts.store.to_hand_off_again(now - most / 2, PAGE).await? {
            self.parts.store.hand_off_again(&waiting, now).await?;
        }
        let mut after: Option<ShipmentId> = None;
        loop {
            let page = self.parts.store.unacknowledged(now - most, after.as_ref(), PAGE).await?;
            for row in &page {
                let item = NewItem {
                    id: String::new(),
                    kind: NO_ACKNOWLEDGEMENT.to_owned(),
                    order_id: Some(row.order_id.clone()),
                    shipment_id: Some(row.shipment_id.clone()),
                    subject: row.shipment_id.to_string(),
                    detail: "a courier is booked, and the warehouse has neither acknowledged nor scanned the shipment".to_owned(),
                    source: ItemSource::Watchdog,
                };
                open(&self.parts, item, 0, now).await?;
            }
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => after = Some(last.shipment_id.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Settles the watchdog's own items whose cause is over.
    async fn settle(&self, now: Instant) -> Result<(), StoreError> {
        let filter = ItemFilter { state: Some(ItemState::Open), source: Some(ItemSource::Watchdog), ..Default::default() };
        let mut after = None;
        let mut outcome = Ok(());
        loop {
            let page = self.parts.store.review_items(&filter, after.as_ref(), PAGE).await?;
            let parts = &self.parts;
            let asked = page.clone().into_iter().map(|item| async move { (is_over(parts, &item).await, item.id) });
            let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
            while let Some((over, id)) = answers.next().await {
                let settled = match over {
                    Ok(true) => parts.store.settle_item(&id, now).await.map(|_| ()),
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                };
                outcome = outcome.and(settled);
            }
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => after = Some(last.cursor()),
                _ => return outcome,
            }
        }
    }
}

/// Opens an item once per version of its order, and once more if it settled by itself and the trouble came back. One that a person
/// resolved stays closed.
pub(crate) async fn open(parts: &Parts, mut item: NewItem, rev: u64, now: Instant) -> Result<bool, StoreError> {
    for episode in 1u32.. {
        item.id = derive(&["review", "watchdog", &item.kind, &item.subject, &rev.to_string(), &episode.to_string()]).to_string();
        match parts.store.review_item(&item.id).await? {
            None => return parts.store.open_item(&item, now).await,
            Some(known) if known.state == ItemState::Settled => {}
            Some(_) => return Ok(false),
        }
    }
    Ok(false)
}

async fn looks(parts: &Parts, suspects: Vec<(OrderId, u64)>) -> Vec<(OrderId, u64, Finding)> {
    let look = |(id, rev): (OrderId, u64)| async move {
        let finding = look(parts, &id).await;
        (id, rev, finding)
    };
    futures::stream::iter(suspects).map(look).buffer_unordered(AT_ONCE).collect().await
}

/// Asks the engine about an order's run, and the run itself.
async fn look(parts: &Parts, id: &OrderId) -> Finding {
    let run = match describe(&parts.client, &order_workflow(id), ASK_MAX).await {
        Ok(run) => run,
        Err(CallError::Refused(reason) | CallError::Unanswered(reason)) => {
            tracing::debug!(reason, order_id = %id, "the engine was not asked for a run");
            return Finding::Unknown;
        }
    };
    match run {
        Some(run) if run.is_failing() => Finding::Trouble(WORKFLOW_TASK_FAILING, run.in_words()),
        Some(run) if run.ending.is_none() => answer(parts, id).await,
        closed => {
            // a run that closes by itself has written its last record before
            let words = closed.as_ref().map_or_else(|| "it has no run".to_owned(), |run| run.in_words());
            match parts.store.order(id).await {
                Ok(Some(row)) if is_promised(&row, closed.is_some()) => {
                    Finding::Trouble(TERMINATED, format!("{words}, and the order is {}", row.life.status))
                }
                Ok(_) => Finding::Well((parts.clock)() + CALM_MAX),
                Err(StoreError::Corrupt { .. }) => Finding::Trouble(TERMINATED, format!("{words}, and its row cannot be read")),
                Err(_) => Finding::Unknown,
            }
        }
    }
}

/// Whether an order without an open run is one too few. An intake that never had a run is the sweeper's.
fn is_promised(row: &StoredOrder, had_run: bool) -> bool {
    !row.life.status.is_terminal() && (row.rev > 0 || had_run)
}

/// Asks the run itself.
async fn answer(parts: &Parts, id: &OrderId) -> Finding {
    let rpc = RpcOptions::builder().timeout(ASK_MAX).retry_options(RetryOptions::no_retries()).build();
    let options = WorkflowQueryOptions::builder().rpc_options(rpc).build();
    let handle = parts.client.get_workflow_handle::<Order>(order_workflow(id));
    let asked = tokio::time::timeout(ASK_MAX, handle.query(StatusQuery, (), options)).await;
    let now = (parts.clock)();
    let Ok(Ok(answer)) = asked else {
        return Finding::Doubtful("the order is past its deadline, and no worker answers for it".to_owned());
    };
    let flagged = answer.life.attention.iter().any(|flag| [STUCK, NO_SCAN].contains(&flag.code.as_str()));
    match answer.life.due_at {
        Some(due) if due > now => Finding::Well(due.min(now + CALM_MAX)),
        Some(_) if !flagged && !answer.status.is_terminal() => {
            Finding::Doubtful("the order is past its deadline, and its run does not see that".to_owned())
        }
        _ => Finding::Well(now + CALM_MAX),
    }
}

/// Whether what an item is about is over. A closed or healed order is; one of which nothing is known now is not.
async fn is_over(parts: &Parts, item: &ReviewItem) -> Result<bool, StoreError> {
    if let Some(over) = stories::is_over(parts, item).await {
        return over;
    }
    if let Some(shipment) = &item.shipment_id {
        return Ok(!parts.store.awaits_acknowledgement(shipment).await?);
    }
    // without an order if its row could not be read
    let Some(id) = item.order_id.clone().or_else(|| OrderId::parse(item.subject.clone()).ok()) else { return Ok(false) };
    match parts.store.order(&id).await {
        Ok(row) if row.as_ref().is_none_or(|row| row.life.status.is_terminal()) => return Ok(true),
        Ok(_) | Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(match look(parts, &id).await {
        Finding::Well(_) => true,
        Finding::Doubtful(_) => item.kind != SILENT,
        Finding::Trouble(kind, _) => item.kind != kind,
        Finding::Unknown => false,
    })
}
