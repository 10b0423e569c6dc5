//! Regions that are written, and regions that follow from the tenant's.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};

on_both!(
    an_environment_without_a_region_must_move_with_its_tenant,
    what_was_read_must_be_sent_back_without_naming_a_region,
    a_region_must_be_given_and_taken_back,
);

const TENANT: &str = "/v1/tenants/acme-eu";

/// Registers a tenant whose `dev` follows it and whose `prod` names the same region.
async fn furnish(house: &House) {
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let mut manifest = acme_eu();
    manifest["environments"][1]["region"] = json!("eu-west-1");
    house.post("/v1/tenants", manifest).await.ok(201);
    house.work().await;
}

async fn patch(house: &House, path: &str, change: Value) -> crate::house::Answered {
    house.send("PATCH", path, &[("if-match", "*")], change).await
}

async fn regions(house: &House) -> Value {
    let tenant = house.get(TENANT).await.ok(200).body;
    let region = |e: &Value| json!([e["name"], e["region"], e["region_follows_tenant"], e["version"]]);
    tenant["environments"].as_array().expect("environments").iter().map(region).collect()
}

async fn an_environment_without_a_region_must_move_with_its_tenant(on: On) {
    let house = House::new(on).await;
    furnish(&house).await;
    assert_eq!(regions(&house).await, json!([["dev", "eu-west-1", true, 1], ["prod", "eu-west-1", false, 1]]));
    let moved = json!({"region": "us-east-1"});
    let refused = patch(&house, TENANT, moved.clone()).await.ok(409).body;
    let text = refused.to_string();
    assert!(text.contains("moves dev from eu-west-1 to us-east-1") && !text.contains("moves prod"), "{text}");
    patch(&house, &format!("{TENANT}?allow=move-region"), moved).await.ok(200);
    assert_eq!(regions(&house).await, json!([["dev", "us-east-1", true, 2], ["prod", "eu-west-1", false, 1]]));
    let updated = house.events("event_type=ENVIRONMENT_UPDATED").await;
    let change = json!([{"pointer": "/region", "from": "eu-west-1", "to": "us-east-1"}]);
    assert_eq!(updated[0]["payload"]["changes"], change, "{updated:?}");
    // The versions keep what was written; a plan shows what would move.
    let version = house.get(&format!("{TENANT}/versions/2")).await.ok(200).body;
    assert_eq!(version["manifest"]["environments"][0].get("region"), None, "{version:#}");
    let document = json!({"kind": "Tenant", "tenant_id": "acme-eu", "region": "eu-west-1"});
    let plan = house.post("/v1/apply?dry_run=true&allow=move-region", document).await.ok(200).body;
    assert!(plan.to_string().contains("/environments/dev/region"), "{plan:#}");
}

async fn what_was_read_must_be_sent_back_without_naming_a_region(on: On) {
    let house = House::new(on).await;
    furnish(&house).await;
    let mut read = house.get(TENANT).await.ok(200).body;
    let put = async |body: &Value| {
        house.send("PUT", &format!("{TENANT}?allow=move-region"), &[("if-match", "*")], body).await
    };
    assert_eq!(put(&read).await.ok(200).body["version"], 1);
    let environment = house.get(&format!("{TENANT}/environments/dev")).await.ok(200).body;
    let path = format!("{TENANT}/environments/dev");
    let same = house.send("PUT", &path, &[("if-match", "*")], &environment).await.ok(200).body;
    assert_eq!((&same["version"], &same["region_follows_tenant"]), (&json!(1), &json!(true)));
    read["region"] = json!("eu-central-1");
    put(&read).await.ok(200);
    assert_eq!(regions(&house).await, json!([["dev", "eu-central-1", true, 2], ["prod", "eu-west-1", false, 1]]));
    // A region that was edited is given.
    let mut read = house.get(TENANT).await.ok(200).body;
    read["environments"][0]["region"] = json!("eu-north-1");
    put(&read).await.ok(200);
    assert_eq!(regions(&house).await, json!([["dev", "eu-north-1", false, 3], ["prod", "eu-west-1", false, 1]]));
}

async fn a_region_must_be_given_and_taken_back(on: On) {
    let house = House::new(on).await;
    furnish(&house).await;
    let dev = format!("{TENANT}/environments/dev");
    assert_eq!(patch(&house, &dev, json!({"region": "eu-west-1"})).await.ok(200).body["region_follows_tenant"], false);
    assert_eq!(patch(&house, &dev, json!({"region": null})).await.ok(200).body["region_follows_tenant"], true);
    let document = json!({"kind": "Tenant", "tenant_id": "acme-eu", "environments": [{"name": "dev"}, {"name": "prod", "region": null}]});
    house.post("/v1/apply", document).await.ok(200);
    assert_eq!(regions(&house).await, json!([["dev", "eu-west-1", true, 3], ["prod", "eu-west-1", true, 2]]));
}
