//! `oms bench`: its figures add up, and nothing of it is left.

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::postgres::Postgres;
use crate::support::stack::{Ended, Home, LONG};
use crate::support::until;

const SHORT: [&str; 9] = ["bench", "stock", "--seconds", "1", "--tasks", "8", "--articles", "5", "--json"];

/// The figures belong together, as far as they can on any machine.
fn adds_up(done: &Ended, database: &str) {
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&report["database"], &report["tasks"]), (&database.into(), &8.into()), "{report}");
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["articles"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 1]);
    for run in runs {
        let figure = |name: &str| run[name].as_f64().unwrap();
        assert!(figure("reservations") >= 8.0 && figure("seconds") >= 1.0, "{run}");
        assert!((figure("per_second") - figure("reservations") / figure("seconds")).abs() < 1.0, "{run}");
        assert!(
            figure("p50_ms") > 0.0 && figure("p50_ms") <= figure("p99_ms") && figure("p99_ms") <= figure("worst_ms"),
            "{run}"
        );
    }
}

#[tokio::test]
async fn reservations_are_measured_beside_the_shops_file() {
    let home = Home::new();
    adds_up(&home.run(&SHORT).await, "sqlite");
    let left: Vec<_> = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    // as a run leaves it that was killed
    std::fs::write(home.data().join("oms.bench"), "").unwrap();
    let refused = home.run(&SHORT).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("oms.bench is there already"), "{}", refused.err);
    std::fs::remove_file(home.data().join("oms.bench")).unwrap();
    // one that is told to stop takes its file away
    let mut stopped = home.start(&["bench", "stock", "--seconds", "600"], &[]);
    until("it measures", LONG, || async { home.data().join("oms.bench-wal").exists().then_some(()) }).await;
    let asked = std::process::Command::new("kill").args(["-TERM", &stopped.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(home.ended(&mut stopped, LONG).await, Some(1));
    assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 0);
    let shown = home.run(&["bench", "stock", "--seconds", "1", "--tasks", "2"]).await;
    assert_eq!((shown.code, shown.out.lines().count()), (Some(0), 3), "{}{}", shown.out, shown.err);
    assert!(shown.out.starts_with("database  tasks  articles  reservations  per second"), "{}", shown.out);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn reservations_are_measured_beside_the_shops_schema() {
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let url = postgres.database().await;
    let home = Home::new().with("DATABASE_URL", &url);
    assert_eq!(home.run(&["migrate"]).await.code, Some(0));
    adds_up(&home.run(&SHORT).await, "postgres");
    let mut sql = PgConnection::connect(&url).await.unwrap();
    let count = |statement: &'static str| sqlx::query_scalar::<_, i64>(statement);
    let (articles, schemas) = ("SELECT count(*) FROM products", "SELECT count(*) FROM pg_namespace WHERE nspname = 'oms_bench'");
    assert_eq!(count(articles).fetch_one(&mut sql).await.unwrap(), 0, "the shop's own catalogue");
    assert_eq!(count(schemas).fetch_one(&mut sql).await.unwrap(), 0, "nothing is left");
    // as a run leaves it that was killed
    sql.execute("CREATE SCHEMA oms_bench").await.unwrap();
    let refused = home.run(&SHORT).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("DROP SCHEMA oms_bench CASCADE"), "{}", refused.err);
    sql.execute("DROP SCHEMA oms_bench; CREATE ROLE clerk LOGIN").await.unwrap();

    let clerk = url.replacen("postgres@", "clerk@", 1);
    let refused = home.run_with(&[("DATABASE_URL", clerk.as_str())], &SHORT).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("GRANT CREATE ON DATABASE"), "{}", refused.err);
}
