//! The shape of the project, checked: who may depend on whom, what each crate owns, and the promises of README's first screen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A crate of ours: its floor, its folder, which of our crates it may use, and which of others it owns.
struct Room {
    name: &'static str,
    floor: u8,
    folder: &'static str,
    ours: &'static [&'static str],
    others: &'static [&'static str],
}

/// Dev-dependencies are free; everything else is listed here or refused. ARCHITECTURE.md shows the same floors.
const ROOMS: [Room; 10] = [
    Room {
        name: "oms-domain",
        floor: 0,
        folder: "workflows/domain",
        ours: &[],
        others: &["chrono", "serde", "thiserror", "uuid"],
    },
    Room {
        name: "oms-contract",
        floor: 1,
        folder: "workflows/contract",
        ours: &["oms-domain"],
        others: &["serde", "serde_json", "temporalio-common-wasm", "temporalio-macros", "temporalio-protos"],
    },
    Room {
        name: "oms-workflows",
        floor: 2,
        folder: "workflows",
        ours: &["oms-contract", "oms-domain"],
        others: &[
            "chrono",
            "futures",
            "serde",
            "serde_json",
            "temporalio-common-wasm",
            "temporalio-macros",
            "temporalio-protos",
            "temporalio-workflow",
        ],
    },
    Room {
        name: "oms-store",
        floor: 2,
        folder: "activities/store",
        ours: &["oms-domain"],
        others: &["chrono", "hex", "serde", "serde_json", "sha2", "sqlx", "thiserror", "tokio", "tracing"],
    },
    Room {
        name: "oms-gateways",
        floor: 2,
        folder: "activities/gateways",
        ours: &["oms-domain"],
        // sqlx for the sandbox gateway's own ledger, which is a twin of somebody else's books; the digests for signatures of webhooks; rustls
        // for connections to Kafka, whose client leaves them to its caller
        others: &[
            "async-trait",
            "base64",
            "chrono",
            "chrono-tz",
            "futures",
            "hex",
            "hmac",
            "lapin",
            "lettre",
            "minijinja",
            "redis",
            "reqwest",
            "rskafka",
            "rustls",
            "rustls-native-certs",
            "serde",
            "serde_json",
            "sha1",
            "sha2",
            "sqlx",
            "thiserror",
            "tokio",
        ],
    },
    Room {
        name: "oms-temporal",
        floor: 2,
        folder: "temporal",
        ours: &[],
        others: &[
            "rustix",
            "serde",
            "serde_json",
            "temporalio-client",
            "temporalio-common",
            "temporalio-sdk",
            "temporalio-workflow",
            "thiserror",
            "tokio",
            "tonic",
            "tracing",
            "which",
        ],
    },
    Room {
        name: "oms-activities",
        floor: 3,
        folder: "activities",
        ours: &["oms-contract", "oms-domain", "oms-gateways", "oms-store"],
        others: &[
            "async-trait",
            "futures",
            "metrics",
            "temporalio-client",
            "temporalio-common",
            "temporalio-macros",
            "temporalio-sdk",
            "tokio",
            "tower",
            "tower-resilience-circuitbreaker",
            "tracing",
        ],
    },
    Room {
        name: "oms-workers",
        floor: 4,
        folder: "workers",
        ours: &["oms-activities", "oms-contract", "oms-domain", "oms-gateways", "oms-store", "oms-temporal", "oms-workflows"],
        others: &[
            "async-trait",
            "futures",
            "rand",
            "reqwest",
            "serde_json",
            "temporalio-client",
            "temporalio-sdk",
            "thiserror",
            "tokio",
            "tokio-util",
            "tracing",
            "uuid",
        ],
    },
    Room {
        name: "oms-api",
        floor: 4,
        folder: "api",
        ours: &["oms-contract", "oms-domain", "oms-store", "oms-temporal"],
        others: &[
            "axum",
            "base64",
            "chrono",
            "csv",
            "futures",
            "governor",
            "hex",
            "metrics",
            "metrics-exporter-prometheus",
            "rand",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "sha2",
            "temporalio-client",
            "temporalio-common",
            "thiserror",
            "tokio",
            "tonic",
            "tower-http",
            "tracing",
            "url",
            "utoipa",
            "utoipa-axum",
            "utoipa-swagger-ui",
            "uuid",
        ],
    },
    Room {
        name: "oms",
        floor: 5,
        folder: "src",
        ours: &[
            "oms-activities",
            "oms-api",
            "oms-contract",
            "oms-domain",
            "oms-gateways",
            "oms-store",
            "oms-temporal",
            "oms-workers",
        ],
        others: &[
            "anyhow",
            "axum",
            "chrono",
            "clap",
            "config",
            "futures",
            "humantime",
            "indicatif",
            "rand",
            "regex-syntax",
            "reqwest",
            "rustls",
            "serde",
            "serde_json",
            "temporalio-client",
            "temporalio-common",
            "thiserror",
            "tokio",
            "tokio-util",
            "tonic",
            "tracing",
            "tracing-subscriber",
            "utoipa",
            "utoipa-axum",
            "uuid",
        ],
    },
];

/// Names under which types end up that belong to no noun.
const HOMELESS: [&str; 6] = ["common", "utils", "util", "shared", "helpers", "types"];

/// A file with more code than this has more than one subject.
const LINES_MAX: usize = 500;

/// The top folder of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the project.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the first Markdown table whose header row has these cells; each row by its cells, without code marks.
pub fn table(document: &str, header: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let mut lines = document.lines().skip_while(|line| !line.starts_with('|') || cells(line) != header);
    assert!(lines.next().is_some(), "no table with the columns {header:?}");
    let rows: Vec<Vec<String>> = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == header.len()), "a malformed table: {header:?}");
    rows
}

/// What cargo says of the project.
fn metadata() -> Value {
    // neither the network nor a resolved graph is needed to see what each crate lists
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    serde_json::from_slice(&cargo.stdout).expect("cargo's own words")
}

/// What each crate of ours lists outside of its tests, by its name.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        (name(package), all.filter(|d| d["kind"] != "dev").map(name).collect())
    };
    metadata()["packages"].as_array().unwrap().iter().map(of).collect()
}

/// Everything about these dependencies that the floors do not allow.
fn violations<'a>(listed: impl IntoIterator<Item = (&'a str, BTreeSet<&'a str>)>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, dependencies) in listed {
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            found.push(format!("{name} has no floor"));
            continue;
        };
        for dependency in dependencies {
            let ours = ROOMS.iter().any(|room| room.name == dependency);
            let allowed = if ours { room.ours } else { room.others };
            if !allowed.contains(&dependency) {
                let why = if ours { "is not below it" } else { "is not its to own" };
                found.push(format!("{name} lists {dependency}, which {why}"));
            }
        }
    }
    found
}

#[test]
fn dependencies_only_point_down_and_stay_with_their_owner() {
    let listed = listed();
    let names: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
    assert_eq!(names, ROOMS.iter().map(|room| room.name).collect::<BTreeSet<_>>(), "every crate has its room");
    let found = violations(listed.iter().map(|(name, of)| (name.as_str(), of.iter().map(String::as_str).collect())));
    assert!(found.is_empty(), "the floors of ARCHITECTURE.md are broken:\n{}", found.join("\n"));
}

#[test]
fn the_check_sees_what_it_must_refuse() {
    let refused = |name: &'static str, dependency: &'static str| !violations([(name, BTreeSet::from([dependency]))]).is_empty();
    for (name, dependency) in [
        ("oms-workflows", "tokio"),
        ("oms-workflows", "temporalio-sdk"),
        ("oms-workflows", "oms-store"),
        ("oms-contract", "temporalio-client"),
        ("oms-domain", "oms-contract"),
        ("oms-store", "temporalio-common"),
        ("oms-store", "axum"),
        ("oms-gateways", "oms-store"),
        ("oms-activities", "sqlx"),
        ("oms-activities", "oms-workflows"),
        ("oms-temporal", "oms-store"),
        ("oms-workers", "sqlx"),
        ("oms-workers", "oms-api"),
        ("oms-api", "oms-workflows"),
        ("oms-api", "oms-gateways"),
        ("oms-api", "sqlx"),
        ("oms", "oms-workflows"),
        ("oms", "sqlx"),
        ("a-new-crate", "serde"),
    ] {
        assert!(refused(name, dependency), "{name} -> {dependency}");
    }
}

#[test]
fn floors_descend_and_the_document_shows_them() {
    let floors: BTreeMap<&str, u8> = ROOMS.iter().map(|room| (room.name, room.floor)).collect();
    for room in &ROOMS {
        for below in room.ours {
            assert!(floors[below] < room.floor, "{} -> {below}", room.name);
        }
    }
    let written = table(&text("ARCHITECTURE.md"), &["Floor", "Crate", "Folder", "May use"]);
    let mut expected: Vec<Vec<String>> = ROOMS
        .iter()
        .map(|room| {
            let short = |name: &&str| name.trim_start_matches("oms-").to_owned();
            let mut uses: Vec<String> = room.ours.iter().map(short).collect();
            uses.sort();
            let uses = if uses.is_empty() { "nothing of ours".to_owned() } else { uses.join(", ") };
            vec![room.floor.to_string(), room.name.to_owned(), format!("{}/", room.folder), uses]
        })
        .collect();
    let mut written = written;
    written.sort();
    expected.sort();
    assert_eq!(written, expected, "the floors in ARCHITECTURE.md");
}

#[test]
fn a_bare_cargo_command_means_the_whole_project() {
    let metadata = metadata();
    let of = |key: &str| -> BTreeSet<String> {
        metadata[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("workspace_members"), of("workspace_default_members"), "default-members of Cargo.toml");
}

/// Every file below a folder that is part of the project.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(found.len() > 50, "the walk finds the project");
    found
}

#[test]
fn each_type_lives_with_its_noun() {
    for path in rust_files() {
        let inside = path.strip_prefix(root()).unwrap();
        for part in inside.with_extension("").components() {
            let part = part.as_os_str().to_string_lossy();
            assert!(!HOMELESS.contains(&&*part), "{} belongs to no noun", inside.display());
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let words: Vec<&str> = line.split([' ', ';', '{']).filter(|word| !word.is_empty()).collect();
            let declared = words.iter().position(|word| *word == "mod").filter(|at| *at <= 1).and_then(|at| words.get(at + 1));
            assert!(!declared.is_some_and(|name| HOMELESS.contains(name)), "{}: {line}", inside.display());
        }
    }
}

#[test]
fn what_replicas_keep_for_each_other_decides_nothing() {
    // whoever promises, books or prices is in other rooms, or calls one verb of the store
    let (mut readers, mut handlers) = (Vec::new(), BTreeSet::new());
    for path in rust_files() {
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let room =
            ["activities/src", "activities/store", "temporal", "workers", "workflows"].iter().any(|r| inside.starts_with(r));
        if room && ["SharedAnswers", "Answers::", "Answers,", "Answers}", "Answers;"].iter().any(|word| text.contains(word)) {
            readers.push(inside.clone());
        }
        if inside.starts_with("api/src/") && text.contains(".or_read(") {
            handlers.insert(inside);
        }
    }
    assert!(readers.is_empty(), "these read what is kept: {readers:?}");
    let two = ["api/src/catalogue/read.rs", "api/src/inventory/levels.rs"].map(str::to_owned);
    assert_eq!(handlers, BTreeSet::from(two), "only two reads give what is kept");
}

#[test]
fn no_file_has_grown_beyond_its_subject() {
    for path in rust_files() {
        let inside = path.strip_prefix(root()).unwrap();
        let parts: Vec<String> = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let tests = parts.iter().any(|part| part == "tests" || part == "tests.rs");
        if tests || !parts.iter().any(|part| part == "src") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        assert!(code <= LINES_MAX, "{}: {code} lines of code", inside.display());
    }
}

#[test]
fn readme_begins_with_the_two_commands() {
    let readme = text("README.md");
    let (before, after) = readme.split_once("```").unwrap();
    let prose = before.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
    assert!(prose <= 5, "{prose} lines stand before the first code block");
    let (_, block) = after.split_once('\n').unwrap();
    let block: Vec<&str> = block.split("```").next().unwrap().lines().collect();
    assert_eq!(block, ["cargo run -- demo", "cargo test"]);
}

#[test]
fn documents_name_only_files_that_exist() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/retries.md",
        "docs/operating.md",
        "docs/postgres.md",
        "docs/payments.md",
        "docs/carrier.md",
        "docs/events.md",
    ] {
        let folder = Path::new(document).parent().unwrap();
        let text = text(document);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = link.split('#').next().unwrap();
            assert!(root().join(folder).join(target).exists(), "{document} links to {link}");
        }
        // a path in code marks that begins with a room is a promise too
        for quoted in text.split('`').skip(1).step_by(2) {
            let room = ["workflows/", "activities/", "temporal/", "workers/", "api/", "src/", "tests/", "docs/", ".ci/"];
            let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if plain && room.iter().any(|r| quoted.starts_with(r)) {
                assert!(root().join(quoted).exists(), "{document} names {quoted}");
            }
        }
    }
}

#[test]
fn what_is_not_ours_is_built_once_for_both_commands_of_the_readme() {
    let tree = |selection: &[&str]| -> BTreeSet<String> {
        let cargo = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p} {f}"])
            .args(selection)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        let text = String::from_utf8(cargo.stdout).unwrap();
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let (run, test) = (tree(&["--edges", "normal"]), tree(&["--workspace", "--edges", "normal,dev"]));
    let twice: Vec<_> = run.difference(&test).collect();
    assert!(twice.is_empty(), "`cargo run` asks for other features than `cargo test`, so these are built twice: {twice:?}");
}
