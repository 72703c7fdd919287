//! What the demo shows: progress while it runs, and a table of fates at the end.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::{Fate, Job, Refunded};
use crate::admin::table::Table;
use crate::admin::{say, story};
use crate::http::{Order, TimelineEntry};

/// Progress: on a terminal a line that moves, elsewhere one line per ended order.
pub(super) struct Board {
    bar: ProgressBar,
}

impl Board {
    /// A board for so many orders.
    pub(super) fn new(orders: usize) -> Self {
        let bar = ProgressBar::new(orders as u64);
        if !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:24}] {pos}/{len} done  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// Tells that an order is done.
    pub(super) fn done(&self, job: &Job, order: &Order) {
        let seconds = (order.updated_at - order.placed_at).as_seconds_f64();
        let line = format!("{:>5.1} s  {:<28}  {:<26}  {}", seconds, job.fate.title(), order.standing(), order.id);
        if self.bar.is_hidden() { say(&line) } else { self.bar.suspend(|| say(&line)) }
    }

    /// Shows how many orders stand where.
    pub(super) fn standing<'a>(&self, done: usize, orders: impl Iterator<Item = &'a Order>) {
        self.bar.set_position(done as u64);
        self.bar.set_message(counts(orders));
    }

    /// Takes the moving line away.
    pub(super) fn close(self) {
        self.bar.finish_and_clear();
    }
}

/// `2 placed · 3 confirmed`, in the order of an order's life.
fn counts<'a>(orders: impl Iterator<Item = &'a Order>) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for order in orders {
        let rank = oms_domain::order::Status::parse(&order.status).map_or(u8::MAX, oms_domain::order::Status::rank);
        *counts.entry((rank, order.status.as_str())).or_default() += 1;
    }
    counts.iter().map(|((_, status), n)| format!("{n} {status}")).collect::<Vec<_>>().join(" · ")
}

/// An order of the demo at its end.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// What was wanted.
    pub(super) job: Job,
    /// How it stands, if it was placed at all.
    pub(super) order: Option<Order>,
    /// Messages sent about it.
    pub(super) messages: usize,
    /// What happened to it, if it was to take a bend.
    pub(super) timeline: Vec<TimelineEntry>,
    /// What is not as it must be.
    pub(super) wrong: Vec<String>,
}

impl Outcome {
    /// Judges how an order stands. Its timeline is looked at only where a bend is expected.
    pub(super) fn judge(job: Job, order: Option<Order>, messages: usize, timeline: Vec<TimelineEntry>) -> Self {
        let wrong = match (&order, job.fate.ending()) {
            (None, _) => vec!["it was not placed".to_owned()],
            (Some(order), None) => {
                let waits = order.status == "placed" && order.payment.status == "requires_action";
                if waits { Vec::new() } else { vec![format!("waiting for its customer expected, found {}", order.standing())] }
            }
            (Some(order), Some(ending)) => {
                let arrived = order.shipments.iter().filter(|s| s.status == "delivered").count();
                let captured = if ending.paid { order.totals.total.minor } else { 0 };
                let refunded = match order.totals.refunded.minor {
                    0 => Refunded::Nothing,
                    some if some < order.totals.captured.minor => Refunded::Part,
                    _ => Refunded::All,
                };
                let mut wrong = Vec::new();
                let mut expect = |what: &str, expected: String, found: String| {
                    if expected != found {
                        wrong.push(format!("{what} {expected} expected, found {found}"));
                    }
                };
                expect("status", ending.status.to_owned(), order.status.clone());
                expect("reason", ending.reason.unwrap_or("none").to_owned(), order.reason.clone().unwrap_or("none".to_owned()));
                expect("delivered parcels", ending.parcels.to_string(), arrived.to_string());
                expect("captured", captured.to_string(), order.totals.captured.minor.to_string());
                expect("refunded", format!("{:?}", ending.refunded), format!("{refunded:?}"));
                if let Some(fact) = job.fate.bend() {
                    let there = timeline.iter().any(|entry| entry.kind == fact);
                    expect(fact, "once".to_owned(), if there { "once" } else { "never" }.to_owned());
                }
                expect("needs attention", false.to_string(), order.needs_attention.to_string());
                expect("told its customer", true.to_string(), (messages > 0).to_string());
                wrong
            }
        };
        Self { job, order, messages, timeline, wrong }
    }
}

/// The table of fates.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new(&["order", "fate", "status", "reason", ">total", ">captured", ">refunded", ">messages", ""]);
    for outcome in outcomes {
        let title = outcome.job.fate.title().to_owned();
        let mark = if outcome.wrong.is_empty() { "ok" } else { "WRONG" }.to_owned();
        match &outcome.order {
            None => table.row(["-".to_owned(), title, "not placed".to_owned()]),
            Some(order) => table.row([
                order.id.clone(),
                title,
                order.status.clone(),
                order.reason.clone().unwrap_or_default(),
                order.totals.total.to_string(),
                order.totals.captured.to_string(),
                order.totals.refunded.to_string(),
                outcome.messages.to_string(),
                mark,
            ]),
        }
    }
    let mut text = table.render();
    for outcome in outcomes.iter().filter(|o| !o.wrong.is_empty()) {
        let id = outcome.order.as_ref().map_or("-", |o| o.id.as_str());
        text.push_str(&format!("WRONG: order {id} ({}): {}\n", outcome.job.fate.title(), outcome.wrong.join(", ")));
    }
    text
}

/// One order for each bend, with its timeline. Empty if no order took one.
pub(super) fn tour(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (bend, _) in Fate::BENDS {
        let shown = outcomes.iter().filter(|o| o.job.fate == bend).find_map(|o| Some((o.order.as_ref()?, &o.timeline)));
        if let Some((order, timeline)) = shown {
            text.push_str(&format!(
                "\n{}: order {} is {}\n{}",
                bend.title(),
                order.id,
                order.standing(),
                story(&order.id, timeline)
            ));
        }
    }
    text
}

/// Whether an order has come as far as its fate goes.
pub(super) fn is_done(fate: Fate, order: &Order) -> bool {
    match fate {
        Fate::Waiting => order.payment.status == "requires_action" || order.has_ended(),
        _ => order.has_ended(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::jobs;
    use super::*;
    use serde_json::json;

    fn order(status: &str, captured: i64, parcels: usize) -> Order {
        let eur = |minor: i64| json!({"amount": minor, "currency": "EUR"});
        let shipments: Vec<_> =
            (1..=parcels).map(|n| json!({"id": format!("o-{n}"), "location": "berlin", "status": "delivered"})).collect();
        serde_json::from_value(json!({
            "id": "0f5a-demo", "status": status, "placed_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:02Z",
            "totals": {"subtotal": eur(50), "shipping": eur(30), "tax": eur(20), "total": eur(100), "authorized": eur(100),
                       "captured": eur(captured), "refunded": eur(0)},
            "payment": {"status": "requires_action"}, "shipments": shipments
        }))
        .unwrap()
    }

    #[test]
    fn an_order_is_judged_by_its_fate() {
        let delivered = jobs(1, false, true).remove(0);
        let judge = |order, messages| Outcome::judge(delivered.clone(), order, messages, Vec::new()).wrong;
        assert!(judge(Some(order("completed", 100, 1)), 3).is_empty());
        assert_eq!(judge(Some(order("completed", 99, 1)), 3), ["captured 100 expected, found 99"]);
        assert_eq!(judge(Some(order("completed", 100, 2)), 3), ["delivered parcels 1 expected, found 2"]);
        assert_eq!(judge(Some(order("completed", 100, 1)), 0), ["told its customer true expected, found false"]);
        assert_eq!(judge(Some(order("shipped", 100, 1)), 3), ["status completed expected, found shipped"]);
        assert_eq!(judge(None, 0), ["it was not placed"]);
        let waiting = jobs(2, true, true).remove(1);
        assert!(Outcome::judge(waiting.clone(), Some(order("placed", 0, 0)), 0, Vec::new()).wrong.is_empty());
        assert!(!Outcome::judge(waiting, Some(order("rejected", 0, 0)), 1, Vec::new()).wrong.is_empty());
    }

    fn fact(kind: &str) -> TimelineEntry {
        serde_json::from_value(json!({"type": kind, "at": "2026-01-01T00:00:01.5Z", "reason": "why"})).unwrap()
    }

    #[test]
    fn a_bend_must_have_been_taken_and_the_tour_shows_it() {
        let paid_back = jobs(24, false, true).into_iter().find(|j| j.fate == Fate::PaidBack).unwrap();
        let mut refunded = order("completed", 100, 1);
        let judge = |order: &Order, facts| Outcome::judge(paid_back.clone(), Some(order.clone()), 3, facts);
        let never = ["refunded Part expected, found Nothing", "refund.completed once expected, found never"];
        assert_eq!(judge(&refunded, Vec::new()).wrong, never);
        refunded.totals.refunded.minor = 40;
        let right = judge(&refunded, vec![fact("order.placed"), fact("refund.completed")]);
        assert!(right.wrong.is_empty(), "{:?}", right.wrong);
        let tour = tour(&[right]);
        assert!(tour.contains("paid back in part: order 0f5a-demo is completed\n"), "{tour}");
        assert!(tour.contains("refund.completed") && tour.contains("(why)"), "{tour}");
        refunded.totals.refunded.minor = 100;
        assert_eq!(judge(&refunded, vec![fact("refund.completed")]).wrong, ["refunded Part expected, found All"]);
    }

    #[test]
    fn the_table_shouts_what_is_wrong() {
        let job = jobs(1, false, true).remove(0);
        let outcome = |order, messages| Outcome::judge(job.clone(), order, messages, Vec::new());
        let text = table(&[outcome(Some(order("completed", 0, 1)), 2), outcome(None, 0)]);
        assert!(tour(&[outcome(None, 0)]).is_empty(), "a plain fate is no bend");
        assert!(
            text.contains("0f5a-demo  delivered  completed") && text.contains("1.00 EUR  0.00 EUR  0.00 EUR         2  WRONG"),
            "{text}"
        );
        assert!(text.contains("WRONG: order 0f5a-demo (delivered): captured 100 expected, found 0"), "{text}");
        assert!(text.contains("WRONG: order - (delivered): it was not placed"), "{text}");
    }

    #[test]
    fn counts_follow_an_orders_life() {
        let orders = [order("completed", 0, 0), order("placed", 0, 0), order("completed", 0, 0)];
        assert_eq!(counts(orders.iter()), "1 placed · 2 completed");
    }
}
