//! Alerts to operators on a real world: each kind is told once per window, by mail and to a web address.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use oms_contract::names::Queue;
use oms_domain::customer::Email;
use oms_store::{ItemSource, NewItem};
use oms_workers::Alerts;
use serde_json::{Value, json};

use crate::support::until;
use crate::support::world::{PATIENT, World, now};

fn item(id: &str, kind: &str) -> NewItem {
    NewItem {
        id: id.to_owned(),
        kind: kind.to_owned(),
        order_id: None,
        shipment_id: None,
        subject: "pay_1".to_owned(),
        detail: "look at it".to_owned(),
        source: ItemSource::Reconciliation,
    }
}

/// A web address that keeps what it is sent.
async fn listener() -> (String, Arc<Mutex<Vec<Value>>>) {
    let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = heard.clone();
    let router = Router::new().route(
        "/hook",
        post(move |body: axum::Json<Value>| {
            keep.lock().unwrap().push(body.0);
            async { "thanks" }
        }),
    );
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await });
    (url, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_told_once_per_kind_and_window() {
    let (url, heard) = listener().await;
    let mut world = World::idle(Default::default()).await;
    world.parts.alerts =
        Alerts { mail: Some(Email::parse("ops@example.com").unwrap()), webhook: Some(url), window: Duration::from_secs(3_600) };
    for (id, kind) in [("item-0001", "stuck"), ("item-0002", "stuck"), ("item-0003", "lost")] {
        assert!(world.store.open_item(&item(id, kind), now()).await.unwrap());
    }
    world.start_workers(&Queue::ALL).await;
    let posted = || -> Vec<(Value, Value)> {
        let mut told: Vec<(Value, Value)> =
            heard.lock().unwrap().iter().map(|alert| (alert["kind"].clone(), alert["count"].clone())).collect();
        told.sort_by_key(|(kind, _)| kind.to_string());
        told
    };
    let letters = || -> Vec<String> {
        let files = std::fs::read_dir(world.dir.path().join("mail")).into_iter().flatten().map(|file| file.unwrap().path());
        let written = files.filter(|path| path.extension().is_some_and(|e| e == "eml"));
        written.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    until("both kinds are told both ways", PATIENT, || async { (posted().len() >= 2 && letters().len() >= 2).then_some(()) })
        .await;
    assert_eq!(posted(), [(json!("lost"), json!(1)), (json!("stuck"), json!(2))]);
    assert!(letters().iter().all(|letter| letter.contains("ops@example.com") && letter.contains("a person")));
    let alert = heard.lock().unwrap().iter().find(|alert| alert["kind"] == "stuck").cloned().unwrap();
    assert_eq!((&alert["type"], alert["items"].as_array().unwrap().len()), (&json!("review_items.opened"), 2));

    // within the window the same kind is not told again; another one is, and shows that the teller has been round
    for (id, kind) in [("item-0004", "stuck"), ("item-0005", "no_scan")] {
        assert!(world.store.open_item(&item(id, kind), now()).await.unwrap());
    }
    until("the other kind is told", PATIENT, || async { (posted().len() >= 3 && letters().len() >= 3).then_some(()) }).await;
    assert_eq!(posted(), [(json!("lost"), json!(1)), (json!("no_scan"), json!(1)), (json!("stuck"), json!(2))]);
    world.stop_workers().await;

    // an hour later what was opened meanwhile is told, with its count
    let later = chrono::TimeDelta::hours(1) + chrono::TimeDelta::minutes(1);
    world.parts.clock = Arc::new(move || now() + later);
    world.start_workers(&[Queue::Notifications]).await;
    until("the rest is told", PATIENT, || async { (posted().len() >= 4).then_some(()) }).await;
    assert_eq!(posted().into_iter().filter(|told| *told == (json!("stuck"), json!(1))).count(), 1);
    world.end().await;
}
