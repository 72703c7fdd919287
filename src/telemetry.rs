//! What this process says about itself: one global subscriber, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::LogSection;

/// What a person at a terminal sees of the log while a live display runs beside it.
const QUIET: &str = "error";

/// How much a command says of itself beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Nothing: the log is all there is.
    Log,
    /// Its progress: a terminal gets errors only, a file the whole log.
    Progress,
    /// The whole story, line by line: the log would bury it anywhere.
    Story,
}

/// Installs the subscriber for the rest of the process. A filter that somebody has chosen always holds.
pub(crate) fn install(log: &LogSection, voice: Voice) {
    let quiet = log.filter_is_default
        && match voice {
            Voice::Log => false,
            Voice::Progress => std::io::stderr().is_terminal(),
            Voice::Story => true,
        };
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
