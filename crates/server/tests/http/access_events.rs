//! The feed of access, `/v1/access/events`.

use crate::event_reader::{Frame, Reader};
use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::apikey::Role;
use tenancy_server::http::access_pages::PAGE_TENANTS;

on_both!(
    must_begin_with_every_tenant_and_go_on_with_what_happens,
    must_send_the_tenants_of_an_organization_when_its_holds_change,
    must_continue_after_the_last_id_without_the_other_tenants,
    must_send_a_scoped_key_its_own_tenants_without_the_plan,
    must_read_the_tenants_of_a_batch_once_for_all_followers,
    must_end_the_stream_of_a_key_that_is_revoked,
    must_say_that_nothing_happens_only_while_the_log_can_be_read,
    must_refuse_what_is_no_cursor,
);

const PATH: &str = "/v1/access/events";

async fn open(house: &House, last: Option<&str>) -> Reader {
    Reader::open_at(house, house.token(Role::Gateway), PATH, last).await
}

async fn registered(house: &House, id: &str) {
    let manifest = json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1"});
    house.post("/v1/tenants", manifest).await.ok(201);
}

/// Reads up to `caught-up`.
async fn caught_up(reader: &mut Reader) -> (Vec<Frame>, Frame) {
    let mut tenants = Vec::new();
    loop {
        let frame = reader.next().await.expect("a stream");
        match frame.event.as_str() {
            "tenant" => tenants.push(frame),
            "caught-up" => return (tenants, frame),
            other => panic!("{other} before caught-up"),
        }
    }
}

/// Reads until the access of a tenant fits.
async fn until(reader: &mut Reader, id: &str, fits: impl Fn(&Value) -> bool) -> Frame {
    loop {
        let frame = reader.next_of_interest().await.expect("a stream");
        if frame.data["tenant_id"] == id && fits(&frame.data) {
            return frame;
        }
    }
}

fn ids(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.data["tenant_id"].as_str().expect("an id")).collect()
}

async fn must_begin_with_every_tenant_and_go_on_with_what_happens(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let names: Vec<_> = (0..PAGE_TENANTS + 3).map(|n| format!("many-{n:03}")).collect();
    for name in &names {
        registered(&house, name).await;
    }
    let mut reader = open(&house, None).await;
    let (tenants, end) = caught_up(&mut reader).await;
    let expected: Vec<_> = ["acme-eu"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(ids(&tenants), expected, "each of them once, over all pages");
    assert!(tenants.iter().all(|frame| frame.id.is_none()), "a snapshot that is cut off begins again");
    assert!(end.id.is_some());
    assert_eq!(tenants[0].data, house.get("/v1/access?tenant=acme-eu").await.ok(200).body);

    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    let held = until(&mut reader, "acme-eu", |access| access["reason"] == "hold_billing").await;
    assert!(held.id.is_some() && held.position() > end.position());
    house.work().await;
    until(&mut reader, "acme-eu", |access| access["state"] == "Suspended").await;
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    until(&mut reader, "acme-eu", |access| access["allowed"] == true).await;
}

async fn must_send_the_tenants_of_an_organization_when_its_holds_change(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for n in 0..3 {
        registered(&house, &format!("more-{n}")).await;
    }
    house.work().await;
    let mut reader = open(&house, None).await;
    caught_up(&mut reader).await;
    // Nothing makes the tenants follow their organization here: no loop runs.
    house.post("/v1/organizations/acme/suspend", json!({"hold": "abuse"})).await.ok(200);
    let mut told = BTreeSet::new();
    while told.len() < 4 {
        let frame = reader.next_of_interest().await.expect("a stream");
        let expected = if frame.data["state"] == "Active" { "hold_abuse" } else { "tenant_draft" };
        assert_eq!(frame.data["reason"], expected);
        told.insert(frame.data["tenant_id"].as_str().expect("an id").to_owned());
    }
    house.post("/v1/organizations/acme/activate", json!({"hold": "abuse"})).await.ok(200);
    until(&mut reader, "acme-eu", |access| access["allowed"] == true).await;
}

async fn must_continue_after_the_last_id_without_the_other_tenants(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    registered(&house, "other").await;
    let (_, end) = caught_up(&mut open(&house, None).await).await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    let mut reader = open(&house, end.id.as_deref()).await;
    let (tenants, end) = caught_up(&mut reader).await;
    assert_eq!(ids(&tenants), ["acme-eu"], "only what has changed");
    assert_eq!(tenants[0].data["reason"], "hold_billing");
    let (tenants, _) = caught_up(&mut open(&house, end.id.as_deref()).await).await;
    assert_eq!(ids(&tenants), [""; 0]);
}

async fn must_send_a_scoped_key_its_own_tenants_without_the_plan(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    let theirs = json!({"tenant_id": "globex-eu", "organization_id": "globex", "region": "eu-west-1"});
    house.post("/v1/tenants", theirs).await.ok(201);
    let plan = json!({"billing": {"plan": "enterprise"}});
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], plan).await.ok(200);
    let (all, _) = caught_up(&mut open(&house, None).await).await;
    assert_eq!((ids(&all), &all[0].data["plan"]), (vec!["acme-eu", "globex-eu"], &json!("enterprise")));
    for scope in ["organization:acme", "tenant:acme-eu"] {
        let key = json!({"name": format!("edge {scope}"), "role": "gateway", "scope": scope});
        let token = house.post("/v1/keys", key).await.ok(201).body["token"].as_str().expect("a token").to_owned();
        let mut reader = Reader::open_at(&house, &token, PATH, None).await;
        let (own, _) = caught_up(&mut reader).await;
        assert_eq!((ids(&own), own[0].data.get("plan")), (vec!["acme-eu"], None), "{scope}");
        for organization in ["globex", "acme"] {
            let path = format!("/v1/organizations/{organization}/suspend");
            house.post(&path, json!({"hold": "abuse", "reason": scope})).await.ok(200);
        }
        house
            .send("PATCH", "/v1/tenants/globex-eu", &[("if-match", "*")], json!({"display_name": scope}))
            .await
            .ok(200);
        house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"display_name": scope})).await.ok(200);
        let version = house.get("/v1/tenants/acme-eu").await.ok(200).body["version"].clone();
        loop {
            let frame = reader.next_of_interest().await.expect("a stream");
            assert_eq!((&frame.data["tenant_id"], frame.data.get("plan")), (&json!("acme-eu"), None), "{scope}");
            if frame.data["version"] == version {
                break;
            }
        }
    }
}

async fn must_read_the_tenants_of_a_batch_once_for_all_followers(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (tenancy, pages) = (&house.server.tenancy, house.server.response_cache.access_pages());
    let mut follower = tenancy.feed.follow(tenancy.feed.newest().await.expect("the end").newest);
    registered(&house, "new").await;
    let batch = follower.next().await.expect("a batch");
    let before = tenancy.store.reads();
    let first = pages.of_batch(tenancy, &batch).await.expect("a page");
    assert_eq!(tenancy.store.reads() - before, 1);
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&first, &pages.of_batch(tenancy, &batch).await.expect("a page")));
    }
    assert_eq!(tenancy.store.reads() - before, 1);
}

async fn must_end_the_stream_of_a_key_that_is_revoked(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let made = house.post("/v1/keys", json!({"name": "edge", "role": "gateway"})).await.ok(201).body;
    let mut reader = Reader::open_at(&house, made["token"].as_str().expect("a token"), PATH, None).await;
    let (_, caught_up) = caught_up(&mut reader).await;
    house.send("DELETE", &format!("/v1/keys/{}", made["key_id"].as_str().expect("an id")), &[], ()).await.ok(200);
    let end = reader.next_of_interest().await.expect("a frame");
    assert_eq!((end.event.as_str(), &end.data["reason"]), ("end", &json!("key_revoked")));
    assert!(end.data["next"].is_string() && caught_up.id.is_some());
    assert_eq!(reader.next().await, None);
}

async fn must_say_that_nothing_happens_only_while_the_log_can_be_read(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut reader = open(&house, None).await;
    let (_, caught_up) = caught_up(&mut reader).await;
    let quiet = reader.next().await.expect("a frame");
    assert_eq!((quiet.event.as_str(), quiet.id), ("position", caught_up.id), "nothing has happened");
    house.server.tenancy.store.close().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    while tokio::time::timeout(Duration::from_millis(10), reader.next()).await.is_ok() {}
    let more = tokio::time::timeout(Duration::from_secs(5), reader.next()).await;
    assert!(more.is_err(), "the log cannot be read: {more:?}");
}

async fn must_refuse_what_is_no_cursor(on: On) {
    let house = House::new(on).await;
    for path in ["/v1/access/events?after=x", "/v1/access/events?limit=1", "/v1/access/events?after="] {
        house.get(path).await.ok(400);
    }
    house.send("GET", PATH, &[("last-event-id", "x")], ()).await.ok(400);
    house.send_as(Role::Gateway, "GET", "/v1/events", ()).await.ok(403);
    house.send_as(Role::Gateway, "GET", "/v1/tenants", ()).await.ok(403);
}
