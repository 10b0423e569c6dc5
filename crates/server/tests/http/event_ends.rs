//! What ends a stream of events, or leaves something out of it: a key that expires, a log that was shortened or restored,
//! an event that cannot be read.

use crate::event_reader::{Frame, Reader, SOON};
use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_core::apikey::Role;
use tenancy_core::ids::CorrelationId;
use tenancy_server::tenancy::RequestContext;

on_both!(
    must_end_the_streams_of_a_key_that_expires,
    must_refuse_a_cursor_of_access_behind_which_events_have_expired,
    must_end_the_streams_of_a_database_that_is_restored_and_refuse_the_cursors_of_what_is_lost,
);

const EVENTS: &str = "/v1/events?after=end";
const ACCESS: &str = "/v1/access/events";

/// Creates a key, and returns its token.
async fn key(house: &House, more: Value) -> String {
    let mut key = json!({"name": format!("key {}", house.next())});
    key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    house.post("/v1/keys", key).await.ok(201).body["token"].as_str().expect("a token").to_owned()
}

async fn registered(house: &House, id: &str, organization: &str) {
    let manifest = json!({"tenant_id": id, "organization_id": organization, "region": "eu-west-1"});
    house.post("/v1/tenants", manifest).await.ok(201);
}

async fn rename(house: &House, tenant: &str, name: &str) {
    let path = format!("/v1/tenants/{tenant}");
    house.send("PATCH", &path, &[("if-match", "*")], json!({"display_name": name})).await.ok(200);
}

/// Reads to the end of a stream, and returns the event that says why.
async fn end(reader: &mut Reader) -> Frame {
    loop {
        let frame = reader.next_of_interest().await.expect("the end");
        if frame.event == "end" {
            assert!(reader.next().await.is_none(), "nothing comes behind the end");
            return frame;
        }
    }
}

/// Reads up to where a stream of access is complete, and returns its cursor.
async fn caught_up(reader: &mut Reader) -> String {
    loop {
        let frame = reader.next().await.expect("a stream");
        if frame.event == "caught-up" {
            return frame.id.expect("a cursor");
        }
    }
}

async fn must_end_the_streams_of_a_key_that_expires(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let store = &house.server.tenancy.store;
    let expires_at = house.server.tenancy.now() + jiff::SignedDuration::from_hours(1);
    let viewer = key(&house, json!({"role": "viewer", "scope": "organization:acme", "expires_at": expires_at})).await;
    let gateway = key(&house, json!({"role": "gateway", "expires_at": expires_at})).await;
    let mut events = Reader::open_at(&house, &viewer, EVENTS, None).await;
    let mut access = Reader::open_at(&house, &gateway, ACCESS, None).await;
    let mut other = Reader::open(&house, "after=end", None).await;
    let cursor = events.next().await.expect("where it begins").id.expect("a cursor");
    caught_up(&mut access).await;
    let before = house.server.tenancy.feed.followers();
    let waiting = tokio::spawn({
        let (house, bearer) = (Arc::clone(&house), format!("Bearer {viewer}"));
        let path = format!("/v1/events?wait=60&after={cursor}");
        async move { house.send_as_it_is("GET", &path, &[("authorization", bearer.as_str())], ()).await }
    });
    while house.server.tenancy.feed.followers() == before {
        tokio::task::yield_now().await;
    }
    store.shift_clock(Duration::from_secs(3601));
    let begun = Instant::now();
    for reader in [&mut events, &mut access] {
        let end = end(reader).await;
        assert_eq!(end.data["reason"], "key_revoked");
        assert!(end.data["next"].is_string());
    }
    let refused = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("no panic").ok(401);
    assert_eq!(refused.code(), "unauthenticated");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    registered(&house, "acme-us", "acme").await;
    while other.next_of_interest().await.expect("it goes on").data["tenant_id"] != "acme-us" {}
}

/// Asks for a stream with a cursor that is no longer valid.
async fn refused(house: &House, path: &str, cursor: &str) -> Value {
    let token = format!("Bearer {}", house.token(Role::Admin));
    let headers = [("authorization", token.as_str()), ("accept", "text/event-stream"), ("last-event-id", cursor)];
    let gone = house.send_as_it_is("GET", path, &headers, ()).await.ok(410);
    assert_eq!(gone.code(), "cursor_expired");
    gone.body
}

async fn must_refuse_a_cursor_of_access_behind_which_events_have_expired(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let open = async || Reader::open_at(&house, house.token(Role::Gateway), ACCESS, None).await;
    let old = caught_up(&mut open().await).await;
    registered(&house, "acme-us", "acme").await;
    let soon = house.server.tenancy.now() + jiff::SignedDuration::from_hours(1);
    house.server.tenancy.store.raise_log_floor(soon).await.expect("raised");
    let oldest = refused(&house, ACCESS, &old).await["oldest"].as_str().expect("a cursor").to_owned();
    // Without it, everything is there, and what follows has a cursor that is valid.
    let mut reader = open().await;
    let mut tenants = Vec::new();
    let new = loop {
        let frame = reader.next().await.expect("a stream");
        match frame.event.as_str() {
            "tenant" => tenants.push(frame.data["tenant_id"].as_str().expect("an id").to_owned()),
            _ => break frame.id.expect("a cursor"),
        }
    };
    assert_eq!(tenants, ["acme-eu", "acme-us"]);
    for cursor in [oldest, new] {
        caught_up(&mut Reader::open_at(&house, house.token(Role::Gateway), ACCESS, Some(&cursor)).await).await;
    }
}

async fn must_end_the_streams_of_a_database_that_is_restored_and_refuse_the_cursors_of_what_is_lost(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut events = Reader::open(&house, "after=end", None).await;
    let mut access = Reader::open_at(&house, house.token(Role::Gateway), ACCESS, None).await;
    let early = events.next().await.expect("where it begins");
    caught_up(&mut access).await;
    // As if this were the state of the backup, and a hundred events had come after it.
    let lost: String = format!("log:1:{}", early.position() + 100).bytes().map(|byte| format!("{byte:02x}")).collect();
    let request = RequestContext::by_part("test", CorrelationId::known("c-restore"));
    house.server.tenancy.after_restore(&[], &request).await.expect("restored");
    for reader in [&mut events, &mut access] {
        assert_eq!(end(reader).await.data["reason"], "cursor_expired");
    }
    for path in ["/v1/events", ACCESS] {
        let detail = refused(&house, path, &lost).await["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains("restored"), "{detail}");
    }
    // What the backup contains is still there.
    let mut again = Reader::open(&house, "", early.id.as_deref()).await;
    assert_eq!(again.through(early.position() + 1).await[0].event, "AUDIT_LOG_RESTORED");
}

/// Other programs cannot break a row that is there, since the log refuses changes: a trigger breaks it when it is written.
const BREAK: [&str; 2] = [
    "CREATE FUNCTION break_event() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN NEW.event_type := 'TENANCY_HIBERNATED'; RETURN NEW; END $$",
    "CREATE TRIGGER break_event BEFORE INSERT ON tenant_audit FOR EACH ROW WHEN (NEW.event_type = 'TENANCY_UPDATED') \
     EXECUTE FUNCTION break_event()",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_tell_whoever_may_read_an_event_that_it_cannot_be_read() {
    let house = Arc::new(House::new(On::Postgres).await);
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    registered(&house, "globex-eu", "globex").await;
    BREAK.iter().for_each(|sql| house.postgres.as_ref().expect("PostgreSQL").execute(sql));
    let mut readers = Vec::new();
    for (scope, is_told) in
        [("all", true), ("organization:acme", true), ("tenant:acme-eu", true), ("organization:globex", false)]
    {
        let token = key(&house, json!({"role": "viewer", "scope": scope})).await;
        let mut reader = Reader::open_at(&house, &token, EVENTS, None).await;
        reader.next().await.expect("where it begins");
        readers.push((scope, is_told, token, reader));
    }
    let gateway = key(&house, json!({"role": "gateway", "scope": "organization:acme"})).await;
    let mut access = Reader::open_at(&house, &gateway, ACCESS, None).await;
    let cursor = caught_up(&mut access).await;
    let before = house.server.tenancy.feed.followers();
    let waiting = tokio::spawn({
        let (house, bearer) = (Arc::clone(&house), format!("Bearer {}", readers[1].2));
        let path = format!("/v1/events?wait=60&after={cursor}");
        async move { house.send_as_it_is("GET", &path, &[("authorization", bearer.as_str())], ()).await }
    });
    while house.server.tenancy.feed.followers() == before {
        tokio::task::yield_now().await;
    }
    rename(&house, "acme-eu", "Renamed").await;
    let page = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("no panic").ok(200).body;
    assert_eq!(page["unreadable"][0]["place"], "tenant_audit.event_type", "{page:#}");
    // An event that each of them gets.
    for tenant in ["acme-eu", "globex-eu"] {
        let hold = json!({"hold": "billing"});
        house.post(&format!("/v1/tenants/{tenant}/suspend"), hold).await.ok(202);
    }
    for (scope, is_told, token, reader) in &mut readers {
        let mut told = Vec::new();
        loop {
            let frame = reader.next_of_interest().await.expect("a stream");
            match frame.event.as_str() {
                "unreadable" => told.push(frame.data),
                "TENANCY_HOLD_PLACED" => break,
                _ => {}
            }
        }
        let expected = if *is_told { page["unreadable"].clone() } else { json!([]) };
        assert_eq!(json!(told), expected, "{scope}");
        // Of the log, the same.
        let bearer = format!("Bearer {token}");
        let path = format!("/v1/events?after={cursor}");
        let read = house.send_as_it_is("GET", &path, &[("authorization", bearer.as_str())], ()).await.ok(200).body;
        assert_eq!(read.get("unreadable").cloned().unwrap_or(json!([])), expected, "{scope}");
    }
    // Access is read from the tenant, whatever its event says.
    let version = house.get("/v1/tenants/acme-eu").await.ok(200).body["version"].clone();
    let frame = access.next_of_interest().await.expect("a stream");
    assert_eq!((&frame.data["tenant_id"], &frame.data["version"]), (&json!("acme-eu"), &version));
}
