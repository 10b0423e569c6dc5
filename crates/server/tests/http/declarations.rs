//! Declarations and caps: what binds, what only warns, and what is reported when a declaration is gone.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use tenancy_core::declared::{Declared, QuotaKey};
use tenancy_server::undeclared;

on_both!(
    a_cap_must_bind_a_tenant_whose_environments_alone_have_the_quota,
    a_cap_below_the_usage_must_be_accepted_with_a_warning,
    what_stays_must_need_no_declaration,
    what_is_used_and_not_declared_must_be_reported,
    a_value_that_is_no_text_must_be_named_as_such,
);

const TENANT: &str = "/v1/tenants/acme-eu";

async fn used(house: &House) -> Value {
    house.get("/v1/organizations/acme").await.ok(200).body["usage"]["quotas"].clone()
}

async fn patch(house: &House, path: &str, change: Value) -> crate::house::Answered {
    house.send("PATCH", path, &[("if-match", "*")], change).await
}

async fn a_cap_must_bind_a_tenant_whose_environments_alone_have_the_quota(on: On) {
    for sums in [true, false] {
        let mut declared = Declared::default();
        declared.quotas.insert("seats".to_owned(), QuotaKey { unit: "seats".to_owned(), sums });
        let house = House::new(on).await;
        let house = house.declaring(declared);
        let organization = json!({"organization_id": "acme", "caps": {"quotas": {"seats": 100}}});
        house.post("/v1/organizations", organization).await.ok(201);
        let tenant = |id: &str, own: Value, each: i64| {
            json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "quotas": own, "environments": [
                {"name": "dev", "quotas": {"seats": each}}, {"name": "prod", "quotas": {"seats": each}},
            ]})
        };
        let refused = house.post("/v1/tenants", tenant("acme-xx", json!({}), 51)).await.ok(409);
        assert_eq!(refused.code(), "organization_cap_exceeded", "{refused:?}");
        house.post("/v1/tenants", tenant("acme-eu", json!({}), 40)).await.ok(201);
        assert_eq!(used(&house).await, json!({"seats": 80}));
        let more = json!({"environments": [{"name": "dev", "quotas": {"seats": 40}}, {"name": "prod", "quotas": {"seats": 61}}]});
        assert_eq!(patch(&house, TENANT, more).await.code(), "organization_cap_exceeded");
        // The tenant's own quota counts instead, and taking it away does not empty the count.
        patch(&house, TENANT, json!({"quotas": {"seats": 90}})).await.ok(200);
        assert_eq!(used(&house).await, json!({"seats": 90}));
        let path = format!("{TENANT}?allow=remove-quota");
        patch(&house, &path, json!({"quotas": {"seats": null}})).await.ok(200);
        assert_eq!(used(&house).await, json!({"seats": 80}));
        let path = format!("{TENANT}/environments/dev?allow=remove-environment");
        house.send("DELETE", &path, &[("if-match", "*")], ()).await.ok(204);
        assert_eq!(used(&house).await, json!({"seats": 40}));
        house.work().await;
        house.post(&format!("{TENANT}/suspend"), json!({})).await.ok(202);
        house.work().await;
        house.send("DELETE", TENANT, &[("if-match", "*")], ()).await.ok(202);
        house.work().await;
        house.post(&format!("{TENANT}/purge"), json!({"early": true})).await.ok(202);
        house.work().await;
        assert_eq!(used(&house).await, json!({}));
    }
}

async fn a_cap_below_the_usage_must_be_accepted_with_a_warning(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let caps = json!({"caps": {"tenants": 0, "quotas": {"storageGiB": 499}}});
    let lowered = patch(&house, "/v1/organizations/acme", caps.clone()).await.ok(200).body;
    let warned = |body: &Value| -> Vec<String> {
        let warnings = body["warnings"].as_array().expect("warnings").iter();
        warnings
            .map(|w| format!("{} {}", w["code"].as_str().unwrap_or(""), w["pointer"].as_str().unwrap_or("")))
            .collect()
    };
    let over = ["cap_below_usage /caps/tenants", "cap_below_usage /caps/quotas/storageGiB"];
    assert_eq!(warned(&lowered), over, "{lowered:#}");
    let document = json!({"kind": "Organization", "organization_id": "acme", "caps": caps["caps"]});
    let applied = house.post("/v1/apply?dry_run=true", document).await.ok(200).body;
    assert!(applied.to_string().contains("cap_below_usage"), "{applied:#}");
    let roomy = json!({"caps": {"tenants": 1, "quotas": {"storageGiB": 500}}});
    assert_eq!(patch(&house, "/v1/organizations/acme", roomy).await.ok(200).body["warnings"], Value::Null);
}

/// The default declarations without what the tenant of the test uses.
fn without() -> Declared {
    let mut declared = Declared::default();
    declared.regions.remove("eu-west-1");
    declared.environments.retain(|name| name != "dev");
    declared.quotas.remove("storageGiB");
    declared.holds.remove("abuse");
    // A value that was free text before is now a number.
    declared.quotas.insert("support".to_owned(), QuotaKey { unit: "hours".to_owned(), sums: true });
    declared
}

async fn furnish(house: &House) {
    let caps = json!({"organization_id": "acme", "caps": {"quotas": {"storageGiB": 1000}}});
    house.post("/v1/organizations", caps).await.ok(201);
    let mut manifest = acme_eu();
    manifest["quotas"]["support"] = json!("gold");
    manifest["policies"]["dataResidency"] = json!("in-jurisdiction");
    manifest["environments"][1]["region"] = json!("eu-central-1");
    house.post("/v1/tenants", manifest).await.ok(201);
    house.work().await;
    for on in [TENANT, "/v1/organizations/acme"] {
        house.post(&format!("{on}/suspend"), json!({"hold": "abuse"})).await;
    }
    house.work().await;
}

async fn what_stays_must_need_no_declaration(on: On) {
    let house = House::new(on).await;
    furnish(&house).await;
    let house = house.declaring(without());
    let changed = patch(&house, TENANT, json!({"labels": {"tier": "gold"}})).await.ok(200).body;
    let text = changed["warnings"].to_string();
    for code in ["undeclared_region", "undeclared_environment", "undeclared_key", "out_of_range", "data_residency"] {
        assert!(text.contains(code), "{code}: {text}");
    }
    // What was read can be sent back, and an export can be applied.
    let read = house.get(TENANT).await.ok(200);
    let tag = read.header("etag").to_owned();
    let put = house.send("PUT", TENANT, &[("if-match", &tag)], &read.body).await.ok(200).body;
    assert_eq!(put["version"], read.body["version"]);
    let prod = format!("{TENANT}/environments/prod");
    patch(&house, &prod, json!({"quotas": {"storageGiB": 399}})).await.ok(200);
    patch(&house, "/v1/organizations/acme", json!({"display_name": "Acme Corp"})).await.ok(200);
    for on in [TENANT, "/v1/organizations/acme"] {
        let released = house.post(&format!("{on}/activate"), json!({"hold": "abuse"})).await;
        assert!(released.status.is_success(), "{released:?}");
    }
    // What this change adds or alters is checked.
    for (path, change, code) in [
        (TENANT, json!({"quotas": {"support": "silver"}}), "out_of_range"),
        (prod.as_str(), json!({"region": "eu-west-1"}), "undeclared_region"),
        ("/v1/organizations/acme", json!({"caps": {"quotas": {"storageGiB": 2000}}}), "undeclared_quota"),
    ] {
        let refused = patch(&house, path, change).await.ok(422);
        assert!(refused.body.to_string().contains(code), "{refused:?}");
    }
    let stage = json!({"isolation_level": "strict"});
    let joined = house.send("PUT", &format!("{TENANT}/environments/stage"), &[("if-none-match", "*")], stage).await;
    assert!(joined.ok(422).body.to_string().contains("undeclared_region"), "it would join an undeclared region");
    let held = house.post(&format!("{TENANT}/suspend"), json!({"hold": "abuse"})).await.ok(422);
    assert!(held.body.to_string().contains("undeclared_hold"), "{held:?}");
    patch(&house, TENANT, json!({"region": "eu-central-1"})).await.ok(409);
    patch(&house, &format!("{TENANT}?allow=move-region"), json!({"region": "eu-central-1"})).await.ok(200);
}

async fn what_is_used_and_not_declared_must_be_reported(on: On) {
    let house = House::new(on).await;
    furnish(&house).await;
    undeclared::check(&house.server.tenancy).await.expect("checked");
    let ready = house.get("/readyz").await.ok(200).body;
    assert!(!ready.to_string().contains("not declared"), "{ready:#}");
    let house = house.declaring(without());
    undeclared::check(&house.server.tenancy).await.expect("checked");
    let ready = house.get("/readyz").await.ok(200).body;
    let text = ready["warnings"].to_string();
    for named in [
        "regions in use but not declared: eu-west-1;",
        "environment names in use but not declared: dev;",
        "kinds of holds in use but not declared: abuse;",
        "quotas in use but not declared: storageGiB;",
    ] {
        assert!(text.contains(named), "{named} {text}");
    }
}

async fn a_value_that_is_no_text_must_be_named_as_such(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let yaml = [("content-type", "application/yaml")];
    for (said, what) in [("12345", "a number"), ("0x1F", "a number"), ("1.5", "a number"), ("true", "true or false")] {
        for (line, field) in [
            ("tenant_id: SAID\norganization_id: acme\n", "/0/tenant_id"),
            ("tenant_id: acme-eu\norganization_id: SAID\n", "/0/organization_id"),
            ("tenant_id: acme-eu\nlabels: {release: SAID}\n", "/0/labels/release"),
            ("tenant_id: acme-eu\naliases: {stripe: SAID}\n", "/0/aliases/stripe"),
            ("tenant_id: acme-eu\nbilling: {costCenter: SAID}\n", "/0/billing/costCenter"),
        ] {
            let file = format!("kind: Tenant\nregion: eu-west-1\n{}", line.replace("SAID", said));
            let refused = house.send("POST", "/v1/apply", &yaml, file.as_str()).await.ok(422).body;
            let errors = refused["errors"].as_array().expect("errors");
            let message = format!("must be text, not {what}: quote it");
            let named =
                |e: &Value| e["pointer"] == field && e["message"].as_str().is_some_and(|m| m.ends_with(&message));
            assert!(errors.iter().any(named), "{file} {refused:#}");
            assert!(!refused.to_string().contains("is required"), "{refused:#}");
        }
    }
}
