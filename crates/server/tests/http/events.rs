//! The event feed, `/v1/events`.

use crate::event_reader::{Frame, Reader, SOON};
use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tenancy_core::apikey::Role;
use tenancy_server::feed::Ended;

on_both!(
    must_send_what_the_log_contains_in_its_order,
    must_continue_after_each_cursor,
    must_send_what_happens_while_a_client_listens,
    must_send_only_what_the_filter_selects,
    must_refuse_what_it_cannot_follow,
    must_answer_a_page_as_soon_as_something_happens,
    must_send_a_snapshot_that_misses_nothing_that_is_written_meanwhile,
    must_refuse_a_cursor_behind_which_events_have_expired,
    must_end_the_stream_of_a_key_that_is_revoked,
    must_end_streams_when_the_server_stops,
    must_send_a_scoped_key_what_it_may_read_in_the_log,
    must_end_a_follower_that_falls_out_of_memory,
    must_follow_with_less_memory_than_one_batch,
    must_say_how_far_it_is_while_nothing_matches,
);

async fn registered(house: &House, id: &str) {
    let manifest = json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1"});
    house.post("/v1/tenants", manifest).await.ok(201);
}

async fn newest(house: &House) -> i64 {
    house.server.tenancy.feed.newest().await.expect("the end of the log").newest
}

fn bodies(frames: &[Frame]) -> Vec<Value> {
    frames.iter().map(|frame| frame.data.clone()).collect()
}

async fn must_send_what_the_log_contains_in_its_order(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut reader = Reader::open(&house, "", None).await;
    assert_eq!(reader.headers["content-type"], "text/event-stream");
    assert_eq!(reader.headers["cache-control"], "no-store");
    assert!(!reader.headers.contains_key("content-encoding"));
    let first = reader.next().await.expect("a position");
    assert_eq!((first.event.as_str(), first.position()), ("position", 0));
    let frames = reader.through(newest(&house).await).await;
    let log = house.events("").await;
    assert_eq!(bodies(&frames), log);
    assert!(log.len() > 5, "{log:?}");
    for frame in &frames {
        assert_eq!(frame.event, frame.data["event_type"].as_str().expect("a type"));
    }
}

async fn must_continue_after_each_cursor(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let last = newest(&house).await;
    let all = Reader::open(&house, "", None).await.through(last).await;
    for (index, frame) in all.iter().enumerate() {
        let id = frame.id.as_deref().expect("a cursor");
        let rest = &all[index + 1..];
        if rest.is_empty() {
            continue;
        }
        assert_eq!(bodies(&Reader::open(&house, "", Some(id)).await.through(last).await), bodies(rest));
        // The header takes the place of the parameter.
        let both = Reader::open(&house, "after=end", Some(id)).await.through(last).await;
        assert_eq!(bodies(&both), bodies(rest));
        // The cursors are those of pages, and of the log.
        for path in ["/v1/events", "/v1/audit"] {
            let page = house.get(&format!("{path}?after={id}&limit=500")).await.ok(200);
            assert_eq!(page.body["items"], json!(bodies(rest)), "{path}");
        }
    }
    let mut after = String::new();
    let mut paged = Vec::new();
    loop {
        let page = house.get(&format!("/v1/events?limit=2{after}")).await.ok(200).body;
        let items = page["items"].as_array().expect("items").clone();
        after = format!("&after={}", page["next"].as_str().expect("always a cursor"));
        if items.is_empty() {
            break;
        }
        paged.extend(items);
    }
    assert_eq!(paged, bodies(&all));
}

async fn must_send_what_happens_while_a_client_listens(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = Reader::open(&house, "after=end", None).await;
        assert_eq!(reader.next().await.expect("where it begins").position(), newest(&house).await);
        readers.push(reader);
    }
    for number in 0..5 {
        registered(&house, &format!("new-{number}")).await;
        let last = newest(&house).await;
        let expected = house.events("").await;
        let expected = expected.iter().rev().take_while(|event| event["tenant_id"] == format!("new-{number}")).count();
        for reader in &mut readers {
            let frames = reader.through(last).await;
            assert_eq!(frames.len(), expected);
            assert!(frames.iter().all(|frame| frame.data["tenant_id"] == format!("new-{number}")));
        }
    }
    assert_eq!(house.server.event_seats.taken(), 3);
    drop(readers);
    assert_eq!(house.server.event_seats.taken(), 0);
    assert_eq!(house.server.tenancy.feed.followers(), 0);
}

async fn must_send_only_what_the_filter_selects(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    let manifest = json!({"tenant_id": "globex-eu", "organization_id": "globex", "region": "eu-west-1"});
    house.post("/v1/tenants", manifest).await.ok(201);
    let all = house.events("").await;
    let is = |event: &Value, name: &str, value: &str| event[name] == value;
    type Wanted = Box<dyn Fn(&Value) -> bool>;
    let cases: Vec<(&str, Wanted)> = vec![
        ("event_type=TENANCY_*", Box::new(|event| event["event_type"].as_str().unwrap().starts_with("TENANCY_"))),
        (
            "event_type=ORG*,TENANCY_CREATED",
            Box::new(|event| {
                let event_type = event["event_type"].as_str().unwrap();
                event_type.starts_with("ORG") || event_type == "TENANCY_CREATED"
            }),
        ),
        ("tenant_id=acme-eu", Box::new(move |event| is(event, "tenant_id", "acme-eu"))),
        ("tenant_id=stripe:cus_9s6", Box::new(move |event| is(event, "tenant_id", "acme-eu"))),
        ("organization_id=globex", Box::new(move |event| is(event, "tenant_id", "globex-eu"))),
        ("organization_id=none", Box::new(|_| false)),
        ("actor=system:jobs", Box::new(move |event| is(event, "actor", "system:jobs"))),
    ];
    let last = newest(&house).await;
    for (query, is_wanted) in &cases {
        let expected: Vec<_> = all.iter().filter(|event| is_wanted(event)).cloned().collect();
        let page = house.get(&format!("/v1/events?limit=500&{query}")).await.ok(200);
        assert_eq!(page.body["items"], json!(expected), "{query}");
        let frames = Reader::open(&house, query, None).await.through(last).await;
        assert_eq!(bodies(&frames), expected, "{query}");
    }
    // The same filters while things happen.
    let mut readers = Vec::new();
    for (query, _) in &cases {
        let mut reader = Reader::open(&house, &format!("after=end&{query}"), None).await;
        reader.next().await.expect("where it begins");
        readers.push(reader);
    }
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    registered(&house, "acme-us").await;
    let behind = newest(&house).await;
    let fresh: Vec<_> = house.events("").await.into_iter().filter(|e| e["position"].as_i64() > Some(last)).collect();
    for ((query, is_wanted), mut reader) in cases.iter().zip(readers) {
        let expected: Vec<_> = fresh.iter().filter(|event| is_wanted(event)).cloned().collect();
        assert_eq!(bodies(&reader.through(behind).await), expected, "{query}");
    }
}

async fn must_refuse_what_it_cannot_follow(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let token = format!("Bearer {}", house.token(Role::Admin));
    let stream = [("authorization", token.as_str()), ("accept", "text/event-stream")];
    for (query, status, says) in [
        ("event_type=TENANCY_CREATE", 400, "did you mean \"TENANCY_CREATED\""),
        ("event_type=X*", 400, "event_type"),
        ("after=nonsense", 400, "not a cursor"),
        ("tenant_id=nobody", 404, "nobody"),
        ("typ=X", 400, "unknown query parameter"),
        ("wait=61", 400, "from 0 to 60"),
    ] {
        let answered = house.get(&format!("/v1/events?{query}")).await.ok(status);
        assert!(answered.body["detail"].as_str().expect("a detail").contains(says), "{query}: {}", answered.body);
        let answered = house.send_as_it_is("GET", &format!("/v1/events?{query}"), &stream, ()).await.ok(status);
        assert_eq!(answered.header("content-type"), "application/problem+json");
    }
    house.get("/v1/events?snapshot=true").await.ok(400);
    for query in ["snapshot=true&after=end", "wait=1", "limit=1"] {
        house.send_as_it_is("GET", &format!("/v1/events?{query}"), &stream, ()).await.ok(400);
    }
    // A position that the log does not have: the database was restored to an earlier time.
    let lost: String = "log:1:99999".bytes().map(|byte| format!("{byte:02x}")).collect();
    let gone = house.get(&format!("/v1/events?after={lost}")).await.ok(410);
    assert_eq!(gone.code(), "cursor_expired");
    assert!(gone.body["detail"].as_str().expect("a detail").contains("restored"), "{}", gone.body);
    house.get(&format!("/v1/events?after={}", gone.body["oldest"].as_str().expect("a cursor"))).await.ok(200);
}

async fn must_answer_a_page_as_soon_as_something_happens(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let next = house.get("/v1/events?after=end").await.ok(200).body["next"].as_str().expect("a cursor").to_owned();
    let waiting = tokio::spawn({
        let (house, path) = (Arc::clone(&house), format!("/v1/events?event_type=TENANCY_REG*&wait=60&after={next}"));
        async move { house.get(&path).await }
    });
    while house.server.tenancy.feed.followers() == 0 {
        tokio::task::yield_now().await;
    }
    // This one does not match; the next one does.
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    registered(&house, "acme-us").await;
    let answered = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("no panic").ok(200);
    assert_eq!(answered.body["items"][0]["tenant_id"], "acme-us");
    assert_eq!(answered.body["items"].as_array().expect("items").len(), 1);
    // What the cursor of a page without a match has passed is not read again.
    let idle = house.get(&format!("/v1/events?event_type=KEY_*&wait=0&after={next}")).await.ok(200).body;
    let after = idle["next"].as_str().expect("a cursor").to_owned();
    assert_eq!(house.get(&format!("/v1/events?after={after}")).await.ok(200).body["items"], json!([]));
    // A stop answers a request that waits.
    let waiting = tokio::spawn({
        let (house, path) = (Arc::clone(&house), format!("/v1/events?wait=60&after={after}"));
        async move { house.get(&path).await }
    });
    while house.server.tenancy.feed.followers() == 0 {
        tokio::task::yield_now().await;
    }
    house.server.stop.cancel();
    let answered = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("no panic").ok(200);
    assert_eq!((&answered.body["items"], &answered.body["next"]), (&json!([]), &json!(after)));
}

async fn must_send_a_snapshot_that_misses_nothing_that_is_written_meanwhile(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let writer = tokio::spawn({
        let house = Arc::clone(&house);
        async move {
            for number in 0..60 {
                registered(&house, &format!("{}-{number}", ["aa", "mm", "zz"][number % 3])).await;
            }
        }
    });
    for _ in 0..3 {
        let mut reader = Reader::open(&house, "snapshot=true", None).await;
        let (mut known, mut start) = (BTreeSet::new(), None);
        while let Some(frame) = reader.next().await {
            match frame.event.as_str() {
                "tenant" => {
                    assert_eq!(frame.id, None, "a snapshot that is cut off must begin again");
                    assert!(known.insert(frame.data["tenant_id"].as_str().expect("an id").to_owned()), "twice");
                }
                "snapshot-end" => {
                    assert!(frame.id.is_some());
                    start = Some(frame.position());
                    break;
                }
                other => panic!("{other} inside a snapshot"),
            }
        }
        let start = start.expect("an end of the snapshot");
        let last = newest(&house).await;
        let registrations = |frames: &[Frame]| {
            let of = frames.iter().filter(|frame| frame.event == "TENANCY_REGISTERED");
            of.map(|frame| frame.data["tenant_id"].as_str().expect("an id").to_owned()).collect::<BTreeSet<_>>()
        };
        let before = registrations(&Reader::open(&house, "", None).await.through(start).await);
        let all = registrations(&Reader::open(&house, "", None).await.through(last).await);
        if last > start {
            known.extend(registrations(&reader.through(last).await));
        }
        assert!(before.is_subset(&known), "what is before the tail is in the snapshot");
        assert!(all.is_subset(&known), "{all:?} {known:?}");
    }
    writer.await.expect("written");
    // A snapshot of what one tenant's events are about, and of what a customer may see.
    let made = json!({"name": "theirs", "role": "viewer", "scope": "tenant:acme-eu"});
    let key = house.post("/v1/keys", made).await.ok(201).body["token"].as_str().expect("a token").to_owned();
    for (token, query) in [(house.token(Role::Admin), "&tenant_id=acme-eu"), (key.as_str(), "")] {
        let mut reader = Reader::open_with(&house, token, &format!("snapshot=true{query}"), None).await;
        let row = reader.next().await.expect("a tenant");
        assert_eq!((row.event.as_str(), &row.data["tenant_id"]), ("tenant", &json!("acme-eu")));
        assert_eq!(reader.next().await.expect("its end").event, "snapshot-end");
    }
}

async fn must_refuse_a_cursor_behind_which_events_have_expired(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let frames = Reader::open(&house, "", None).await.through(newest(&house).await).await;
    let old = frames[1].id.clone().expect("a cursor");
    let store = &house.server.tenancy.store;
    let soon = house.server.tenancy.now() + jiff::SignedDuration::from_hours(1);
    store.raise_log_floor(soon).await.expect("raised");
    let gone = house.get(&format!("/v1/events?after={old}")).await.ok(410);
    assert_eq!(gone.code(), "cursor_expired");
    let oldest = gone.body["oldest"].as_str().expect("a cursor").to_owned();
    assert!(gone.body["detail"].as_str().expect("a detail").contains(&oldest));
    let token = format!("Bearer {}", house.token(Role::Admin));
    let headers = [("authorization", token.as_str()), ("accept", "text/event-stream"), ("last-event-id", old.as_str())];
    house.send_as_it_is("GET", "/v1/events", &headers, ()).await.ok(410);
    house.get(&format!("/v1/events?after={oldest}")).await.ok(200);
    house.get("/v1/events").await.ok(200);
    let mut reader = Reader::open(&house, "", Some(&oldest)).await;
    assert_eq!(reader.next().await.expect("where it begins").event, "position");
}

async fn must_end_the_stream_of_a_key_that_is_revoked(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let made = house.post("/v1/keys", json!({"name": "brief", "role": "viewer"})).await.ok(201).body;
    let (token, id) = (made["token"].as_str().expect("a token"), made["key_id"].as_str().expect("an id"));
    let mut reader = Reader::open_with(&house, token, "after=end", None).await;
    let mut other = Reader::open(&house, "after=end", None).await;
    other.next().await.expect("where it begins");
    reader.next().await.expect("where it begins");
    house.send("DELETE", &format!("/v1/keys/{id}"), &[("if-match", "*")], ()).await.ok(200);
    let end = loop {
        let frame = reader.next_of_interest().await.expect("the end");
        if frame.event == "end" {
            break frame;
        }
    };
    assert_eq!(end.data["reason"], "key_revoked");
    assert!(reader.next().await.is_none(), "nothing comes behind the end");
    registered(&house, "acme-us").await;
    while other.next_of_interest().await.expect("it goes on").data["tenant_id"] != "acme-us" {}
}

async fn must_end_streams_when_the_server_stops(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut reader = Reader::open(&house, "after=end", None).await;
    let cursor = reader.next().await.expect("where it begins").id;
    house.server.stop.cancel();
    let end = reader.next().await.expect("the end");
    assert_eq!(end.data, json!({"reason": "stopping", "next": cursor}));
    assert!(reader.next().await.is_none());
}

async fn must_send_a_scoped_key_what_it_may_read_in_the_log(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for organization in ["globex", "acme"] {
        if organization == "globex" {
            house.post("/v1/organizations", json!({"organization_id": organization})).await.ok(201);
        }
        let manifest = json!({
            "tenant_id": format!("{organization}-us"), "organization_id": organization, "region": "us-east-1",
            "billing": {"plan": "plan-marker"}, "labels": {"internal/risk": "risk-marker"},
        });
        house.post("/v1/tenants", manifest).await.ok(201);
    }
    for (role, scope) in [
        ("viewer", "organization:acme"),
        ("customer", "tenant:acme-eu"),
        ("admin", "organization:globex"),
        ("auditor", "all"),
        ("viewer", "all"),
    ] {
        let made = json!({"name": format!("{role} {scope}"), "role": role, "scope": scope});
        let token = house.post("/v1/keys", made).await.ok(201).body["token"].as_str().expect("a token").to_owned();
        let bearer = format!("Bearer {token}");
        let audit = async |after: &str| {
            let path = format!("/v1/audit?limit=500{after}");
            let page = house.send_as_it_is("GET", &path, &[("authorization", bearer.as_str())], ()).await.ok(200);
            page.body["items"].as_array().expect("items").clone()
        };
        let last = newest(&house).await;
        let mut reader = Reader::open_with(&house, &token, "", None).await;
        let stored = bodies(&reader.through(last).await);
        assert_eq!(stored, audit("").await, "{role} {scope}: of the log");
        assert!(!stored.is_empty());
        // The same of what happens now: from memory, and rendered for several kinds of callers.
        let mut live = Reader::open_with(&house, &token, "after=end", None).await;
        let start = live.next().await.expect("where it begins").id.expect("a cursor");
        for tenant in ["acme-us", "globex-us"] {
            let moved = json!({"billing": {"plan": format!("{role}-plan-marker")}, "labels": {"tier": role}});
            let path = format!("/v1/tenants/{tenant}");
            house.send("PATCH", &path, &[("if-match", "*")], moved).await.ok(200);
        }
        house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing", "reason": "a secret"})).await.ok(202);
        house.work().await;
        house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
        house.work().await;
        let sent = bodies(&live.through(newest(&house).await).await);
        assert_eq!(sent, audit(&format!("&after={start}")).await, "{role} {scope}: from memory");
        if scope != "all" {
            assert!(!json!(sent).to_string().contains("plan-marker"), "{role} {scope}");
        }
    }
}

async fn must_end_a_follower_that_falls_out_of_memory(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let feed = &house.server.tenancy.feed;
    feed.set_max_buffer_bytes(0);
    let start = newest(&house).await;
    let (mut slow, mut quick) = (feed.follow(start), feed.follow(start));
    registered(&house, "first").await;
    let first = slow.next().await.expect("the next events");
    let mut read = quick.next().await.expect("the next events").last;
    assert!(first.last > start);
    for number in 0..3 {
        registered(&house, &format!("more-{number}")).await;
        while read < newest(&house).await {
            read = quick.next().await.expect("it keeps up").last;
        }
    }
    let at = slow.position();
    let ended = loop {
        match slow.next().await {
            Ok(batch) => assert!(batch.last <= read),
            Err(ended) => break ended,
        }
    };
    assert_eq!(ended, Ended::TooSlow);
    // It continues where it was, as a new follower that reads the log.
    let mut again = feed.follow(at);
    let mut positions = Vec::new();
    while again.position() < read {
        positions.extend(again.next().await.expect("from the log").events.iter().map(|event| event.logged.position));
    }
    assert_eq!(positions, (at + 1..=read).collect::<Vec<_>>());
}

async fn must_follow_with_less_memory_than_one_batch(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.server.tenancy.feed.set_max_buffer_bytes(0);
    let mut reader = Reader::open(&house, "", None).await;
    for number in 0..10 {
        registered(&house, &format!("t-{number}")).await;
    }
    let last = newest(&house).await;
    let positions: Vec<_> = reader.through(last).await.iter().map(Frame::position).collect();
    assert_eq!(positions, (1..=last).collect::<Vec<_>>());
}

async fn must_say_how_far_it_is_while_nothing_matches(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut reader = Reader::open(&house, "event_type=KEY_REVOKED&after=end", None).await;
    reader.next().await.expect("where it begins");
    registered(&house, "acme-us").await;
    let last = newest(&house).await;
    let frame = reader.next().await.expect("a position");
    assert_eq!((frame.event.as_str(), frame.position()), ("position", last));
    // From there on, nothing is missing.
    registered(&house, "acme-ca").await;
    let mut from_there = Reader::open(&house, "", frame.id.as_deref()).await;
    let frames = from_there.through(newest(&house).await).await;
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame.data["tenant_id"] == "acme-ca"), "{frames:?}");
}
