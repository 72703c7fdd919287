//! `oms migrate`: brings the database's schema up to date.

use std::process::ExitCode;

use oms_store::Store;

use crate::settings::{Settings, redacted};
use crate::wiring;

/// Migrates and says from where to where.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    if settings.database_url.is_none() {
        wiring::make_data_dir(&settings.data_dir)?;
    }
    let url = settings.database_url();
    let store = Store::connect_with(&url, &settings.database_bounds).await?;
    let done = store.migrate().await?;
    store.close().await;
    let shown = redacted("database.url", &url);
    match done.from {
        Some(from) if from == done.to => println!("{shown}: schema {from} is up to date"),
        Some(from) => println!("{shown}: schema {from} migrated to {}", done.to),
        None => println!("{shown}: schema {} created", done.to),
    }
    Ok(ExitCode::SUCCESS)
}
