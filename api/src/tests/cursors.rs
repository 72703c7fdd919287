//! Cursors: each list reads its own and refuses those of every other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Desk;

/// Texts that stand inside of cursors, one for each form.
const INSIDE: [&str; 5] = ["MUG", "2026-01-31T12:00:00.000000000Z|abcdefgh-0000", "7", "2026-01-31", "abcdefgh-1"];

/// The kinds that the sources declare, as often as they do.
fn kinds(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            kinds(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let declared = text.lines().filter_map(|line| line.trim().strip_prefix("const KIND: &'static str = \""));
            into.extend(declared.filter_map(|rest| rest.strip_suffix("\";")).map(str::to_owned));
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let mut declared = Vec::new();
    kinds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut declared);
    let kinds: BTreeSet<&String> = declared.iter().collect();
    assert!(kinds.len() == declared.len() && kinds.len() >= 12, "each list has a kind of its own: {declared:?}");
    let desk = Desk::new().await;
    let mut read: BTreeMap<&String, &str> = BTreeMap::new();
    let lists = [
        "orders",
        "shipments",
        "catalogue",
        "inventory",
        "locations",
        "review-items",
        "returns",
        "imports",
        "imports/abc/rows",
        "reconciliations",
        "ops/redrives/abc",
        "webhooks/abc/deliveries",
    ];
    for list in lists {
        for kind in &kinds {
            let mut taken = false;
            for inside in INSIDE {
                let cursor = URL_SAFE_NO_PAD.encode(format!("{kind}|{inside}"));
                let answer = desk.get(&format!("/v1/{list}?cursor={cursor}")).await;
                taken |= answer.status != 422;
                if answer.status == 422 {
                    answer.refuses(422, "validation_failed", Some("cursor"));
                }
            }
            if taken {
                assert_eq!(read.insert(kind, list), None, "{list} reads a cursor of {kind}, and so does another list");
            }
        }
    }
    assert_eq!(read.len(), lists.len(), "each list reads its own: {read:?}");
}
