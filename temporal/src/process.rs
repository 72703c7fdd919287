//! Processes of this machine: which ones serve a database file, and how to end one.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running process as the operating system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// Process id.
    pub(crate) pid: u32,
    /// Program and arguments joined by spaces.
    pub(crate) command: String,
}

/// All processes whose command line, with a space at its end, contains every one of `parts`.
pub(crate) fn matching(parts: &[&str]) -> io::Result<Vec<Running>> {
    Ok(all()?.into_iter().filter(|p| parts.iter().all(|part| format!("{} ", p.command).contains(part))).collect())
}

/// True while `pid` is this very process: a reused id has another command line, an ended one has none.
pub(crate) fn is_alive(process: &Running) -> bool {
    command_of(process.pid).is_some_and(|command| command == process.command)
}

/// Asks a process to end; one that has already ended is fine.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Asks a process that is not our child to end and ends it by force after `grace`. Returns when it is gone, or after 5 s more.
pub(crate) async fn end(process: &Running, grace: Duration) -> bool {
    let started = Instant::now();
    let mut forced = false;
    terminate(process.pid);
    while is_alive(process) {
        if started.elapsed() > grace + Duration::from_secs(5) {
            return false;
        }
        if !forced && started.elapsed() > grace {
            signal(process.pid, Signal::KILL);
            forced = true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(e) = kill_process(pid, signal) {
        tracing::debug!(%e, "signal not delivered");
    }
}

#[cfg(target_os = "linux")]
fn all() -> io::Result<Vec<Running>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|n| n.parse().ok())
            && let Some(command) = command_of(pid)
        {
            found.push(Running { pid, command });
        }
    }
    Ok(found)
}

#[cfg(target_os = "linux")]
fn command_of(pid: u32) -> Option<String> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // A zombie has an empty command line and counts as gone.
    let text = String::from_utf8_lossy(&raw).trim_end_matches('\0').replace('\0', " ");
    (!text.is_empty()).then_some(text)
}

#[cfg(not(target_os = "linux"))]
fn all() -> io::Result<Vec<Running>> {
    let out = std::process::Command::new("ps").args(["-axww", "-o", "pid=,command="]).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let parse = |line: &str| {
        let (pid, command) = line.trim().split_once(' ')?;
        Some(Running { pid: pid.parse().ok()?, command: command.trim().to_owned() })
    };
    Ok(text.lines().filter_map(parse).collect())
}

#[cfg(not(target_os = "linux"))]
fn command_of(pid: u32) -> Option<String> {
    let out = std::process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    (!text.is_empty() && !text.ends_with("<defunct>")).then_some(text)
}
