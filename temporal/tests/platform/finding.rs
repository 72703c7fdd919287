//! Where the CLI comes from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oms_temporal::cli::{TEST_SERVER, find};

use crate::entry;

/// A program that prints a version and does nothing else.
fn fake(dir: &Path, version: &str) -> PathBuf {
    let path = dir.join("temporal");
    fs::write(&path, format!("#!/bin/sh\necho 'temporal version {version} (Server 1.2.3, UI 2.3.4)'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn said(command: &mut std::process::Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_named_cli_that_is_too_old_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let old = fake(dir.path(), "1.1.2");
    let text = said(entry::finder(dir.path()).env("TEMPORAL_CLI", &old));
    let expected = format!(
        "error: TEMPORAL_CLI names temporal 1.1.2 at `{}`, but 1.9.1 or newer is needed: point TEMPORAL_CLI to a newer one, or \
         unset it and the right version is fetched\n",
        old.display()
    );
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_named_cli_that_is_missing_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let text = said(entry::finder(dir.path()).env("TEMPORAL_CLI", "/no/such/temporal"));
    assert!(text.contains("error: TEMPORAL_CLI names `/no/such/temporal`, which does not run as temporal"), "{text}");
}

#[test]
fn an_old_cli_on_the_path_is_passed_over_and_the_choices_are_listed_when_nothing_else_helps() {
    let dir = tempfile::tempdir().unwrap();
    fake(dir.path(), "1.1.2");
    let text = said(entry::finder(&dir.path().join("tools")).env("PATH", dir.path()).env_remove("TEMPORAL_CLI"));
    assert!(text.contains("progress: passing over temporal 1.1.2 on PATH: 1.9.1 or newer is needed"), "{text}");
    for choice in
        ["no Python 3 with pip was found", "put temporal 1.9.1 or newer on PATH", "name it in TEMPORAL_CLI", "install Python 3"]
    {
        assert!(text.contains(choice), "{choice} is missing in {text}");
    }
}

#[test]
fn a_new_cli_on_the_path_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let new = fake(dir.path(), "1.10.0");
    let text = said(entry::finder(&dir.path().join("tools")).env("PATH", dir.path()).env_remove("TEMPORAL_CLI"));
    assert!(text.contains(&format!("found: {}", new.display())), "{text}");
    assert!(text.contains("progress: using temporal 1.10.0 from PATH"), "{text}");
}

#[test]
fn the_time_skipping_test_server_comes_the_same_way() {
    let found = find(&TEST_SERVER, &crate::tools_dir(), &|line| eprintln!("{line}")).unwrap();
    assert!(found.path.is_file());
    assert_eq!(found.version, None);
}
