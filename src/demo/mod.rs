//! `oms demo`: the whole stack, orders of every fate, and proof at the end. Its actors know nothing but the public API.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::say;
use crate::audit::{Desk, Outside, Verdict, prove};
use crate::http::{Api, ApiError, ApiTarget, Call, Order, Page, TimelineEntry};
use crate::settings::Settings;
use crate::stack::{Stack, StackOptions};
use crate::{signals, simulate};

mod actor;
mod bends;
mod board;
mod plan;
mod shop;

use actor::{Played, Stage};
use board::{Board, Outcome};
use plan::Job;

/// Orders being placed at once.
const PLACING: usize = 8;
/// How long a parcel stays at one step.
const STEP: Duration = Duration::from_millis(400);
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// The demo gives up waiting after this and so much more per order.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
const ENDED_WITHIN_PER_ORDER: Duration = Duration::from_secs(1);
/// Last messages and events may take so long after the last order has ended.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// Shipping fee and tax of the demo's shop, unless configured.
const SHIPPING_MINOR: i64 = 490;
const TAX_BPS: u32 = 1_900;
/// Pause between confirmation and booking, so that the demo's actors can still change an order, unless configured.
const CHANGE_WINDOW: Duration = Duration::from_secs(2);
/// Timelines read at once.
const READS_AT_ONCE: usize = 8;
/// Exit code after Ctrl-C before the verdict, as shells have it.
const INTERRUPTED: u8 = 130;

/// Run the whole stack with sample orders of every fate, and prove the books.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many orders to place.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) orders: u32,
    /// End after the verdict instead of serving on; the exit code tells whether all is well.
    #[arg(long)]
    pub(crate) exit: bool,
}

/// Runs the demo. Errors: the stack does not start, or a part of it fails.
pub(crate) async fn run(args: DemoArgs, mut settings: Settings) -> anyhow::Result<ExitCode> {
    if settings.layers().is_default("pricing.shipping_minor") {
        settings.pricing.shipping_minor = SHIPPING_MINOR;
    }
    if settings.layers().is_default("pricing.tax_bps") {
        settings.pricing.tax_bps = TAX_BPS;
    }
    if settings.layers().is_default("deadlines.change_window") {
        settings.deadlines.change_window = CHANGE_WINDOW;
    }
    let review = settings.risk.is_off();
    if review {
        settings.risk.amount_min = Some(plan::REVIEWED_FROM);
    }
    let outside = Outside::of(&settings)?;
    let stop = signals::stop_token()?;
    let started = Instant::now();
    let options = StackOptions::whole(Arc::new(|line: &str| eprintln!("{line}")));
    let mut stack = tokio::select! {
        stack = Stack::start(settings, options) => stack?,
        () = stop.cancelled() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    greet(&stack, &args, started);
    let desk = Desk::of(&stack, outside, false);
    let warehouse = CancellationToken::new();
    let simulation = tokio::spawn(simulate::run_paced(stack.base_url.clone(), STEP, warehouse.clone()));
    let show = Show { args: &args, review, base_url: stack.base_url.clone(), ui_url: stack.ui_url.clone(), desk: &desk };
    let played = tokio::select! {
        played = show.on(&stop) => played,
        error = stack.failed() => Err(error),
        () = stop.cancelled() => Ok(ExitCode::from(INTERRUPTED)),
    };
    warehouse.cancel();
    let _ = simulation.await;
    drop(desk);
    stack.stop().await;
    played
}

fn greet(stack: &Stack, args: &DemoArgs, started: Instant) {
    say(&format!("oms demo: orders of every fate ({}), in one process and a Temporal dev server", args.orders));
    say(&format!("  API          {}  (try {}/docs)", stack.base_url, stack.base_url));
    if let Some(ui) = &stack.ui_url {
        say(&format!("  Temporal UI  {ui}  (every order is a workflow there)"));
    }
    say(&format!("  data         {}  (SQLite, the sandbox's own ledger, mail and SMS as files)", stack.data_dir.display()));
    say(&format!("  ready in {:.1} s", started.elapsed().as_secs_f64()));
}

/// The demo on a running stack.
struct Show<'a> {
    args: &'a DemoArgs,
    review: bool,
    base_url: String,
    ui_url: Option<String>,
    desk: &'a Desk,
}

impl Show<'_> {
    /// Plays it; unless it is to exit, serves on until `stop`. Errors: the audit cannot read its sources.
    async fn on(&self, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
        let started = Instant::now();
        let api = Api::new(&ApiTarget { base_url: self.base_url.clone() })?;
        let run = format!("demo-{:08x}", rand::random::<u32>());
        let jobs = plan::jobs(self.args.orders as usize, !self.args.exit, self.review);
        let received = shop::stock_up(&api, &run, &jobs).await.context("stocking the demo's shop")?;
        say(&format!("  stock        {received} units received; orders carry the reference {run}\n"));
        let stage = Stage { api, run, placing: Arc::new(Semaphore::new(PLACING)) };
        let (orders, complaints) = play(&stage, &jobs).await;
        let sent = self.messages().await?;
        let mut timelines = timelines(&stage, &jobs, &orders).await;
        let outcomes: Vec<Outcome> = jobs
            .into_iter()
            .map(|job| {
                let order = orders.get(&job.number).cloned();
                let messages = order.as_ref().and_then(|o| sent.get(&o.id)).copied().unwrap_or_default();
                let timeline = timelines.remove(&job.number).unwrap_or_default();
                Outcome::judge(job, order, messages, timeline)
            })
            .collect();
        let verdict = prove(self.desk).await.context("the audit")?;
        let code = conclude(&outcomes, &verdict, &complaints, started);
        if !self.args.exit {
            self.serve();
            stop.cancelled().await;
        }
        Ok(code)
    }

    /// Messages sent, by order, once nothing is left to send or publish (or it takes too long, which the audit then tells).
    async fn messages(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let sources = self.desk.read().await.context("reading the messages")?;
            let busy =
                sources.orders.iter().any(|o| o.row.messages_open_since.is_some() || o.row.outbox_unpublished_since.is_some());
            if !busy || Instant::now() >= deadline {
                let sent = |m: &&oms_store::MessageRow| m.state == oms_store::MessageState::Sent;
                let orders = sources.orders.iter();
                return Ok(orders.map(|o| (o.row.id.to_string(), o.messages.iter().filter(sent).count())).collect());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn serve(&self) {
        say("\nserving on; Ctrl-C drains and stops. In another terminal:");
        say("  oms order list                         all orders");
        say("  oms order place --sku DEMO-MUG=1       one of your own; the simulated warehouse ships it");
        say(
            "  oms order place --sku DEMO-CHAIR=1     one that a rule stops: `oms review list`, `oms order approve ID --reason …`",
        );
        say("  oms order why ID                       what an order waits on, and until when");
        say("  oms audit                              the proof again");
        if let Some(ui) = &self.ui_url {
            say(&format!("  {ui}                  the workflows"));
        }
    }
}

/// Prints table, tour and verdict; the exit code says whether every order and the books are right.
fn conclude(outcomes: &[Outcome], verdict: &Verdict, complaints: &[String], started: Instant) -> ExitCode {
    let right = outcomes.iter().filter(|o| o.wrong.is_empty()).count();
    say(&format!("\n{}", board::table(outcomes)));
    let tour = board::tour(outcomes);
    if !tour.is_empty() {
        say(&format!("\nThe bends of an order's life, one order each:\n{tour}\n"));
    }
    say(&format!("{right} of {} orders ended as they should, in {:.1} s", outcomes.len(), started.elapsed().as_secs_f64()));
    say(&verdict.render());
    for complaint in complaints {
        say(&format!("FAILED: {complaint}"));
    }
    if right == outcomes.len() && verdict.balanced && complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Lets all actors play and watches until every order has met its fate; answers the orders by the numbers of their jobs, and what
/// the actors could not do.
async fn play(stage: &Stage, jobs: &[Job]) -> (BTreeMap<usize, Order>, Vec<String>) {
    let deadline = Instant::now() + ENDED_WITHIN + ENDED_WITHIN_PER_ORDER * u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let board = Board::new(jobs.len());
    let mut actors: JoinSet<(usize, Played)> = JoinSet::new();
    for job in jobs {
        let (stage, job) = (stage.clone(), job.clone());
        actors.spawn(async move { (job.number, actor::play(stage, job).await) });
    }
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut complaints = Vec::new();
    let mut orders: BTreeMap<usize, Order> = BTreeMap::new();
    let (mut done, mut settled): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
    while Instant::now() < deadline {
        while let Some(played) = actors.try_join_next() {
            match played {
                Ok((number, played)) => {
                    ids.extend(played.order.map(|id| (id, number)));
                    // an order whose actor failed may never meet its fate
                    settled.extend(played.complaint.is_some().then_some(number));
                    complaints.extend(played.complaint);
                }
                Err(error) => complaints.push(error.to_string()),
            }
        }
        let busy = !actors.is_empty();
        match placed(stage).await {
            Ok(list) => {
                for order in list {
                    let Some(number) = ids.get(&order.id).copied() else { continue };
                    let job = &jobs[number - 1];
                    if board::is_done(job.fate, &order) && done.insert(number) {
                        board.done(job, &order);
                    }
                    orders.insert(number, order);
                }
            }
            Err(error) => tracing::debug!(%error, "the board looks again"),
        }
        board.standing(done.len(), orders.values());
        if !busy && settled.union(&done).count() >= jobs.len() {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    board.close();
    (orders, complaints)
}

/// The timelines of the orders that were to take a bend, by the numbers of their jobs.
async fn timelines(stage: &Stage, jobs: &[Job], orders: &BTreeMap<usize, Order>) -> BTreeMap<usize, Vec<TimelineEntry>> {
    let bent = jobs.iter().filter(|job| job.fate.bend().is_some());
    let bent = bent.filter_map(|job| Some((job.number, orders.get(&job.number)?.id.clone())));
    let read = bent.map(|(number, id)| async move {
        let timeline = stage.timeline(&id).await;
        (number, timeline.inspect_err(|error| tracing::warn!(%error, "a timeline could not be read")).unwrap_or_default())
    });
    futures::stream::iter(read).buffer_unordered(READS_AT_ONCE).collect().await
}

/// All orders of the run.
async fn placed(stage: &Stage) -> Result<Vec<Order>, ApiError> {
    let mut orders = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut call = Call::get("/v1/orders").with("reference", &stage.run).with("limit", 100);
        if let Some(cursor) = cursor {
            call = call.with("cursor", cursor);
        }
        let page: Page<Order> = stage.api.ask(call).await?;
        orders.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(orders);
        }
    }
}
