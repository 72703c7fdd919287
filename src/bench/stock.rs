//! `oms bench stock`: how many orders a second get their goods promised.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Tick};

use anyhow::{Context, ensure};
use clap::Args;
use futures::future::try_join_all;
use oms_domain::Instant;
use oms_domain::customer::Line;
use oms_domain::ids::{Location, OrderId, Sku};
use oms_domain::money::{Currency, Money};
use oms_domain::shortage::ShortagePolicy;
use oms_domain::stock::{Quantity, Strategy};
use oms_store::{Backend, Movement, Product, Reserve, Reserved, Scratch, Store};
use serde::Serialize;

use crate::admin::say;
use crate::admin::table::Table;
use crate::settings::Settings;
use crate::{signals, wiring};

/// Units of every article: more than any run promises.
const SHELF: i64 = 1_000_000_000;
/// How long a promise is kept: longer than any run, so that none runs out while it lasts.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Arguments of `oms bench stock`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StockBenchArgs {
    /// How long each run lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Orders that want stock at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    tasks: u32,
    /// Articles of the first run; the second has one
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    articles: u32,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    tasks: u32,
    runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    articles: u32,
    seconds: f64,
    reservations: u64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    worst_ms: f64,
}

/// Measures on a database of its own beside the settings', and says what came out.
///
/// # Errors
/// One sentence: the database cannot be used, or the shelves do not hold what was promised.
pub(super) async fn run(args: StockBenchArgs, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_token()?;
    if settings.database_url.is_none() {
        wiring::make_data_dir(&settings.data_dir)?;
    }
    let scratch = Scratch::beside(&settings.database_url()).await?;
    let measured = stop.run_until_cancelled(measure(&scratch.store, &args)).await;
    scratch.remove().await?;
    let Some(report) = measured.transpose()? else { return Ok(ExitCode::FAILURE) };
    say(&if json { serde_json::to_string_pretty(&report)? } else { table(&report) });
    Ok(ExitCode::SUCCESS)
}

async fn measure(store: &Store, args: &StockBenchArgs) -> anyhow::Result<Report> {
    let database = match store.backend() {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    };
    let spread = load(store, "spread", args.articles, args).await?;
    let hot = load(store, "hot", 1, args).await?;
    Ok(Report { database, tasks: args.tasks, runs: vec![spread, hot] })
}

/// One run: every task wants a unit for one new order after the other. Errors: the shelves do not hold what was promised.
async fn load(store: &Store, name: &str, articles: u32, args: &StockBenchArgs) -> anyhow::Result<Run> {
    let skus: Arc<Vec<Sku>> = Arc::new((0..articles).map(|n| Sku::parse(format!("{name}-{n}"))).collect::<Result<_, _>>()?);
    for sku in skus.iter() {
        fill(store, sku, wiring::now()).await?;
    }
    let (began, orders) = (Tick::now(), Arc::new(AtomicU64::new(0)));
    let end = began + Duration::from_secs(args.seconds);
    let tasks = (0..args.tasks).map(|_| {
        let (store, skus, orders, name) = (store.clone(), skus.clone(), orders.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Tick::now() < end {
                let n = orders.fetch_add(1, Ordering::Relaxed);
                let sku = &skus[usize::try_from(n)? % skus.len()];
                let from = Tick::now();
                promise(&store, OrderId::parse(format!("{name}-{n:08}"))?, sku).await?;
                took.push(from.elapsed());
            }
            anyhow::Ok(took)
        })
    });
    let took: Vec<Vec<Duration>> = try_join_all(tasks).await?.into_iter().collect::<anyhow::Result<_>>()?;
    let seconds = began.elapsed().as_secs_f64();
    let mut took: Vec<Duration> = took.into_iter().flatten().collect();
    took.sort_unstable();
    let reservations = u64::try_from(took.len())?;
    let mut reserved = 0;
    for sku in skus.iter() {
        reserved += store.stock(sku, wiring::now()).await?.with_context(|| format!("{sku} is gone"))?.reserved;
    }
    ensure!(
        reserved == reservations,
        "{reservations} units were promised, and the shelves say {reserved}: this is a defect of oms"
    );
    let at = |percent: usize| took.get(took.len() * percent / 100).or(took.last()).map_or(0.0, |t| t.as_secs_f64() * 1_000.0);
    Ok(Run {
        articles,
        seconds,
        reservations,
        per_second: reservations as f64 / seconds,
        p50_ms: at(50),
        p99_ms: at(99),
        worst_ms: at(100),
    })
}

async fn fill(store: &Store, sku: &Sku, now: Instant) -> anyhow::Result<()> {
    let price = Money::new(1_000, Currency::parse("EUR")?);
    let product = Product { sku: sku.clone(), name: Line::parse("Measured")?, price, weight_g: None, low_stock_at: None };
    store.put_product(&product, now).await?;
    let (location, reason, actor) = (Location::parse("here")?, "to be measured".to_owned(), "bench".to_owned());
    store.receive(&Movement { sku: sku.clone(), location, quantity: SHELF, reason, actor, key: None }, now).await?;
    Ok(())
}

/// Promises one unit. Errors: it was not promised.
async fn promise(store: &Store, order_id: OrderId, sku: &Sku) -> anyhow::Result<()> {
    let now = wiring::now();
    let wish = Reserve {
        order_id,
        revision: 1,
        lines: vec![Quantity { sku: sku.clone(), quantity: 1 }],
        expires_at: now + KEPT,
        policy: ShortagePolicy::Reject,
        placed_at: now,
        strategy: Strategy::FewestShipments,
    };
    match store.reserve(&wish, now).await? {
        Reserved::Held { .. } => Ok(()),
        other => anyhow::bail!("{} got nothing of a full shelf: {other:?}", wish.order_id),
    }
}

fn table(report: &Report) -> String {
    let mut table =
        Table::new(&["database", ">tasks", ">articles", ">reservations", ">per second", ">p50 ms", ">p99 ms", ">worst ms"]);
    for run in &report.runs {
        table.row([
            report.database.to_owned(),
            report.tasks.to_string(),
            run.articles.to_string(),
            run.reservations.to_string(),
            format!("{:.0}", run.per_second),
            format!("{:.1}", run.p50_ms),
            format!("{:.1}", run.p99_ms),
            format!("{:.1}", run.worst_ms),
        ]);
    }
    table.render()
}
