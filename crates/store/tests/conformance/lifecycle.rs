//! Jobs are claimed once, fenced by their lease, and taken over when the lease expires.

use crate::harness::{Bench, full, on_both, on_pooled, small, tenant};
use serde_json::json;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::changes::Conflict;
use tenancy_core::decision_context::cut;
use tenancy_core::job::{Job, JobState, StepState};
use tenancy_core::rules::lifecycle::{Suspension, activate, suspend};
use tenancy_core::rules::outcome;
use tenancy_core::rules::step::{Achieved, step_done};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use tenancy_store::upkeep::Progress;

on_both!(
    must_bring_a_tenant_to_its_desired_state_and_back,
    must_claim_each_job_once_and_not_more_than_asked,
    must_refuse_the_outcome_of_a_lost_lease,
    must_show_progress_and_logs_while_a_job_runs,
    must_keep_what_a_job_had_done_when_it_is_cancelled,
    must_write_what_a_step_achieved_with_its_end_and_nothing_of_a_lost_lease,
    must_keep_the_end_of_a_log_that_grows_too_long,
    must_give_a_lease_back,
    must_put_a_job_that_waits_aside_until_it_is_due,
    must_be_claimed_again_when_what_it_waited_for_is_due,
    must_let_a_hold_or_a_job_that_begins_to_wait_be_first_and_the_other_look_again,
    must_extend_only_held_leases,
);

on_pooled!(
    must_bring_a_tenant_to_its_desired_state_and_back,
    must_claim_each_job_once_and_not_more_than_asked,
    must_refuse_the_outcome_of_a_lost_lease,
    must_show_progress_and_logs_while_a_job_runs,
    must_put_a_job_that_waits_aside_until_it_is_due,
    must_extend_only_held_leases,
);

async fn must_bring_a_tenant_to_its_desired_state_and_back(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("acme-eu", "acme")).await.unwrap();
    bench.drain().await;
    let active = bench.snapshot("acme-eu").await;
    assert_eq!((active.tenant.facts.state, active.open_job.is_some()), (State::Active, false));
    assert!(active.environments.iter().all(|e| e.state == State::Active && e.provisioned_at.is_some()));
    let hold = Suspension { hold: Some("billing".to_owned()), reason: Some("unpaid".to_owned()), until: None };
    let held = suspend(&bench.declared, &active, &hold, &mut bench.context()).unwrap();
    bench.commit(held.changes).await.unwrap();
    bench.drain().await;
    let suspended = bench.snapshot("acme-eu").await;
    assert_eq!(suspended.tenant.facts.state, State::Suspended);
    assert_eq!(suspended.holds[0].reason.as_deref(), Some("unpaid"));
    assert_eq!(suspended.tenant.terms.version, 1, "a lifecycle change creates no version");
    let freed = activate(&bench.declared, &suspended, Some("billing"), &mut bench.context()).unwrap();
    bench.commit(freed.changes).await.unwrap();
    bench.drain().await;
    assert_eq!(bench.snapshot("acme-eu").await.tenant.facts.state, State::Active);
}

async fn must_claim_each_job_once_and_not_more_than_asked(bench: Bench) {
    bench.organization("acme", json!({})).await;
    for number in 0..30 {
        bench.register(&small(&format!("t-{number:02}"), "acme")).await.unwrap();
    }
    let mut claims = Vec::new();
    for worker in 0..6 {
        let store = bench.store.clone();
        claims.push(tokio::spawn(async move {
            let jobs = store.claim(&format!("w{worker}"), 4, Duration::from_secs(10)).await.unwrap();
            jobs.into_iter().map(|job| job.job_id.to_string()).collect::<Vec<_>>()
        }));
    }
    let mut seen = std::collections::HashSet::new();
    for claim in claims {
        let jobs = claim.await.unwrap();
        assert!(jobs.len() <= 4, "{}", jobs.len());
        for job in jobs {
            assert!(seen.insert(job), "claimed twice");
        }
    }
    seen.extend(bench.claim().await.into_iter().map(|job| job.job_id.to_string()));
    assert_eq!(seen.len(), 30);
}

async fn must_refuse_the_outcome_of_a_lost_lease(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let first = bench.store.claim("dead", 1, Duration::ZERO).await.unwrap().remove(0);
    let second = bench.claim().await.remove(0);
    assert_eq!((first.job_id.clone(), first.lease_epoch + 1), (second.job_id.clone(), second.lease_epoch));
    let snapshot = bench.snapshot("t-1").await;
    let late = outcome::complete(&bench.declared, &snapshot, &first, &mut bench.context()).unwrap();
    let refused = bench.commit(late.changes).await;
    assert_eq!(refused, Err(Error::Conflict(Conflict::LeaseLost(first.job_id))));
    let good = outcome::complete(&bench.declared, &snapshot, &second, &mut bench.context()).unwrap();
    bench.commit(good.changes).await.unwrap();
    assert!(bench.snapshot("t-1").await.tenant.facts.provisioned_at.is_some());
}

async fn must_keep_what_a_job_had_done_when_it_is_cancelled(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("t-1", "acme")).await.unwrap();
    let mut job = bench.claim().await.remove(0);
    // The caller that cancels has read the job before its worker writes again.
    let snapshot = bench.snapshot("t-1").await;
    let cancelled = outcome::cancel(&bench.declared, &snapshot, None, &mut bench.context()).unwrap();
    job.steps[0].state = StepState::Done;
    let progress = Progress { progress: 0.5, steps: job.steps.clone(), log: "done\n".to_owned() };
    assert!(bench.store.progress(&(job.job_id.clone(), job.lease_epoch), progress).await.unwrap());
    bench.commit(cancelled.changes).await.unwrap();
    let after = bench.store.job(&tenant("t-1"), &job.job_id).await.unwrap().unwrap();
    assert_eq!((after.state, after.error_code.as_deref()), (JobState::Failed, Some("cancelled")));
    assert_eq!((after.progress, after.steps, after.logs.as_str()), (0.5, job.steps, "done\n"));
}

async fn must_write_what_a_step_achieved_with_its_end_and_nothing_of_a_lost_lease(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("t-1", "acme")).await.unwrap();
    let dead = bench.store.claim("dead", 1, Duration::ZERO).await.unwrap().remove(0);
    let job = bench.claim().await.remove(0);
    let step = |mut job: Job, index: usize| {
        job.steps[index].state = StepState::Done;
        (job.progress, job.logs) = (0.25, format!("{index}\n"));
        job
    };
    let decide = |snapshot: &TenantSnapshot, job: &Job, index: usize| {
        let done = (&job.steps[index], &Achieved::Provisioned(None));
        step_done(&bench.declared, snapshot, job, done, &mut bench.context()).unwrap()
    };
    let before = bench.snapshot("t-1").await;
    let late = decide(&before, &step(dead.clone(), 0), 0);
    assert_eq!(bench.commit(late.changes).await, Err(Error::Conflict(Conflict::LeaseLost(dead.job_id))));
    assert_eq!(bench.snapshot("t-1").await, before);
    let done = decide(&before, &step(job.clone(), 0), 0);
    bench.commit(done.changes).await.unwrap();
    let after = bench.snapshot("t-1").await;
    assert_eq!(after, done.snapshot);
    assert_eq!(after.tenant.facts.counter, before.tenant.facts.counter + 1);
    let open = after.open_job.as_ref().unwrap();
    assert_eq!((open.state, open.progress, open.logs.as_str()), (JobState::Running, 0.25, "0\n"));
    assert_eq!(open.steps[0].state, StepState::Done);
    assert_eq!(after.environments.iter().filter(|environment| environment.provisioned_at.is_some()).count(), 1);
    // An earlier decision is decided again.
    let stale = decide(&before, &step(job, 1), 1);
    assert!(matches!(bench.commit(stale.changes).await, Err(Error::Conflict(Conflict::TenantMoved { .. }))));
}

async fn must_show_progress_and_logs_while_a_job_runs(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("t-1", "acme")).await.unwrap();
    let job = bench.claim().await.remove(0);
    let lease = (job.job_id.clone(), job.lease_epoch);
    let mut steps = job.steps.clone();
    steps[0].state = StepState::Done;
    for log in ["one\n", "two\n"] {
        let progress = Progress { progress: 0.5, steps: steps.clone(), log: log.to_owned() };
        assert!(bench.store.progress(&lease, progress).await.unwrap());
    }
    let shown = bench.store.job(&tenant("t-1"), &job.job_id).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.progress, shown.logs.as_str()), (JobState::Running, 0.5, "one\ntwo\n"));
    assert_eq!(shown.steps, steps);
    let stale = (job.job_id, job.lease_epoch - 1);
    let progress = Progress { progress: 0.9, steps, log: "late\n".to_owned() };
    assert!(!bench.store.progress(&stale, progress).await.unwrap());
}

async fn must_keep_the_end_of_a_log_that_grows_too_long(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let job = bench.claim().await.remove(0);
    let lease = (job.job_id.clone(), job.lease_epoch);
    let write = async |log: String| {
        let progress = Progress { progress: 0.5, steps: job.steps.clone(), log };
        assert!(bench.store.progress(&lease, progress).await.unwrap());
        bench.store.job(&tenant("t-1"), &job.job_id).await.unwrap().unwrap().logs
    };
    // Four bytes per character: the log is cut between characters.
    let line = format!("{}\n", "\u{1f980}".repeat(10_000));
    let mut all = String::new();
    for _ in 0..6 {
        all.push_str(&line);
        assert_eq!(write(line.clone()).await, all, "up to 256 KiB all of it");
    }
    let kept = write(format!("{line}the end")).await;
    assert!(kept.len() <= 256 * 1024 && kept.len() > 128 * 1024, "{}", kept.len());
    assert!(format!("{all}{line}the end").ends_with(&kept));
}

async fn must_give_a_lease_back(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let job = bench.claim().await.remove(0);
    assert!(bench.claim().await.is_empty());
    bench.store.release(&[(job.job_id.clone(), job.lease_epoch)]).await.unwrap();
    let snapshot = bench.snapshot("t-1").await;
    let late = outcome::complete(&bench.declared, &snapshot, &job, &mut bench.context()).unwrap();
    assert_eq!(bench.commit(late.changes).await, Err(Error::Conflict(Conflict::LeaseLost(job.job_id.clone()))));
    let again = bench.claim().await.remove(0);
    assert_eq!((again.job_id, again.attempt), (job.job_id, 2));
    assert!(again.lease_epoch > job.lease_epoch);
}

async fn must_put_a_job_that_waits_aside_until_it_is_due(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let job = bench.claim().await.remove(0);
    let lease = (job.job_id.clone(), job.lease_epoch);
    let later = cut(bench.store.now().checked_add(Duration::from_secs(3600)).unwrap());
    let seen = bench.snapshot("t-1").await.tenant;
    assert!(bench.store.put_aside(&lease, &seen, "a certificate", later).await.unwrap());
    let aside = bench.store.job(&tenant("t-1"), &job.job_id).await.unwrap().unwrap();
    assert_eq!((aside.state, aside.due_at, aside.lease_holder), (JobState::Queued, later, None));
    assert_eq!(aside.waiting_for.as_deref(), Some("a certificate"));
    assert!(bench.claim().await.is_empty());
    assert!(!bench.store.put_aside(&lease, &seen, "late", later).await.unwrap(), "the lease was returned");
    let snapshot = bench.snapshot("t-1").await;
    let late = outcome::complete(&bench.declared, &snapshot, &job, &mut bench.context()).unwrap();
    assert_eq!(bench.commit(late.changes).await, Err(Error::Conflict(Conflict::LeaseLost(job.job_id))));
}

async fn must_let_a_hold_or_a_job_that_begins_to_wait_be_first_and_the_other_look_again(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("acme-eu", "acme")).await.unwrap();
    let create = bench.claim().await.remove(0);
    let draft = bench.snapshot("acme-eu").await;
    let created = outcome::complete(&bench.declared, &draft, &create, &mut bench.context()).unwrap();
    bench.commit(created.changes).await.unwrap();
    // The hold is decided before the job is claimed, or while it runs.
    for (is_claimed, hold_is_first) in [(false, false), (true, false), (true, true)] {
        let queued = bench.snapshot("acme-eu").await;
        let activate = bench.claim().await.remove(0);
        assert_eq!(activate.action, Action::Activate);
        let (seen, lease) = (bench.snapshot("acme-eu").await, (activate.job_id.clone(), activate.lease_epoch));
        let hold = Suspension { hold: Some("security".to_owned()), ..Suspension::default() };
        let decided_on = if is_claimed { &seen } else { &queued };
        let held = suspend(&bench.declared, decided_on, &hold, &mut bench.context()).unwrap();
        let aside = || bench.store.put_aside(&lease, &seen.tenant, "a certificate", bench.store.now());
        if hold_is_first {
            bench.commit(held.changes).await.unwrap();
            assert!(!aside().await.unwrap());
        } else {
            assert!(aside().await.unwrap());
            let lost = Err(Error::Conflict(Conflict::LeaseLost(activate.job_id)));
            assert_eq!(bench.commit(held.changes).await, lost);
        }
    }
}

async fn must_be_claimed_again_when_what_it_waited_for_is_due(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let job = bench.claim().await.remove(0);
    let lease = (job.job_id.clone(), job.lease_epoch);
    let seen = bench.snapshot("t-1").await.tenant;
    assert!(bench.store.put_aside(&lease, &seen, "nothing long", bench.store.now()).await.unwrap());
    let again = bench.claim().await.remove(0);
    assert_eq!((again.state, again.waiting_for, again.attempt), (JobState::Running, None, 2));
}

async fn must_extend_only_held_leases(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    bench.register(&small("t-2", "acme")).await.unwrap();
    let jobs = bench.store.claim("me", 2, Duration::ZERO).await.unwrap();
    let leases: Vec<_> = jobs.iter().map(|job| (job.job_id.clone(), job.lease_epoch)).collect();
    let again = bench.store.claim("other", 1, Duration::from_secs(10)).await.unwrap();
    let held = bench.store.heartbeat(&leases, Duration::from_secs(10), Duration::from_secs(10)).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_ne!(held[0].0, again[0].job_id);
    assert!(bench.claim().await.is_empty(), "the extended lease is not due");
}
