//! A database that stops under load: callers are told the truth, and all goes on when it is back.

use crate::harness::{Bench, small};
use crate::history::{Answer, History};
use crate::world::Member;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tenancy_core::Error;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;
use tokio::sync::mpsc;

const CLIENTS: u64 = 12;

/// Registers one tenant after the other until it is told to stop.
async fn register(
    bench: Arc<Bench>,
    client: u64,
    stop: Arc<AtomicBool>,
    told: mpsc::UnboundedSender<(Member, Answer)>,
) {
    let number = AtomicU64::new(0);
    while !stop.load(Ordering::SeqCst) {
        let id = format!("c{client}-{}", number.fetch_add(1, Ordering::Relaxed));
        let decision = bench.registration(&small(&id, "acme"));
        let member = Member { changes: decision.changes.unwrap(), after: Some(decision.dossier) };
        let answer = bench.store.commit(member.changes.clone()).await;
        told.send((member, answer)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_say_unavailable_while_the_database_is_away_and_go_on_when_it_is_back() {
    let mut postgres = Postgres::start();
    let database = postgres.database("outage");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Arc::new(Bench::on(&url).await);
    bench.organization("acme", json!({})).await;
    let mut history = History::of(&database);
    for kill in [true, false] {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut answers) = mpsc::unbounded_channel();
        for client in 0..CLIENTS {
            let client = client + CLIENTS * u64::from(kill);
            tokio::spawn(register(Arc::clone(&bench), client, Arc::clone(&stop), told.clone()));
        }
        drop(told);
        let mut until = async |so: &dyn Fn(&Answer) -> bool| {
            while let Some((member, answer)) = answers.recv().await {
                let found = so(&answer);
                history.told(member, answer);
                if found {
                    return;
                }
            }
        };
        until(&|answer| answer.is_ok()).await;
        tokio::task::block_in_place(|| if kill { postgres.kill() } else { postgres.stop() });
        until(&|answer| matches!(answer, Err(Error::Unavailable | Error::OutcomeUnknown))).await;
        until(&|answer| matches!(answer, Err(Error::Unavailable))).await;
        tokio::task::block_in_place(|| postgres.restart());
        until(&|answer| answer.is_ok()).await;
        stop.store(true, Ordering::SeqCst);
        until(&|_| false).await;
    }
    let other = history.count(|answer| !matches!(answer, Ok(_) | Err(Error::Unavailable | Error::OutcomeUnknown)));
    assert_eq!(other, 0, "nobody is told anything else");
    history.check(&bench.store).await;
}
