//! One living `up`, `demo` or offline `audit` per data directory: a lock of the operating system, which ends with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The file that is locked. It stays behind; only the lock on it means anything.
const FILE: &str = "lock";

/// Why the data directory cannot be taken. Every message is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process lives on it.
    #[error(
        "another `oms up` or `oms demo`{holder} uses the data directory `{dir}`: stop it, or choose another with OMS__DATA_DIR"
    )]
    Held {
        /// The folder.
        dir: PathBuf,
        /// ` (process N)`, or nothing.
        holder: String,
    },
    /// The folder or the file cannot be used.
    #[error("the data directory `{dir}` cannot be used ({source}): make it writable, or choose another with OMS__DATA_DIR")]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The taken data directory; free again when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the data directory, creating it if it is missing.
    ///
    /// # Errors
    /// [`LockError`].
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(unusable)?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(dir.join(FILE)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { dir: dir.to_owned(), holder: holder(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // For the message of the next one only.
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new").join("data");
        let first = DataLock::take(&data).unwrap();
        let refused = DataLock::take(&data).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())) && refused.contains("OMS__DATA_DIR"), "{refused}");
        drop(first);
        DataLock::take(&data).unwrap();
    }

    #[test]
    fn a_file_left_behind_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "999999").unwrap();
        DataLock::take(dir.path()).unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        assert!(matches!(DataLock::take(&dir.path().join("plain")), Err(LockError::Unusable { .. })));
    }
}
