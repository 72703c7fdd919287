//! Imports: files that come in, run once, and are worked on by one process at a time.

use crate::world::*;
use oms_store::*;

on_both!(a_file_runs_once, one_process_at_a_time, rows_settle_once, racing_uploads_are_one_import, what_broke_off_goes);

fn rows(numbers: std::ops::RangeInclusive<u64>) -> Vec<NewImportRow> {
    numbers
        .map(|number| NewImportRow {
            number,
            key: (number == 1).then(|| "k-1".to_owned()),
            content: if number % 5 == 0 { Err("[]".to_owned()) } else { Ok(format!("{{\"n\":{number}}}")) },
        })
        .collect()
}

async fn received(store: &Store, upload: &str, id: &str, now: i64) -> (Import, bool) {
    store.begin_import(upload, "public", at(now)).await.unwrap();
    store.add_import_rows(upload, &rows(1..=6), at(now)).await.unwrap();
    // a repeated batch adds nothing
    store.add_import_rows(upload, &rows(4..=10), at(now)).await.unwrap();
    store.seal_import(upload, id, at(now)).await.unwrap()
}

fn lease(id: &str, holder: &str, until: i64) -> ImportLease {
    ImportLease { id: id.to_owned(), holder: holder.to_owned(), until: at(until) }
}

fn settled(number: u64, key: Option<&str>) -> SettledRow {
    SettledRow { number, result: key.map(order_id).ok_or_else(|| "[{}]".to_owned()) }
}

async fn a_file_runs_once(world: World) {
    let store = &world.store;
    let (import, replayed) = received(store, "upload-1", "import-1", 0).await;
    assert!(!replayed);
    assert_eq!((import.state, import.rows, import.placed, import.refused, import.pending()), (ImportState::Running, 10, 0, 2, 8));
    assert_eq!(store.import("import-1").await.unwrap(), Some(import.clone()));
    assert_eq!(store.import("upload-1").await.unwrap(), None);
    assert_eq!(store.seal_import("upload-1", "import-1", at(1)).await.unwrap(), (import.clone(), false), "sealing repeats");
    let (again, replayed) = received(store, "upload-2", "import-1", 5).await;
    assert_eq!((&again, replayed), (&import, true));
    assert!(store.import_rows("upload-2", None, 0, 9).await.unwrap().is_empty(), "the second upload left nothing");
    assert_eq!(store.imports(None, 9).await.unwrap().len(), 1);
    let pending = store.pending_rows(&import.upload, 3).await.unwrap();
    assert_eq!(
        pending.iter().map(|r| (r.number, r.key.as_deref())).collect::<Vec<_>>(),
        [(1, Some("k-1")), (2, None), (3, None)]
    );
    assert_eq!(pending[1].content, "{\"n\":2}");
    let refused = store.import_rows(&import.upload, Some(RowStatus::Refused), 0, 9).await.unwrap();
    assert_eq!(refused.iter().map(|r| r.number).collect::<Vec<_>>(), [5, 10]);
    assert_eq!(store.import_rows(&import.upload, None, 8, 9).await.unwrap().len(), 2);
    received(store, "upload-3", "import-3", 9).await;
    let newest = store.imports(None, 1).await.unwrap();
    assert_eq!(newest[0].id, "import-3");
    assert_eq!(store.imports(Some(&newest[0].cursor()), 9).await.unwrap()[0].id, "import-1");
}

async fn one_process_at_a_time(world: World) {
    let store = &world.store;
    store.begin_import("upload-0", "public", at(0)).await.unwrap();
    assert_eq!(store.lease_import("a", at(10), at(0)).await.unwrap(), None, "what comes in does not run");
    received(store, "upload-1", "import-1", 0).await;
    assert_eq!(store.lease_import("a", at(10), at(0)).await.unwrap().unwrap().id, "import-1");
    assert_eq!(store.lease_import("b", at(10), at(9)).await.unwrap(), None);
    assert_eq!(store.leased_imports("a").await.unwrap(), ["import-1"]);
    assert!(store.prolong_import(&lease("import-1", "a", 20)).await.unwrap());
    assert_eq!(store.lease_import("b", at(30), at(19)).await.unwrap(), None, "prolonged");
    assert!(store.lease_import("b", at(30), at(21)).await.unwrap().is_some(), "the lease has run out");
    assert!(!store.prolong_import(&lease("import-1", "a", 40)).await.unwrap());
    assert_eq!(store.settle_rows(&lease("import-1", "a", 40), &[settled(1, Some("x"))], at(22)).await.unwrap(), None);
    assert_eq!(store.import("import-1").await.unwrap().unwrap().placed, 0, "who lost it writes nothing");
    store.release_import(&lease("import-1", "a", 0)).await.unwrap();
    assert_eq!(store.lease_import("c", at(40), at(23)).await.unwrap(), None, "not theirs to give back");
    store.release_import(&lease("import-1", "b", 0)).await.unwrap();
    assert!(store.lease_import("c", at(40), at(23)).await.unwrap().is_some());
}

async fn rows_settle_once(world: World) {
    let store = &world.store;
    let (import, _) = received(store, "upload-1", "import-1", 0).await;
    store.lease_import("a", at(10), at(0)).await.unwrap();
    let settle = async |rows: &[SettledRow], now| store.settle_rows(&lease("import-1", "a", 60), rows, at(now)).await.unwrap();
    assert_eq!(settle(&[settled(1, Some("o-1")), settled(2, None)], 1).await, Some(ImportState::Running));
    assert_eq!(settle(&[settled(1, None), settled(2, None), settled(3, Some("o-3"))], 2).await, Some(ImportState::Running));
    let shown = store.import_rows(&import.upload, None, 0, 3).await.unwrap();
    assert_eq!(
        shown[0],
        ImportRow { number: 1, status: RowStatus::Placed, order_id: Some(order_id("o-1").to_string()), errors: None }
    );
    assert_eq!((shown[1].status, shown[1].errors.as_deref()), (RowStatus::Refused, Some("[{}]")));
    let rest: Vec<SettledRow> =
        store.pending_rows(&import.upload, 99).await.unwrap().iter().map(|r| settled(r.number, Some("o"))).collect();
    assert_eq!(rest.len(), 5);
    assert_eq!(settle(&rest, 3).await, Some(ImportState::Done));
    let done = store.import("import-1").await.unwrap().unwrap();
    assert_eq!((done.placed, done.refused, done.pending(), done.finished_at), (7, 3, 0, Some(kept(3))));
    assert_eq!(settle(&[], 4).await, None, "done is done");
    assert!(store.pending_rows(&import.upload, 9).await.unwrap().is_empty());
    let (empty, _) = {
        store.begin_import("upload-2", "public", at(5)).await.unwrap();
        store.add_import_rows("upload-2", &rows(5..=5), at(5)).await.unwrap();
        store.seal_import("upload-2", "import-2", at(5)).await.unwrap()
    };
    assert_eq!((empty.state, empty.finished_at), (ImportState::Done, Some(kept(5))), "nothing to place");
}

async fn racing_uploads_are_one_import(world: World) {
    let answers = race(20, |n| {
        let store = world.store.clone();
        async move { received(&store, &format!("upload-{n}"), "import-1", 0).await.1 }
    })
    .await;
    assert_eq!(answers.iter().filter(|replayed| !**replayed).count(), 1);
    let all = world.store.imports(None, 99).await.unwrap();
    assert_eq!((all.len(), all[0].rows), (1, 10));
    for n in 0..20 {
        let upload = format!("upload-{n}");
        let left = world.store.import_rows(&upload, None, 0, 99).await.unwrap().len();
        assert_eq!(left, if upload == all[0].upload { 10 } else { 0 });
    }
}

async fn what_broke_off_goes(world: World) {
    let store = &world.store;
    store.begin_import("upload-1", "public", at(0)).await.unwrap();
    store.add_import_rows("upload-1", &rows(1..=3), at(5)).await.unwrap();
    assert!(store.abandoned_uploads(at(5), 9).await.unwrap().is_empty());
    assert_eq!(store.abandoned_uploads(at(6), 9).await.unwrap(), ["upload-1"]);
    assert_eq!(store.import("upload-1").await.unwrap().unwrap().state, ImportState::Receiving);
    store.drop_upload("upload-1").await.unwrap();
    assert!(
        store.import_rows("upload-1", None, 0, 9).await.unwrap().is_empty() && store.imports(None, 9).await.unwrap().is_empty()
    );
    let late = store.add_import_rows("upload-1", &rows(4..=5), at(7)).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    let late = store.seal_import("upload-1", "import-1", at(7)).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
    let (import, _) = received(store, "upload-2", "import-2", 8).await;
    store.drop_upload(&import.upload).await.unwrap();
    store.drop_upload(&import.id).await.unwrap();
    assert_eq!(store.import_rows(&import.upload, None, 0, 99).await.unwrap().len(), 10, "one that runs stays");
}
