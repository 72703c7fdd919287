//! The database: whether it lets us in, has the schema, and can be trusted on the way there.

use std::path::Path;
use std::time::Duration;

use oms_store::{Bounds, Store, StoreError, Work};

use super::Finding;
use crate::settings::{Settings, redacted};

const DATABASE: &str = "database";

/// A server that is not there is told from a slow one after this.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The line about the database.
pub(super) async fn examine(settings: &Settings) -> Finding {
    let url = settings.database_url();
    let shown = redacted("database.url", &url);
    let file = url.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches("//").split('?').next().unwrap_or_default());
    if file.is_some_and(|file| !Path::new(file).exists()) {
        // Connecting would create an empty file.
        return Finding::off(DATABASE, format!("{shown} does not exist yet: `oms migrate`, `oms up` or `oms demo` makes it"));
    }
    let bounds = Bounds { connections: 1, connections_min: 0, acquire: ANSWER_MAX, ..settings.database_bounds };
    let store = match Store::connect_with(&url, &bounds).await {
        Ok(store) => store,
        Err(error @ StoreError::Unavailable { .. }) if file.is_some() => {
            return Finding::bad(
                DATABASE,
                format!("{shown}: {error}: make the file readable and writable, or correct DATABASE_URL"),
            );
        }
        Err(error) => return Finding::bad(DATABASE, format!("{shown}: {error}")),
    };
    let found = look(&store).await;
    store.close().await;
    match found {
        Ok(None) => Finding::good(DATABASE, format!("{shown}, schema up to date")),
        Ok(Some(warning)) => Finding::warn(DATABASE, format!("{shown}, schema up to date; {warning}")),
        Err(why) => Finding::bad(DATABASE, format!("{shown}: {why}")),
    }
}

/// A warning, or what is in the way.
async fn look(store: &Store) -> Result<Option<String>, String> {
    let told = |error: StoreError| error.to_string();
    match store.check_schema().await {
        Ok(()) => match store.lacks(Work::Serve).await.map_err(told)? {
            Some(lack) => Err(lack),
            None => Ok(store.exposure()),
        },
        Err(error @ StoreError::OldSchema { .. }) => match store.lacks(Work::Migrate).await.map_err(told)? {
            Some(lack) => Err(format!("{error}; but {lack}")),
            None => Err(told(error)),
        },
        Err(error) => Err(told(error)),
    }
}
