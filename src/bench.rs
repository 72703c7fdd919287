//! `oms bench`: load with figures, on a database of its own beside the shop's.

mod stock;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::settings::Settings;

/// Arguments of `oms bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    what: Measured,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
enum Measured {
    /// Reservations per second: many articles, then one that everybody wants
    Stock(stock::StockBenchArgs),
}

/// Runs `oms bench`.
///
/// # Errors
/// One sentence with the remedy.
pub(crate) async fn run(args: BenchArgs, settings: Settings, json: bool) -> anyhow::Result<ExitCode> {
    match args.what {
        Measured::Stock(args) => stock::run(args, &settings, json).await,
    }
}
