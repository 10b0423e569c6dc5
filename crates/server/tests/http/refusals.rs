//! Invalid input gets a clear error and changes nothing.

use crate::house::{Answered, House, On, on_both};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenancy_core::apikey::Role;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::CorrelationId;
use tenancy_core::permission::Operation;
use tenancy_core::rules::keys::{self, Rights};
use tenancy_server::authentication::Requirement;
use tenancy_server::http::gate::{Gate, gate};
use tenancy_server::http::key_traffic::Weight;
use tenancy_server::http::openapi::document;
use tenancy_server::http::router::all;
use tenancy_server::tenancy::RequestContext;
use tenancy_server::token::token_digest;
use tower::ServiceExt as _;

on_both!(
    every_refusal_must_be_a_problem,
    a_revoked_key_must_be_refused_from_now_on,
    a_key_must_be_refused_from_its_end_on_also_while_it_is_remembered,
    only_a_cached_token_must_start_a_read_before_its_check_and_only_a_valid_one_get_its_answer,
    an_unknown_outcome_must_be_said_also_when_the_key_turns_out_to_be_revoked,
    what_no_database_can_take_must_be_refused_wherever_it_stands,
    every_wrong_query_parameter_must_be_answered_with_400,
    a_refusal_must_name_every_field_that_is_wrong,
    a_refusal_must_name_every_field_that_is_not_to_be_had,
    a_refusal_must_name_an_id_that_is_not_that_of_its_path,
);

async fn what_no_database_can_take_must_be_refused_wherever_it_stands(on: On) {
    let house = House::new(on).await;
    // A cursor for each list, in the form that the server creates, with U+0000 in it.
    for list in ["tenants", "organizations", "jobs", "keys"] {
        let cursor: String = format!("{list}:\0").bytes().map(|byte| format!("{byte:02x}")).collect();
        let answered = house.get(&format!("/v1/{list}?after={cursor}")).await;
        assert_eq!(answered.status, 400, "{list}: {}", answered.body);
        assert_eq!(answered.body["code"], "malformed", "{list}: {}", answered.body);
    }
    for path in [
        "/v1/tenants?q=%00",
        "/v1/tenants?region=a%00",
        "/v1/tenants?label=a%00=b",
        "/v1/tenants?created_from=-009999-01-02T01:59:59Z",
        "/v1/audit?correlation_id=%00",
        "/v1/tenants/a%00",
        "/v1/tenants/acme/jobs/a%00",
    ] {
        let answered = house.get(path).await;
        assert_eq!(answered.status, 400, "{path}: {}", answered.body);
    }
}

/// Returns a value that a parameter with this schema does not take; `None` if it takes any text.
fn wrong(document: &Value, parameter: &Value) -> Option<&'static str> {
    let name = parameter["name"].as_str().expect("a name");
    let schema =
        if parameter["schema"]["type"] == "array" { &parameter["schema"]["items"] } else { &parameter["schema"] };
    let is_enumeration = schema["$ref"].as_str().is_some_and(|reference| {
        document.pointer(reference.trim_start_matches('#')).expect("a schema")["enum"].is_array()
    });
    match (name, schema["type"].as_str(), schema["format"].as_str()) {
        ("after", ..) => Some("nonsense"),
        ("label", ..) => Some("no-value"),
        (_, Some("string"), Some("date-time")) => Some("yesterday"),
        (_, Some("string"), None) => Some(""),
        (_, Some("integer" | "boolean"), _) => Some("many"),
        _ if is_enumeration => Some("no-such-word"),
        (_, other, _) => panic!("{name}: no wrong value of {other:?}"),
    }
}

async fn every_wrong_query_parameter_must_be_answered_with_400(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let webhook = json!({"name": "main", "url": "https://hooks.example/x", "events": ["*"]});
    for owner in ["/v1/webhooks", "/v1/organizations/acme/webhooks", "/v1/tenants/acme-eu/webhooks"] {
        house.post(owner, &webhook).await;
    }
    let document = document(all());
    let mut sent = 0;
    // A verdict is 403, whatever is wrong: see `access.rs`.
    let verdicts: Vec<_> = all().into_iter().filter(|route| route.gives_verdicts).map(|route| route.path).collect();
    for (path, item) in
        document["paths"].as_object().expect("paths").iter().filter(|(path, _)| !verdicts.contains(path))
    {
        let filled = path
            .replace("{tenant_id}", "acme-eu")
            .replace("{organization_id}", "acme")
            .replace("{environment}", "prod")
            .replace("{key_id}", "key_none")
            .replace("{job_id}", "job_none")
            .replace("{webhook}", "main")
            .replace("{delivery_id}", "dlv_none")
            .replace("{version}", "1");
        for (method, operation) in item.as_object().expect("operations").iter() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                let Some(wrong) = wrong(&document, parameter) else { continue };
                let name = parameter["name"].as_str().expect("a name");
                let query = format!("{filled}?{name}={wrong}");
                let answered = house.send(&method.to_uppercase(), &query, &[("if-match", "*")], json!({})).await;
                let said = (answered.status.as_u16(), answered.body["code"].as_str().unwrap_or_default());
                assert_eq!(said, (400, "malformed"), "{method} {query}: {}", answered.body);
                sent += 1;
            }
            if operation["security"] != json!([]) {
                let answered =
                    house.send(&method.to_uppercase(), &format!("{filled}?nonsense=1"), &[], json!({})).await;
                assert_eq!(answered.status, 400, "{method} {filled}?nonsense=1: {}", answered.body);
            }
        }
    }
    assert!(sent > 40, "{sent}");
}

/// A route behind the gate of reads of tenants.
fn gated(house: &House, method: &'static str, path: &str, route: MethodRouter) -> Router {
    let before = Gate {
        server: Arc::clone(&house.server),
        requirement: Requirement::Permission(Operation::ReadTenants),
        method,
        path: path.to_owned(),
        weight: Weight::Light,
        gives_verdicts: false,
        metrics: house.server.metrics.route(method, path),
    };
    Router::new().route(path, route).route_layer(from_fn_with_state(Arc::new(before), gate))
}

/// A read behind such a gate that counts how often it starts.
fn counted_read(house: &House) -> (Router, Arc<AtomicU64>) {
    let begun = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&begun);
    let read = move || async move {
        counts.fetch_add(1, Ordering::SeqCst);
        "confidential result"
    };
    (gated(house, "GET", "/counted", get(read)), begun)
}

async fn only_a_cached_token_must_start_a_read_before_its_check_and_only_a_valid_one_get_its_answer(on: On) {
    let house = House::new(on).await;
    let (router, begun) = counted_read(&house);
    let ask = async |token: &str| {
        let request = Request::get("/counted").header("authorization", format!("Bearer {token}"));
        let answer = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answered");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        assert_eq!(body.starts_with(b"confidential"), status == 200, "{status}: {body:?}");
        (status, begun.load(Ordering::SeqCst))
    };
    assert_eq!(ask("tenancy_nobody").await, (401, 0));
    assert_eq!(ask("tenancy_nobody").await, (401, 0));
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let token = made["token"].as_str().expect("a token");
    assert_eq!(ask(token).await, (200, 1));
    assert_eq!(ask(token).await, (200, 2));
    house.send("DELETE", &format!("/v1/keys/{}", made["key_id"].as_str().expect("an id")), &[], ()).await.ok(200);
    // The read may start before the server knows that the key is revoked, but only once: the token is then removed from
    // the cache. (On SQLite, and if PostgreSQL answers at once, it does not start at all.)
    let (refused, begun_before) = ask(token).await;
    assert_eq!(refused, 401);
    assert!(begun_before == 2 || begun_before == 3 && matches!(on, On::Postgres), "{begun_before}");
    assert_eq!(ask(token).await, (401, begun_before));
}

/// `apply` answers 200 with a result for each document, and the outcome of a document can be unknown.
async fn an_unknown_outcome_must_be_said_also_when_the_key_turns_out_to_be_revoked(on: On) {
    let house = House::new(on).await;
    let write = async |Extension(request): Extension<RequestContext>, unknown: String| {
        if unknown == "unknown" {
            request.caller.outcome_is_unknown();
        }
        "confidential result"
    };
    let router = gated(&house, "POST", "/lost", post(write));
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let token = made["token"].as_str().expect("a token");
    let ask = async |body: &'static str| {
        let request = Request::post("/lost").header("authorization", format!("Bearer {token}"));
        let answer =
            router.clone().oneshot(request.body(Body::from(body)).expect("a request")).await.expect("answered");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    };
    assert_eq!(ask("unknown").await.0, 200);
    let digest = token_digest(token);
    let key = house.server.authentication.remembered(&digest).expect("it was good");
    house.send("DELETE", &format!("/v1/keys/{}", made["key_id"].as_str().expect("an id")), &[], ()).await.ok(200);
    for (body, status, code) in [("unknown", 503, "outcome_unknown"), ("known", 401, "unauthenticated")] {
        house.server.authentication.remember(digest.clone(), Arc::clone(&key));
        let (answered, said) = ask(body).await;
        assert_eq!(answered, status, "{said}");
        assert!(said.contains(code) && !said.contains("confidential"), "{said}");
    }
}

async fn every_refusal_must_be_a_problem(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let json = [("content-type", "application/json")];
    let big = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024));
    for (method, path, headers, body, status, code) in [
        ("GET", "/nowhere", &[][..], "", 404, "not_found"),
        ("GET", "/v1/nowhere", &[], "", 404, "not_found"),
        ("DELETE", "/v1/tenants", &[], "", 405, "method_not_allowed"),
        ("POST", "/v1/tenants", &json, "{", 400, "malformed"),
        ("POST", "/v1/tenants", &json, "{\"a\": 1, \"a\": 2}", 400, "malformed"),
        ("POST", "/v1/tenants", &json, "{\"a\": \"\\u0000\"}", 400, "malformed"),
        ("POST", "/v1/tenants", &json, "", 400, "malformed"),
        ("POST", "/v1/tenants", &json, "[]", 422, "invalid"),
        ("POST", "/v1/tenants", &json, "{}", 422, "invalid"),
        ("POST", "/v1/tenants", &json, &big, 413, "too_large"),
        ("POST", "/v1/tenants", &[("content-type", "text/csv")], "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/tenants", &[("content-encoding", "gzip")], "{}", 415, "unsupported_content_encoding"),
        ("POST", "/v1/apply", &[("content-encoding", "br")], "", 415, "unsupported_content_encoding"),
        ("POST", "/v1/apply", &[("content-type", "text/yaml; charset=utf-16")], "", 415, "unsupported_charset"),
        (
            "PATCH",
            "/v1/tenants/acme-eu",
            &[("content-type", "application/json-patch+json"), ("if-match", "*")],
            "[]",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/v1/tenants?dryrun=1", &json, "{}", 400, "malformed"),
        ("PATCH", "/v1/tenants/acme-eu", &[("if-match", "abc")], "{}", 412, "stale_version"),
        ("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], "[]", 422, "invalid"),
        ("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], "{\"profil\": 1}", 422, "invalid"),
        ("POST", "/v1/tenants", &[("idempotency-key", "")], "{}", 400, "malformed"),
        ("GET", "/v1/tenants/%ff", &[], "", 400, "malformed"),
        ("GET", "/v1/tenants/Bad_Name", &[], "", 404, "not_found"),
        ("GET", "/v1/tenants/acme-eu/versions/x", &[], "", 404, "not_found"),
        ("GET", "/v1/tenants/acme-eu/jobs/none", &[], "", 404, "not_found"),
        ("GET", "/v1/tenants/acme-eu/jobs/none?wait_seconds=61", &[], "", 400, "malformed"),
        ("POST", "/v1/tenants/acme-eu/suspend", &json, "{\"hold\": \"biling\"}", 422, "invalid"),
        ("GET", "/v1/tenants/nobody/audit", &[], "", 404, "not_found"),
        ("GET", "/v1/tenants/nobody/jobs", &[], "", 404, "not_found"),
        ("GET", "/v1/keys/none", &[], "", 404, "not_found"),
        ("POST", "/v1/keys", &json, "{\"name\": \"x\", \"role\": \"root\"}", 422, "invalid"),
    ] {
        let refused = house.send(method, path, headers, body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (status, code),
            "{method} {path} {body:.60}: {:#}",
            refused.body
        );
        assert_eq!(refused.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(refused.body["correlation_id"], refused.header("x-correlation-id"), "{method} {path}");
        assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{:#}", refused.body);
    }
    assert_eq!(house.get("/v1/tenants").await.body["items"].as_array().map(Vec::len), Some(1));
    assert!(house.send("PUT", "/v1/tenants", &[], ()).await.ok(405).header("allow").contains("POST"));
}

async fn a_revoked_key_must_be_refused_from_now_on(on: On) {
    let house = House::new(on).await;
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let token = format!("Bearer {}", made["token"].as_str().expect("a token"));
    let headers = [("authorization", token.as_str())];
    let me = house.send_as_it_is("GET", "/v1/whoami", &headers, ()).await.ok(200).body;
    assert_eq!((&me["key_id"], &me["role"]), (&made["key_id"], &json!("viewer")));
    // With a cached key, reads run beside the check of the key. Their results must not be returned if the key is not
    // valid or not authorized.
    for _ in 0..2 {
        house.send_as_it_is("GET", "/v1/organizations", &headers, ()).await.ok(200);
        let refused = house.send_as_it_is("GET", "/v1/keys", &headers, ()).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, "forbidden"));
    }
    house.send_as_it_is("GET", "/v1/organizations", &headers, ()).await.ok(200);
    let path = format!("/v1/keys/{}", made["key_id"].as_str().expect("an id"));
    assert!(house.get(&path).await.ok(200).body.get("token").is_none());
    house.send("DELETE", &path, &[], ()).await.ok(200);
    for read in ["/v1/organizations", "/v1/tenants", "/v1/organizations", "/v1/whoami"] {
        let refused = house.send_as_it_is("GET", read, &headers, ()).await;
        assert_eq!((refused.status.as_u16(), refused.body.get("items")), (401, None), "{read}");
    }
    let digest = tenancy_server::token::token_digest(made["token"].as_str().expect("a token"));
    let log = serde_json::to_string(&house.events("").await).expect("json");
    assert!(!log.contains(&digest) && !log.contains("tenancy_"), "no secret in the log");
}

/// The key expires between two of its requests: it is created in the past and then cached as valid.
async fn a_key_must_be_refused_from_its_end_on_also_while_it_is_remembered(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let tenancy = &house.server.tenancy;
    let make = async |name: &str, hours: i64| {
        let hours_on = |hours: i64| tenancy.store.now() + jiff::SignedDuration::from_hours(hours);
        let request = RequestContext::by_part("test", CorrelationId::known("test"));
        let mut context = DecisionContext::new(
            hours_on(-2),
            [hours.unsigned_abs() as u8; 32],
            request.caller.actor(),
            request.correlation_id,
        );
        let made = keys::create(
            name,
            Rights { expires_at: Some(hours_on(hours)), ..Rights::unlimited(Role::Admin) },
            None,
            token_digest(name),
            &mut context,
        )
        .expect("made");
        tenancy.store.commit(made.changes.expect("a change")).await.expect("committed");
        house.server.authentication.remember(token_digest(name), Arc::new(made.key));
        format!("Bearer {name}")
    };
    let (good, over) = (make("tenancy_good", 1).await, make("tenancy_over", -1).await);
    for (method, path, body) in [
        ("GET", "/v1/organizations/acme", json!({})),
        ("GET", "/v1/whoami", json!({})),
        ("PATCH", "/v1/organizations/acme", json!({"display_name": "Acme"})),
        ("POST", "/v1/organizations", json!({"organization_id": "beta"})),
    ] {
        let send = async |token: &str| {
            let headers = [("authorization", token), ("if-match", "*")];
            let headers = if method == "POST" { &headers[..1] } else { &headers[..] };
            house.send_as_it_is(method, path, headers, &body).await
        };
        for _ in 0..2 {
            let refused = send(&over).await.ok(401);
            assert_eq!(refused.code(), "unauthenticated", "{method} {path}");
        }
        assert!(send(&good).await.status.is_success(), "{method} {path}");
    }
}

/// Method, path and body; the code of the refusal, and the fields that it names.
type Case<'a> = (&'a str, &'a str, Value, &'a str, &'a [&'a str]);

async fn each_must_be_refused<const N: usize>(house: &House, cases: [Case<'_>; N]) {
    for (method, path, body, code, pointers) in cases {
        let any = if method == "PATCH" { &[("if-match", "*")][..] } else { &[] };
        let refused = house.send(method, path, any, body).await;
        assert_eq!(
            (refused.code(), pointers_of(&refused)),
            (code, pointers.to_vec()),
            "{method} {path}: {:#}",
            refused.body
        );
    }
}

async fn a_refusal_must_name_every_field_that_is_not_to_be_had(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let capped = json!({"organization_id": "small", "caps": {"tenants": 0, "quotas": {"storageGiB": 10}}});
    house.post("/v1/organizations", capped).await.ok(201);
    house
        .send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"aliases": {"host": "a.example"}}))
        .await
        .ok(200);
    let cases: [Case; 3] = [
        (
            "POST",
            "/v1/tenants",
            json!({"tenant_id": "acme-eu", "organization_id": "small", "region": "eu-west-1", "quotas": {"storageGiB": 11},
                "aliases": {"host": "a.example"}}),
            "organization_cap_exceeded",
            &["/organization_id", "/quotas/storageGiB", "/tenant_id", "/aliases/host"],
        ),
        (
            "POST",
            "/v1/tenants",
            json!({"organization_id": "nobody", "region": "eu-west-1"}),
            "organization_missing",
            &["/organization_id"],
        ),
        ("POST", "/v1/organizations", json!({"organization_id": "acme"}), "organization_exists", &["/organization_id"]),
    ];
    each_must_be_refused(&house, cases).await;
}

async fn a_refusal_must_name_every_field_that_is_wrong(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let past = "2020-01-01T00:00:00Z";
    let cases: [Case; 7] = [
        (
            "PATCH",
            "/v1/tenants/acme-eu",
            json!({"organization_id": "small", "region": "eu-wst-1", "tenant_id": "other"}),
            "invalid",
            &["/organization_id", "/tenant_id", "/region"],
        ),
        (
            "POST",
            "/v1/tenants",
            json!({"kind": "Tenent", "region": "nowhere"}),
            "invalid",
            &["/kind", "/organization_id", "/region"],
        ),
        (
            "PATCH",
            "/v1/organizations/acme",
            json!({"organization_id": "small", "capss": {}}),
            "invalid",
            &["/organization_id", "/capss"],
        ),
        (
            "POST",
            "/v1/tenants/acme-eu/suspend",
            json!({"hold": "biling", "until": past, "reasn": ""}),
            "invalid",
            &["/hold", "/until", "/reasn"],
        ),
        (
            "POST",
            "/v1/organizations/acme/suspend",
            json!({"hold": 1, "until": "soon", "reason": ""}),
            "invalid",
            &["/hold", "/reason", "/until"],
        ),
        ("POST", "/v1/keys", json!({"name": "a", "role": null}), "invalid", &["/role"]),
        (
            "POST",
            "/v1/keys",
            json!({"role": "root", "expires_at": past, "rule": 1}),
            "invalid",
            &["/name", "/role", "/expires_at", "/rule"],
        ),
    ];
    each_must_be_refused(&house, cases).await;
}

/// Returns the fields that a refusal names. Checks that each has a code and a message.
fn pointers_of(refused: &Answered) -> Vec<&str> {
    let errors = refused.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(errors.iter().all(|error| error["code"].is_string() && error["message"].is_string()), "{errors:#?}");
    errors.iter().map(|error| error["pointer"].as_str().unwrap_or_default()).collect()
}

async fn a_refusal_must_name_an_id_that_is_not_that_of_its_path(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let other = json!({"tenant_id": "other", "organization_id": "acme", "region": "nowhere"});
    let refused = house.send("PUT", "/v1/tenants/acme-us", &[("if-none-match", "*")], other).await.ok(422);
    assert_eq!(pointers_of(&refused), ["/tenant_id", "/region"]);
}
