//! The customer confirms a payment: the way to the gateway's page, and what happens when two answers arrive at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use oms_contract::names::Queue;
use oms_gateways::payment::SandboxPayments;
use oms_temporal::worker::WorkerTuning;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http::{Answer, Http, fresh, instant, order_of};
use crate::support::stack::shared;
use crate::support::until;
use crate::support::world::{PATIENT, World, eur};

/// An order whose customer must act, and the path of the page for it.
async fn waiting(http: &Http, sku: &str) -> (Value, String) {
    let body = order_of("pm_card_authenticationRequired", &[(sku, 1)]);
    let id = http.place(&fresh("key"), 0, &body).await.is(201).text_at("/id").to_owned();
    let order = http.order_where(&id, "waiting", |o| o["payment"]["status"] == "requires_action").await;
    let url = order["payment"]["action_url"].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap().1;
    let path = format!("/{path}");
    (order, path)
}

async fn press(http: &Http, page: &str, outcome: &str) -> Answer {
    let form = http.request(Method::POST, page).header("content-type", "application/x-www-form-urlencoded");
    http.send(form.body(format!("outcome={outcome}"))).await
}

#[tokio::test]
async fn a_customer_is_sent_to_a_page_and_comes_back() {
    let http = shared().await.http();
    let sku = fresh("PAGE");
    http.sell(&sku, "berlin", 5, 1_000).await;
    for (outcome, title, status) in [("succeed", "Thank you", "confirmed"), ("fail", "The payment is not confirmed", "rejected")]
    {
        let (order, page) = waiting(&http, &sku).await;
        let id = order["id"].as_str().unwrap();
        assert!(order["payment"]["action_until"].as_str().unwrap() > order["placed_at"].as_str().unwrap());
        let shown = http.get(&page).await.is(200);
        assert!(shown.header("content-type").starts_with("text/html"), "{}", shown.text);
        let asked = eur(order["totals"]["total"]["amount"].as_i64().unwrap()).to_string();
        for word in [r#"value="succeed""#, r#"value="fail""#, &asked] {
            assert!(shown.text.contains(word), "{word}: {}", shown.text);
        }
        press(&http, &page, "maybe").await.refuses(422, "validation_failed", Some("/outcome"));
        assert!(press(&http, &page, outcome).await.is(200).text.contains(title));
        let ended = http.reaches(id, status).await;
        assert!(ended["payment"]["action_url"].is_null() && ended["payment"]["action_until"].is_null(), "{ended}");
        // whoever comes late reads how it ended, and changes nothing
        assert!(http.get(&page).await.is(200).text.contains(title));
        assert!(press(&http, &page, outcome).await.is(200).text.contains(title));
        let other = if outcome == "succeed" { "fail" } else { "succeed" };
        assert!(press(&http, &page, other).await.is(409).text.contains(title));
    }
    assert!(http.get("/v1/sandbox/pay/nobody-paid").await.is(404).text.contains("not known"));
    press(&http, "/v1/sandbox/pay/nobody-paid", "fail").await.is(404);
    http.post("/v1/sandbox/pay/nobody-paid", &json!({"outcome": "fail"})).await.refuses(415, "unsupported_media_type", None);
}

#[tokio::test]
async fn page_and_route_settle_a_payment_once() {
    let http = shared().await.http();
    let sku = fresh("RACE");
    http.sell(&sku, "berlin", 100, 1_000).await;
    let race = async |round: usize| {
        let (order, page) = waiting(&http, &sku).await;
        let id = order["id"].as_str().unwrap();
        let route = format!("{}/authenticate", page.replace("/pay/", "/payments/"));
        let (by_page, by_route) = if round.is_multiple_of(2) { ("succeed", "fail") } else { ("fail", "succeed") };
        let answer = json!({"outcome": by_route});
        let (page, route) = tokio::join!(press(&http, &page, by_page), http.post(&route, &answer));
        let winner = match (page.status, route.status) {
            (200, 409) => by_page,
            (409, 200) => by_route,
            other => panic!("round {round}: {other:?}: {} {}", page.text, route.text),
        };
        let (status, stands) = if winner == "succeed" { ("confirmed", "authorized") } else { ("rejected", "declined") };
        http.reaches(id, status).await;
        let ledger = http.ledger(id).await;
        assert_eq!((ledger.len(), &ledger[0]["status"]), (1, &json!(stands)), "round {round}");
        let holds = ledger[0]["operations"].as_array().unwrap().iter().filter(|o| o["kind"] == "authorize").count();
        assert_eq!(holds, 1, "round {round}: {ledger:?}");
        winner
    };
    let mut promised = 0;
    for rounds in [0..8usize, 8..16] {
        for winner in join_all(rounds.map(race)).await {
            promised += i64::from(winner == "succeed");
        }
    }
    until("one unit is promised per confirmed order", Duration::from_secs(20), || async {
        (http.stock(&sku).await.1 == promised).then_some(())
    })
    .await;
}

/// The first mail that says `words`, once it is written.
pub async fn mail_that_says(world: &World, words: &str) -> String {
    until(&format!("a mail says `{words}`"), PATIENT, || async {
        let folder = std::fs::read_dir(world.dir.path().join("mail")).ok()?;
        let paths = folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml"));
        // quoted-printable folds long lines
        let plain = |text: String| text.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=");
        let mut mails = paths.map(|path| plain(std::fs::read_to_string(path).unwrap_or_default()));
        mails.find(|text| text.contains(words))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_has_link_and_deadline() {
    let mut world = World::idle(WorkerTuning::default()).await;
    let payments: SandboxPayments = world.sandbox.payments.clone().with_pages("https://shop.example.com");
    world.parts.gateways.payments = Arc::new(payments);
    world.start_workers(&Queue::ALL).await;
    world.shelf("mug", "berlin", 1, 1999).await;
    let id = world.place("one", "pm_card_authenticationRequired", &[("mug", 1)]).await;
    let order = until("the order waits for its customer", PATIENT, || async {
        Some(world.order(&id).await).filter(|order| order.life.payment.action_until.is_some())
    })
    .await;
    let payment = world.sandbox.payments.payments(Some(&id)).await.unwrap().remove(0).payment_id;
    let url = format!("https://shop.example.com/v1/sandbox/pay/{payment}");
    assert_eq!(order.action_url.as_ref(), Some(&url));
    let until_at = order.life.payment.action_until.unwrap();
    assert!(until_at > world.now() && instant(until_at).ends_with('Z'));
    let mail = mail_that_says(&world, "confirm the payment").await;
    assert!(mail.contains(&url), "{mail}");
    assert!(mail.contains(&until_at.format("%H:%M UTC").to_string()), "{mail}");
    // the address may be the right to pay, so nothing that is kept beside the database knows it
    let history = world.run(&id).fetch_history(Default::default()).into_events().await.unwrap();
    assert!(!format!("{history:?}").contains("sandbox/pay"));
    world.end().await;
}
