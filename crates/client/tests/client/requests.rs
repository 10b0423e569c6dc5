//! Which requests are sent again, and what errors say.

use super::canned::{Canned, answer, header, problem};
use std::time::{Duration, Instant};
use tenancy_client::api::document::Suspension;
use tenancy_client::requests::{ApplyOptions, TenantFilter};
use tenancy_client::{Client, Error};

const APPLIED: &str = r#"{"results": [], "dry_run": false}"#;

fn client(server: &Canned) -> Client {
    Client::new(server.url(), Some("tenancy_token".to_owned())).expect("a client")
}

#[tokio::test]
async fn must_repeat_a_change_with_the_same_idempotency_key() {
    let busy = problem(503, "busy", "retry-after: 0\r\n");
    let server = Canned::start(vec![String::new(), busy, answer("200 OK", "", APPLIED)]);
    client(&server).apply("kind: Tenant", &ApplyOptions::default()).await.expect("applied");
    let keys: Vec<_> =
        server.requests().iter().map(|request| header(request, "idempotency-key").expect("a key").to_owned()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].len() == 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let request = &server.requests()[2];
    assert_eq!(header(request, "authorization"), Some("Bearer tenancy_token"));
    assert!(request.ends_with("\r\n\r\nkind: Tenant"), "{request}");
    let server = Canned::start(vec![answer("200 OK", "", APPLIED); 2]);
    for _ in 0..2 {
        client(&server).apply("kind: Tenant", &ApplyOptions::default()).await.expect("applied");
    }
    let [first, second] = &server.requests()[..] else { panic!("two requests") };
    assert_ne!(header(first, "idempotency-key"), header(second, "idempotency-key"), "each change has its own");
}

#[tokio::test]
async fn must_wait_as_long_as_the_server_demands_and_not_for_ever() {
    let limited = problem(429, "rate_limited", "retry-after: 1\r\n");
    let list = r#"{"items": [], "next": null}"#;
    let server = Canned::start(vec![limited, answer("200 OK", "", list)]);
    let begun = Instant::now();
    client(&server).tenants(&TenantFilter::default(), None).await.expect("listed");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let server = Canned::start(vec![problem(429, "rate_limited", "retry-after: 3600\r\n")]);
    let refused = client(&server).tenants(&TenantFilter::default(), None).await.expect_err("not within an hour");
    assert_eq!((refused.status(), refused.code()), (Some(429), Some("rate_limited")));
    let server = Canned::start(vec![problem(503, "busy", "retry-after: 0\r\n"); 5]);
    client(&server).tenant("acme-eu").await.expect_err("after the last attempt");
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn must_say_why_the_server_refuses_and_not_ask_again() {
    let server = Canned::start(vec![problem(409, "not_in_this_state", "")]);
    let refused = client(&server).suspend("a/b", &Suspension::default()).await.expect_err("refused");
    assert_eq!((refused.code(), refused.correlation_id()), (Some("not_in_this_state"), Some("c-7")));
    assert_eq!(refused.to_string(), "what to do (not_in_this_state, correlation id c-7)");
    assert!(server.requests()[0].starts_with("POST /v1/tenants/a%2Fb/suspend HTTP/1.1"), "{:?}", server.requests());
}

#[tokio::test]
async fn must_name_what_is_no_tenancy_server_and_invalid_values() {
    let server = Canned::start(vec![answer("404 Not Found", "", "<html>")]);
    let error = client(&server).tenant("acme-eu").await.expect_err("a proxy");
    assert!(matches!(error, Error::NotTenancy { status: 404, .. }), "{error}");
    for name in ["", ".", ".."] {
        assert!(matches!(client(&server).tenant(name).await, Err(Error::Invalid(_))), "{name:?}");
    }
    assert!(matches!(Client::new("localhost:7300", None), Err(Error::Invalid(_))));
    let error = Client::new(server.url(), Some("two words".to_owned())).expect_err("no token");
    assert!(!error.to_string().contains("words"), "the token is not shown: {error}");
    assert!(!format!("{:?}", client(&server)).contains("tenancy_token"));
}
