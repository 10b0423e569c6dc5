//! Invariants of the record after all writers have stopped, checked over HTTP.

use super::http::{Client, Request};
use super::load::{CAPPED, COUNTER, ROOM, Worker};
use super::server::until;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Number of requests per worker that are sent again; sending the whole history again would take too long.
const REPEATED: usize = 12;

/// Waits until no job is open.
#[track_caller]
pub fn at_rest(client: &mut Client) {
    until("all jobs end", Duration::from_secs(40), || {
        // The end of a job can queue the next one, so the position must not change between two checks.
        let before = newest(client);
        let mut open =
            ["queued", "running"].into_iter().map(|state| client.get(&format!("/v1/jobs?state={state}")).ok(200));
        (open.all(|jobs| jobs.items().is_empty()) && newest(client) == before).then_some(())
    });
}

/// Returns the position of the last event.
fn newest(client: &mut Client) -> Value {
    client.get("/v1/audit?order=desc&limit=1").ok(200).items()[0]["position"].clone()
}

/// Checks all invariants.
#[track_caller]
pub fn whole(client: &mut Client, workers: &[Worker]) {
    answers_hold(client, workers);
    log_and_record_agree(client);
    caps_hold(client, workers);
    repeated_requests_get_the_first_answer(client, workers);
}

/// Checks that every acknowledged change is present, and nothing else.
#[track_caller]
fn answers_hold(client: &mut Client, workers: &[Worker]) {
    let rows = by_id(client.all("/v1/tenants"));
    let mut known = 1;
    for worker in workers {
        known += worker.capped.len() + worker.tenants.len();
        for tenant in &worker.tenants {
            let row = rows.get(&tenant.id).unwrap_or_else(|| panic!("{tenant:?} is lost"));
            let label = row["labels"]["sent"].as_str().unwrap_or_default();
            assert_eq!((row["version"].as_i64(), label), (Some(tenant.version), &*tenant.label), "{tenant:?}: {row}");
            let whole = client.get(&format!("/v1/tenants/{}", tenant.id)).ok(200).body;
            assert_eq!(whole["holds"].as_array().map(Vec::len), Some(usize::from(tenant.held)), "{tenant:?}: {whole}");
            // A held tenant is Suspended, or Draft if it was held before its activation. Other tenants reach Active.
            let good = if tenant.held { &["Suspended", "Draft"][..] } else { &["Active"] };
            assert!(good.contains(&row["state"].as_str().unwrap_or_default()), "{tenant:?}: {whole}");
            let placed = client.all(&format!("/v1/tenants/{}/audit?event_type=TENANCY_HOLD_PLACED", tenant.id));
            assert_eq!(placed.len(), tenant.suspensions, "{tenant:?}");
        }
    }
    assert_eq!(rows.len(), known, "a tenant whose creation was not acknowledged");
    let counted: i64 = workers.iter().map(|worker| worker.counted).sum();
    assert_eq!(rows[COUNTER]["labels"]["count"], counted.to_string(), "an update is lost or was applied twice");
    assert_eq!(rows[COUNTER]["version"], counted + 1);
}

/// Checks that positions have no gap, and that each version and state change has exactly one event.
#[track_caller]
pub fn log_and_record_agree(client: &mut Client) {
    let events = client.all("/v1/audit");
    let positions: Vec<_> = events.iter().filter_map(|event| event["position"].as_i64()).collect();
    assert_eq!(positions, (1..).take(events.len()).collect::<Vec<_>>());
    let ids: BTreeSet<_> = events.iter().filter_map(|event| event["audit_id"].as_str()).collect();
    assert_eq!(ids.len(), events.len());

    let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let (mut states, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for event in &events {
        let Some(tenant) = event["tenant_id"].as_str() else { continue };
        let (kind, payload) = (event["event_type"].as_str().unwrap_or_default(), &event["payload"]);
        if matches!(kind, "TENANCY_REGISTERED" | "TENANCY_UPDATED") {
            versions.entry(tenant).or_default().push(payload["version"].as_i64().expect("a version"));
        }
        if let Some(to) = payload["to"].as_str() {
            states.insert(tenant, to);
            *ends.entry(payload["job_id"].as_str().expect("a job")).or_insert(0) += 1;
        }
        assert_ne!(kind, "JOB_FAILED", "{event}");
    }
    for (id, row) in by_id(client.all("/v1/tenants")) {
        let version = row["version"].as_i64().expect("a version");
        assert_eq!(versions.remove(&*id), Some((1..=version).collect()), "{id}");
        assert_eq!(row["state"].as_str(), Some(*states.get(&*id).unwrap_or(&"Draft")), "{id}");
    }
    assert!(versions.is_empty(), "events of unknown tenants: {versions:?}");
    for job in client.all("/v1/jobs") {
        let ended = ends.remove(job["job_id"].as_str().expect("an id"));
        assert_eq!((&job["state"], ended), (&json!("completed"), Some(1)), "{job}");
    }
    assert!(ends.is_empty(), "events of unknown jobs: {ends:?}");
}

/// Checks that the caps are reached exactly, and that the organization reports this usage.
#[track_caller]
fn caps_hold(client: &mut Client, workers: &[Worker]) {
    let answered: BTreeSet<_> = workers.iter().flat_map(|worker| worker.capped.iter().cloned()).collect();
    for organization in CAPPED {
        let tenants = client.all(&format!("/v1/tenants?organization_id={organization}"));
        let there: BTreeSet<_> = by_id(tenants).into_keys().map(|id| (organization, id)).collect();
        let told = answered.iter().filter(|(of, _)| *of == organization).cloned().collect();
        assert_eq!(there, told);
        uses(client, organization, there.len());
        // The rest of the caps can be used, and then no more.
        for number in there.len()..=ROOM {
            let body = json!({"tenant_id": format!("last-{organization}-{number}"), "organization_id": organization,
                "region": "eu-west-1", "quotas": {"storageGiB": 5}});
            let answer = client.post("/v1/tenants", body);
            if number < ROOM {
                answer.ok(201);
            } else {
                answer.problem(409, "organization_cap_exceeded");
            }
        }
        uses(client, organization, ROOM);
    }
}

/// Checks that the organization reports the usage of this number of equal tenants, within its caps.
#[track_caller]
fn uses(client: &mut Client, organization: &str, tenants: usize) {
    let body = client.get(&format!("/v1/organizations/{organization}")).ok(200).body;
    let (usage, caps) = (&body["usage"], &body["caps"]);
    assert_eq!(
        (&usage["tenants"], usage["quotas"]["storageGiB"].as_u64().unwrap_or(0)),
        (&json!(tenants), 5 * tenants as u64)
    );
    let over = |used: &Value, cap: &Value| cap.as_u64().is_some_and(|cap| used.as_u64().is_none_or(|used| used > cap));
    assert!(!over(&usage["tenants"], &caps["tenants"]), "{body}");
    assert!(tenants == 0 || !over(&usage["quotas"]["storageGiB"], &caps["quotas"]["storageGiB"]), "{body}");
}

/// Checks that repeated requests return the same response without another effect.
#[track_caller]
fn repeated_requests_get_the_first_answer(client: &mut Client, workers: &[Worker]) {
    at_rest(client);
    let before = newest(client);
    for worker in workers {
        let step = (worker.answered.len() / REPEATED).max(1);
        for (request, first) in worker.answered.iter().step_by(step) {
            let again = client.send(request);
            assert_eq!(again.header("idempotency-replayed"), "true", "{request:?}");
            assert_eq!((again.status, &again.text), (first.status, &first.text), "{request:?}");
            for name in ["etag", "location"] {
                assert_eq!(again.header(name), first.header(name), "{request:?}");
            }
            let other = Request { body: r#"{"hold":"abuse"}"#.to_owned(), ..request.clone() };
            client.send(&other).problem(422, "idempotency_key_reused");
        }
    }
    assert_eq!(newest(client), before, "a repeated request had an effect");
}

fn by_id(rows: Vec<Value>) -> BTreeMap<String, Value> {
    rows.into_iter().map(|row| (row["tenant_id"].as_str().expect("an id").to_owned(), row)).collect()
}
