//! `oms relay`: publishes what the outbox holds.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use oms_store::Store;
use oms_workers::relay::{self, JournalSink};

use crate::settings::Settings;
use crate::stack::Service;
use crate::{signals, wiring};

/// A batch that is being published gets this long at a stop.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Starts the relay of `store`, which appends events to a journal in the data directory.
pub(crate) fn service(settings: &Settings, store: Store) -> Service {
    let sink = Arc::new(JournalSink::in_directory(&settings.data_dir));
    Service::spawn(move |stop| async move {
        relay::run(store, sink, wiring::clock(), stop).await;
        Ok(())
    })
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_token()?;
    wiring::make_data_dir(&settings.data_dir)?;
    let store = tokio::select! {
        store = wiring::open_store_patiently(&settings) => store?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let mut relay = service(&settings, store.clone());
    tracing::info!("publishing events");
    tokio::select! {
        error = relay.failed() => return Err(error.context("the relay has failed")),
        () = stop.cancelled() => {}
    }
    relay.stop(DRAIN_MAX).await;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
