//! Members that cannot be written: only they fail.

use crate::harness::{Bench, small, tenant};
use crate::history::Answer;
use crate::rig::together;
use crate::rivals::processes;
use crate::world::Member;
use serde_json::json;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Guard, Write};
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{Alias, HoldId};
use tenancy_core::job::{Job, JobState};
use tenancy_core::tenant::{Facts, Tenant, Terms};
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// Registration with manually corrupted rows that no rule would create.
fn spoilt(bench: &Bench, id: &str, spoil: impl Fn(&mut Changes)) -> Member {
    let mut changes = bench.registration(&small(id, "acme")).changes.unwrap();
    spoil(&mut changes);
    Member { changes, after: None }
}

fn hold(id: &str, on: &str) -> Hold {
    Hold {
        hold_id: HoldId::known(id),
        held: Held::Tenant(tenant(on)),
        kind: "operator".to_owned(),
        reason: None,
        placed_by: "test".to_owned(),
        until: None,
        created_at: tenancy_core::Timestamp::UNIX_EPOCH,
    }
}

fn taken() -> Alias {
    Alias::parse("host:taken.example.com").unwrap()
}

/// Registrations that cannot be written.
fn registrations(bench: &Bench, integers_end: bool) -> Vec<Member> {
    let tenants_row = |changes: &mut Changes, spoil: &dyn Fn(&mut Tenant)| {
        for write in &mut changes.writes {
            if let Write::InsertTenant(row) = write {
                spoil(row);
            }
        }
    };
    let mut members = vec![
        spoilt(bench, "too-long", |changes| tenants_row(changes, &|row| row.terms.region = "x".repeat(65))),
        spoilt(bench, "hold-of-nobody", |changes| changes.write(Write::InsertHold(hold("hld_1", "nobody")))),
        spoilt(bench, "update-of-nothing", |changes| changes.write(Write::UpdateHold(hold("hld_2", "t-0")))),
        spoilt(bench, "delete-of-nothing", |changes| changes.write(Write::DeleteHold(HoldId::known("hld_3")))),
        spoilt(bench, "wrong-organization", |changes| {
            tenants_row(changes, &|row| row.organization_id = crate::harness::organization("nobody"));
        }),
        spoilt(bench, "twice", |changes| {
            let row = changes.writes.iter().find(|write| matches!(write, Write::InsertTenant(_))).cloned().unwrap();
            changes.write(row);
        }),
        spoilt(bench, "anothers-alias", |changes| changes.write(Write::DeleteAlias(taken()))),
        spoilt(bench, "anothers-hold", |changes| changes.write(Write::UpdateHold(hold("hld_4", "anothers-hold")))),
        // A taken id, without the guard that reports it.
        spoilt(bench, "t-taken", |changes| changes.guards.retain(|guard| !matches!(guard, Guard::TenantUnused(_)))),
    ];
    if integers_end {
        // The value cannot be encoded.
        let beyond = |changes: &mut Changes| tenants_row(changes, &|row| row.terms.version = i64::MAX);
        members.push(spoilt(bench, "beyond-integer", beyond));
    }
    members
}

/// Changes whose guards hold but do not cover their writes.
async fn updates(bench: &Bench) -> Vec<Member> {
    let mut members = Vec::new();
    for id in ["version-off", "counter-off", "epoch-off"] {
        let snapshot = bench.register(&small(id, "acme")).await.unwrap();
        let mut document = small(id, "acme");
        document["display_name"] = json!("changed");
        let mut changes = bench.change(&snapshot, &document, &[]).unwrap().changes.unwrap();
        let (tenant, job) = (snapshot.tenant, snapshot.open_job.unwrap());
        changes.guards = vec![
            Guard::TenantAt(tenant.tenant_id.clone(), tenant.terms.version, tenant.facts.counter),
            Guard::Lease(job.job_id.clone(), job.lease_epoch),
        ];
        changes.writes = vec![match id {
            "version-off" => {
                let terms = Terms { version: tenant.terms.version + 2, ..tenant.terms };
                Write::UpdateTenantTerms(tenant.tenant_id, terms, tenant.updated_at)
            }
            "counter-off" => {
                let facts = Facts { counter: tenant.facts.counter + 2, ..tenant.facts };
                Write::UpdateTenantFacts(tenant.tenant_id, facts, tenant.updated_at)
            }
            _ => Write::FinishJob(Job {
                lease_epoch: job.lease_epoch + 1,
                state: JobState::Completed,
                finished_at: Some(job.created_at),
                ..job
            }),
        }];
        members.push(Member { changes, after: None });
    }
    members
}

/// `integers_end`: the database refuses integers beyond 32 bits.
async fn run(bench: Bench, integers_end: bool) {
    bench.organization("acme", json!({})).await;
    let mut taken_by = bench.registration(&small("t-taken", "acme")).changes.unwrap();
    taken_by.write(Write::InsertAlias(taken(), tenant("t-taken"), tenancy_core::Timestamp::UNIX_EPOCH));
    taken_by.write(Write::InsertHold(hold("hld_4", "t-taken")));
    bench.store.commit(taken_by).await.unwrap();
    let mut poisoned = registrations(&bench, integers_end);
    poisoned.extend(updates(&bench).await);
    let bad = poisoned.len();
    let tenants = || async {
        let acme = crate::harness::organization("acme");
        bench.store.organization(&acme).await.unwrap().unwrap().usage.tenants
    };
    let before = tenants().await;
    let (mut members, mut records) = (Vec::new(), Vec::new());
    for (number, member) in poisoned.into_iter().enumerate() {
        for place in 0..2 {
            let good = bench.registration(&small(&format!("good-{number}-{place}"), "acme")).changes.unwrap();
            members.push(Member { changes: good, after: None });
        }
        records.push(bench.store.snapshot(member.changes.tenant_id.as_ref().unwrap()).await.unwrap());
        members.push(member);
    }
    let answers = together(&bench.store, &members).await;
    for (place, (member, answer)) in members.iter().zip(&answers).enumerate() {
        let id = member.changes.tenant_id.as_ref().unwrap();
        let record = bench.store.snapshot(id).await.unwrap();
        if place % 3 == 2 {
            assert!(matches!(answer, Err(Error::Internal(_) | Error::Busy)), "{id}: {answer:?}");
            assert_eq!(record, records[place / 3], "{id} is unchanged");
        } else {
            assert!(answer.is_ok() && record.is_some(), "{id}: {answer:?}");
        }
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), bad);
    assert_eq!(tenants().await, before + 2 * i64::try_from(bad).unwrap(), "failed members use no capacity");
    bench.register(&small("after", "acme")).await.unwrap();
}

#[tokio::test]
async fn must_fail_only_the_culprit_of_a_batch_on_postgres() {
    run(Bench::postgres().await, true).await;
}

#[tokio::test]
async fn must_fail_only_the_culprit_of_a_batch_on_sqlite() {
    run(Bench::sqlite().await, false).await;
}

/// The error names the row that a write did not match, with a separate SQLSTATE.
#[tokio::test]
async fn must_name_the_row_that_a_write_did_not_meet() {
    let bench = Bench::postgres().await;
    bench.organization("acme", json!({})).await;
    let before = bench.register(&small("t-0", "acme")).await.unwrap();
    let delete = spoilt(&bench, "t-1", |changes| changes.write(Write::DeleteHold(HoldId::known("hld_1"))));
    let mut counted = bench.registration(&small("t-2", "acme")).changes.unwrap();
    let tenant = before.tenant;
    counted.guards = vec![Guard::TenantAt(tenant.tenant_id.clone(), tenant.terms.version, tenant.facts.counter)];
    let facts = Facts { counter: tenant.facts.counter + 2, ..tenant.facts };
    counted.writes = vec![Write::UpdateTenantFacts(tenant.tenant_id, facts, tenant.updated_at)];
    let counted = Member { changes: counted, after: None };
    let expected =
        ["TN002 holds: a write did not meet the row hld_1", "TN002 tenants: a write did not meet the row t-0"];
    for (member, expected) in [delete, counted].into_iter().zip(expected) {
        match together(&bench.store, &[member]).await.remove(0) {
            Err(Error::Internal(text)) => assert!(text.ends_with(expected), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Another session locks a tenant's row: only members that need that row fail.
#[tokio::test]
async fn must_fail_only_members_that_need_a_locked_row() {
    let database = Postgres::shared().database("kept");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    let snapshot = bench.register(&small("kept", "acme")).await.unwrap();
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.query("SELECT 1 FROM tenants WHERE tenant_id = 'kept' FOR UPDATE", &[]).await.unwrap();
    let mut document = small("kept", "acme");
    document["display_name"] = json!("changed");
    let change = bench.change(&snapshot, &document, &[]).unwrap().changes.unwrap();
    let registration = |number| bench.registration(&small(&format!("t-{number}"), "acme")).changes.unwrap();
    let members = [registration(1), change.clone(), registration(2), registration(3)];
    let members: Vec<_> = members.into_iter().map(|changes| Member { changes, after: None }).collect();
    let answers = together(&bench.store, &members).await;
    let codes: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_or_else(Error::code, |_| "in")).collect();
    assert_eq!(codes, ["in", "locked", "in", "in"]);
    transaction.rollback().await.unwrap();
    bench.store.commit(change).await.unwrap();
}

/// Another session locks an organization's row until another organization's tenant exists. Members that need the locked
/// row must not delay the others.
#[tokio::test]
async fn must_run_members_that_need_a_locked_row_when_it_is_free() {
    let (database, [bench]) = processes("last").await;
    bench.organization("acme", json!({})).await;
    bench.organization("kept", json!({})).await;
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.query("SELECT 1 FROM organizations WHERE organization_id = 'kept' FOR UPDATE", &[]).await.unwrap();
    let registered = |(id, of)| Member { changes: bench.registration(&small(id, of)).changes.unwrap(), after: None };
    let members = [("t-1", "kept"), ("t-2", "kept"), ("t-3", "kept"), ("t-4", "acme")].map(registered);
    let kept = async {
        while bench.store.snapshot(&tenant("t-4")).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        transaction.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(together(&bench.store, &members), kept);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Answers of three concurrent registrations, of which the server refuses the second with this code.
async fn with_one_refused(hint: &str, code: &str) -> Vec<Answer> {
    let (database, [bench]) = processes(hint).await;
    bench.organization("acme", json!({})).await;
    database.execute(&format!(
        "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.tenant_id = 'odd' THEN \
         RAISE EXCEPTION 'odd' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER odd BEFORE INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION odd()"
    ));
    let registered = |id| Member { changes: bench.registration(&small(id, "acme")).changes.unwrap(), after: None };
    together(&bench.store, &["t-1", "odd", "t-2"].map(registered)).await
}

/// The server has no memory for one of them.
#[tokio::test]
async fn must_fail_only_the_member_that_exceeds_the_servers_memory() {
    let answers = with_one_refused("memory", "53200").await;
    assert!(matches!(&answers[..], [Ok(_), Err(Error::Unavailable), Ok(_)]), "{answers:?}");
}

/// The server does not support a statement of one member: only that member fails, and the database is not considered
/// unreachable.
#[tokio::test]
async fn must_give_the_text_of_what_the_server_does_not_support() {
    match &with_one_refused("unsupported", "0A000").await[..] {
        [Ok(_), Err(Error::Internal(text)), Ok(_)] => assert_eq!(text, "PostgreSQL: 0A000 odd"),
        answers => panic!("{answers:?}"),
    }
}

/// An internal error of the server that leaves the session intact.
#[tokio::test]
async fn must_not_treat_an_internal_error_as_a_lost_connection() {
    let answers = with_one_refused("internal", "XX000").await;
    assert!(matches!(&answers[..], [Ok(_), Err(Error::Internal(_)), Ok(_)]), "{answers:?}");
}
