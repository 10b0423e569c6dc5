//! Scopes: every route for every role in every scope, and reading and writing of every field.

use crate::every_route::{Sample, body, is_for, is_let_in, of, samples};
use crate::house::{Answered, House, On, Original, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use tenancy_core::apikey::Role;
use tenancy_core::permission::{FieldGroup, INTERNAL_FACTS, TENANT_FIELDS};
use tenancy_server::authentication::Requirement;
use tenancy_server::http::openapi::document;
use tenancy_server::http::router::all;
use tenancy_server::provisioner::Recorder;
use tokio::sync::OnceCell;

on_both!(
    each_role_in_each_scope_must_be_let_in_where_it_has_to_be_and_nowhere_else,
    what_lies_outside_must_be_answered_as_what_is_not_there_and_with_as_many_reads,
    lists_must_hold_only_what_lies_inside,
    every_field_must_be_written_only_by_whom_its_group_says,
    a_customer_must_be_shown_nothing_internal,
    a_document_that_stands_for_the_whole_must_keep_what_its_sender_does_not_see,
    a_scoped_key_must_apply_its_own_fields_and_nothing_else,
    a_viewer_must_plan_and_not_apply,
);

/// Scopes that reach `acme-eu` with its organization or only the tenant, and two that reach neither.
const INSIDE: [&str; 2] = ["organization:acme", "tenant:acme-eu"];
const OUTSIDE: [&str; 2] = ["organization:globex", "tenant:globex-eu"];

/// A house with two organizations that each have a tenant with internal fields, and a key for each role in each scope.
async fn prepared(on: On) -> House {
    static ORIGINALS: [OnceCell<Original>; 2] = [const { OnceCell::const_new() }; 2];
    let original = Original::of(&ORIGINALS, on, |house| async move { furnish(&house).await }).await;
    House::copy_of(original, Arc::new(Recorder)).await
}

async fn furnish(house: &House) {
    for organization in ["acme", "globex"] {
        house.post("/v1/organizations", json!({"organization_id": organization})).await.ok(201);
        let tenant = format!("{organization}-eu");
        let manifest = json!({
            "tenant_id": tenant, "organization_id": organization, "region": "eu-west-1", "desired_state": "Active",
            "display_name": organization, "labels": {"tier": "gold", "internal/risk": "high-marker"},
            "aliases": {"stripe": format!("cus_{organization}")}, "quotas": {"storageGiB": 5},
            "policies": {"retentionDays": 365}, "billing": {"plan": "plan-marker"},
            "environments": [{"name": "dev"}, {"name": "prod"}],
        });
        house.post("/v1/tenants", manifest).await.ok(201);
        house.work().await;
        let hold = json!({"hold": "billing", "reason": "reason-marker"});
        house.post(&format!("/v1/tenants/{tenant}/suspend"), hold).await.ok(202);
        house.work().await;
        let moved = json!({"billing": {"plan": "other-plan-marker"}, "labels": {"internal/risk": "low-marker"}});
        house.send("PATCH", &format!("/v1/tenants/{tenant}"), &[("if-match", "*")], moved).await.ok(200);
    }
}

/// Creates a key with this role and scope, and returns its token.
async fn token(house: &House, role: Role, scope: &str) -> String {
    let name = format!("{role} {scope} {}", house.next());
    let made = house.post("/v1/keys", json!({"name": name, "role": role, "scope": scope})).await.ok(201).body;
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

async fn send(house: &House, token: &str, method: &str, path: &str, sent: impl Into<crate::house::Sent>) -> Answered {
    let headers = [("authorization", token), ("content-type", "application/json"), ("if-match", "*")];
    house.send_as_it_is(method, path, if method == "POST" { &headers[..2] } else { &headers }, sent).await
}

async fn each_role_in_each_scope_must_be_let_in_where_it_has_to_be_and_nowhere_else(on: On) {
    let house = prepared(on).await;
    for (_, role) in Role::WORDS {
        for scope in INSIDE.into_iter().chain(OUTSIDE) {
            let token = token(&house, *role, scope).await;
            for sample in samples() {
                let answered = send(&house, &token, sample.method, sample.path, body(&sample).as_str()).await;
                let let_in = is_let_in(&answered);
                let is_open = of(&sample).requirement == Requirement::Nothing;
                let expected = is_open || is_for(&sample, *role, true);
                assert_eq!(let_in, expected, "{role} {scope}: {} {} {:#}", sample.method, sample.path, answered.body);
            }
        }
    }
}

/// Returns the path of a sample with other names.
fn renamed(sample: &Sample, organization: &str, tenant: &str) -> Option<String> {
    // The other parameters are no names.
    let is_name = |path: &&str| path.contains("?tenant=");
    let path = Some(sample.path).filter(is_name).unwrap_or_else(|| sample.path.split('?').next().expect("a path"));
    let names = ["acme-eu", "stripe:cus_9s6", "/organizations/acme"];
    let renamed = path.replace(names[0], tenant).replace(names[1], tenant);
    let renamed = renamed.replace(names[2], &format!("/organizations/{organization}"));
    names.iter().any(|name| path.contains(name)).then(|| renamed.replace("{job}", "job_none"))
}

async fn what_lies_outside_must_be_answered_as_what_is_not_there_and_with_as_many_reads(on: On) {
    let house = prepared(on).await;
    let tokens = [
        token(&house, Role::Admin, OUTSIDE[0]).await,
        token(&house, Role::Customer, OUTSIDE[0]).await,
        token(&house, Role::Viewer, OUTSIDE[1]).await,
    ];
    let store = &house.server.tenancy.store;
    let samples = samples();
    let named = samples.iter().filter(|sample| sample.path != sample.route);
    let mut seen = 0;
    for sample in named {
        for token in &tokens {
            let ask = async |organization: &str, tenant: &str| {
                let path = renamed(sample, organization, tenant)?;
                let before = store.reads();
                let answered = send(&house, token, sample.method, &path, body(sample).as_str()).await;
                let mut body = answered.body.clone();
                body["correlation_id"] = Value::Null;
                let body = body.to_string().replace(organization, "ORG").replace(tenant, "TENANT");
                Some((answered.status.as_u16(), body, store.reads() - before))
            };
            // The first request of a key is authenticated before it starts.
            let Some(_) = ask("nobody", "nobody-eu").await else { continue };
            let (none, outside) = (ask("nobody", "nobody-eu").await, ask("acme", "acme-eu").await);
            assert_eq!(none, outside, "{} {}", sample.method, sample.path);
            assert!(none.as_ref().is_some_and(|(status, ..)| matches!(status, 403 | 404)), "{none:?} {}", sample.path);
            let (none, alias) = (ask("nobody", "stripe:cus_nobody").await, ask("acme", "stripe:cus_acme").await);
            assert_eq!(none, alias, "by alias: {} {}", sample.method, sample.path);
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// Returns the ids of a list.
async fn ids(house: &House, token: &str, path: &str, id: &str) -> Vec<String> {
    let listed = send(house, token, "GET", path, ()).await.ok(200).body;
    let items = listed["items"].as_array().expect("items");
    items.iter().map(|item| item[id].as_str().unwrap_or_default().to_owned()).collect()
}

async fn lists_must_hold_only_what_lies_inside(on: On) {
    let house = prepared(on).await;
    for scope in INSIDE.into_iter().chain(OUTSIDE) {
        token(&house, Role::Viewer, scope).await;
    }
    for (scope, organizations) in [("organization:acme", vec!["acme"]), ("tenant:acme-eu", vec![])] {
        let token = token(&house, Role::Admin, scope).await;
        assert_eq!(ids(&house, &token, "/v1/tenants", "tenant_id").await, ["acme-eu"], "{scope}");
        assert_eq!(ids(&house, &token, "/v1/tenants?q=globex", "tenant_id").await, [""; 0], "{scope}");
        let hidden = "/v1/tenants?label=internal/risk=low-marker";
        assert_eq!(ids(&house, &token, hidden, "tenant_id").await, [""; 0], "a hidden label is on no tenant");
        assert_eq!(ids(&house, &format!("Bearer {}", house.token(Role::Viewer)), hidden, "tenant_id").await.len(), 2);
        assert_eq!(ids(&house, &token, "/v1/organizations", "organization_id").await, organizations, "{scope}");
        for (path, id) in [("/v1/jobs", "tenant_id"), ("/v1/audit?limit=500", "tenant_id")] {
            let found = ids(&house, &token, path, id).await;
            assert!(!found.is_empty() && found.iter().all(|id| id == "acme-eu"), "{scope} {path}: {found:?}");
            let own = ids(&house, &token, &path.replace("/v1", "/v1/tenants/acme-eu"), id).await;
            assert_eq!(found, own, "{scope} {path}");
        }
        let found = ids(&house, &token, "/v1/keys", "scope").await;
        assert!(found.iter().all(|found| INSIDE.contains(&found.as_str())), "{found:?}");
        assert!(found.contains(&scope.to_owned()));
    }
}

/// Returns a change for each field of a tenant's document.
fn change_of(field: &str) -> Value {
    match field {
        "display_name" => json!("Another"),
        "labels" => json!({"tier": "silver"}),
        "webhooks" => json!([{"name": "main", "url": "https://hooks.example", "events": ["TENANCY_*"]}]),
        "tenant_id" => json!("another"),
        "organization_id" => json!("globex"),
        "profile" => json!("st-dedicated"),
        "desired_state" => json!("Suspended"),
        "region" => json!("us-east-1"),
        "aliases" => json!({"host": "a.example"}),
        "quotas" => json!({"storageGiB": 500}),
        "policies" => json!({"retentionDays": 400}),
        "environments" => json!([{"name": "dev"}, {"name": "prod"}, {"name": "stage"}]),
        "deletion_protection" => json!(true),
        "billing" => json!({"plan": "free"}),
        other => panic!("{other} is a field without a change in this test: add it and its group"),
    }
}

#[test]
fn every_field_of_a_manifest_must_be_in_a_group() {
    let schema = &document(all())["components"]["schemas"]["TenantManifest"]["properties"];
    for field in
        schema.as_object().expect("properties").keys().filter(|name| !matches!(name.as_str(), "kind" | "version"))
    {
        assert!(TENANT_FIELDS.iter().any(|(name, _)| name == field), "{field} is in no group");
    }
    for (field, _) in TENANT_FIELDS {
        change_of(field);
    }
}

async fn every_field_must_be_written_only_by_whom_its_group_says(on: On) {
    let house = prepared(on).await;
    for role in [Role::Admin, Role::Operator, Role::Customer] {
        for scope in INSIDE {
            let token = token(&house, role, scope).await;
            for (field, group) in TENANT_FIELDS {
                let before = house.get("/v1/tenants/acme-eu").await.ok(200).body;
                let sent = json!({*field: change_of(field)});
                let path = "/v1/tenants/acme-eu?allow=move-profile,move-region,less-retention";
                let answered = send(&house, &token, "PATCH", path, sent).await;
                match group {
                    FieldGroup::Own => drop(answered.ok(200)),
                    FieldGroup::Terms | FieldGroup::Internal => {
                        // Ids never change, for any caller.
                        let status = answered.status.as_u16();
                        assert!(status == 403 || status == 422 && field.ends_with("_id"), "{role} {field}: {status}");
                        if status == 403 {
                            assert_eq!(answered.code(), "fields_forbidden", "{field}");
                            assert_eq!(answered.body["errors"][0]["pointer"], format!("/{field}"));
                        }
                        assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body, before, "{role} {field}");
                    }
                }
            }
            let all = json!({"quotas": {"storageGiB": 9}, "billing": {}, "region": "us-east-1", "display_name": "x"});
            let refused = send(&house, &token, "PATCH", "/v1/tenants/acme-eu", all).await.ok(403).body;
            let errors = refused["errors"].as_array().expect("errors").iter().map(|error| error["pointer"].clone());
            assert_eq!(errors.collect::<Vec<_>>(), ["/billing", "/quotas", "/region"], "all of them at once");
            let internal = json!({"labels": {"internal/risk": null}});
            let refused = send(&house, &token, "PATCH", "/v1/tenants/acme-eu", internal).await.ok(403);
            assert_eq!(refused.body["errors"][0]["pointer"], "/labels/internal~1risk");
        }
    }
    for field in ["display_name", "labels", "quotas", "billing", "aliases", "deletion_protection"] {
        let sent = json!({field: change_of(field)});
        let path = "/v1/tenants/acme-eu";
        house.send("PATCH", path, &[("if-match", "*")], sent).await.ok(200);
    }
}

/// Returns the values of internal fields in an answer, except those that a customer may see.
fn internal_facts(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(items) => items.iter().flat_map(internal_facts).collect(),
        Value::Object(fields) => fields
            .iter()
            // The reason of a refusal is a code that names the kind of the hold, and not the text of the hold.
            .filter(|(name, _)| name.as_str() != "reason" || !fields.contains_key("access_level"))
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if INTERNAL_FACTS.contains(&name.as_str()) => {
                    let shown = ["platform", "user"].contains(&text) || text.starts_with("user:key_");
                    if shown && name != "reason" { Vec::new() } else { vec![format!("{name}: {text}")] }
                }
                _ => internal_facts(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

async fn a_customer_must_be_shown_nothing_internal(on: On) {
    let house = prepared(on).await;
    let ours = house.get("/v1/whoami").await.ok(200).body["key_id"].as_str().expect("an id").to_owned();
    let own = token(&house, Role::Customer, "tenant:acme-eu").await;
    send(&house, &own, "PATCH", "/v1/tenants/acme-eu", json!({"display_name": "Ours"})).await.ok(200);
    let paths: Vec<_> = samples()
        .into_iter()
        .filter(|sample| sample.method == "GET" && of(sample).requirement != Requirement::Nothing)
        // A verdict is no answer of a resource: see `access.rs`.
        .filter(|sample| !of(sample).gives_verdicts)
        .filter_map(|sample| renamed(&sample, "acme", "acme-eu").or_else(|| Some(sample.path.to_owned())))
        .filter(|path| {
            let is_of_the_server = ["/v1/status", "/v1/audit/verification"].contains(&path.as_str());
            // The catalogue of event types has examples, and nothing of the record.
            let of_all = ["/v1/keys", "/v1/webhooks", "/v1/placements", "/v1/event-types"];
            !of_all.iter().any(|start| path.starts_with(start)) && !is_of_the_server
        })
        .collect();
    let job = house.get("/v1/tenants/acme-eu/jobs").await.ok(200).body["items"][0]["job_id"].clone();
    let job = format!("/v1/tenants/acme-eu/jobs/{}", job.as_str().expect("an id"));
    for role in [Role::Customer, Role::Viewer, Role::Operator, Role::Admin, Role::Auditor] {
        for scope in INSIDE {
            let token = token(&house, role, scope).await;
            for path in paths.iter().map(String::as_str).chain([job.as_str(), "/v1/tenants/acme-eu/versions/2"]) {
                let answered = send(&house, &token, "GET", path, ()).await;
                let text = answered.body.to_string();
                assert_eq!(internal_facts(&answered.body), [""; 0], "{role} {scope} {path}");
                assert!(matches!(answered.status.as_u16(), 200 | 404), "{path}: {text}");
                for internal in ["marker", "internal/", "billing\":", &ours, "runner-", "system:"] {
                    assert!(!text.contains(internal), "{role} {scope} {path} shows {internal}: {text}");
                }
            }
        }
    }
    let shown = send(&house, &own, "GET", "/v1/tenants/acme-eu", ()).await.ok(200).body;
    assert_eq!(shown["holds"][0]["hold"], "billing");
    assert_eq!(shown["holds"][0]["placed_by"], "platform");
    let versions = send(&house, &own, "GET", "/v1/tenants/acme-eu/versions", ()).await.ok(200).body;
    // Only who may read keys sees the id of a key.
    assert_eq!(versions["items"][0]["actor"], "user");
    assert!(versions["items"][0]["actor_name"].as_str().is_some_and(|name| name.starts_with("customer")));
    assert_eq!(versions["items"][2]["actor"], "platform");
    let staff = house.get("/v1/tenants/acme-eu/versions").await.ok(200).body;
    assert_eq!(staff["items"][2]["actor_name"], "admin", "names of keys are shown beside their ids");
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["holds"][0]["placed_by_name"], "admin");
}

async fn a_document_that_stands_for_the_whole_must_keep_what_its_sender_does_not_see(on: On) {
    let house = prepared(on).await;
    let own = token(&house, Role::Customer, "organization:acme").await;
    let mut document = send(&house, &own, "GET", "/v1/tenants/acme-eu", ()).await.ok(200).body;
    document["labels"] = json!({"tier": "bronze"});
    document["display_name"] = json!("Edited");
    let written = send(&house, &own, "PUT", "/v1/tenants/acme-eu", &document).await.ok(200).body;
    assert_eq!((&written["labels"], written.get("billing")), (&json!({"tier": "bronze"}), None));
    send(&house, &own, "PATCH", "/v1/tenants/acme-eu", json!({"labels": null})).await.ok(200);
    send(&house, &own, "PATCH", "/v1/tenants/acme-eu", json!({"labels": {"tier": "bronze"}})).await.ok(200);
    let whole = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!(whole["labels"], json!({"tier": "bronze", "internal/risk": "low-marker"}));
    assert_eq!(whole["billing"], json!({"plan": "other-plan-marker"}));
    let mut document = send(&house, &own, "GET", "/v1/tenants/acme-eu", ()).await.ok(200).body;
    document["quotas"] = json!({"storageGiB": 6});
    let refused = send(&house, &own, "PUT", "/v1/tenants/acme-eu", &document).await.ok(403);
    assert_eq!(refused.body["errors"][0]["pointer"], "/quotas");
}

async fn a_scoped_key_must_apply_its_own_fields_and_nothing_else(on: On) {
    let house = prepared(on).await;
    let own = token(&house, Role::Customer, "organization:acme").await;
    let apply = async |document: Value| send(&house, &own, "POST", "/v1/apply", document).await;
    let tenant = json!({"kind": "Tenant", "tenant_id": "acme-eu", "display_name": "Applied"});
    assert_eq!(apply(tenant).await.ok(200).body["results"][0]["result"], "changed");
    // Labels in a file are the whole map of the labels that the caller may see.
    let internal = json!({"labels": {"internal/risk": "high", "tier": "gold"}});
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], internal).await.ok(200);
    let labels = json!({"kind": "Tenant", "tenant_id": "acme-eu", "labels": {"team": "a"}});
    let changes = apply(labels).await.ok(200).body["results"][0]["changes"].clone();
    let places: Vec<_> = changes.as_array().expect("changes").iter().map(|change| change["pointer"].clone()).collect();
    assert_eq!(places, ["/labels/team", "/labels/tier"]);
    let labels = house.get("/v1/tenants/acme-eu").await.body["labels"].clone();
    assert_eq!(labels, json!({"internal/risk": "high", "team": "a"}));
    let before = house.events("").await.len();
    let outside =
        |id: &str| json!({"kind": "Tenant", "tenant_id": id, "organization_id": "globex", "region": "eu-west-1"});
    let lines: Vec<_> = [
        apply(json!({"kind": "Tenant", "tenant_id": "acme-eu", "quotas": {"storageGiB": 9}})).await,
        apply(outside("globex-eu")).await,
        apply(outside("nobody-eu")).await,
    ]
    .into_iter()
    .map(|answered| answered.ok(403).body["results"][0].clone())
    .collect();
    assert!(lines.iter().all(|line| line["result"] == "refused"), "{lines:#?}");
    assert_eq!(lines[0]["error"]["code"], "fields_forbidden");
    assert_eq!(
        lines[1]["error"]["detail"], lines[2]["error"]["detail"],
        "a tenant outside the scope looks like a missing one"
    );
    for document in [
        json!({"kind": "Organization", "organization_id": "acme", "caps": {"tenants": 9}}),
        json!({"kind": "Organization", "organization_id": "new"}),
        json!({"kind": "Organization", "organization_id": "globex"}),
    ] {
        apply(document).await.ok(403);
    }
    let same = apply(json!({"kind": "Organization", "organization_id": "acme"})).await.ok(200).body;
    assert_eq!(same["results"][0]["result"], "unchanged");
    assert_eq!(house.events("").await.len(), before);
}

async fn a_viewer_must_plan_and_not_apply(on: On) {
    let house = prepared(on).await;
    let file = json!([
        {"kind": "Organization", "organization_id": "new"},
        {"kind": "Tenant", "tenant_id": "new-eu", "organization_id": "new", "region": "eu-west-1"},
        {"kind": "Tenant", "tenant_id": "acme-eu", "quotas": {"storageGiB": 9}},
    ]);
    let token = format!("Bearer {}", house.token(Role::Viewer));
    let planned = send(&house, &token, "POST", "/v1/apply?dry_run=true", &file).await.ok(200).body;
    let results: Vec<_> =
        planned["results"].as_array().expect("results").iter().map(|line| line["result"].clone()).collect();
    assert_eq!(results, ["created", "created", "changed"], "{planned:#}");
    let before = house.events("").await.len();
    assert_eq!(send(&house, &token, "POST", "/v1/apply", &file).await.ok(403).code(), "forbidden");
    assert_eq!(house.events("").await.len(), before);
}
