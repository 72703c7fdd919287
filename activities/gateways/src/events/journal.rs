//! A file of one event per line: the sink of a shop without a broker.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Event, EventSink, SinkError};

/// Appends to `events.ndjson`. Several processes may share the file.
pub struct JournalSink {
    path: PathBuf,
}

impl JournalSink {
    /// A journal `events.ndjson` in a directory.
    pub fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("events.ndjson") }
    }
}

/// Appends lines in one write, under the file's lock, and returns when they are on the disk. A line that a crash cut short is ended
/// first: it stays unreadable by itself, and its event comes again whole.
fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    file.lock()?;
    let mut text = Vec::with_capacity(lines.len() + 1);
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0_u8];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push(b'\n');
        }
    }
    text.extend_from_slice(lines);
    file.write_all(&text)?;
    file.sync_data()
}

#[async_trait]
impl EventSink for JournalSink {
    fn name(&self) -> &'static str {
        "journal"
    }

    async fn publish(&self, events: &[Event]) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend_from_slice(event.document.as_bytes());
            lines.push(b'\n');
        }
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || append(&path, &lines)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SinkError::all(error.to_string())),
            Err(error) => Err(SinkError::all(error.to_string())),
        }
    }

    async fn check(&self) -> Result<(), String> {
        if self.path.parent().is_some_and(Path::is_dir) { Ok(()) } else { Err("its folder does not exist yet".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::event;

    #[tokio::test]
    async fn a_line_that_was_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let sink = JournalSink::in_directory(dir.path());
        sink.publish(&[event("a", 1)]).await.unwrap();
        let path = dir.path().join("events.ndjson");
        File::options().append(true).open(&path).unwrap().write_all(b"{\"id\":\"a-").unwrap();
        sink.publish(&[event("a", 2), event("a", 3)]).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "{\"id\":\"a-1\"}\n{\"id\":\"a-\n{\"id\":\"a-2\"}\n{\"id\":\"a-3\"}\n");
    }
}
