//! Environments: changed with their own versions, within their tenant's manifest.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::json;
use std::sync::Arc;

on_both!(
    a_change_of_an_environment_must_move_both_versions,
    writers_of_different_environments_must_not_stand_in_each_others_way,
    what_was_read_before_a_job_must_be_taken_back_when_it_is_edited,
    pointers_must_lead_into_what_was_sent,
    an_environment_must_be_added_and_removed,
    a_decision_on_a_removed_environment_must_not_apply_to_a_later_one_with_its_name,
);

const DEV: &str = "/v1/tenants/acme-eu/environments/dev";

async fn a_change_of_an_environment_must_move_both_versions(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let dev = house.get(DEV).await.ok(200);
    assert!(dev.header("etag").starts_with("\"1.h"), "{}", dev.header("etag"));
    let mut document = dev.body.clone();
    document["retention_days"] = json!(60);
    let changed = house.send("PUT", DEV, &[], &document).await.ok(200);
    assert_eq!(changed.body["version"], 2);
    assert!(changed.header("etag").starts_with("\"2.h"), "{}", changed.header("etag"));
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["version"], &tenant["environments"][0]["version"]), (&json!(2), &json!(2)));
    let by_id = format!("/v1/tenants/acme-eu/environments/{}", dev.body["env_id"].as_str().expect("an id"));
    assert_eq!(house.get(&by_id).await.ok(200).body["retention_days"], 60);
    let versions = house.get(&format!("{DEV}/versions")).await.ok(200).body;
    assert_eq!(versions["items"].as_array().expect("items").len(), 2);
}

async fn writers_of_different_environments_must_not_stand_in_each_others_way(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let write = |name: &'static str, days: i64| {
        let house = Arc::clone(&house);
        let path = format!("/v1/tenants/acme-eu/environments/{name}");
        tokio::spawn(async move {
            let patch = json!({"retention_days": days});
            house.send("PATCH", &format!("{path}?allow=less-retention"), &[("if-match", "\"1\"")], patch).await
        })
    };
    let (dev, prod) = (write("dev", 90), write("prod", 90));
    dev.await.expect("an answer").ok(200);
    prod.await.expect("an answer").ok(200);
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["version"], 3);
}

async fn what_was_read_before_a_job_must_be_taken_back_when_it_is_edited(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let mut document = house.get(DEV).await.ok(200).body;
    house.work().await;
    assert_ne!(house.get(DEV).await.ok(200).body["state"], document["state"]);
    document["retention_days"] = json!(60);
    let changed = house.send("PUT", DEV, &[], &document).await.ok(200).body;
    assert_eq!((&changed["retention_days"], &changed["state"]), (&json!(60), &json!("Active")));

    let mut edited = house.get(DEV).await.ok(200).body;
    edited["state"] = json!("Suspended");
    let refused = house.send("PUT", DEV, &[], &edited).await.ok(422).body;
    assert_eq!(
        (&refused["errors"][0]["code"], &refused["errors"][0]["pointer"]),
        (&json!("read_only"), &json!("/state"))
    );
}

async fn pointers_must_lead_into_what_was_sent(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let sent = json!({"region": "eu-west-9", "quotas": {"storageGiB": 200}});
    let refused = house.send("PATCH", DEV, &[("if-match", "*")], sent).await.ok(422);
    let pointers: Vec<_> =
        refused.body["errors"].as_array().expect("all").iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/region", "/quotas/storageGiB"]);
    let gated = house.send("PATCH", DEV, &[("if-match", "*")], json!({"isolation_level": "strict"})).await.ok(409);
    assert_eq!(gated.body["errors"][0]["pointer"], "/isolation_level");
}

async fn an_environment_must_be_added_and_removed(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let stage = "/v1/tenants/acme-eu/environments/stage";
    let made = house.send("PUT", stage, &[("if-none-match", "*")], json!({})).await.ok(201);
    assert_eq!((made.header("location"), &made.body["region"]), (stage, &json!("eu-west-1")));
    let again = house.send("PUT", stage, &[("if-none-match", "*")], json!({})).await;
    assert_eq!(again.status.as_u16(), 412, "{:#}", again.body);
    house.work().await;
    assert!(house.get(stage).await.body["provisioned_at"].is_string());
    let etag = [("if-match", made.header("etag"))];
    assert!(etag[0].1.starts_with("\"2.h"), "its tenant's version: {}", etag[0].1);
    assert_eq!(house.send("DELETE", stage, &etag, ()).await.ok(409).code(), "not_allowed_by_name");
    house.send("DELETE", &format!("{stage}?allow=remove-environment"), &etag, ()).await.ok(204);
    house.get(stage).await.ok(404);
    let undeclared = "/v1/tenants/acme-eu/environments/production";
    let refused = house.send("PUT", undeclared, &[("if-none-match", "*")], json!({})).await.ok(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/name");
}

async fn a_decision_on_a_removed_environment_must_not_apply_to_a_later_one_with_its_name(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let read = house.get(DEV).await.ok(200);
    house.send("DELETE", &format!("{DEV}?allow=remove-environment"), &[("if-match", "*")], ()).await.ok(204);
    house.send("PUT", DEV, &[("if-none-match", "*")], json!({"retention_days": 30})).await.ok(201);
    let stale = [("if-match", read.header("etag"))];
    let refused = house.send("PATCH", DEV, &stale, json!({"retention_days": 60})).await.ok(412);
    assert_eq!((refused.code(), &refused.body["current_version"]), ("stale_version", &json!(3)));
    assert_eq!(house.get(DEV).await.ok(200).body["retention_days"], 30);
}
