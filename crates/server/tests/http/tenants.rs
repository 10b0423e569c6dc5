//! Tenants: registered, read, edited and sent back, listed.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::json;
use std::sync::Arc;

on_both!(
    what_is_read_must_be_taken_back_when_it_is_edited,
    an_alias_must_lead_to_its_tenant,
    put_must_make_only_where_it_is_said_that_nothing_is_there,
    what_is_sent_as_it_is_must_change_nothing,
    what_looks_like_a_slip_must_be_said_by_each_write,
    a_version_that_is_none_must_be_refused_as_what_it_is,
    what_may_destroy_data_must_be_allowed_by_name,
    of_many_writers_on_one_version_exactly_one_must_win,
    many_writers_on_whatever_is_there_must_all_win,
    a_list_must_be_read_page_by_page_and_by_what_is_asked_for,
    versions_must_be_kept_and_be_put_back,
    caps_must_be_exact,
);

async fn what_is_read_must_be_taken_back_when_it_is_edited(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let read = house.get("/v1/tenants/acme-eu").await.ok(200);
    let mut document = read.body.clone();
    document["quotas"]["storageGiB"] = json!(600);
    let changed =
        house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", read.header("etag"))], &document).await.ok(200);
    assert_eq!(changed.body["quotas"]["storageGiB"], 600);
    assert_eq!((&changed.body["version"], &changed.body["state"]), (&json!(2), &json!("Active")));

    // The `version` in the body is also a precondition. This document was read before the change.
    let stale = house.send("PUT", "/v1/tenants/acme-eu", &[], &document).await;
    assert_eq!((stale.status.as_u16(), &stale.body["current_version"]), (412, &json!(2)));

    let mut edited = house.get("/v1/tenants/acme-eu").await.body;
    edited["state"] = json!("Suspended");
    let refused = house.send("PUT", "/v1/tenants/acme-eu", &[], &edited).await.ok(422);
    assert_eq!(
        (&refused.body["errors"][0]["code"], &refused.body["errors"][0]["pointer"]),
        (&json!("read_only"), &json!("/state"))
    );
}

async fn an_alias_must_lead_to_its_tenant(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    assert_eq!(house.get("/v1/tenants/stripe:cus_9s6").await.ok(200).body["tenant_id"], "acme-eu");
    assert_eq!(house.get("/v1/tenants/stripe:cus_none").await.ok(404).code(), "not_found");
    let sites = json!({"aliases": {"site": ["a.example/x", "b.example?y#z", "100%"]}});
    house.send("PATCH", "/v1/tenants/stripe%3Acus_9s6", &[("if-match", "*")], sites).await.ok(200);
    for name in ["site:a.example%2Fx", "site%3Aa.example%2fx", "site:b.example%3Fy%23z", "site:100%25"] {
        assert_eq!(house.get(&format!("/v1/tenants/{name}")).await.ok(200).body["tenant_id"], "acme-eu", "{name}");
        house.get(&format!("/v1/tenants/{name}/environments/dev")).await.ok(200);
    }
    house.get("/v1/tenants/site:a.example/x").await.ok(404);
    let other = json!({"tenant_id": "other", "organization_id": "acme", "region": "eu-west-1", "aliases": {"stripe": "cus_9s6"}});
    assert_eq!(house.post("/v1/tenants", other).await.ok(409).code(), "alias_taken");
}

async fn put_must_make_only_where_it_is_said_that_nothing_is_there(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let manifest = acme_eu();
    house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", "*")], &manifest).await.ok(404);
    let made = house.send("PUT", "/v1/tenants/acme-eu", &[("if-none-match", "*")], &manifest).await.ok(201);
    assert_eq!((made.header("etag"), made.header("location")), ("\"1.1\"", "/v1/tenants/acme-eu"));
    let there = house.send("PUT", "/v1/tenants/acme-eu", &[("if-none-match", "*")], &manifest).await;
    assert_eq!(there.status.as_u16(), 412, "{:#}", there.body);
    let other = house.send("PUT", "/v1/tenants/acme-us", &[("if-none-match", "*")], &manifest).await.ok(422);
    assert_eq!(other.body["errors"][0]["pointer"], "/tenant_id");
}

async fn what_is_sent_as_it_is_must_change_nothing(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let before = house.get("/v1/tenants/acme-eu").await;
    let same = house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", "*")], acme_eu()).await.ok(200);
    assert_eq!(same.body, before.body);
    let same = house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"region": "eu-west-1"})).await;
    assert_eq!((same.status.as_u16(), same.header("etag")), (200, before.header("etag")));
}

async fn what_looks_like_a_slip_must_be_said_by_each_write(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let (any, none) = ([("if-match", "*")], [("if-none-match", "*")]);
    let tenant = |id: &str| {
        let quotas = json!({"seats": 1});
        json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "quotas": quotas})
    };
    for (method, path, headers, body) in [
        ("POST", "/v1/tenants", &[][..], tenant("t-1")),
        ("PUT", "/v1/tenants/t-2", &none, tenant("t-2")),
        ("PATCH", "/v1/tenants/t-2", &any, json!({"display_name": "T"})),
        ("PATCH", "/v1/tenants/t-2", &any, json!({"display_name": "T"})),
        ("PUT", "/v1/tenants/t-1/environments/dev", &none, json!({"quotas": {"seats": 1}, "retention_days": 3})),
        ("PATCH", "/v1/tenants/t-1/environments/dev", &any, json!({"retention_days": 4})),
    ] {
        let written = house.send(method, path, headers, body).await;
        assert!(written.status.is_success(), "{method} {path}: {:#}", written.body);
        let warnings = written.body["warnings"].as_array().expect("warnings");
        let (found, place) = (&warnings[0]["pointer"], &json!("/quotas/seats"));
        assert_eq!((warnings.len(), found), (1, place), "{method} {path}");
        if method != "POST" {
            // The answer can be edited and sent back.
            house.send("PUT", path, &any, &written.body).await.ok(200);
        }
    }
    let clean = house.send("PATCH", "/v1/tenants/t-2?allow=remove-quota", &any, json!({"quotas": null})).await.ok(200);
    assert_eq!(clean.body.get("warnings"), None);
}

async fn a_version_that_is_none_must_be_refused_as_what_it_is(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for path in ["/v1/organizations/acme", "/v1/tenants/acme-eu", "/v1/tenants/acme-eu/environments/dev"] {
        let refused = house.send("PATCH", path, &[], json!({"version": "1", "regiom": "x"})).await.ok(422);
        let errors = refused.body["errors"].as_array().expect("all");
        let pointers: Vec<_> = errors.iter().map(|error| &error["pointer"]).collect();
        assert_eq!(json!(pointers), json!(["/version", "/regiom"]), "{path}");
        assert_eq!(errors[0]["code"], "wrong_type");
        house.send("PATCH", path, &[], json!({"version": null})).await.ok(428);
    }
}

/// Places of what a list of environments changes that leaves their other fields out.
const MOVED: [&str; 4] = [
    "/environments/1/isolation_level",
    "/environments/1/quotas/storageGiB",
    "/environments/0/region",
    "/environments/0/quotas/storageGiB",
];

async fn what_may_destroy_data_must_be_allowed_by_name(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let patch = json!({"environments": [{"name": "prod"}], "policies": {"retentionDays": 30}});
    let refused = house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], &patch).await.ok(409);
    assert_eq!(refused.code(), "not_allowed_by_name");
    let kinds: Vec<_> =
        refused.body["errors"].as_array().expect("all").iter().map(|gate| gate["allow"].clone()).collect();
    assert_eq!(kinds, ["less-retention", "remove-environment", "remove-quota"]);
    let moved = json!({"environments": [{"name": "prod", "region": "eu-north-1"}, {"name": "dev"}]});
    let refused = house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], &moved).await.ok(409);
    let pointers: Vec<_> =
        refused.body["errors"].as_array().expect("all").iter().map(|gate| &gate["pointer"]).collect();
    assert_eq!(json!(pointers), json!(MOVED));
    let misspelt = "/v1/tenants/acme-eu?allow=less-retention,remove-environmnt";
    let refused = house.send("PATCH", misspelt, &[("if-match", "*")], &patch).await.ok(400);
    assert!(
        refused.body["detail"].as_str().is_some_and(|text| text.contains("\"remove-environment\"")),
        "{:#}",
        refused.body
    );
    let path = "/v1/tenants/acme-eu?allow=less-retention,remove-quota&allow=remove-environment";
    house.send("PATCH", path, &[("if-match", "*")], &patch).await.ok(200);
}

async fn of_many_writers_on_one_version_exactly_one_must_win(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let writers = (0..32).map(|n| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let patch = json!({"labels": {"writer": n.to_string()}});
            house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "\"1\"")], patch).await.status.as_u16()
        })
    });
    let mut answers = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        answers.push(writer.await.expect("an answer"));
    }
    answers.sort_unstable();
    assert_eq!((answers[0], answers[1], answers[31]), (200, 412, 412));
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["version"], 2);
}

async fn many_writers_on_whatever_is_there_must_all_win(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let writer = |n: usize, method, path: &'static str, body| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { (n, house.send(method, path, &[("if-match", "*")], body).await) })
    };
    let patch = |n| writer(n, "PATCH", "/v1/tenants/acme-eu", json!({"labels": {"writer": n.to_string()}}));
    let suspend = |n| writer(n, "POST", "/v1/organizations/acme/suspend", json!({"reason": n.to_string()}));
    for writers in [(0..64).map(patch).collect::<Vec<_>>(), (0..64).map(suspend).collect()] {
        for writer in writers {
            let (n, answered) = writer.await.expect("an answer");
            assert_eq!(answered.status.as_u16(), 200, "{n}: {:#}", answered.body);
        }
    }
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["version"], 65);
    assert_eq!(house.get("/v1/organizations/acme").await.body["counter"], 65);
}

async fn a_list_must_be_read_page_by_page_and_by_what_is_asked_for(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for n in 0..5 {
        let manifest = json!({"tenant_id": format!("t-{n}"), "organization_id": "acme", "region": "us-east-1", "labels": {"n": n.to_string()}});
        house.post("/v1/tenants", manifest).await.ok(201);
    }
    let (mut ids, mut next) = (Vec::new(), String::new());
    loop {
        let after = if next.is_empty() { String::new() } else { format!("&after={next}") };
        let page = house.get(&format!("/v1/tenants?limit=2{after}")).await.ok(200).body;
        ids.extend(
            page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|row| row["tenant_id"].as_str().expect("id").to_owned()),
        );
        match page["next"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids, ["acme-eu", "t-0", "t-1", "t-2", "t-3", "t-4"]);
    let count = async |query: &str| {
        house.get(&format!("/v1/tenants?{query}")).await.ok(200).body["items"].as_array().expect("items").len()
    };
    assert_eq!(count("region=us-east-1").await, 5);
    assert_eq!(count("label=n=3").await, 1);
    assert_eq!(count("state=Active").await, 1);
    assert_eq!(count("q=t-").await, 5);
    assert_eq!(count(&["label=n=3"; 64].join("&")).await, 1);
    let named = json!({"labels": {"n": "a, b "}, "display_name": "Ärzte"});
    house.send("PATCH", "/v1/tenants/t-4", &[("if-match", "*")], named).await.ok(200);
    for (query, found) in
        [("label=n=a,%20b%20", 1), ("label=n=a,%20b", 0), ("label=n=a", 0), ("q=%C3%84RZTE", 1), ("q=%C3%A4rzte", 1)]
    {
        assert_eq!(count(query).await, found, "{query}");
    }
    for bad in [
        "label=%24x=1",
        "label=a%22b=1",
        "label==1",
        "label=n",
        &["label=n=3"; 65].join("&"),
        &"label=n=3&".repeat(1500),
    ] {
        let refused = house.get(&format!("/v1/tenants?{bad}")).await.ok(400);
        assert_eq!(refused.code(), "malformed");
        assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("label")), "{:#}", refused.body);
    }
    assert_eq!(house.get("/v1/tenants?state=active").await.ok(400).code(), "malformed");
    assert_eq!(house.get("/v1/tenants?after=nonsense").await.ok(400).code(), "malformed");
}

async fn versions_must_be_kept_and_be_put_back(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "\"1\"")], json!({"display_name": null})).await.ok(200);
    let first = house.get("/v1/tenants/acme-eu/versions/1").await.ok(200).body;
    assert_eq!(first["manifest"]["display_name"], "Acme Europe");
    let back = house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", "\"2\"")], &first["manifest"]).await.ok(200);
    assert_eq!((&back.body["version"], &back.body["display_name"]), (&json!(3), &json!("Acme Europe")));
    let listed = house.get("/v1/tenants/acme-eu/versions").await.ok(200).body;
    let versions: Vec<_> = listed["items"].as_array().expect("items").iter().map(|v| v["version"].clone()).collect();
    assert_eq!(versions, [3, 2, 1]);
    house.get("/v1/tenants/acme-eu/versions/9").await.ok(404);
    house.get("/v1/tenants/nobody/versions").await.ok(404);
}

async fn caps_must_be_exact(on: On) {
    let house = House::new(on).await;
    house
        .post(
            "/v1/organizations",
            json!({"organization_id": "acme", "caps": {"tenants": 2, "quotas": {"storageGiB": 600}}}),
        )
        .await
        .ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let big = json!({"organization_id": "acme", "region": "eu-west-1", "quotas": {"storageGiB": 101}});
    assert_eq!(house.post("/v1/tenants", big).await.ok(409).code(), "organization_cap_exceeded");
    let usage = house.get("/v1/organizations/acme").await.ok(200).body["usage"].clone();
    assert_eq!(usage, json!({"tenants": 1, "quotas": {"storageGiB": 500}}));
    let nowhere = json!({"organization_id": "nobody", "region": "eu-west-1"});
    assert_eq!(house.post("/v1/tenants", nowhere).await.ok(422).code(), "organization_missing");
}
