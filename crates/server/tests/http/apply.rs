//! `apply` and plan.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::sync::Arc;

on_both!(
    a_file_must_be_planned_made_and_then_be_unchanged,
    nothing_must_be_written_while_anything_is_wrong,
    a_plan_must_say_what_the_commit_would,
    a_file_must_leave_alone_what_it_does_not_say,
    a_map_in_a_file_must_be_the_whole_map,
    one_refusal_must_refuse_the_file_and_name_all_that_is_needed,
    what_others_changed_since_the_decision_must_be_refused_alone,
    what_is_purged_archived_or_closed_must_be_named_also_if_nothing_changes,
    a_misspelt_key_must_be_confirmed_in_every_write,
    a_list_must_stand_for_its_items_and_an_answer_be_named,
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
    for (query, status) in [("dry_run=true", 200), ("", 409), ("partial=true", 200)] {
        let body = house.post(&format!("/v1/apply?{query}"), third.as_str()).await.ok(status).body;
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
    let file = "kind: Tenant\ntenant_id: acme-eu\nquotas: {storageGiB: 500, apiRateLimit: 9}\nenvironments: [{name: prod}, {name: dev, retention_days: 60}]\n";
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
    assert_eq!((&tenant["quotas"]["storageGiB"], &tenant["aliases"]["stripe"]), (&json!(500), &json!("cus_9s6")));
    assert_eq!(tenant["environments"][0]["isolation_level"], "shared");
    // What is present and unchanged is no write.
    assert_eq!(apply(&house, "", file).await["results"][0]["result"], "unchanged");

    let fewer = "kind: Tenant\ntenant_id: acme-eu\nquotas: null\nenvironments: [{name: prod}]\n";
    let refused = house.post("/v1/apply", fewer).await.ok(409);
    assert_eq!(refused.code(), "not_allowed_by_name");
    let gates: Vec<_> = refused.body["errors"]
        .as_array()
        .expect("gates")
        .iter()
        .map(|gate| (&gate["allow"], &gate["pointer"]))
        .collect();
    assert_eq!(
        json!(gates),
        json!([
            ["remove-quota", "/0/quotas/apiRateLimit"],
            ["remove-quota", "/0/quotas/storageGiB"],
            ["remove-environment", "/0/environments"]
        ])
    );
    let allowed = apply(&house, "allow=remove-environment,remove-quota", fewer).await;
    assert_eq!(allowed["results"][0]["result"], "changed");
    let tenant = house.get("/v1/tenants/acme-eu").await.body;
    assert_eq!((&tenant["quotas"], tenant["environments"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
}

/// The fields of a manifest that are maps, with a second key each, and the pointer of this key.
const MAPS: [(&str, &str); 8] = [
    ("labels: {a: x, b: y}", "labels/b"),
    ("quotas: {apiRateLimit: 1, concurrentJobs: 2}", "quotas/concurrentJobs"),
    ("policies: {retentionDays: 9, encryption: platform}", "policies/encryption"),
    ("billing: {costCenter: c, plan: p}", "billing/plan"),
    ("aliases: {host: x.example, stripe: s}", "aliases/stripe"),
    ("environments: [{name: dev, quotas: {apiRateLimit: 1, storageGiB: 1}}]", "environments/dev/quotas/storageGiB"),
    (
        "webhooks: [{name: w1, url: 'https://x.example', events: ['TENANCY_*'], retry_policy: {backoff: fixed, max_retries: 1}}]",
        "webhooks/w1/retry_policy/max_retries",
    ),
    ("display_name: x", ""),
];

async fn a_map_in_a_file_must_be_the_whole_map(on: On) {
    let house = House::new(on).await;
    let organization = "kind: Organization\norganization_id: acme\nlabels: {a: x, b: y}\ncaps: {tenants: 5, quotas: {storageGiB: 9, apiRateLimit: 9}}\n";
    apply(&house, "", organization).await;
    let fields: Vec<_> = MAPS.iter().map(|(field, _)| *field).collect();
    let head = "kind: Tenant\ntenant_id: a1\norganization_id: acme\nregion: eu-west-1\n";
    apply(&house, "", &format!("{head}{}\n", fields.join("\n"))).await;
    for (field, pointer) in MAPS.iter().filter(|(_, pointer)| !pointer.is_empty()) {
        // The last key of the map is left out.
        let (kept, last) = field.rsplit_once(", ").expect("two keys");
        let closing: String = last.chars().filter(|c| "]}".contains(*c)).collect();
        let file = format!("{head}{kept}{closing}\n");
        let query = "allow=remove-quota,loosen-policy,remove-alias";
        let planned = apply(&house, &format!("dry_run=true&{query}"), &file).await;
        let changes = &planned["results"][0]["changes"];
        assert_eq!(changes.as_array().map(Vec::len), Some(1), "{field}: {planned:#}");
        assert_eq!((&changes[0]["pointer"], &changes[0]["to"]), (&json!(format!("/{pointer}")), &Value::Null));
        assert_eq!(apply(&house, query, &file).await["results"][0]["changes"], *changes);
        assert_eq!(apply(&house, "", &file).await["results"][0]["result"], "unchanged", "{field}");
    }
    assert_eq!(house.get("/v1/tenants/a1").await.body["display_name"], "x");
    // PATCH merges.
    let patch = json!({"labels": {"c": "z"}, "billing": {"plan": "q"}});
    let patched = house.send("PATCH", "/v1/tenants/a1", &[("if-match", "*")], patch).await.ok(200).body;
    assert_eq!(patched["labels"], json!({"a": "x", "c": "z"}));
    assert_eq!(patched["billing"], json!({"costCenter": "c", "plan": "q"}));

    let fewer = "kind: Organization\norganization_id: acme\nlabels: {b: y}\ncaps: {quotas: {storageGiB: 9}}\n";
    let changes = apply(&house, "", fewer).await["results"][0]["changes"].clone();
    let places: Vec<_> = changes.as_array().expect("changes").iter().map(|change| change["pointer"].clone()).collect();
    assert_eq!(places, ["/caps/quotas/apiRateLimit", "/caps/tenants", "/labels/a"]);
}

async fn one_refusal_must_refuse_the_file_and_name_all_that_is_needed(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    house.work().await;
    let file = "kind: Tenant\ntenant_id: acme-eu\naliases: null\nlabels: {a: b}\n---\n\
                kind: Tenant\ntenant_id: acme-us\naliases: {stripe: cus_9s6}\nregion: eu-west-1\n---\n\
                kind: Organization\norganization_id: new\n";
    let before = house.events("").await.len();
    let refused = house.post("/v1/apply", file).await.ok(409);
    let needed: Vec<_> = refused.body["errors"]
        .as_array()
        .expect("all")
        .iter()
        .map(|error| json!([error["document"]["name"], error["allow"]]))
        .collect();
    assert_eq!(needed, [json!(["acme-eu", "remove-alias"]), json!(["acme-us", "move-region"])]);
    // The whole difference, also of what was refused.
    let results: Vec<_> = refused.body["results"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| json!([line["result"], line["changes"].as_array().map(Vec::len)]))
        .collect();
    assert_eq!(results, [json!(["refused", 2]), json!(["refused", 2]), json!(["created", 0])], "{:#}", refused.body);
    assert_eq!(house.events("").await.len(), before, "nothing is written");
    house.get("/v1/organizations/new").await.ok(404);

    let partial = apply(&house, "partial=true", file).await;
    let results: Vec<_> = (0..3).map(|at| partial["results"][at]["result"].clone()).collect();
    assert_eq!(results, ["refused", "refused", "created"]);
    house.get("/v1/organizations/new").await.ok(200);
    assert_eq!(house.events("").await.len(), before + 1);
    let made = apply(&house, "allow=remove-alias,move-region", file).await;
    let results: Vec<_> = (0..3).map(|at| made["results"][at]["result"].clone()).collect();
    assert_eq!(results, ["changed", "changed", "unchanged"]);
    assert_eq!(house.get("/v1/tenants/stripe:cus_9s6").await.body["tenant_id"], "acme-us");
}

async fn what_others_changed_since_the_decision_must_be_refused_alone(on: On) {
    let house = Arc::new(House::new(on).await);
    apply(&house, "", FILE).await;
    house.work().await;
    let gate = house.server.tenancy.store.hold_commits().await;
    let send = |method: &'static str, path: &'static str, body: Value| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.send(method, path, &[("if-match", "*")], body).await })
    };
    let other = send("PATCH", "/v1/tenants/acme-eu", json!({"display_name": "theirs"}));
    tokio::time::sleep(WHILE).await;
    let file = json!([
        {"kind": "Tenant", "tenant_id": "acme-eu", "labels": {"a": "b"}},
        {"kind": "Tenant", "tenant_id": "acme-us", "labels": {"a": "b"}},
    ]);
    let ours = {
        let (house, file) = (Arc::clone(&house), file.clone());
        tokio::spawn(
            async move { house.send("POST", "/v1/apply", &[("content-type", "application/json")], file).await },
        )
    };
    tokio::time::sleep(WHILE).await;
    // A key applies one file at a time.
    let second = house.send("POST", "/v1/apply?dry_run=true", &[("content-type", "application/json")], file).await;
    assert_eq!((second.status.as_u16(), second.code()), (429, "apply_in_progress"));
    assert_eq!(second.header("retry-after"), "1");
    drop(gate);
    other.await.expect("an answer").ok(200);
    let ours = ours.await.expect("an answer").ok(200).body;
    assert_eq!((&ours["results"][0]["result"], &ours["results"][1]["result"]), (&json!("refused"), &json!("changed")));
    let error = &ours["results"][0]["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!("stale_version"), &json!(412)));
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["display_name"], "theirs");
}

/// Time in which a request reaches the queue of changes.
const WHILE: std::time::Duration = std::time::Duration::from_millis(700);

async fn what_is_purged_archived_or_closed_must_be_named_also_if_nothing_changes(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    let file = |id: &str| format!("kind: Tenant\ntenant_id: {id}\norganization_id: acme\n");
    house
        .send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"policies": {"purgeAfterDays": 0}}))
        .await
        .ok(200);
    house.work().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    for query in ["dry_run=true", "partial=true"] {
        let body = apply(&house, query, &file("acme-eu")).await;
        let line = &body["results"][0];
        assert_eq!((&line["result"], &line["error"]["code"]), (&json!("refused"), &json!("not_in_this_state")));
        assert!(line["error"]["detail"].as_str().is_some_and(|text| text.contains("acme-eu is Archived")), "{line:#}");
    }
    house.send("POST", "/v1/tenants/acme-eu/purge", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    let refused = house.post("/v1/apply", file("acme-eu").as_str()).await.ok(409).body;
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("acme-eu is purged")), "{refused:#}");
    house.send("DELETE", "/v1/organizations/acme", &[("if-match", "*")], ()).await.ok(200);
    let refused = house.post("/v1/apply", "kind: Organization\norganization_id: acme\n").await.ok(409).body;
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("acme is closed")), "{refused:#}");
}

async fn a_misspelt_key_must_be_confirmed_in_every_write(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    let new =
        json!({"tenant_id": "a1", "organization_id": "acme", "region": "eu-west-1", "billing": {"cost_center": "x"}});
    let refused = house.post("/v1/tenants", &new).await.ok(409);
    assert_eq!((refused.code(), &refused.body["errors"][0]["allow"]), ("not_allowed_by_name", &json!("unknown-keys")));
    let patch = json!({"policies": {"dataresidency": "in-region-only"}});
    let patched = |query: &'static str| house.send("PATCH", query, &[("if-match", "*")], patch.clone());
    assert_eq!(patched("/v1/tenants/acme-eu").await.ok(409).body["errors"][0]["pointer"], "/policies/dataresidency");
    patched("/v1/tenants/acme-eu?allow=unknown-keys").await.ok(200);
    // It is there now, so it is not new. What is near nothing is kept with a warning.
    let file = "kind: Tenant\ntenant_id: acme-eu\npolicies: {dataresidency: unrestricted}\nquotas: {storageGiB: 500, seats: 4}\n";
    let made = apply(&house, "", file).await;
    assert_eq!(
        (&made["results"][0]["result"], made["results"][0]["warnings"].as_array().map(Vec::len)),
        (&json!("changed"), Some(2))
    );
}

async fn a_list_must_stand_for_its_items_and_an_answer_be_named(on: On) {
    let house = House::new(on).await;
    let list = "kind: List\nitems:\n- {kind: Organization, organization_id: acme}\n---\n\
                - {kind: Tenant, tenant_id: a1, organization_id: acme, region: eu-west-1}\n\
                - {kind: Tenant, tenant_id: a2, organization_id: acme, region: eu-west-1}\n";
    let ids: Vec<_> = results(&apply(&house, "", list).await).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["acme", "a1", "a2"]);
    let answer = house.get("/v1/tenants/a1").await.body.to_string();
    let refused = house.post("/v1/apply", answer.as_str()).await.ok(422).body;
    let message = refused["errors"][0]["message"].as_str().expect("text");
    assert!(message.contains("an answer of the server, not a manifest"), "{message}");
    for empty in ["", "# nothing\n", "kind: List\nitems: []\n"] {
        assert_eq!(house.post("/v1/apply", empty).await.ok(400).code(), "malformed", "{empty:?}");
    }
    let number = house.post("/v1/apply", "kind: Tenant\ntenant_id: 12345\norganization_id: acme\n").await.ok(422).body;
    assert_eq!(number["errors"][0]["message"], "must be text, not a number: quote it");
}

async fn an_alias_must_move_from_one_tenant_to_another_in_one_file(on: On) {
    let house = House::new(on).await;
    apply(&house, "", FILE).await;
    for (to, from) in [("acme-us", "acme-eu"), ("acme-eu", "acme-us")] {
        let file = format!(
            "kind: Tenant\ntenant_id: {to}\naliases: {{stripe: cus_9s6}}\n---\nkind: Tenant\ntenant_id: {from}\naliases: null\n"
        );
        for query in ["dry_run=true&allow=remove-alias", "allow=remove-alias"] {
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
