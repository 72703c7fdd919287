//! What this process says about itself: one global subscriber, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::LogSection;

/// What a person at a terminal sees of the log while a live display runs beside it.
const QUIET: &str = "error";

/// Installs the subscriber for the rest of the process. `live` says that the command shows its progress by itself: then a
/// terminal gets errors only, unless somebody has chosen a filter.
pub(crate) fn install(log: &LogSection, live: bool) {
    let quiet = live && log.filter_is_default && std::io::stderr().is_terminal();
    let filter = EnvFilter::new(if quiet { QUIET } else { log.filter.as_str() });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if log.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    if installed.is_err() {
        // Only a second call in one process gets here; the first subscriber goes on.
        tracing::debug!("a subscriber is installed already");
    }
}
