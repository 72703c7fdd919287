//! Where `oms audit` finds its sources: beside a live stack, or on a stopped data directory.

use std::sync::Arc;
use std::time::Duration;

use oms_store::Store;
use oms_temporal::connect::connect_within;

use super::{Desk, Outside};
use crate::exit::Blocked;
use crate::lock::{DataLock, LockError};
use crate::settings::Settings;
use crate::stack::{Stack, StackOptions};
use crate::wiring;

/// A stack that is just starting gets this long to answer.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// The opened sources, and what of the stack had to be started for them.
pub(super) struct Place {
    desk: Desk,
    started: Option<Stack>,
}

impl Place {
    /// Opens everything. Errors: nothing to audit, a source is gone, or the data directory cannot be taken.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let dir = &settings.data_dir;
        if settings.database_url.is_none() && !dir.join("oms.db").exists() {
            return Err(Blocked(format!(
                "there are no books in `{}`: start `oms up` or `oms demo` first, or name their data directory in OMS__DATA_DIR",
                dir.display()
            ))
            .into());
        }
        if lives(settings)? { Self::beside(settings).await } else { Self::alone(settings.clone()).await }
    }

    /// Only looks at what is running.
    async fn beside(settings: &Settings) -> anyhow::Result<Self> {
        let client = connect_within(&settings.temporal.connect_settings(&settings.data_dir), CONNECT_MAX).await?;
        let store = Store::connect_with(&settings.database_url(), &settings.database_bounds).await?;
        store.check_schema().await?;
        let sandbox = wiring::open_sandbox(settings).await?;
        let (data_dir, outside) = (settings.data_dir.clone(), Outside::of(settings)?);
        let desk = Desk { store, client, sandbox, data_dir, outside, stopped: false };
        Ok(Self { desk, started: None })
    }

    /// Takes the lock and runs the dev server, but nothing that would change the books.
    async fn alone(mut settings: Settings) -> anyhow::Result<Self> {
        // the configured ports may be in use by another data directory's stack, and nobody looks for this server
        (settings.temporal.port, settings.temporal.ui_port) = (0, 0);
        let outside = Outside::of(&settings)?;
        let progress = Arc::new(|line: &str| eprintln!("{line}"));
        let options = StackOptions { api: false, roles: Vec::new(), relay: false, progress };
        let stack = Stack::start(settings, options).await?;
        Ok(Self { desk: Desk::of(&stack, outside, true), started: Some(stack) })
    }

    /// The opened sources.
    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Leaves everything as it was found.
    pub(super) async fn close(self) {
        match self.started {
            Some(stack) => {
                drop(self.desk);
                stack.stop().await;
            }
            None => {
                self.desk.sandbox.close().await;
                self.desk.store.close().await;
            }
        }
    }
}

/// Whether somebody else keeps the stack running: a given Temporal server, or an `oms` on the data directory.
fn lives(settings: &Settings) -> Result<bool, LockError> {
    if settings.temporal.address.is_some() {
        return Ok(true);
    }
    match DataLock::take(&settings.data_dir) {
        Ok(_free_again) => Ok(false),
        Err(LockError::Held { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
