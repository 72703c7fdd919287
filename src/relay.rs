//! `oms relay`: publishes what the outbox holds.

use std::process::ExitCode;
use std::time::Duration;

use oms_store::Store;
use oms_workers::relay;

use crate::settings::Settings;
use crate::stack::Service;
use crate::{signals, wiring};

/// A batch that is being published gets this long at a stop.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Starts the relay of `store`, which hands events over to every sink of the settings and to webhooks.
pub(crate) fn service(settings: &Settings, store: Store) -> Service {
    let relay = relay::Relay {
        store,
        sinks: wiring::sinks(settings),
        webhooks: settings.webhooks.policy,
        source: settings.events.source.clone(),
        clock: wiring::clock(),
    };
    Service::spawn(move |stop| async move {
        relay::run(relay, stop).await;
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
