//! Promises of every route. A route without a sample below fails these tests.

use crate::house::{Answered, House, On, Original, acme_eu, on_both};
use crate::placement_samples;
use crate::placements::{place, places};
use crate::webhook_samples;
use serde_json::{Value, json};
use std::sync::Arc;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::ids::CorrelationId;
use tenancy_core::permission::may;
use tenancy_core::rules::keys;
use tenancy_core::scope::Scope;
use tenancy_server::authentication::Requirement;
use tenancy_server::http::route::Route;
use tenancy_server::http::router::all;
use tenancy_server::tenancy::RequestContext;
use tenancy_server::token::token_digest;
use tenancy_store::page::Page;
use tokio::sync::OnceCell;

on_both!(
    no_route_but_open_ones_must_answer_without_a_key_that_may,
    each_role_must_be_let_in_where_it_has_to_be_and_nowhere_else,
    every_route_must_answer_its_sample_with_a_correlation_id,
    every_write_must_leave_an_event_of_who_and_in_which_request,
    no_write_must_be_done_or_answered_in_the_name_of_a_key_that_is_revoked,
    every_write_must_have_one_effect_and_one_answer_under_one_idempotency_key,
    no_write_must_do_anything_when_it_is_to_be_a_dry_run,
    every_versioned_write_must_ask_for_the_version_and_refuse_another,
    no_route_must_take_a_parameter_that_it_does_not_know,
);

/// A request that succeeds in a house from [`prepared`].
pub struct Sample {
    pub method: &'static str,
    pub route: &'static str,
    pub path: &'static str,
    pub body: Value,
    /// Whether the request requires `If-Match`.
    pub versioned: bool,
    /// One of the events that the request causes.
    event: &'static str,
}

pub fn read(route: &'static str, path: &'static str) -> Sample {
    Sample { method: "GET", route, path, body: Value::Null, versioned: false, event: "" }
}

pub fn write(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: Value,
    event: &'static str,
) -> Sample {
    Sample { method, route, path, body, versioned: false, event }
}

pub fn versioned(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: Value,
    event: &'static str,
) -> Sample {
    Sample { versioned: true, ..write(method, route, path, body, event) }
}

const ORGANIZATION: &str = "/v1/organizations/{organization_id}";
pub const TENANT: &str = "/v1/tenants/{tenant_id}";
const ENVIRONMENT: &str = "/v1/tenants/{tenant_id}/environments/{environment}";

/// Samples of all routes.
pub fn samples() -> Vec<Sample> {
    let owners =
        [("/v1/tenants/{tenant_id}", "/v1/tenants/acme-eu"), (ORGANIZATION, "/v1/organizations/acme"), ("/v1", "/v1")];
    let of_webhooks = owners.into_iter().flat_map(|(route, path)| webhook_samples::of_owner(route, path));
    other_samples().into_iter().chain(placement_samples::all()).chain(of_webhooks).collect()
}

#[rustfmt::skip]
fn other_samples() -> Vec<Sample> {
    let mut moved = acme_eu();
    moved["display_name"] = json!("Acme EU");
    vec![
        read("/", "/"),
        read("/docs", "/docs"),
        read("/openapi.json", "/openapi.json"),
        read("/healthz", "/healthz"),
        read("/readyz", "/readyz"),
        read("/metrics", "/metrics"),
        read("/v1/event-types", "/v1/event-types"),
        read("/v1/event-types/{event_type}", "/v1/event-types/TENANCY_SUSPENDED"),
        read("/v1/whoami", "/v1/whoami"),
        read("/v1/status", "/v1/status"),
        read("/v1/organizations", "/v1/organizations"),
        write("POST", "/v1/organizations", "/v1/organizations", json!({"organization_id": "gamma"}), "ORGANIZATION_CREATED"),
        read(ORGANIZATION, "/v1/organizations/acme"),
        versioned("PUT", ORGANIZATION, "/v1/organizations/beta", json!({"display_name": "B"}), "ORGANIZATION_UPDATED"),
        versioned("PATCH", ORGANIZATION, "/v1/organizations/beta", json!({"caps": {"tenants": 3}}), "ORGANIZATION_UPDATED"),
        versioned("DELETE", ORGANIZATION, "/v1/organizations/beta", Value::Null, "ORGANIZATION_CLOSED"),
        write("POST", "/v1/organizations/{organization_id}/suspend", "/v1/organizations/acme/suspend", json!({"reason": "a test"}), "ORGANIZATION_HOLD_PLACED"),
        write("POST", "/v1/organizations/{organization_id}/activate", "/v1/organizations/beta/activate", json!({"hold": "billing"}), "ORGANIZATION_HOLD_RELEASED"),
        read("/v1/tenants", "/v1/tenants"),
        write("POST", "/v1/tenants", "/v1/tenants", json!({"organization_id": "acme", "region": "eu-west-1"}), "TENANCY_REGISTERED"),
        read(TENANT, "/v1/tenants/acme-eu"),
        versioned("PUT", TENANT, "/v1/tenants/acme-eu", moved, "TENANCY_UPDATED"),
        versioned("PATCH", TENANT, "/v1/tenants/stripe:cus_9s6", json!({"labels": {"tier": "gold"}}), "TENANCY_UPDATED"),
        versioned("DELETE", TENANT, "/v1/tenants/acme-held", Value::Null, "TENANCY_DELETION_REQUESTED"),
        write("POST", "/v1/tenants/{tenant_id}/activate", "/v1/tenants/acme-held/activate", json!({"hold": "billing"}), "TENANCY_HOLD_RELEASED"),
        write("POST", "/v1/tenants/{tenant_id}/suspend", "/v1/tenants/acme-eu/suspend", json!({"reason": "a test"}), "TENANCY_HOLD_PLACED"),
        write("POST", "/v1/tenants/{tenant_id}/undelete", "/v1/tenants/acme-old/undelete", Value::Null, "TENANCY_UNDELETION_REQUESTED"),
        write("POST", "/v1/tenants/{tenant_id}/purge", "/v1/tenants/acme-old/purge", Value::Null, "TENANCY_PURGE_REQUESTED"),
        read("/v1/access", "/v1/access?tenant=acme-eu"),
        read("/v1/access/events", "/v1/access/events"),
        read("/v1/access/auth", "/v1/access/auth?tenant=acme-eu"),
        read("/v1/tenants/{tenant_id}/versions", "/v1/tenants/acme-eu/versions"),
        read("/v1/tenants/{tenant_id}/versions/{version}", "/v1/tenants/acme-eu/versions/1"),
        read("/v1/tenants/{tenant_id}/environments", "/v1/tenants/acme-eu/environments"),
        read(ENVIRONMENT, "/v1/tenants/acme-eu/environments/dev"),
        versioned("PUT", ENVIRONMENT, "/v1/tenants/acme-eu/environments/dev?allow=move-isolation,less-retention,remove-quota", json!({"retention_days": 9}), "ENVIRONMENT_UPDATED"),
        versioned("PATCH", ENVIRONMENT, "/v1/tenants/acme-eu/environments/dev", json!({"retention_days": 90}), "ENVIRONMENT_UPDATED"),
        versioned("DELETE", ENVIRONMENT, "/v1/tenants/acme-eu/environments/dev?allow=remove-environment", Value::Null, "ENVIRONMENT_DELETED"),
        write("POST", "/v1/tenants/{tenant_id}/environments/{environment}/connection", "/v1/tenants/acme-placed/environments/dev/connection", json!({"reason": "a test"}), "ENVIRONMENT_CONNECTED"),
        read("/v1/tenants/{tenant_id}/environments/{environment}/versions", "/v1/tenants/acme-eu/environments/dev/versions"),
        read("/v1/tenants/{tenant_id}/jobs", "/v1/tenants/acme-eu/jobs"),
        read("/v1/tenants/{tenant_id}/jobs/{job_id}", "/v1/tenants/acme-eu/jobs/{job}"),
        write("POST", "/v1/tenants/{tenant_id}/jobs/{job_id}/cancel", "/v1/tenants/acme-new/jobs/{job}/cancel", json!({"reason": "a test"}), "JOB_CANCELLED"),
        read("/v1/jobs", "/v1/jobs"),
        read("/v1/tenants/{tenant_id}/audit", "/v1/tenants/acme-eu/audit"),
        read("/v1/audit", "/v1/audit"),
        read("/v1/audit/verification", "/v1/audit/verification"),
        read("/v1/events", "/v1/events"),
        read("/v1/keys", "/v1/keys"),
        write("POST", "/v1/keys", "/v1/keys", json!({"name": "one more", "role": "viewer"}), "KEY_CREATED"),
        read("/v1/keys/{key_id}", "/v1/keys/{key}"),
        write("POST", "/v1/keys/{key_id}/rotate", "/v1/keys/{key}/rotate", json!({"overlap_seconds": 60}), "KEY_ROTATED"),
        write("DELETE", "/v1/keys/{key_id}", "/v1/keys/{key}", Value::Null, "KEY_REVOKED"),
        write("POST", "/v1/apply", "/v1/apply", json!({"kind": "Organization", "organization_id": "delta"}), "ORGANIZATION_CREATED"),
    ]
}

/// Creates a house with a resource in each state that a sample needs. Returns the sample's path in it.
pub async fn prepared(on: On, sample: &Sample) -> (House, String) {
    static ORIGINALS: [OnceCell<Original>; 2] = [const { OnceCell::const_new() }; 2];
    let original = Original::of(&ORIGINALS, on, |house| async move { furnish(&house).await }).await;
    let house = House::copy_of(original, places()).await;
    let path = path(&house, sample.path).await;
    (house, path)
}

pub async fn furnish(house: &House) {
    house.furnish().await;
    house.post("/v1/placements", placement_samples::disk("disk-1")).await.ok(201);
    house.post("/v1/organizations", json!({"organization_id": "beta"})).await.ok(201);
    house.post("/v1/organizations/beta/suspend", json!({"hold": "billing"})).await.ok(200);
    for (id, holds) in [("acme-held", "billing"), ("acme-old", "operator")] {
        let policies = json!({"purgeAfterDays": 0});
        let manifest = json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "policies": policies});
        house.post("/v1/tenants", manifest).await.ok(201);
        house.work().await;
        house.post(&format!("/v1/tenants/{id}/activate"), ()).await.ok(202);
        house.work().await;
        house.post(&format!("/v1/tenants/{id}/suspend"), json!({"hold": holds})).await.ok(202);
        house.work().await;
    }
    house.send("DELETE", "/v1/tenants/acme-old", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    place(house).await;
    house.post("/v1/keys", json!({"name": "victim", "role": "viewer"})).await.ok(201);
    for owner in ["/tenants/acme-eu", "/organizations/acme", ""] {
        for name in ["main", "off"] {
            let document =
                json!({"name": name, "url": "https://hooks.example", "events": ["*"], "enabled": name == "main"});
            house.post(&format!("/v1{owner}/webhooks"), document).await.ok(201);
        }
    }
    // A delivery of each webhook that is on. Nothing is sent.
    let renamed = json!({"display_name": "Acme in Europe"});
    let tenancy = &house.server.tenancy;
    tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], renamed).await.ok(200);
    tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
    // The create job stays queued.
    let manifest = json!({"tenant_id": "acme-new", "organization_id": "acme", "region": "eu-west-1"});
    house.post("/v1/tenants", manifest).await.ok(201);
}

pub async fn path(house: &House, path: &str) -> String {
    let last = async |list: &str, id: &str| {
        let items = house.get(list).await.ok(200).body["items"].as_array().expect("items").clone();
        items.last().expect("an item")[id].as_str().expect("an id").to_owned()
    };
    match path {
        path if path.contains("{job}") => {
            let (jobs, _) = path.split_once("/{job}").expect("a job of a tenant");
            path.replace("{job}", &last(jobs, "job_id").await)
        }
        path if path.contains("{delivery}") => {
            let (deliveries, _) = path.split_once("/{delivery}").expect("a delivery of a webhook");
            path.replace("{delivery}", &last(deliveries, "delivery_id").await)
        }
        path if path.contains("{key}") => path.replace("{key}", &last("/v1/keys", "key_id").await),
        path => path.to_owned(),
    }
}

pub fn body(sample: &Sample) -> String {
    if sample.body.is_null() { String::new() } else { sample.body.to_string() }
}

pub async fn send(house: &House, sample: &Sample, path: &str, headers: &[(&str, &str)]) -> Answered {
    let mut headers = headers.to_vec();
    // A creation matches no version.
    headers.retain(|(name, _)| *name != "if-match" || sample.versioned);
    if sample.path == "/v1/apply" {
        headers.push(("content-type", "application/json"));
    }
    house.send(sample.method, path, &headers, body(sample).as_str()).await
}

/// Returns the current `If-Match` value.
async fn etag(house: &House, path: &str) -> String {
    house.get(path.split('?').next().expect("a path")).await.header("etag").to_owned()
}

pub fn of(sample: &Sample) -> Route {
    let found = all().into_iter().find(|route| route.method == sample.method && route.path == sample.route);
    found.unwrap_or_else(|| panic!("there is no route {} {}", sample.method, sample.route))
}

fn writes() -> impl Iterator<Item = Sample> {
    samples().into_iter().filter(|sample| sample.method != "GET")
}

#[test]
fn every_route_must_have_a_sample() {
    for route in all() {
        let known = samples().iter().any(|sample| (sample.method, sample.route) == (route.method, route.path.as_str()));
        assert!(known, "{} {} has no sample: add one, and these tests cover it", route.method, route.path);
    }
    for sample in samples() {
        of(&sample);
    }
}

async fn no_route_but_open_ones_must_answer_without_a_key_that_may(on: On) {
    let house = House::new(on).await;
    for sample in samples() {
        let needs = of(&sample).requirement;
        let content = [("content-type", "application/json")];
        let nobody = house.send_as_it_is(sample.method, sample.path, &content, body(&sample).as_str()).await;
        if needs == Requirement::Nothing {
            assert!(nobody.status.as_u16() < 400, "{} {}", sample.method, sample.path);
            continue;
        }
        if of(&sample).gives_verdicts {
            assert_eq!(nobody.status.as_u16(), 403, "{}", sample.path);
            assert_eq!(nobody.header("x-tenant-reason"), "unauthenticated", "{}", sample.path);
            continue;
        }
        assert_eq!((nobody.status.as_u16(), nobody.code()), (401, "unauthenticated"), "{}", sample.path);
        assert_eq!(nobody.header("www-authenticate"), "Bearer");
        let stranger = [("authorization", "Bearer tenancy_0000")];
        let stranger = house.send_as_it_is(sample.method, sample.path, &stranger, ()).await;
        assert_eq!(stranger.status.as_u16(), 401, "{}", sample.path);
        assert_eq!(stranger.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        assert!(stranger.body["detail"].as_str().is_some_and(|detail| detail.contains("token")), "{:#}", stranger.body);
        let Requirement::Permission(permission) = needs else { continue };
        let keys = Role::WORDS.iter().filter(|(_, role)| *role != Role::Customer);
        for (_, role) in keys.filter(|(_, role)| !may(*role, permission)) {
            let token = format!("Bearer {}", house.token(*role));
            let refused = house.send_as_it_is(sample.method, sample.path, &[("authorization", &token)], ()).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (403, "forbidden"), "{role} {}", sample.path);
        }
    }
    assert!(house.events("correlation_id=none").await.is_empty());
}

fn is_for_any_key(sample: &Sample) -> bool {
    matches!(of(sample).requirement, Requirement::Key | Requirement::Nothing)
}

/// Whether the caller was let in. A missing resource is answered with 404, which also proves it.
pub fn is_let_in(answered: &Answered) -> bool {
    match answered.header("x-tenant-reason") {
        "" => {
            answered.status.as_u16() != 401
                && (answered.status.as_u16() != 403 || answered.code() == "fields_forbidden")
        }
        reason => !matches!(reason, "unauthenticated" | "forbidden"),
    }
}

/// States the permissions independently of the table in core. A role that reads may also plan; the permission for what
/// an apply writes is checked inside.
pub fn is_for(sample: &Sample, role: Role, is_scoped: bool) -> bool {
    let keys = sample.route.starts_with("/v1/keys");
    let reads = sample.method == "GET";
    let is_of_placements = sample.route.starts_with("/v1/placements");
    let is_of_the_platform = sample.route.starts_with("/v1/webhooks") || is_of_placements;
    let is_of_the_server = ["/v1/status", "/v1/audit/verification"].contains(&sample.route) || is_of_the_platform;
    let is_of_webhooks = sample.route.contains("/webhooks") && !is_of_the_platform;
    let writes_tenant = sample.route == TENANT && sample.method != "DELETE";
    let writes_own = sample.method != "GET" && (writes_tenant || is_of_webhooks);
    let by_role = match role {
        Role::Admin => true,
        Role::Operator => !keys && (reads || !is_of_placements),
        Role::Auditor => reads,
        Role::Viewer => !keys && reads,
        Role::Customer => !keys && (reads || writes_own),
        Role::Gateway => sample.route.starts_with("/v1/access") || is_for_any_key(sample),
    };
    by_role && (!is_scoped || reads && !is_of_the_server || keys || writes_own)
}

async fn each_role_must_be_let_in_where_it_has_to_be_and_nowhere_else(on: On) {
    let house = House::new(on).await;
    for (_, role) in Role::WORDS.iter().filter(|(_, role)| *role != Role::Customer) {
        let token = format!("Bearer {}", house.token(*role));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        for sample in samples() {
            let answered = house.send_as_it_is(sample.method, sample.path, &headers, body(&sample).as_str()).await;
            assert_eq!(
                is_let_in(&answered),
                is_for(&sample, *role, false),
                "{role}: {} {}",
                sample.method,
                sample.path
            );
        }
    }
}

async fn every_route_must_answer_its_sample_with_a_correlation_id(on: On) {
    for sample in samples() {
        let (house, path) = prepared(on, &sample).await;
        let etag = if sample.versioned { etag(&house, &path).await } else { "*".to_owned() };
        // Sends a read twice: the second one has a cached key and runs beside the check of the key.
        for _ in 0..if sample.method == "GET" { 2 } else { 1 } {
            let answered = send(&house, &sample, &path, &[("if-match", &etag), ("x-correlation-id", "test:7")]).await;
            assert!(answered.status.as_u16() < 400, "{} {path}: {:#}", sample.method, answered.body);
            assert_eq!(answered.header("x-correlation-id"), "test:7");
        }
    }
}

async fn every_write_must_leave_an_event_of_who_and_in_which_request(on: On) {
    for sample in writes() {
        let (house, path) = prepared(on, &sample).await;
        let headers = [("if-match", "*"), ("x-correlation-id", "this-request")];
        let answered = send(&house, &sample, &path, &headers).await;
        assert!(answered.status.is_success(), "{} {path}: {:#}", sample.method, answered.body);
        let events = house.events("correlation_id=this-request").await;
        let found = events.iter().find(|event| event["event_type"] == sample.event);
        let event = found.unwrap_or_else(|| panic!("{} {path} left {events:#?}", sample.method));
        assert!(event["actor"].as_str().expect("text").starts_with("user:key_"), "{event}");
    }
}

/// A write with a cached key starts before the key is looked up again. Its commit depends on the key.
async fn no_write_must_be_done_or_answered_in_the_name_of_a_key_that_is_revoked(on: On) {
    for sample in writes() {
        let (house, path) = prepared(on, &sample).await;
        let made = house.post("/v1/keys", json!({"name": "gateway", "role": "admin"})).await.ok(201).body;
        let token = format!("Bearer {}", made["token"].as_str().expect("a token"));
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
            ("if-match", "*"),
            ("x-correlation-id", "too-late"),
        ];
        let ask = async |path: &str| house.send_as_it_is(sample.method, path, &headers, body(&sample).as_str()).await;
        house.send_as_it_is("GET", "/v1/tenants", &headers, ()).await.ok(200);
        revoke_elsewhere(&house, made["key_id"].as_str().expect("an id")).await;
        let wrong = ask(&format!("{path}?no_such=parameter")).await;
        assert_eq!((wrong.status.as_u16(), wrong.code()), (401, "unauthenticated"), "{} {path}", sample.method);
        house.send_as_it_is("GET", "/v1/whoami", &headers[..1], ()).await.ok(401);

        // Caches the key again, as if it had been valid until now.
        let digest = token_digest(made["token"].as_str().expect("a token"));
        let key = house.server.tenancy.store.api_key(&digest).await.expect("readable").expect("there");
        house.server.authentication.remember(digest, Arc::new(ApiKey { revoked_at: None, version: 1, ..key }));
        let refused = ask(&path).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (401, "unauthenticated"), "{} {path}", sample.method);
        assert_eq!(house.events("correlation_id=too-late").await, [] as [Value; 0], "{} {path}", sample.method);
    }
}

/// Revokes a key as another process would: this server is not notified.
async fn revoke_elsewhere(house: &House, key_id: &str) {
    let tenancy = &house.server.tenancy;
    let found =
        tenancy.store.api_keys(&Scope::All, &Page { limit: 500, ..Page::default() }).await.expect("readable").items;
    let key = found.iter().find(|key| key.key_id.as_str() == key_id).expect("the key");
    let request = RequestContext::by_part("elsewhere", CorrelationId::known("elsewhere"));
    let revoked = keys::revoke(key, &[], &mut tenancy.context(&request).expect("a moment")).expect("decided");
    tenancy.store.commit(revoked.changes.expect("a change")).await.expect("committed");
}

async fn every_write_must_have_one_effect_and_one_answer_under_one_idempotency_key(on: On) {
    for sample in writes() {
        let (house, path) = prepared(on, &sample).await;
        let etag = if sample.versioned { etag(&house, &path).await } else { "*".to_owned() };
        let headers = [("if-match", etag.as_str()), ("idempotency-key", "once"), ("x-correlation-id", "first")];
        let first = send(&house, &sample, &path, &headers).await;
        assert!(first.status.is_success(), "{} {path}: {:#}", sample.method, first.body);
        let before = house.events("").await.len();
        let headers = [("if-match", etag.as_str()), ("idempotency-key", "once"), ("x-correlation-id", "second")];
        let second = send(&house, &sample, &path, &headers).await;
        assert_eq!(second.status, first.status, "{} {path}: {:#}", sample.method, second.body);
        let mut shown = first.body.clone();
        let shows_secret = sample.method == "POST"
            && ["/webhooks", "/webhooks/{webhook}/rotate"].iter().any(|end| sample.route.ends_with(end));
        let secret = match sample.route {
            "/v1/keys" | "/v1/keys/{key_id}/rotate" => Some("token"),
            _ => shows_secret.then_some("secret"),
        };
        if let (Some(shown), Some(secret)) = (shown.as_object_mut(), secret) {
            assert!(shown.remove(secret).is_some(), "{path}");
        }
        let connects = sample.route.ends_with("/connection");
        let is_secret = connects || ["token", "secret"].iter().any(|name| first.body.get(name).is_some());
        assert_eq!(is_secret, first.header("cache-control").contains("no-store"), "{} {path}", sample.method);
        assert_eq!(second.body, shown, "{} {path}", sample.method);
        assert_eq!(
            (second.header("etag"), second.header("location")),
            (first.header("etag"), first.header("location"))
        );
        if sample.path != "/v1/apply" {
            assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
        }
        assert_eq!(house.events("").await.len(), before, "{} {path}", sample.method);

        let sign = if path.contains('?') { '&' } else { '?' };
        let reused = send(&house, &sample, &format!("{path}{sign}allow=move-profile"), &headers).await;
        assert_eq!((reused.status.as_u16(), reused.code()), (422, "idempotency_key_reused"), "{path}");
    }
}

/// Only `apply` supports `dry_run`. Other writes must refuse it, not ignore it.
async fn no_write_must_do_anything_when_it_is_to_be_a_dry_run(on: On) {
    let samples: Vec<_> = writes().collect();
    let (house, _) = prepared(on, &samples[0]).await;
    let before = house.events("").await;
    for sample in samples {
        let path = path(&house, sample.path).await;
        let sign = if path.contains('?') { '&' } else { '?' };
        let answered = send(&house, &sample, &format!("{path}{sign}dry_run=true"), &[("if-match", "*")]).await;
        let plans = sample.path == "/v1/apply";
        assert_eq!(
            answered.status.as_u16(),
            if plans { 200 } else { 400 },
            "{} {path}: {:#}",
            sample.method,
            answered.body
        );
    }
    assert_eq!(house.events("").await, before);
}

async fn every_versioned_write_must_ask_for_the_version_and_refuse_another(on: On) {
    for sample in writes().filter(|sample| sample.versioned) {
        let (house, path) = prepared(on, &sample).await;
        let before = house.events("").await.len();
        let unsaid = send(&house, &sample, &path, &[]).await;
        assert_eq!((unsaid.status.as_u16(), unsaid.code()), (428, "version_required"), "{path}");
        let stale = send(&house, &sample, &path, &[("if-match", "\"999\"")]).await;
        assert_eq!((stale.status.as_u16(), stale.code()), (412, "stale_version"), "{path}");
        assert!(stale.body["current_version"].is_i64(), "{:#}", stale.body);
        assert_eq!(house.events("").await.len(), before, "{path}");
    }
    let unversioned = writes().filter(|sample| !sample.versioned && sample.method != "POST");
    assert_eq!(unversioned.map(|sample| sample.route).collect::<Vec<_>>(), ["/v1/keys/{key_id}"]);
}

async fn no_route_must_take_a_parameter_that_it_does_not_know(on: On) {
    let is_checked = |sample: &Sample| of(sample).requirement != Requirement::Nothing && !of(sample).gives_verdicts;
    let samples: Vec<_> = samples().into_iter().filter(is_checked).collect();
    let (house, _) = prepared(on, &samples[0]).await;
    let before = house.events("").await;
    for sample in samples {
        let path = path(&house, sample.path).await;
        let sign = if path.contains('?') { '&' } else { '?' };
        let refused = send(&house, &sample, &format!("{path}{sign}no_such=1"), &[("if-match", "*")]).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (400, "malformed"), "{} {path}", sample.method);
        assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("no_such")), "{:#}", refused.body);
    }
    assert_eq!(house.events("").await, before);
}
