//! Folders in which sandbox parties leave what they were given, one file per message id, whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::GatewayError;
use crate::faults::{FaultMode, Faults, dropped};
use oms_domain::party::Party;

static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Leaves `bytes` in the folder, obeying the faults of `party`. A file that is there already stays as it is.
pub(crate) async fn leave(
    folder: &Path,
    name: String,
    bytes: Vec<u8>,
    faults: &Faults,
    party: Party,
) -> Result<(), GatewayError> {
    let fault = faults.mode(party, "send").await?;
    fault.delay().await;
    if let Some(refusal) = fault.refusal() {
        return Err(refusal);
    }
    let folder = folder.to_owned();
    let written = tokio::task::spawn_blocking(move || write_once(&folder, &name, &bytes))
        .await
        .map_err(|e| GatewayError::unknown_outcome(format!("writing a message: {e}")))?
        .map_err(|e| GatewayError::unavailable(format!("writing a message: {e}")))?;
    if written && fault == FaultMode::CommitThenDrop { Err(dropped()) } else { Ok(()) }
}

/// Writes the file unless it exists; answers whether it wrote. After a crash at any moment the file is whole or absent.
fn write_once(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<bool> {
    let path = folder.join(name);
    if path.try_exists()? {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    let temporary =
        Temporary(folder.join(format!(".{name}.{}-{}.tmp", std::process::id(), TEMPORARY.fetch_add(1, Ordering::Relaxed))));
    let mut file = File::create_new(&temporary.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary.0, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(true)
}

/// A file that goes away again unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // after the rename there is nothing to remove: that is the normal case
        let _ = std::fs::remove_file(&self.0);
    }
}
