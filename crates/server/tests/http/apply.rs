//! `apply` and plan.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};

on_both!(
    a_file_must_be_planned_made_and_then_be_unchanged,
    nothing_must_be_written_while_anything_is_wrong,
    a_plan_must_say_what_the_commit_would,
    a_file_must_leave_alone_what_it_does_not_say,
    an_alias_must_move_from_one_tenant_to_another_in_one_file,
    a_hold_must_be_named_as_the_reason_for_waiting,
);

const FILE: &str = "
kind: Tenant
tenant_id: acme-eu
organization_id: acme
desired_state: Active
region: eu-west-1
aliases: {stripe: cus_9s6}
quotas: {storageGiB: 500}
environments:
  - {name: dev, isolation_level: shared, quotas: {storageGiB: 50}, retention_days: 30}
  - {name: prod}
---
kind: Organization
organization_id: acme
caps: {tenants: 2}
---
kind: Tenant
tenant_id: acme-us
organization_id: acme
profile: st-dedicated
region: us-east-1
";

async fn apply(house: &House, query: &str, file: &str) -> Value {
    house.post(&format!("/v1/apply?{query}"), file).await.ok(200).body
}

fn results(body: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    body["results"].as_array().expect("lines").iter().map(|line| (text(&line["id"]), text(&line["result"]))).collect()
}

fn all(result: &str) -> Vec<(String, String)> {
    ["acme-eu", "acme", "acme-us"].map(|id| (id.to_owned(), result.to_owned())).to_vec()
}

async fn a_file_must_be_planned_made_and_then_be_unchanged(on: On) {
    let house = House::new(on).await;
    let plan = apply(&house, "dry_run=true", FILE).await;
    assert_eq!((results(&plan), &plan["dry_run"]), (all("created"), &json!(true)));
    house.get("/v1/organizations/acme").await.ok(404);
    let made = apply(&house, "", FILE).await;
    assert_eq!(results(&made), all("created"));
    assert_eq!(made["results"][0]["job"]["action"], "create");
    assert_eq!(
        (&made["results"][0]["state"], &made["results"][0]["desired_state"]),
        (&json!("Draft"), &json!("Active"))
    );
    house.work().await;
    let before = house.events("").await.len();
    assert_eq!(results(&apply(&house, "", FILE).await), all("unchanged"));
    assert_eq!(house.events("").await.len(), before);
}

async fn nothing_must_be_written_while_anything_is_wrong(on: On) {
    let house = House::new(on).await;
    let file = FILE.replace("region: us-east-1", "region: us-est-1\nquotass: {}").replace("caps:", "capss:");
    let refused = house.post("/v1/apply", file.as_str()).await.ok(422);
    let places: Vec<_> = refused.body["errors"]
        .as_array()
        .expect("all")
        .iter()
        .map(|e| (&e["pointer"], &e["document"]["name"]))
        .collect();
    assert_eq!(json!(places), json!([["/1/capss", "acme"], ["/2/region", "acme-us"], ["/2/quotass", "acme-us"]]),);
    house.get("/v1/organizations/acme").await.ok(404);
    for (file, pointer) in [
        ("kind: Tenants\ntenant_id: a1\n", "/0/kind"),
        ("tenant_id: a1\n", "/0/kind"),
        ("kind: Tenant\norganization_id: acme\nregion: eu-west-1\n", "/0/tenant_id"),
        ("- 1\n", "/0"),
        (
            "kind: Organization\norganization_id: a1\n---\nkind: Organization\norganization_id: a1\n",
            "/1/organization_id",
        ),
    ] {
        let refused = house.post("/v1/apply", file).await.ok(422);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{:#}", refused.body);
    }
    assert_eq!(house.post("/v1/apply", "a: 1\na: 2\n").await.ok(400).code(), "malformed");
    // A document that cannot be read does not hide violations of the others.
    let nameless = "kind: Tenant\nprofil: x\nenvironments: [{retention_days: x}]\n";
    let file = format!("kind: Tenants\n---\n{file}---\n{nameless}");
    let refused = house.post("/v1/apply", file.as_str()).await.ok(422);
    let places: Vec<_> =
        refused.body["errors"].as_array().expect("all").iter().map(|error| &error["pointer"]).collect();
    let nameless = ["/4/tenant_id", "/4/environments/0/name", "/4/environments/0/retention_days", "/4/profil"];
    assert_eq!(json!(places[..4]), json!(["/0/kind", "/2/capss", "/3/region", "/3/quotass"]));
    assert_eq!(json!(places[4..]), json!(nameless));
}

async fn a_plan_must_say_what_the_commit_would(on: On) {
    let house = House::new(on).await;
    let third = format!("{FILE}---\nkind: Tenant\ntenant_id: acme-xx\norganization_id: acme\nregion: eu-west-1\n");
    for query in ["dry_run=true", ""] {
        let body = apply(&house, query, &third).await;
        let line = &body["results"][3];
        assert_eq!(
            (&line["result"], &line["error"]["code"]),
            (&json!("refused"), &json!("organization_cap_exceeded")),
            "{query}"
        );
    }
}

async fn a_file_must_leave_alone_what_it_does_not_say(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    let file = "kind: Tenant\ntenant_id: acme-eu\nquotas: {apiRateLimit: 9}\nenvironments: [{name: prod}, {name: dev, retention_days: 60}]\n";
    let changed = apply(&house, "", file).await;
    let changes = &changed["results"][0]["changes"];
    assert_eq!(
        changes,
        &json!([
            {"pointer": "/environments/dev/retention_days", "from": 30, "to": 60},
            {"pointer": "/quotas/apiRateLimit", "from": null, "to": 9},
        ])
    );
    let tenant = house.get("/v1/tenants/acme-eu").await.body;
    assert_eq!(tenant["quotas"], json!({"storageGiB": 500, "apiRateLimit": 9}));
    assert_eq!(tenant["environments"][0]["isolation_level"], "shared");

    let fewer = "kind: Tenant\ntenant_id: acme-eu\nquotas: null\nenvironments: [{name: prod}]\n";
    let refused = apply(&house, "", fewer).await;
    assert_eq!(refused["results"][0]["error"]["code"], "not_allowed_by_name");
    let gate = &refused["results"][0]["error"]["errors"][0];
    assert_eq!((&gate["allow"], &gate["pointer"]), (&json!("remove-environment"), &json!("/environments")));
    let allowed = apply(&house, "allow=remove-environment", fewer).await;
    assert_eq!(allowed["results"][0]["result"], "changed");
    let tenant = house.get("/v1/tenants/acme-eu").await.body;
    assert_eq!((&tenant["quotas"], tenant["environments"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
}

async fn an_alias_must_move_from_one_tenant_to_another_in_one_file(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    for (to, from) in [("acme-us", "acme-eu"), ("acme-eu", "acme-us")] {
        let file = format!(
            "kind: Tenant\ntenant_id: {to}\naliases: {{stripe: cus_9s6}}\n---\nkind: Tenant\ntenant_id: {from}\naliases: null\n"
        );
        for query in ["dry_run=true", ""] {
            let moved = apply(&house, query, &file).await;
            let results: Vec<_> = (0..2).map(|at| &moved["results"][at]["result"]).collect();
            assert_eq!(results, ["changed", "changed"], "{query}: {moved:#}");
        }
        assert_eq!(house.get("/v1/tenants/stripe:cus_9s6").await.body["tenant_id"], to);
    }
}

async fn a_hold_must_be_named_as_the_reason_for_waiting(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    house.work().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    let line = apply(&house, "", FILE).await["results"][0].clone();
    assert_eq!((&line["result"], &line["waits_for"]), (&json!("unchanged"), &json!("held by billing")));
}
