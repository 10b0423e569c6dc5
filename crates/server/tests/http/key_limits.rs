//! Limits on the requests of one key: its rate, and how many are served at once.

use crate::house::{House, On, on_both};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::permission::Operation;
use tenancy_server::authentication::Requirement;
use tenancy_server::http::gate::{Gate, gate};
use tenancy_server::http::key_traffic::Weight;
use tenancy_server::key_limits::KeyLimits;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

on_both!(
    a_key_must_be_limited_by_its_rate_and_told_when_to_come_back,
    one_key_with_many_lists_must_keep_no_other_key_and_no_light_request_waiting,
    a_list_whose_client_is_gone_must_keep_its_seat_until_it_ends,
    a_large_body_must_be_parsed_and_refused_like_a_small_one,
);

async fn bearer(house: &House, document: Value) -> String {
    let made = house.post("/v1/keys", document).await.ok(201).body;
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

async fn a_key_must_be_limited_by_its_rate_and_told_when_to_come_back(on: On) {
    let limits = KeyLimits { scoped_requests_per_second: 1, scoped_burst_requests: 60, ..KeyLimits::default() };
    let house = House::limited(on, limits).await;
    house.furnish().await;
    let scoped = |name: &str| json!({"name": name, "role": "viewer", "scope": "tenant:acme-eu"});
    let (one, other) = (bearer(&house, scoped("one")).await, bearer(&house, scoped("other")).await);
    let ask = async |token: &str, path: &str| house.send_as_it_is("GET", path, &[("authorization", token)], ()).await;
    let first = ask(&one, "/v1/tenants/acme-eu").await.ok(200);
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=60;w=60");
    assert_eq!(first.header("ratelimit"), "\"key\";r=59;t=1");
    let mut served = 1;
    let refused = loop {
        let answered = ask(&one, "/v1/tenants/acme-eu").await;
        if answered.status.as_u16() != 200 {
            break answered.ok(429);
        }
        served += 1;
        assert!(served < 1000, "it is not limited");
    };
    assert!(served >= 60, "{served}");
    assert_eq!((refused.code(), refused.header("retry-after")), ("rate_limited", "1"));
    assert!(refused.header("ratelimit").starts_with("\"key\";r=0;t="), "{:?}", refused.headers);
    assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("rate limit")), "{:#}", refused.body);
    // Also what a refusal would answer is limited.
    assert_eq!(ask(&one, "/v1/tenants/nobody").await.ok(429).code(), "rate_limited");
    ask(&other, "/v1/tenants/acme-eu").await.ok(200);
    let unscoped = house.get("/v1/whoami").await.ok(200);
    assert_eq!((unscoped.header("ratelimit"), unscoped.header("ratelimit-policy")), ("", ""), "it has no limit");
    house.server.tenancy.store.shift_clock(Duration::from_secs(30));
    for _ in 0..30 {
        ask(&one, "/v1/whoami").await.ok(200);
    }
}

/// A list behind the gate of lists of tenants that ends when it gets a permit.
fn slow_list(house: &House, go: &Arc<Semaphore>) -> Router {
    let (method, path) = ("GET", "/slow");
    let before = Gate {
        server: Arc::clone(&house.server),
        requirement: Requirement::Permission(Operation::ReadTenants),
        method,
        path: path.to_owned(),
        weight: Weight::Heavy,
        gives_verdicts: false,
        metrics: house.server.metrics.route(method, path),
    };
    let go = Arc::clone(go);
    let list = move || async move {
        go.acquire().await.expect("open").forget();
        "a page"
    };
    Router::new().route(path, get(list)).route_layer(from_fn_with_state(Arc::new(before), gate))
}

async fn ask(router: Router, token: String) -> (u16, String) {
    let request = Request::get("/slow").header("authorization", token).body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("answered");
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

async fn one_key_with_many_lists_must_keep_no_other_key_and_no_light_request_waiting(on: On) {
    let limits = KeyLimits {
        max_heavy_requests: 2,
        max_waiting_requests: 3,
        wait_timeout_milliseconds: 60_000,
        ..KeyLimits::default()
    };
    let house = House::limited(on, limits).await;
    let (greedy, other) = (
        bearer(&house, json!({"name": "greedy", "role": "viewer"})).await,
        bearer(&house, json!({"name": "other", "role": "viewer"})).await,
    );
    let go = Arc::new(Semaphore::new(0));
    let router = slow_list(&house, &go);
    let mut lists: Vec<_> = (0..16).map(|_| tokio::spawn(ask(router.clone(), greedy.clone()))).collect();
    // Two are served and three wait; the others are refused at once, before any has ended.
    let mut refused = 0;
    while refused < 11 {
        let (answered, _, left) = futures_util::future::select_all(lists).await;
        let (status, body) = answered.expect("no panic");
        assert_eq!(status, 429, "{body}");
        assert!(body.contains("too_many_at_once"), "{body}");
        (lists, refused) = (left, refused + 1);
    }
    for token in [&greedy, &other] {
        house.send_as_it_is("GET", "/v1/whoami", &[("authorization", token)], ()).await.ok(200);
    }
    house.send_as_it_is("GET", "/v1/tenants", &[("authorization", &other)], ()).await.ok(200);
    let too_many = house.send_as_it_is("GET", "/v1/tenants", &[("authorization", &greedy)], ()).await.ok(429);
    assert_eq!((too_many.code(), too_many.header("retry-after")), ("too_many_at_once", "1"));
    go.add_permits(5);
    for list in lists {
        assert_eq!(list.await.expect("no panic"), (200, "a page".to_owned()));
    }
    house.send_as_it_is("GET", "/v1/tenants", &[("authorization", &greedy)], ()).await.ok(200);
}

async fn a_list_whose_client_is_gone_must_keep_its_seat_until_it_ends(on: On) {
    let limits = KeyLimits { max_heavy_requests: 1, wait_timeout_milliseconds: 100, ..KeyLimits::default() };
    let house = House::limited(on, limits).await;
    let token = bearer(&house, json!({"name": "impatient", "role": "viewer"})).await;
    let go = Arc::new(Semaphore::new(0));
    let router = slow_list(&house, &go);
    // The client disconnects while its list runs.
    let list = tokio::spawn(ask(router.clone(), token.clone()));
    let headers = [("authorization", token.as_str())];
    let tenants = || house.send_as_it_is("GET", "/v1/tenants", &headers, ());
    while tenants().await.status.as_u16() == 200 {
        tokio::task::yield_now().await;
    }
    list.abort();
    assert!(list.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(tenants().await.ok(429).code(), "too_many_at_once");
    go.add_permits(1);
    while tenants().await.status.as_u16() != 200 {
        tokio::task::yield_now().await;
    }
}

async fn a_large_body_must_be_parsed_and_refused_like_a_small_one(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let yaml = [("content-type", "application/yaml")];
    for bytes in [0, 20_000, 100_000] {
        let space = " ".repeat(bytes);
        let bad = house.post("/v1/tenants", format!("{{\"a\": 1, {space} \"a\": 2}}").as_str()).await.ok(400);
        assert_eq!(bad.code(), "malformed", "{bytes}");
        let manifest = json!({"tenant_id": format!("t{bytes}"), "organization_id": "acme", "region": "eu-west-1"});
        house.post("/v1/tenants", format!("{space}{manifest}").as_str()).await.ok(201);
        let file = format!("# {space}\nkind: Organization\norganization_id: o{bytes}\n");
        let applied = house.send("POST", "/v1/apply", &yaml, file.as_str()).await.ok(200);
        assert_eq!(applied.body["results"].as_array().map(Vec::len), Some(1), "{bytes}");
        let bad = house.send("POST", "/v1/apply", &yaml, format!("# {space}\na: 1\na: 2\n").as_str()).await.ok(400);
        assert!(bad.body["detail"].as_str().is_some_and(|text| text.contains("line 3")), "{:#}", bad.body);
    }
}
