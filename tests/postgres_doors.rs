//! What stands between us and a Postgres server: rights, passwords, TLS; what `oms doctor` says about it, and what happens to orders
//! meanwhile. Run with `cargo test -- --ignored`.

use futures::future::join_all;
use oms_store::{Store, StoreError};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::database::Sql;
use crate::support::postgres::Postgres;
use crate::support::roles::Place;
use crate::support::shop::{Fate, Shop};
use crate::support::world::{PATIENT, uuid};
use crate::support::{engine, until};

async fn server(tls: bool) -> Postgres {
    let start = move || if tls { Postgres::start_with_tls() } else { Postgres::start() };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// A place with this database and nothing else.
fn place(dir: &tempfile::TempDir, url: &str) -> Place {
    Place::new(dir.path(), "127.0.0.1:1", "unused", url)
}

/// What `oms doctor` says about a database.
async fn told(dir: &tempfile::TempDir, url: &str) -> String {
    let output = place(dir, url).run(&["doctor"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("  database  ")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{url}: {said}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn doctor_explains_every_closed_door_without_the_password() {
    let (postgres, dir) = (server(false).await, tempfile::tempdir().unwrap());
    let url = postgres.database().await;
    Sql::open(&url).await.execute("CREATE ROLE guarded LOGIN PASSWORD 'swordfish'").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let as_role = |role: &str| url.replace("postgres@", &format!("{role}@"));
    let doors = [
        (as_role("guarded:hunter2"), "correct user and password"),
        (as_role("nobody:hunter2"), "correct the user"),
        (format!("{}_else", as_role("postgres:hunter2")), "CREATE DATABASE"),
        (format!("{url}?sslmode=require"), "does not offer TLS"),
        (format!("{url}?sslmode=verify-full&sslrootcert=/ca.pem"), "does not offer TLS"),
        (format!("{url}?sslmode=verify"), "postgres://USER:PASSWORD@HOST"),
        (format!("postgres://oms:hunter2@{closed}/oms"), "start Postgres"),
        (format!("postgres://oms:hunter2@{}/oms", silent.local_addr().unwrap()), "no answer within"),
        (as_role("guarded:swordfish"), "may not create tables: GRANT CREATE ON SCHEMA public TO guarded"),
        (url.clone(), "run `oms migrate`"),
    ];
    let lines = join_all(doors.iter().map(|(url, _)| told(&dir, url))).await;
    for ((url, remedy), line) in doors.iter().zip(lines) {
        assert!(line.starts_with("FAIL") && line.contains(remedy), "{url}: {line}");
        assert!(!line.contains("hunter2") && !line.contains("swordfish"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn doctor_tells_what_a_role_may_not_do_and_which_schema_does_not_fit() {
    let (postgres, dir) = (server(false).await, tempfile::tempdir().unwrap());
    let url = postgres.database().await;
    let mut sql = Sql::open(&url).await;
    sql.execute("CREATE ROLE clerk LOGIN").await;
    let clerk = url.replace("postgres@", "clerk@");
    // what it may not do is refused in one sentence, and changes nothing
    let refused = place(&dir, &clerk).run(&["migrate"]).await;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("42501") && why.contains("docs/postgres.md"), "{why}");

    assert!(place(&dir, &url).run(&["migrate"]).await.status.success());
    let line = told(&dir, &clerk).await;
    assert!(line.starts_with("FAIL") && line.contains("_sqlx_migrations") && line.contains("grant it"), "{line}");
    sql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk").await;
    let line = told(&dir, &clerk).await;
    assert!(line.starts_with("FAIL") && line.contains("may not read and write") && line.contains("TO clerk"), "{line}");
    sql.execute("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk").await;
    let line = told(&dir, &clerk).await;
    assert!(line.starts_with("ok") && line.contains("schema up to date"), "{line}");

    sql.execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)").await;
    let line = told(&dir, &clerk).await;
    assert!(line.starts_with("FAIL") && line.contains("run `oms migrate`") && line.contains("may not create tables"), "{line}");
    sql.execute("GRANT CREATE ON SCHEMA public TO clerk").await;
    let line = told(&dir, &clerk).await;
    assert!(line.contains("belong to role postgres"), "{line}");
    sql.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', TRUE, '', 0)",
    )
    .await;
    let line = told(&dir, &url).await;
    assert!(line.starts_with("FAIL") && line.contains("999") && line.contains("run the newer version"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn only_a_certificate_of_the_named_authority_is_trusted() {
    let (mut postgres, dir) = (server(true).await, tempfile::tempdir().unwrap());
    let (by_number, tls) = (postgres.database().await, postgres.certificates());
    let by_name = by_number.replace("127.0.0.1", "localhost");
    let verified =
        |url: &str, authority: &str| format!("{url}?sslmode=verify-full&sslrootcert={}", tls.join(authority).display());
    let url = verified(&by_name, "ours.pem");

    let store = Store::connect(&url).await.unwrap();
    store.ping().await.unwrap();
    let safe = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE ssl AND application_name = 'oms' AND datname = current_database() AND $1 <> ''";
    assert!(Sql::open(&by_number).await.number(safe, "-").await > 0, "our connections are encrypted");
    store.close().await;
    assert!(place(&dir, &url).run(&["migrate"]).await.status.success());
    assert!(told(&dir, &url).await.starts_with("ok"));

    let named = tls.join("ours.pem");
    let by_authority_alone = format!("{by_number}?sslmode=verify-ca&sslrootcert={}", named.display());
    Store::connect(&by_authority_alone).await.unwrap().close().await;
    for (url, why) in [
        (verified(&by_name, "others.pem"), "is not trusted"),
        (format!("{by_name}?sslmode=verify-full"), "is not trusted"),
        // signed, but for another name
        (verified(&by_number, "ours.pem"), "is not trusted"),
        (verified(&by_name, "absent.pem"), "cannot be opened"),
    ] {
        let error = Store::connect(&url).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains(why) && error.to_string().contains("sslrootcert"), "{url}: {error}");
        let line = told(&dir, &url).await;
        assert!(line.starts_with("FAIL") && line.contains(why), "{url}: {line}");
    }

    Sql::open(&by_number).await.execute("CREATE ROLE certified LOGIN SUPERUSER").await;
    let url = url.replace("postgres@", "certified@");
    let line = told(&dir, &url).await;
    assert!(line.starts_with("FAIL") && line.contains("sslcert and sslkey"), "{line}");
    let (certificate, key) = (tls.join("ours-certified.pem"), tls.join("ours-certified.key"));
    let ours = format!("{url}&sslcert={}&sslkey={}", certificate.display(), key.display());
    assert!(told(&dir, &ours).await.starts_with("ok"));
    let half = Store::connect(&format!("{url}&sslcert={}", certificate.display())).await.unwrap_err();
    assert!(matches!(&half, StoreError::BadUrl { detail } if detail.contains("together")), "{half:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn a_database_in_anothers_name_is_an_outage_and_no_order_is_lost() {
    let (mut postgres, dir) = (server(true).await, tempfile::tempdir().unwrap());
    let database = postgres.database().await.replace("127.0.0.1", "localhost");
    let url = format!("{database}?sslmode=verify-full&sslrootcert={}", postgres.certificates().join("ours.pem").display());
    let namespace = format!("test-{}", uuid());
    engine::namespace(&namespace).await;
    let place = Place::new(dir.path(), engine::address(), &namespace, &url);
    assert!(place.run(&["migrate"]).await.status.success());
    let (_worker, _relay, (api, api_url)) = tokio::join!(place.worker(), place.relay(), place.api());
    let shop = Shop::at(&[api_url]);
    shop.open().await;
    let before = shop.place("before", Fate::Delivered).await;

    postgres.present("others");
    let body = Shop::body("pm_card_visa", json!([{"sku": "mug", "quantity": 1}]));
    until("orders are refused", PATIENT, || async {
        let (status, problem) = shop.ask(Method::POST, "/v1/orders", Some(&body), Some("during")).await.unwrap();
        assert!(!problem.to_string().contains("certificate"), "clients are not told: {problem}");
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    let ready = shop.ask(Method::GET, "/readyz", None, None).await.unwrap();
    assert_eq!(ready.0, StatusCode::SERVICE_UNAVAILABLE, "{}", ready.1);
    assert!(api.said().contains("certificate is not trusted"), "the log says why");
    let output = place.run(&["doctor"]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("certificate is not trusted"), "{output:?}");

    postgres.present("ours");
    let (status, order) = shop.insist(Method::POST, "/v1/orders", Some(&body), Some("during")).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    shop.live(&before, Fate::Delivered).await;
    shop.live(order["id"].as_str().unwrap(), Fate::Delivered).await;
    let store = Store::connect(&url).await.unwrap();
    assert_eq!(store.audit_orders(None, 10).await.unwrap().len(), 2, "each once");
    until("messages and events are out", PATIENT, || async {
        let orders = store.audit_orders(None, 10).await.unwrap();
        let open = orders.iter().any(|o| o.messages_open_since.is_some() || o.outbox_unpublished_since.is_some());
        (!open).then_some(())
    })
    .await;
    place.audit().await;
}
