//! An order waits for stock: without polling, as long as its policy says, and then its customer is asked.

use oms_contract::activity::Amend;
use oms_contract::start::OrderLine;
use oms_domain::Instant;
use oms_domain::event::{Fact, FactKind};
use oms_domain::message::Topic;
use oms_domain::money::Money;
use oms_domain::order::Status;
use oms_domain::pricing::Totals;
use oms_domain::shortage::{Decision, Question, ShortagePolicy};
use oms_domain::stock::Quantity;
use std::collections::BTreeMap;

use super::desk::{Desk, after};
use super::reserve::{Change, change, look_again};
use super::{Order, Stop};

const PART: &str = "stock";

/// Waits until the order may go on: until everything is promised, or, if the available part may ship, until something is.
pub(super) async fn fill(desk: &Desk) -> Result<(), Stop> {
    let enough = |s: &Order| {
        let some = s.start.on_shortage.policy == ShortagePolicy::ShipAvailable && !s.allocations.is_empty();
        s.life.waiting.is_empty() || some
    };
    if desk.read(enough) {
        return Ok(());
    }
    let now = desk.now();
    desk.write(|s| {
        // the edges from placed and in_review exist; a cancel is seen by the wait below
        if s.life.become_(Status::Backordered).is_ok() {
            s.journal.publish(Fact::new("backordered", FactKind::OrderBackordered, now).told_as(Topic::Backordered));
        }
    });
    wait(desk, enough).await
}

/// Waits for what is missing of an order of which a part ships already.
pub(super) async fn rest(desk: &Desk) -> Result<(), Stop> {
    wait(desk, |s| s.life.waiting.is_empty()).await
}

/// Waits for goods until `enough` have come, asking the customer each time the patience has run out.
async fn wait(desk: &Desk, enough: impl Fn(&Order) -> bool + Copy) -> Result<(), Stop> {
    let start = desk.start();
    let patience = start.on_shortage.max.unwrap_or(start.deadlines.backorder_max);
    loop {
        let until = after(desk.now(), patience);
        let asks = arrives(desk, until, "goods that are not in stock", enough).await?;
        if !asks {
            return Ok(());
        }
        match ask(desk, enough).await? {
            None => return Ok(()),
            Some(Decision::Wait) => {}
            // all came in the same moment
            Some(Decision::ShipAvailable) if desk.read(|s| s.life.waiting.is_empty()) => return Ok(()),
            Some(Decision::ShipAvailable) => return give_up(desk, false).await,
            Some(Decision::Cancel) => return give_up(desk, true).await,
        }
    }
}

/// Waits for goods; answers whether `until` came before `enough` of them.
async fn arrives(desk: &Desk, until: Instant, on: &str, enough: impl Fn(&Order) -> bool) -> Result<bool, Stop> {
    desk.write(|s| s.still_until = Some(until));
    let mut seen = 0;
    let late = loop {
        desk.waiting_until(PART, on, Some(until));
        let moved = |s: &Order| {
            !s.life.editing && (s.arrivals > seen || enough(s)) || s.decision.is_some() || s.life.status == Status::Cancelling
        };
        let came = desk.until_or_at(until, "the wait for goods ends", moved).await;
        if desk.read(|s| s.life.status == Status::Cancelling) {
            desk.waiting(PART, "");
            return Err(Stop::Cancelled);
        }
        if !came || desk.read(|s| s.decision.is_some()) {
            break true;
        }
        seen = desk.read(|s| s.arrivals);
        if !desk.read(&enough) {
            look_again(desk).await?;
        }
        if desk.read(|s| !s.life.editing && enough(s)) {
            break false;
        }
    };
    desk.write(|s| s.still_until = None);
    desk.waiting(PART, "");
    desk.moved();
    Ok(late)
}

/// Asks the customer; `None` when the goods came before the answer.
async fn ask(desk: &Desk, enough: impl Fn(&Order) -> bool) -> Result<Option<Decision>, Stop> {
    let start = desk.start();
    let now = desk.now();
    let until = after(now, start.deadlines.decision);
    let default = start.policies.shortage;
    let round = desk.write(|s| {
        s.questions += 1;
        let round = s.questions;
        s.decision = None;
        s.life.question = Some(Question { round, asked_at: now, until, default });
        let fact = Fact::new(format!("question/{round}"), FactKind::OrderQuestionAsked, now).told_as(Topic::Question);
        s.journal.publish(fact);
        round
    });
    let late = arrives(desk, until, "the customer, to decide about the wait", enough).await;
    let answer = desk.write(|s| {
        s.life.question = None;
        s.decision.take()
    });
    let late = late?;
    if let Some(answer) = answer {
        // what the customer was told to have decided holds, even if the goods came in the same moment
        return Ok(Some(answer));
    }
    if !late {
        return Ok(None);
    }
    let reason = format!("{}: nobody decided in time", default.as_str());
    desk.publish(Fact::new(format!("question/{round}/decided"), FactKind::OrderQuestionDecided, desk.now()).because(reason));
    Ok(Some(default))
}

/// Gives the missing goods up; the whole order, if it is to ship nothing else.
async fn give_up(desk: &Desk, all: bool) -> Result<(), Stop> {
    loop {
        desk.until(|s| !s.life.editing).await;
        let nothing = desk.read(|s| s.allocations.is_empty() || (all && s.life.live_shipments().next().is_none()));
        if nothing {
            desk.write(|s| s.give_up());
            return Err(Stop::Cancelled);
        }
        desk.write(|s| s.life.editing = true);
        let kept = desk.read(|s| sums(s.allocations.iter().flat_map(|a| &a.lines)));
        let lines = kept.iter().map(|(sku, quantity)| Quantity { sku: sku.clone(), quantity: *quantity }).collect();
        let outcome = change(desk, lines, ShortagePolicy::Reject).await;
        desk.write(|s| s.life.editing = false);
        match outcome {
            Change::Done => break,
            // we promise less than we thought: see what there is, and give the rest up
            Change::OutOfStock => look_again(desk).await?,
            Change::Released => {
                desk.until(|s| s.life.status == Status::Cancelling).await;
                return Err(Stop::Cancelled);
            }
        }
    }
    let now = desk.now();
    desk.write(|s| s.drop_missing(now));
    Ok(())
}

fn sums<'a>(lines: impl Iterator<Item = &'a Quantity>) -> BTreeMap<oms_domain::ids::Sku, u32> {
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry(line.sku.clone()).or_insert(0) += line.quantity;
    }
    sums
}

impl Order {
    /// The order ends, because nothing of it will ship.
    fn give_up(&mut self) {
        let now = self.moved_at;
        // a cancel that came first has said so already
        if self.life.status != Status::Cancelling && self.life.cancel().is_ok() {
            let fact = Fact::new("cancelling", FactKind::OrderCancelling, now).because("the goods did not come in time");
            self.journal.publish(fact);
        }
    }

    /// Takes what is not promised off the lines, the last ones first, and off what is to be paid.
    fn drop_missing(&mut self, now: Instant) {
        let mut kept = sums(self.allocations.iter().flat_map(|a| &a.lines));
        let lines: Vec<OrderLine> = self
            .lines
            .iter()
            .map(|line| {
                let left = kept.entry(line.sku.clone()).or_default();
                let quantity = line.quantity.min(*left);
                *left -= quantity;
                reduced(line, quantity)
            })
            .collect();
        let before = self.total;
        let totals = self.totals_of(&lines);
        self.life.dropped = true;
        self.lines.clone_from(&lines);
        self.total = totals.total;
        if !self.life.shipments.is_empty() {
            self.add_shipments();
        }
        self.share_out();
        let totals = self.carried(totals);
        self.total = totals.total;
        let key = format!("dropped/{}", self.changes);
        let mut fact = Fact::new(key, FactKind::OrderLinesDropped, now).told_as(Topic::Edited);
        fact.amount = before.minus(totals.total).ok();
        self.journal.publish(fact);
        self.journal.amend(Amend { edit: None, lines, totals });
    }

    fn totals_of(&self, lines: &[OrderLine]) -> Totals {
        let zero = Money::zero(self.total.currency);
        let subtotal = lines.iter().fold(zero, |sum, line| sum.plus(line.total).unwrap_or(sum));
        let rules = self.start.rules.unwrap_or_default();
        // smaller than sums that were computed before, so it cannot overflow
        rules.on(subtotal).unwrap_or(Totals { subtotal, shipping: zero, tax: zero, total: subtotal, discount: None })
    }
}

/// A line of fewer units, with its exact share of the price.
fn reduced(line: &OrderLine, quantity: u32) -> OrderLine {
    let shares = line.total.split(&[u64::from(quantity), u64::from(line.quantity - quantity)]);
    let total = shares.first().copied().unwrap_or(line.total);
    OrderLine { sku: line.sku.clone(), quantity, total }
}
