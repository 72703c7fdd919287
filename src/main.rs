//! `oms`: the one binary. Settings, wiring, commands; the only place that knows which parts are embedded.

mod admin;
mod api;
mod audit;
mod bench;
mod cli;
mod config_show;
mod demo;
mod doctor;
mod exit;
mod http;
mod lock;
mod mail;
mod migrate;
mod openapi;
mod relay;
mod replicas;
mod reporters;
mod sandbox;
mod settings;
mod signals;
mod simulate;
mod stack;
mod telemetry;
mod up;
mod wiring;
mod worker;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::audit::AuditArgs;
use crate::cli::{Cli, Command, ConfigView};
use crate::exit::Blocked;
use crate::settings::Settings;

/// Work that a stopped command left on other threads (a download) gets this long.
const LEFTOVER_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", exit::sentence(&error));
            exit::code_of(&error)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    // Every TLS connection of this process uses this one; a second provider in the dependency tree would make rustls panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return Err(Blocked("the TLS provider is installed already".to_owned()).into());
    }
    let settings = Settings::load()?;
    telemetry::install(&settings.log, cli.command.voice());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(cli, settings));
    runtime.shutdown_timeout(LEFTOVER_MAX);
    outcome
}

async fn run(cli: Cli, settings: Settings) -> anyhow::Result<ExitCode> {
    let target = settings.api_target(cli.api.as_deref());
    match cli.command {
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Up { simulate } => up::run(settings, simulate).await,
        Command::Api => api::run(settings).await,
        Command::Worker { roles } => worker::run(settings, roles).await,
        Command::Relay => relay::run(settings).await,
        Command::Migrate => migrate::run(settings).await,
        Command::Doctor => doctor::run(settings, cli.json).await,
        Command::Config { view: ConfigView::Show } => print(&config_show::show(&settings, cli.json)),
        Command::Config { view: ConfigView::Default } => print(config_show::default_file()),
        Command::Openapi => openapi::run(),
        Command::Asyncapi => openapi::run_asyncapi(),
        Command::Order(args) => admin::order(args, target, cli.json).await,
        Command::Review(args) => admin::review(args, target, cli.json).await,
        Command::Stock(args) => admin::stock(args, target, cli.json).await,
        Command::Shipment(args) => admin::shipment(args, target, cli.json).await,
        Command::Mail(args) => mail::run(args, &settings),
        Command::Audit(args) => audit::run(AuditArgs { json: args.json || cli.json }, settings).await,
        Command::Bench(args) => bench::run(args, settings, cli.json).await,
    }
}

/// Prints a text; a reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
