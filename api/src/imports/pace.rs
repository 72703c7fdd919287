//! How an import is worked on.

use std::time::Duration;

/// How an import is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportPace {
    /// How long a process keeps its right to an import without a sign of life. Rows of a killed one rest for so long.
    pub lease: Duration,
    /// Pause between two looks for work that another process received, or was killed over.
    pub idle: Duration,
    /// Orders that are placed at once.
    pub at_once: usize,
}

impl Default for ImportPace {
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), idle: Duration::from_secs(2), at_once: 8 }
    }
}
