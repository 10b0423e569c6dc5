//! What happens when the clock is set forward or back.

use crate::harness::{Bench, on_both, small};
use jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::job::Job;
use tenancy_store::ClockJump;

const LEASE: Duration = Duration::from_secs(10);

on_both!(
    must_run_queued_jobs_at_once_after_the_clock_was_set_back,
    must_let_holders_extend_their_leases_after_a_jump,
    must_forget_no_answer_while_the_clock_is_uncertain,
    must_warn_of_a_jump_for_an_hour,
    must_notice_at_the_start_that_the_log_is_later_than_the_clock,
);

/// A bench with `count` tenants, whose watch knows the clock.
async fn bench_with(bench: Bench, count: usize) -> Bench {
    bench.organization("acme", json!({})).await;
    for number in 0..count {
        bench.register(&small(&format!("t-{number}"), "acme")).await.unwrap();
    }
    assert_eq!(bench.store.clock_jump(), None);
    bench
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

async fn claimed(bench: &Bench) -> usize {
    bench.store.claim("other", 100, LEASE).await.unwrap().len()
}

async fn must_run_queued_jobs_at_once_after_the_clock_was_set_back(bench: Bench) {
    let bench = bench_with(bench, 2).await;
    bench.store.jump_clock(hours(-1));
    let jobs = bench.store.claim("us", 100, LEASE).await.unwrap();
    assert_eq!(jobs.len(), 2);
    let aside = async |job: &Job| {
        let snapshot = bench.snapshot(job.tenant_id.as_str()).await;
        let until = bench.store.now() + Duration::from_secs(30);
        let lease = (job.job_id.clone(), job.lease_epoch);
        assert!(bench.store.put_aside(&lease, &snapshot.tenant, "a disk", until).await.unwrap());
    };
    for job in &jobs {
        aside(job).await;
    }
    assert_eq!(claimed(&bench).await, 0, "they wait, as they should");
    bench.store.jump_clock(hours(-1));
    assert_eq!(claimed(&bench).await, 2, "their wait began in the future");
}

async fn must_let_holders_extend_their_leases_after_a_jump(bench: Bench) {
    let bench = bench_with(bench, 2).await;
    for jump in [hours(1), hours(-1), hours(-1)] {
        let held = bench.store.claim("us", 100, LEASE).await.unwrap();
        assert_eq!(held.len(), 2, "{jump}");
        bench.store.jump_clock(jump);
        assert_eq!(claimed(&bench).await, 0, "{jump}: just after the jump, nobody could extend a lease yet");
        let lease = (held[0].job_id.clone(), held[0].lease_epoch);
        let kept = bench.store.heartbeat(std::slice::from_ref(&lease), LEASE, LEASE).await.unwrap();
        assert_eq!(kept, std::slice::from_ref(&lease));
        bench.store.shift_clock(Duration::from_secs(5));
        bench.store.heartbeat(std::slice::from_ref(&lease), LEASE, LEASE).await.unwrap();
        bench.store.shift_clock(Duration::from_secs(6));
        let taken = bench.store.claim("other", 100, LEASE).await.unwrap();
        assert_eq!(taken.len(), 1, "{jump}: whose lease was not extended");
        assert_eq!(taken[0].job_id, held[1].job_id);
        let taken = taken.iter().map(|job| (job.job_id.clone(), job.lease_epoch)).collect::<Vec<_>>();
        bench.store.release(&taken).await.unwrap();
        bench.store.release(&[lease]).await.unwrap();
    }
}

async fn must_forget_no_answer_while_the_clock_is_uncertain(bench: Bench) {
    let bench = bench_with(bench, 0).await;
    let record = |digest: &str| IdempotencyRecord {
        tenant_id: None,
        digest: digest.to_owned(),
        request_digest: "r".to_owned(),
        status: 201,
        headers: serde_json::Map::new(),
        body: "{}".to_owned(),
        created_at: bench.store.now(),
        expires_at: bench.store.now() + Duration::from_hours(24),
    };
    // The record is committed with a change.
    let document = json!({"organization_id": "kept"});
    let (manifest, _) =
        tenancy_core::rules::organizations::OrganizationManifest::parse(&bench.declared, &document).unwrap();
    let made = tenancy_core::rules::organizations::create(&manifest, &mut bench.context()).unwrap();
    let mut changes = made.changes.unwrap();
    changes.store_answer(record("d"));
    bench.store.commit(changes).await.unwrap();

    bench.store.jump_clock(hours(48));
    assert!(bench.store.answer("d").await.unwrap().is_some(), "it may not have expired");
    bench.store.remove_expired_answer("d").await.unwrap();
    assert_eq!(bench.store.remove_expired().await, Ok(0));
    bench.store.jump_clock(hours(-48));
    assert!(bench.store.answer("d").await.unwrap().is_some());

    bench.store.jump_clock(hours(48));
    assert!(bench.store.clock_jump().is_some());
    bench.store.shift_clock(Duration::from_secs(3601));
    assert_eq!(bench.store.answer("d").await, Ok(None), "an hour has passed");
    assert_eq!(bench.store.remove_expired().await, Ok(1));
}

async fn must_warn_of_a_jump_for_an_hour(bench: Bench) {
    let bench = bench_with(bench, 0).await;
    let warnings = async || bench.store.health().await.unwrap().warnings;
    assert_eq!(warnings().await, [""; 0]);
    bench.store.shift_clock(Duration::from_hours(1));
    bench.store.jump_clock(SignedDuration::from_secs(50));
    assert_eq!(warnings().await, [""; 0], "time passes, and clocks are adjusted");
    bench.store.jump_clock(hours(-1));
    let told = warnings().await;
    assert!(told.len() == 1 && told[0].starts_with("the clock jumped back by 3600 s"), "{told:?}");
    assert!(told[0].contains("for another 60 min"), "{told:?}");
    bench.store.shift_clock(Duration::from_secs(3601));
    assert_eq!(warnings().await, [""; 0]);
}

async fn must_notice_at_the_start_that_the_log_is_later_than_the_clock(bench: Bench) {
    // The watch does not know the clock yet.
    bench.store.compare_clock_with_log().await.unwrap();
    bench.store.jump_clock(hours(1));
    bench.organization("acme", json!({})).await;
    bench.store.compare_clock_with_log().await.unwrap();
    bench.store.jump_clock(hours(-1));
    bench.store.compare_clock_with_log().await.unwrap();
    let Some(ClockJump { by, .. }) = bench.store.clock_jump() else { panic!("not noticed") };
    assert!((by - hours(-1)).abs() < SignedDuration::from_secs(10), "{by}");
}
