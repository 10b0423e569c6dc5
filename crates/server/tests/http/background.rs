//! Background loops continue after errors and panics, and report the outcomes of their runs.

use crate::house::{House, On};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_server::background::{Background, Loop, Run, Wake};
use tenancy_store::Topic;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

const NEVER: Duration = Duration::from_secs(3600);

fn of(house: &House, name: &'static str, period: Duration, wake: Wake, run: Run) -> Arc<Background> {
    let (server, one) = (&house.server, Loop { name, period, wake, run });
    let (tenancy, metrics) = (Arc::clone(&server.tenancy), Arc::clone(&server.metrics));
    Arc::new(Background::new(tenancy, metrics, vec![one], server.stop.clone()))
}

#[tokio::test]
async fn a_loop_that_fails_or_panics_must_be_counted_and_run_again() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static GOOD: Notify = Notify::const_new();
    let run: Run = |_, _| {
        let nth = RUNS.fetch_add(1, Ordering::SeqCst);
        assert!(nth != 0, "as instructed, before it begins");
        async move {
            match nth {
                1 => panic!("as instructed"),
                2 => Err(Error::Internal("a full disk".to_owned())),
                _ => {
                    GOOD.notify_one();
                    Ok(())
                }
            }
        }
        .boxed()
    };
    let house = House::new(On::Sqlite).await;
    let background = of(&house, "odd", Duration::from_millis(1), Wake::Never, run);
    let tasks = TaskTracker::new();
    background.start(&tasks);
    GOOD.notified().await;
    house.server.stop.cancel();
    tasks.close();
    tasks.wait().await;
    let figures = background.status().next().expect("one").figures();
    assert_eq!((figures.errors, figures.last_error.as_deref()), (3, Some("a full disk")));
    let text = house.server.metrics.text();
    assert!(text.contains(r#"tenancy_background_runs_total{name="odd",outcome="error"} 3"#), "{text}");
}

#[tokio::test]
async fn a_loop_must_run_again_for_a_hint_that_comes_while_it_runs() {
    static RAN: Notify = Notify::const_new();
    static GOES_ON: Notify = Notify::const_new();
    let run: Run = |_, _| {
        async {
            RAN.notify_one();
            GOES_ON.notified().await;
            Ok(())
        }
        .boxed()
    };
    let house = House::new(On::Sqlite).await;
    let (background, tasks) = (of(&house, "told", NEVER, Wake::Topic(Topic::Log), run), TaskTracker::new());
    background.start(&tasks);
    RAN.notified().await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    GOES_ON.notify_one();
    tokio::time::timeout(Duration::from_secs(20), RAN.notified()).await.expect("it runs again");
    house.server.stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn every_loop_must_be_shown_with_how_it_went() {
    let house = House::new(On::Postgres).await;
    let shown = async || house.get("/v1/status").await.ok(200).body["background"].as_array().expect("loops").clone();
    let before = shown().await;
    let names: Vec<_> = before.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    let expected = [
        "ended-holds",
        "expired-rows",
        "log-partitions",
        "clock",
        "organization-holds",
        "key-usage",
        "refusals",
        "log-seals",
        "webhook-dispatch",
        "webhook-retention",
        "data-keys",
        "plain-rows",
        "logins",
        "jobs",
    ];
    assert_eq!(names, expected);
    assert_eq!(before[0], json!({"name": "ended-holds", "period_seconds": 10.0, "runs": 0, "errors": 0}));
    house.server.background.run_once("ended-holds").await;
    house.postgres.as_ref().expect("PostgreSQL").execute("ALTER TABLE holds RENAME TO gone");
    house.server.background.run_once("ended-holds").await;
    let after = shown().await[0].clone();
    assert_eq!((&after["runs"], &after["errors"]), (&json!(2), &json!(1)));
    assert!(after["last_success_at"].as_str() < after["last_error_at"].as_str(), "{after:#}");
    assert_ne!(after["last_error"], Value::Null);
}
