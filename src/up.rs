//! `oms up`: the everyday development stack.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crate::settings::Settings;
use crate::signals;
use crate::stack::{Stack, StackOptions};

/// Runs the stack until Ctrl-C or SIGTERM, then drains. With `simulate`, a warehouse and a carrier act on its orders.
pub(crate) async fn run(settings: Settings, simulate: bool) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_token()?;
    let started = Instant::now();
    let options = StackOptions::whole(Arc::new(|line: &str| eprintln!("{line}")));
    let mut stack = tokio::select! {
        stack = Stack::start(settings, options) => stack?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    greet(&stack, started)?;
    let simulation = simulate.then(|| tokio::spawn(crate::simulate::run(stack.base_url.clone(), stop.child_token())));
    let failed = tokio::select! {
        error = stack.failed() => Some(error),
        () = stop.cancelled() => None,
    };
    if let Some(simulation) = simulation {
        simulation.abort();
    }
    if std::io::stdout().is_terminal() {
        eprintln!("stopping …");
    }
    stack.stop().await;
    match failed {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn greet(stack: &Stack, started: Instant) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "API          {}", stack.base_url)?;
    writeln!(out, "docs         {}/docs", stack.base_url)?;
    if let Some(ui) = &stack.ui_url {
        writeln!(out, "Temporal UI  {ui}")?;
    }
    writeln!(out, "data         {}", stack.data_dir.display())?;
    writeln!(out, "ready in {:.1} s; Ctrl-C stops", started.elapsed().as_secs_f64())?;
    out.flush()
}
