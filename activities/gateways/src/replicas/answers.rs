//! Answers that replicas keep for each other, for less than a second.
//!
//! All instants are of the server's clock, in milliseconds. An answer leaves with the instant before its reading, and stays until an
//! absolute instant: however late it arrives, nobody is given it a second after it was true. Redis 6.2 is the first that can do so.

use super::Line;

/// How long after the instant before its reading an answer may be given, in milliseconds. What one call may take is on top.
const KEPT_MS: u64 = 900;

/// How long a void stands, in milliseconds: longer than any answer that was read before it.
const VOID_MS: u64 = 1_000;

/// What is kept under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// An answer.
    Answer(String),
    /// None; and what time it is.
    Nothing(u64),
}

/// The place for answers.
pub struct Answers {
    line: Line,
    prefix: String,
}

impl Answers {
    /// Answers under keys that begin with `prefix`.
    pub fn new(line: Line, prefix: &str) -> Self {
        Self { line, prefix: format!("{prefix}answer:") }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What is kept. `None`: nobody answers in time.
    pub async fn get(&self, name: &str) -> Option<Kept> {
        let mut get = redis::pipe();
        // the time first: whatever is read after this call is younger
        get.cmd("TIME").cmd("GET").arg(self.key(name));
        let ((seconds, micros), kept): ((u64, u64), Option<String>) = self.line.call(&get).await?;
        Some(match kept.filter(|answer| !answer.is_empty()) {
            Some(answer) => Kept::Answer(answer),
            None => Kept::Nothing(seconds * 1_000 + micros / 1_000),
        })
    }

    /// Keeps an answer whose reading began at `read` or later, unless that is long ago, or it was voided since. Answers whether
    /// somebody has heard it in time; if not, it is not kept, or not for longer.
    pub async fn put(&self, name: &str, answer: &str, read: u64) -> bool {
        let mut put = redis::pipe();
        put.cmd("SET").arg(self.key(name)).arg(answer).arg("NX").arg("PXAT").arg(read + KEPT_MS).ignore();
        self.line.call::<()>(&put).await.is_some()
    }

    /// Forgets answers, and keeps none whose reading began before now. Answers whether somebody has heard it in time; if not, time does it.
    pub async fn void(&self, names: &[String]) -> bool {
        let mut void = redis::pipe();
        for name in names {
            void.cmd("SET").arg(self.key(name)).arg("").arg("PX").arg(VOID_MS).ignore();
        }
        names.is_empty() || self.line.call::<()>(&void).await.is_some()
    }
}
