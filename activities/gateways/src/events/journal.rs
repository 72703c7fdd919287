//! A file of one event per line: the sink of a shop without a broker.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Event, EventSink, SinkError};

/// Appends to `events.ndjson`. Several processes may share the file.
pub struct JournalSink {
    path: PathBuf,
    /// Who waits for a write. Whoever's turn it is writes for all of them: the disk is waited for once.
    waiting: Mutex<Vec<Waiting>>,
    /// Held while writing. Inside: whether the folder is known to hold the file.
    turn: tokio::sync::Mutex<bool>,
    sync_folder: fn(&Path) -> std::io::Result<()>,
}

/// Lines, and whom to tell what became of them.
type Waiting = (Vec<u8>, oneshot::Sender<Result<(), String>>);

impl JournalSink {
    /// A journal `events.ndjson` in a directory.
    pub fn in_directory(directory: &Path) -> Self {
        let sync_folder = |folder: &Path| File::open(folder)?.sync_all();
        Self {
            path: directory.join("events.ndjson"),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            sync_folder,
        }
    }

    /// Writes what everybody waits for.
    async fn write(&self, folder_synced: &mut bool) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return;
        }
        let (lines, tell): (Vec<Vec<u8>>, Vec<_>) = waiting.into_iter().unzip();
        let (path, sync_folder) = (self.path.clone(), (!*folder_synced).then_some(self.sync_folder));
        let write = move || append(&path, &lines.concat(), sync_folder).map_err(|e| e.to_string());
        let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|e| Err(e.to_string()));
        *folder_synced |= written.is_ok();
        for tell in tell {
            // nobody waits any more: the events come again
            let _ = tell.send(written.clone());
        }
    }
}

/// Appends lines in one write, under the file's lock, and returns when they are on the disk. A line that a crash cut short is ended
/// first: it stays unreadable by itself, and its event comes again whole. With `sync_folder` the folder is written too: a new file is lost
/// with the power while its name is not on the disk, whoever made it.
fn append(path: &Path, lines: &[u8], sync_folder: Option<fn(&Path) -> std::io::Result<()>>) -> std::io::Result<()> {
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
    file.sync_data()?;
    match (sync_folder, path.parent()) {
        (Some(sync), Some(folder)) => sync(folder),
        _ => Ok(()),
    }
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
        let (tell, told) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((lines, tell));
        self.write(&mut *self.turn.lock().await).await;
        match told.await {
            Ok(written) => written.map_err(SinkError::all),
            // whoever wrote for us was given up in the middle of it
            Err(_) => Err(SinkError::all("the write was given up")),
        }
    }

    async fn check(&self) -> Result<(), String> {
        if self.path.parent().is_some_and(Path::is_dir) { Ok(()) } else { Err("its folder does not exist yet".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
    #[tokio::test]
    async fn a_new_file_is_safe_once_its_folder_is() {
        static SYNCED: AtomicUsize = AtomicUsize::new(0);
        let dir = tempfile::tempdir().unwrap();
        let mut sink = JournalSink::in_directory(dir.path());
        // the first time fails
        sink.sync_folder =
            |_| if SYNCED.fetch_add(1, Ordering::Relaxed) == 0 { Err(std::io::Error::other("full")) } else { Ok(()) };
        assert_eq!(sink.publish(&[event("a", 1)]).await, Err(SinkError::all("full")));
        for number in 1..=3 {
            sink.publish(&[event("a", number)]).await.unwrap();
        }
        assert_eq!(SYNCED.load(Ordering::Relaxed), 2, "once it is known to hold the file, it is left alone");
    }

    #[tokio::test]
    async fn whoever_writes_writes_for_all_who_wait() {
        static WRITES: AtomicUsize = AtomicUsize::new(0);
        let dir = tempfile::tempdir().unwrap();
        let mut sink = JournalSink::in_directory(dir.path());
        sink.sync_folder = |_| {
            WRITES.fetch_add(1, Ordering::Relaxed);
            Err(std::io::Error::other("full"))
        };
        let sink = Arc::new(sink);
        let turn = sink.turn.lock().await;
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..16 {
            let sink = sink.clone();
            let name = format!("lane-{lane}");
            lanes.spawn(async move { sink.publish(&[event(&name, 1), event(&name, 2)]).await });
        }
        while sink.waiting.lock().unwrap().len() < 16 {
            tokio::task::yield_now().await;
        }
        drop(turn);
        assert_eq!(lanes.join_all().await, vec![Err(SinkError::all("full")); 16], "all are told what became of it");
        assert_eq!(WRITES.load(Ordering::Relaxed), 1);
        let text = std::fs::read_to_string(dir.path().join("events.ndjson")).unwrap();
        for lane in 0..16 {
            let own = format!("{{\"id\":\"lane-{lane}-1\"}}\n{{\"id\":\"lane-{lane}-2\"}}\n");
            assert_eq!(text.matches(&own).count(), 1, "whole, once and in order");
        }
    }
}
