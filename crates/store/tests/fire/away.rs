//! A server that answers late, does not answer, or refuses connections: the outcome is determined where possible, and
//! callers do not wait in vain.

use crate::harness::{Bench, small};
use crate::rig::{Rig, together};
use crate::rivals::processes;
use crate::world::Member;
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use tenancy_core::Error;
use tenancy_store::database::Database;
use tenancy_testkit::{Fault, Postgres};

/// Longer than any timeout.
const NEVER: Duration = Duration::from_secs(600);

fn registered(bench: &Bench, id: &str) -> Member {
    let decision = bench.registration(&small(id, "acme"));
    Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) }
}

/// The committing connection becomes silent while the server is running.
async fn is_settled_behind(hint: &str, silence: Fault) {
    let mut rig = Rig::new(hint).await;
    rig.beside.organization("acme", json!({})).await;
    let members = ["t-1", "t-2"].map(|id| registered(&rig.bench, id)).into();
    let armed = rig.arm_commit(silence);
    let answers = rig.commit(members).await;
    assert!(answers.iter().all(Result::is_ok), "{hint}: {answers:?}");
    assert_eq!(armed.fired(), 1, "{hint}");
    rig.check().await;
}

#[tokio::test]
async fn must_find_out_what_became_of_a_batch_when_its_connection_goes_silent() {
    let committed = is_settled_behind("silent-after", Fault::delay_answer(NEVER));
    let never_sent = is_settled_behind("silent-before", Fault::delay(NEVER));
    tokio::join!(committed, never_sent);
}

/// A distributed engine that does not know the outcome of a COMMIT. Here it is rolled back.
#[tokio::test]
async fn must_run_a_batch_again_when_the_server_does_not_know_its_outcome() {
    let (database, [bench]) = processes("unsure").await;
    bench.organization("acme", json!({})).await;
    database.execute(
        "CREATE SEQUENCE tries; CREATE FUNCTION unsure() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('tries') <= 2 OR NEW.tenant_id = 'odd' THEN RAISE EXCEPTION 'who knows' USING ERRCODE = 'XX000'; \
         END IF; RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER unsure AFTER INSERT ON tenants \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION unsure()",
    );
    let alone = bench.store.commit(registered(&bench, "t-1").changes).await;
    assert!(alone.is_ok(), "{alone:?}");
    let answers = together(&bench.store, &["t-2", "odd", "t-3"].map(|id| registered(&bench, id))).await;
    assert!(matches!(&answers[..], [Ok(_), Err(Error::OutcomeUnknown), Ok(_)]), "{answers:?}");
    assert_eq!(database.value("SELECT string_agg(tenant_id, ' ' ORDER BY 1) FROM tenants"), "t-1 t-2 t-3");
}

/// A changed password or a full server is not the fault of a request.
#[tokio::test]
async fn must_say_unavailable_while_the_server_refuses_connections() {
    let postgres = Postgres::start();
    let database = postgres.database("shut");
    database.execute("CREATE ROLE serving LOGIN");
    let owner = Database::Postgres(database.url());
    owner.migrate(false).await.unwrap();
    owner.grant("serving").await.unwrap();
    let bench = Bench::on(&Database::Postgres(database.url_as("serving"))).await;
    bench.organization("acme", json!({})).await;
    let there = bench.register(&small("there", "acme")).await.unwrap();
    let ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'serving'";
    for (shut, opened) in [("NOLOGIN", "LOGIN"), ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1")] {
        database.execute(&format!("ALTER ROLE serving {shut}"));
        database.execute(ends);
        let members =
            [1, 2, 3].map(|number| registered(&bench, &format!("{number}-{}", shut.to_lowercase().replace(' ', "-"))));
        let answers = together(&bench.store, &members).await;
        assert!(answers.iter().all(|answer| *answer == Err(Error::Unavailable)), "{shut}: {answers:?}");
        assert_eq!(bench.store.snapshot(&there.tenant.tenant_id).await, Err(Error::Unavailable), "{shut}");
        assert_eq!(bench.store.health().await, Err(Error::Unavailable), "{shut}");
        database.execute(&format!("ALTER ROLE serving {opened}"));
        let answers = together(&bench.store, &members).await;
        assert!(answers.iter().all(Result::is_ok), "{opened}: {answers:?}");
    }
}

/// Waiting batches must not each wait for the full timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_refuse_all_waiting_members_when_no_connection_can_be_opened() {
    let rig = Rig::new("crowd-away").await;
    rig.beside.organization("acme", json!({})).await;
    let members: Vec<_> = (0..3000).map(|number| registered(&rig.bench, &format!("t-{number}"))).collect();
    rig.proxy.refuse(true);
    tokio::task::block_in_place(|| rig.proxy.cut());
    let began = Instant::now();
    let answers = join_all(members.into_iter().map(|member| rig.bench.store.commit(member.changes))).await;
    assert!(answers.iter().all(|answer| *answer == Err(Error::Unavailable)));
    // Twelve batches; one attempt takes two seconds.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    rig.proxy.refuse(false);
    rig.bench.register(&small("after", "acme")).await.unwrap();
}
