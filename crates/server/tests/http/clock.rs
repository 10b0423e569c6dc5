//! What callers see when the clock of the database is set forward or back.

use crate::house::{House, On, on_both};
use jiff::SignedDuration;
use serde_json::json;
use tenancy_server::expiry;
use tokio_util::sync::CancellationToken;

on_both!(
    a_hold_must_suspend_at_once_after_the_clock_was_set_back,
    a_request_that_is_sent_again_must_have_one_effect_while_the_clock_jumps,
    nothing_must_be_destroyed_early_after_the_clock_was_set_forward,
    the_log_must_be_followed_by_position,
);

async fn furnished(on: On) -> House {
    let house = House::new(on).await;
    house.furnish().await;
    house.server.background.run_once("clock").await;
    house
}

fn jump(house: &House, hours: i64) {
    house.server.tenancy.store.jump_clock(SignedDuration::from_hours(hours));
}

async fn a_hold_must_suspend_at_once_after_the_clock_was_set_back(on: On) {
    let house = furnished(on).await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "abuse"})).await.ok(202);
    jump(&house, -1);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Suspended");
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "abuse"})).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
}

async fn a_request_that_is_sent_again_must_have_one_effect_while_the_clock_jumps(on: On) {
    let house = furnished(on).await;
    let send = async || {
        let body = json!({"labels": {"n": "1"}});
        house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*"), ("idempotency-key", "k")], body).await.ok(200)
    };
    let first = send().await;
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"labels": {"n": "2"}})).await.ok(200);
    for hours in [48, -48, 0] {
        jump(&house, hours);
        expiry::remove_expired(&house.server.tenancy, &CancellationToken::new()).await.expect("looked");
        let again = send().await;
        assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body), "{hours}");
    }
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["labels"]["n"], "2");
}

async fn nothing_must_be_destroyed_early_after_the_clock_was_set_forward(on: On) {
    let house = furnished(on).await;
    let until = house.server.tenancy.now() + SignedDuration::from_mins(30);
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "abuse", "until": until})).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/readyz").await.ok(200).body["warnings"], json!([]));

    jump(&house, 24 * 31);
    assert_eq!(expiry::release_holds(&house.server.tenancy).await, Ok(0), "not released");
    let refused = house.post("/v1/tenants/acme-eu/purge", ()).await.ok(409);
    assert!(refused.body["detail"].as_str().is_some_and(|why| why.contains("the clock jumped")), "{}", refused.body);
    let warnings = house.get("/readyz").await.ok(200).body["warnings"].clone();
    assert!(
        warnings[0].as_str().is_some_and(|why| why.contains("the clock jumped forward by 2678400 s")),
        "{warnings}"
    );

    house.server.tenancy.store.shift_clock(std::time::Duration::from_secs(3601));
    assert_eq!(house.get("/readyz").await.ok(200).body["warnings"], json!([]));
    assert_eq!(expiry::release_holds(&house.server.tenancy).await, Ok(1));
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
}

async fn the_log_must_be_followed_by_position(on: On) {
    let house = furnished(on).await;
    let page = house.get("/v1/audit?follow=true&after=end").await.ok(200).body;
    assert_eq!(page["items"], json!([]));
    let next = page["next"].as_str().expect("a cursor").to_owned();
    jump(&house, -1);
    house.post("/v1/organizations", json!({"organization_id": "later"})).await.ok(201);
    let path = format!("/v1/audit?follow=true&event_type=ORGANIZATION_CREATED&after={next}");
    let page = house.get(&path).await.ok(200).body;
    assert_eq!(page["items"][0]["payload"]["organization_id"], "later");
    assert!(page["next"].is_string());
    house.get("/v1/audit?follow=true&order=desc").await.ok(400);
    assert_eq!(house.get("/v1/audit").await.ok(200).body["next"], json!(null));
}
