//! `oms worker [roles…]`: works on task queues.

use std::process::ExitCode;

use oms_contract::names::Queue;
use oms_workers::Fleet;

use crate::settings::Settings;
use crate::{signals, wiring};

/// Runs the roles (all, if none is named) until Ctrl-C or SIGTERM, then drains.
pub(crate) async fn run(settings: Settings, roles: Vec<Queue>) -> anyhow::Result<ExitCode> {
    let roles = if roles.is_empty() { Queue::ALL.to_vec() } else { roles };
    let stop = signals::stop_token()?;
    wiring::make_data_dir(&settings.data_dir)?;
    let ready = async {
        let connect = settings.temporal.connect_settings(&settings.data_dir);
        let (store, sandbox, client) = tokio::try_join!(
            async { Ok(wiring::open_store_patiently(&settings).await?) },
            wiring::open_sandbox(&settings),
            wiring::connect_patiently(&connect),
        )?;
        let fleet = Fleet::start(&roles, wiring::parts(&settings, client, store.clone(), &sandbox)?).await?;
        anyhow::Ok((fleet, store, sandbox))
    };
    let (fleet, store, sandbox) = tokio::select! {
        ready = ready => ready?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let names: Vec<&str> = roles.iter().map(|r| r.name()).collect();
    tracing::info!(roles = names.join(" "), "working");
    tokio::select! {
        error = fleet.failed() => return Err(anyhow::Error::from(error).context("a worker has failed")),
        () = stop.cancelled() => {}
    }
    fleet.stop().await;
    store.close().await;
    sandbox.close().await;
    Ok(ExitCode::SUCCESS)
}
