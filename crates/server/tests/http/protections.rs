//! Protections of data: only some roles may release holds that keep data, purge early, turn deletion protection off, and
//! shorten the grace period.

use crate::house::{Answered, House, On, acme_eu, on_both};
use serde_json::{Value, json};
use tenancy_core::apikey::Role;
use tenancy_core::declared::Declared;

on_both!(
    an_operator_must_not_destroy_what_a_hold_keeps,
    a_hold_that_keeps_data_must_be_released_by_an_admin_only,
    every_way_of_writing_must_keep_protection_and_grace,
    a_plan_must_say_that_a_protection_would_be_removed,
    a_grace_period_must_be_fixed_when_the_tenant_is_archived,
    a_hold_must_be_released_by_another_key_if_it_is_declared_so,
);

const TENANT: &str = "/v1/tenants/acme-eu";

/// Roles that have a key without a scope in the house and are not admin.
fn others() -> impl Iterator<Item = Role> {
    Role::WORDS.iter().map(|(_, role)| *role).filter(|role| !matches!(role, Role::Admin | Role::Customer))
}

#[track_caller]
fn refused(answer: &Answered, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{:#}", answer.body);
}

async fn hold(house: &House, on: &str, body: Value) {
    house.post(&format!("{on}/suspend"), body).await;
    let known = house.get(on).await.ok(200).body;
    assert!(known["holds"].as_array().expect("holds").iter().any(|hold| hold["hold"] == "legal"), "{known:#}");
}

/// The way on which an operator alone once destroyed, within seconds, what an admin had put under hold.
async fn an_operator_must_not_destroy_what_a_hold_keeps(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    hold(&house, TENANT, json!({"hold": "legal", "reason": "case 12"})).await;
    let as_operator = async |method: &str, path: &str, body: Value| {
        house.send_as(Role::Operator, method, &format!("{TENANT}{path}"), body).await
    };
    refused(&as_operator("POST", "/activate", json!({"hold": "legal"})).await, 403, "forbidden");
    let grace = json!({"policies": {"purgeAfterDays": 0}});
    refused(&as_operator("PATCH", "", grace).await, 403, "fields_forbidden");
    as_operator("POST", "/suspend", json!({})).await.ok(202);
    house.work().await;
    refused(&as_operator("DELETE", "", json!({})).await, 409, "not_in_this_state");

    // Even without the hold, an operator cannot destroy the data before the grace period ends.
    house.post(&format!("{TENANT}/activate"), json!({"hold": "legal"})).await.ok(202);
    house.work().await;
    as_operator("DELETE", "", json!({})).await.ok(202);
    house.work().await;
    refused(&as_operator("POST", "/purge", json!({})).await, 409, "not_in_this_state");
    let early = as_operator("POST", "/purge", json!({"early": true})).await;
    refused(&early, 403, "forbidden");
    assert!(early.body["detail"].as_str().expect("text").contains("purge before the grace period ends"), "{early:?}");
    assert_eq!(house.get(TENANT).await.ok(200).body["purged_at"], Value::Null);

    house.post(&format!("{TENANT}/purge"), json!({"early": true})).await.ok(202);
    house.work().await;
    assert_ne!(house.get(TENANT).await.ok(200).body["purged_at"], Value::Null);
}

async fn a_hold_that_keeps_data_must_be_released_by_an_admin_only(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for on in [TENANT, "/v1/organizations/acme"] {
        hold(&house, on, json!({"hold": "legal", "reason": "case 12"})).await;
        for role in others() {
            let released = house.send_as(role, "POST", &format!("{on}/activate"), json!({"hold": "legal"})).await;
            refused(&released, 403, "forbidden");
            // A hold with an end is released by the server: to set an end is to release it later.
            let ended = json!({"hold": "legal", "reason": "case 12", "until": "2090-01-01T00:00:00Z"});
            refused(&house.send_as(role, "POST", &format!("{on}/suspend"), ended).await, 403, "forbidden");
        }
        let known = house.get(on).await.ok(200).body;
        assert_eq!((&known["holds"][0]["hold"], &known["holds"][0]["until"]), (&json!("legal"), &Value::Null));
        // An operator can still place and change such a hold, as long as it does not end sooner.
        let changed = json!({"hold": "legal", "reason": "case 13"});
        let changed = house.send_as(Role::Operator, "POST", &format!("{on}/suspend"), changed).await;
        assert!(changed.status.is_success(), "{changed:?}");
        let released = house.post(&format!("{on}/activate"), json!({"hold": "legal"})).await;
        assert!(released.status.is_success(), "{released:?}");
        for (method, path) in [("POST", "suspend"), ("POST", "activate")] {
            let other =
                house.send_as(Role::Operator, method, &format!("{on}/{path}"), json!({"hold": "billing"})).await;
            assert!(other.status.is_success(), "{other:?}");
        }
    }
}

async fn every_way_of_writing_must_keep_protection_and_grace(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let strict = json!({"deletion_protection": true, "policies": {"purgeAfterDays": 60}});
    house.send("PATCH", TENANT, &[("if-match", "*")], strict).await.ok(200);
    let with = |change: Value| {
        let mut manifest = acme_eu();
        manifest["deletion_protection"] = json!(true);
        manifest["policies"]["purgeAfterDays"] = json!(60);
        tenancy_core::json::merge_patch(&mut manifest, &change);
        manifest
    };
    let (on, off) = ("/policies/purgeAfterDays", "/deletion_protection");
    for (change, field) in [
        (json!({"policies": {"purgeAfterDays": 59}}), on),
        // Without its own value, the grace period is the default of 30 days.
        (json!({"policies": {"purgeAfterDays": null}}), on),
        (json!({"policies": null}), on),
        (json!({"deletion_protection": false}), off),
        (json!({"deletion_protection": null}), off),
    ] {
        let whole = with(change.clone());
        for (method, body) in [("PATCH", &change), ("PUT", &whole)] {
            let path = format!("{TENANT}?allow=protection-off&allow=less-retention");
            let answer = house.send_as(Role::Operator, method, &path, body).await;
            refused(&answer, 403, "fields_forbidden");
            assert!(answer.body.to_string().contains(field), "{method} {change}: {answer:?}");
        }
        let mut document = change.clone();
        document["kind"] = json!("Tenant");
        document["tenant_id"] = json!("acme-eu");
        let path = "/v1/apply?allow=protection-off&allow=less-retention";
        let answer = house.send_as(Role::Operator, "POST", path, document).await;
        assert!(answer.body.to_string().contains("fields_forbidden"), "apply {change}: {answer:?}");
    }
    let now = house.get(TENANT).await.ok(200).body;
    assert_eq!((&now["version"], &now["policies"]["purgeAfterDays"]), (&json!(2), &json!(60)));
    for change in [json!({"policies": {"purgeAfterDays": 61}}), json!({"labels": {"tier": "gold"}})] {
        house.send_as(Role::Operator, "PATCH", TENANT, change).await.ok(200);
    }
    let path = format!("{TENANT}?allow=protection-off");
    let change = json!({"policies": {"purgeAfterDays": 0}, "deletion_protection": false});
    house.send_as(Role::Admin, "PATCH", &path, change).await.ok(200);
}

async fn a_plan_must_say_that_a_protection_would_be_removed(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let document =
        json!({"kind": "Tenant", "tenant_id": "acme-eu", "policies": {"purgeAfterDays": 1, "retentionDays": 365}});
    let plan = async |role| house.send_as(role, "POST", "/v1/apply?dry_run=true", &document).await.body.to_string();
    let text = plan(Role::Operator).await;
    assert!(text.contains("fields_forbidden") && text.contains("may not shorten the grace period"), "{text}");
    // A viewer can write nothing and only plans: the plan says what its change requires.
    let text = plan(Role::Viewer).await;
    assert!(text.contains("\"changed\"") && text.contains("shorten the grace period"), "{text}");
    let text = plan(Role::Admin).await;
    assert!(text.contains("\"changed\"") && !text.contains("shorten the grace period"), "{text}");
}

async fn a_grace_period_must_be_fixed_when_the_tenant_is_archived(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post(&format!("{TENANT}/suspend"), json!({})).await.ok(202);
    house.work().await;
    house.send("DELETE", TENANT, &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    let archived = house.get(TENANT).await.ok(200).body;
    let shorter = json!({"policies": {"purgeAfterDays": 0}});
    refused(&house.send("PATCH", TENANT, &[("if-match", "*")], shorter).await, 409, "not_in_this_state");
    assert_eq!(house.get(TENANT).await.ok(200).body["purge_after"], archived["purge_after"]);
    assert_ne!(archived["purge_after"], Value::Null);
}

async fn a_hold_must_be_released_by_another_key_if_it_is_declared_so(on: On) {
    let mut declared = Declared::default();
    declared.holds.get_mut("legal").expect("declared").released_by_another = true;
    let house = House::new(on).await;
    house.furnish().await;
    let house = house.declaring(declared);
    let made = house.post("/v1/keys", json!({"name": "second", "role": "admin"})).await.ok(201).body;
    let second = format!("Bearer {}", made["token"].as_str().expect("a token"));
    for on in [TENANT, "/v1/organizations/acme"] {
        hold(&house, on, json!({"hold": "legal", "reason": "case 12"})).await;
        let activate = format!("{on}/activate");
        refused(&house.post(&activate, json!({"hold": "legal"})).await, 403, "forbidden");
        // To end the hold sooner, and to change its reason with another key, does not free the first one.
        let ended = json!({"hold": "legal", "reason": "case 12", "until": "2090-01-01T00:00:00Z"});
        refused(&house.post(&format!("{on}/suspend"), ended).await, 403, "forbidden");
        let reason = json!({"hold": "legal", "reason": "case 13"});
        house.send_as_it_is("POST", &format!("{on}/suspend"), &[("authorization", &second)], reason).await;
        refused(&house.post(&activate, json!({"hold": "legal"})).await, 403, "forbidden");
        let body = json!({"hold": "legal"});
        let released = house.send_as_it_is("POST", &activate, &[("authorization", &second)], body).await;
        assert!(released.status.is_success(), "{released:?}");
    }
}
