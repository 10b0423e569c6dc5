//! Webhooks in the manifests of organizations: the same rules as in those of tenants, and the same version for direct changes.

use crate::house::{Answered, House, On, on_both};
use serde_json::{Value, json};
use tenancy_core::ids::{OrganizationId, WebhookId};
use tenancy_core::webhook::WebhookOwner;

on_both!(
    webhooks_must_be_planned_written_left_alone_changed_and_removed,
    an_entry_must_keep_what_a_document_omits,
    every_bad_value_must_be_named_at_its_place,
    a_document_that_was_read_must_be_taken_back,
    a_direct_change_must_be_a_new_version_of_the_organization,
    a_webhook_must_have_a_secret_that_only_rotation_shows,
    a_key_must_write_only_what_it_may_change_directly,
    what_was_changed_since_the_decision_must_be_refused,
    a_closed_organization_must_take_no_webhooks,
);

const PATH: &str = "/v1/organizations/acme";

async fn furnished(on: On) -> House {
    let house = House::new(on).await;
    house.furnish().await;
    house
}

fn hook(name: &str) -> Value {
    json!({"name": name, "url": format!("https://hooks.acme.example/{name}"), "events": ["TENANCY_*"]})
}

fn full(name: &str) -> Value {
    json!({
        "name": name, "url": "https://hooks.acme.example/x", "events": ["TENANCY_*", "JOB_FAILED"],
        "retry_policy": {"backoff": "fixed", "base_seconds": 7, "max_seconds": 70, "max_retries": 3, "jitter": 0.25},
        "max_per_second": 5, "max_in_flight": 2, "timeout_seconds": 3, "format": "cloudevents", "enabled": false,
    })
}

fn document(webhooks: Value) -> Value {
    json!([{"kind": "Organization", "organization_id": "acme", "webhooks": webhooks}])
}

async fn apply(house: &House, query: &str, file: Value) -> Value {
    house.post(&format!("/v1/apply{query}"), file).await.ok(200).body["results"][0].clone()
}

async fn names(house: &House) -> Vec<String> {
    let list = house.get(&format!("{PATH}/webhooks")).await.ok(200).body;
    let items = list["items"].as_array().expect("items");
    items.iter().map(|webhook| webhook["name"].as_str().expect("a name").to_owned()).collect()
}

async fn version(house: &House) -> i64 {
    house.get(PATH).await.ok(200).body["version"].as_i64().expect("a version")
}

fn pointers(refused: &Value) -> Vec<String> {
    let errors = refused["errors"].as_array().expect("errors");
    let mut found: Vec<_> = errors.iter().map(|e| e["pointer"].as_str().expect("a pointer").to_owned()).collect();
    found.sort();
    found
}

async fn webhooks_must_be_planned_written_left_alone_changed_and_removed(on: On) {
    let house = furnished(on).await;
    let file = document(json!([full("main"), hook("aux")]));
    let planned = apply(&house, "?dry_run=true", file.clone()).await;
    assert_eq!((&planned["result"], &planned["changes"][0]["pointer"]), (&json!("changed"), &json!("/webhooks")));
    assert_eq!(names(&house).await, Vec::<String>::new(), "a plan writes nothing");
    let made = apply(&house, "", file.clone()).await;
    assert_eq!((&made["result"], &made["version"]), (&json!("changed"), &json!(2)));
    assert_eq!(names(&house).await, ["aux", "main"]);
    assert_eq!(apply(&house, "", file.clone()).await["result"], "unchanged");
    for (name, value) in full("main").as_object().expect("an object") {
        let read = house.get(PATH).await.ok(200).body;
        assert_eq!(&read["webhooks"][1][name], value, "{name}");
        assert_eq!(house.get(&format!("{PATH}/webhooks/main")).await.ok(200).body[name], *value, "{name}");
    }
    let list = house.get("/v1/organizations").await.ok(200).body;
    assert_eq!(list["items"][0].get("webhooks"), None, "a list omits them");

    let renamed = json!([{"kind": "Organization", "organization_id": "acme", "display_name": "Acme Corp"}]);
    assert_eq!(apply(&house, "", renamed).await["changes"][0]["pointer"], "/display_name");
    assert_eq!(names(&house).await, ["aux", "main"], "an absent list is left alone");
    let other = json!([{"name": "aux", "events": ["JOB_FAILED"]}, hook("third")]);
    let changed = apply(&house, "", document(other)).await;
    let places: Vec<_> = changed["changes"].as_array().expect("changes").iter().map(|c| c["pointer"].clone()).collect();
    assert_eq!(places, ["/webhooks/aux/events", "/webhooks/main", "/webhooks/third"]);
    assert_eq!(names(&house).await, ["aux", "third"], "a present list is the whole list");
    apply(&house, "", document(json!(null))).await;
    assert_eq!((names(&house).await, version(&house).await), (Vec::new(), 5));

    let said: Vec<_> = house.events("event_type=WEBHOOK_UPDATED").await;
    let said: Vec<_> = said.iter().map(|event| (&event["payload"]["change"], &event["payload"]["name"])).collect();
    let mut said: Vec<_> =
        said.iter().map(|(change, name)| format!("{} {}", change.as_str().unwrap(), name.as_str().unwrap())).collect();
    said.sort();
    let expected =
        ["added aux", "added main", "added third", "changed aux", "removed aux", "removed main", "removed third"];
    assert_eq!(said, expected);
    let updated = house.events("event_type=ORGANIZATION_UPDATED").await;
    assert_eq!(updated.len(), 4);
    assert!(!json!(updated).to_string().contains("hooks.acme.example"), "URLs can contain secrets: {updated:#?}");

    // A new organization has them from the beginning.
    let beta = json!([{"kind": "Organization", "organization_id": "beta", "webhooks": [hook("main")]}]);
    assert_eq!(apply(&house, "", beta).await["result"], "created");
    house.get("/v1/organizations/beta/webhooks/main").await.ok(200);
    let gamma = json!({"organization_id": "gamma", "webhooks": [hook("main")]});
    let made = house.post("/v1/organizations", gamma).await.ok(201).body;
    assert_eq!(made["webhooks"][0]["name"], "main");
}

async fn an_entry_must_keep_what_a_document_omits(on: On) {
    let house = furnished(on).await;
    house.post(&format!("{PATH}/webhooks"), full("main")).await.ok(201);
    let entry = async |entry: Value| {
        apply(&house, "", document(json!([entry]))).await;
        house.get(&format!("{PATH}/webhooks/main")).await.ok(200).body
    };
    let after = entry(json!({"name": "main", "events": ["JOB_FAILED"]})).await;
    for (name, value) in full("main").as_object().expect("an object").iter().filter(|(name, _)| *name != "events") {
        assert_eq!(&after[name], value, "{name} stays");
    }
    assert_eq!(after["events"], json!(["JOB_FAILED"]));
    let after =
        entry(json!({"name": "main", "retry_policy": {"max_retries": 4}, "max_per_second": null, "enabled": true}))
            .await;
    assert_eq!(after["retry_policy"], json!({"max_retries": 4}), "a present field is the whole field");
    assert_eq!((after.get("max_per_second"), &after["enabled"]), (None, &json!(true)));
    // PATCH replaces the list, and PUT the manifest.
    let patched = house.send("PATCH", PATH, &[("if-match", "*")], json!({"webhooks": [hook("aux")]})).await.ok(200);
    assert_eq!((&patched.body["webhooks"][0]["name"], names(&house).await), (&json!("aux"), vec!["aux".to_owned()]));
    let put = json!({"organization_id": "acme", "display_name": "Acme"});
    house.send("PUT", PATH, &[("if-match", "*")], put).await.ok(200);
    assert_eq!(names(&house).await, Vec::<String>::new());
}

async fn every_bad_value_must_be_named_at_its_place(on: On) {
    let house = furnished(on).await;
    let bad = json!({
        "name": "Main Hook", "url": "https://u:p@x", "events": ["TENANCY_CREATD"], "retry_policy": {"backoff": "linear"},
        "max_per_second": 0, "format": "xml", "enabled": "yes", "colour": 1, "secret": "whsec_x",
    });
    let webhooks = json!([hook("main"), bad, hook("main")]);
    let fields =
        ["colour", "enabled", "events/0", "format", "max_per_second", "name", "retry_policy/backoff", "secret", "url"];
    let mut expected: Vec<_> = fields.map(|field| format!("/webhooks/1/{field}")).to_vec();
    expected.push("/webhooks/2/name".to_owned());
    let patch = json!({"webhooks": webhooks});
    let refused = house.send("PATCH", PATH, &[("if-match", "*")], patch).await.ok(422).body;
    assert_eq!(pointers(&refused), expected);
    let refused = house.post("/v1/apply", document(webhooks)).await.ok(422).body;
    assert_eq!(pointers(&refused), expected.iter().map(|at| format!("/0{at}")).collect::<Vec<_>>());
    let many: Vec<_> = (0..65).map(|number| hook(&format!("hook-{number}"))).collect();
    let refused = house.post("/v1/apply", document(json!(many))).await.ok(422).body;
    assert_eq!(pointers(&refused), ["/0/webhooks"]);
    apply(&house, "", document(json!(many[..64]))).await;

    // An address that nothing is sent to is refused before anything is written.
    let policy = tenancy_server::webhooks::sending::Policy::default();
    house.server.tenancy.url_policy.set(policy).expect("unset");
    let mut local = hook("local");
    local["url"] = json!("https://127.0.0.1/x");
    for query in ["?dry_run=true", "", "?partial=true"] {
        let file = json!([
            {"kind": "Organization", "organization_id": "new"},
            {"kind": "Organization", "organization_id": "acme", "webhooks": [hook("fine"), local]},
            {"kind": "Tenant", "tenant_id": "acme-eu", "webhooks": [hook("fine"), local]},
        ]);
        let answered = house.post(&format!("/v1/apply{query}"), file).await;
        let Answered { status, body, .. } = &answered;
        for line in 1..3 {
            let error = &body["results"][line]["error"]["errors"][0];
            assert_eq!((&error["pointer"], &error["code"]), (&json!("/webhooks/1/url"), &json!("bad_url")), "{body:#}");
        }
        let made = house.get("/v1/organizations/new").await.status.as_u16();
        assert_eq!((status.as_u16(), made), if query == "?partial=true" { (200, 200) } else { (422, 404) }, "{query}");
    }
    let patch = json!({"webhooks": [local]});
    let refused = house.send("PATCH", PATH, &[("if-match", "*")], patch).await.ok(422).body;
    assert_eq!(pointers(&refused), ["/webhooks/0/url"]);
}

async fn a_document_that_was_read_must_be_taken_back(on: On) {
    let house = furnished(on).await;
    apply(&house, "", document(json!([full("main"), hook("aux")]))).await;
    let mut read = house.get(PATH).await.ok(200);
    let put = house.send("PUT", PATH, &[("if-match", read.header("etag"))], &read.body).await.ok(200).body;
    assert_eq!(put["version"], read.body["version"], "nothing changed");
    read.body["webhooks"][1]["timeout_seconds"] = json!(9);
    let put = house.send("PUT", PATH, &[("if-match", read.header("etag"))], &read.body).await.ok(200).body;
    assert_eq!((&put["version"], &put["webhooks"][1]["timeout_seconds"]), (&json!(3), &json!(9)));
    let mut edited = put;
    edited["webhooks"][0]["webhook_id"] = json!("whk_other");
    edited["webhooks"][1]["disabled_cause"] = json!("none");
    let refused = house.send("PUT", PATH, &[("if-match", "*")], &edited).await.ok(422).body;
    assert_eq!(pointers(&refused), ["/webhooks/0/webhook_id", "/webhooks/1/disabled_cause"]);
}

async fn a_direct_change_must_be_a_new_version_of_the_organization(on: On) {
    let house = furnished(on).await;
    let list = format!("{PATH}/webhooks");
    let one = format!("{list}/main");
    let stale = house.get(PATH).await.ok(200);
    house.post(&list, hook("main")).await.ok(201);
    assert_eq!(version(&house).await, 2);
    let caps = json!({"caps": {"tenants": 9}});
    house.send("PATCH", PATH, &[("if-match", stale.header("etag"))], caps).await.ok(412);
    let mut file = document(json!([hook("main")]));
    file[0]["version"] = json!(1);
    let refused = house.post("/v1/apply", file).await.ok(412).body;
    assert_eq!(refused["results"][0]["error"]["current_version"], 2, "{refused:#}");
    let patch = json!({"events": ["JOB_FAILED"]});
    house.send("PATCH", &one, &[("if-match", "*")], &patch).await.ok(200);
    assert_eq!(version(&house).await, 3);
    house.send("PATCH", &one, &[("if-match", "*")], &patch).await.ok(200);
    assert_eq!(version(&house).await, 3, "nothing changed");
    for (to, expected) in [("disable", 4), ("disable", 4), ("enable", 5), ("rotate", 5)] {
        house.post(&format!("{one}/{to}"), ()).await.ok(200);
        assert_eq!(version(&house).await, expected, "{to}: a secret is no part of the manifest");
    }
    house.send("DELETE", &one, &[("if-match", "*")], ()).await.ok(204);
    let after = house.get(PATH).await.ok(200).body;
    assert_eq!((&after["version"], after.get("webhooks")), (&json!(6), None));
    let versions = house.events("event_type=ORGANIZATION_UPDATED").await;
    let versions: Vec<_> = versions.iter().map(|event| event["payload"]["version"].as_i64().expect("one")).collect();
    assert_eq!(versions.iter().sum::<i64>(), 2 + 3 + 4 + 5 + 6, "{versions:?}");
    house.post("/v1/webhooks", hook("main")).await.ok(201);
    assert_eq!(version(&house).await, 6, "a webhook of the platform belongs to no organization");
}

async fn a_webhook_must_have_a_secret_that_only_rotation_shows(on: On) {
    let house = furnished(on).await;
    let applied = apply(&house, "", document(json!([hook("main")]))).await;
    let shown = house.get(PATH).await.ok(200).body;
    assert!(!applied.to_string().contains("whsec_") && !shown.to_string().contains("secret"), "{applied:#} {shown:#}");
    let id = WebhookId::known(shown["webhooks"][0]["webhook_id"].as_str().expect("an id"));
    let owner = WebhookOwner::Organization(OrganizationId::known("acme"));
    let store = &house.server.tenancy.store;
    let first = store.webhook_secrets(&owner, &id).await.expect("readable");
    assert_eq!(first, store.webhook_secrets(&owner, &id).await.expect("readable"), "it is made once");
    let rotated = house.post(&format!("{PATH}/webhooks/main/rotate"), ()).await.ok(200).body;
    assert!(rotated["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    apply(&house, "", document(json!([{"name": "main", "events": ["*"]}]))).await;
    let kept = store.webhook_secrets(&owner, &id).await.expect("readable");
    let now = house.server.tenancy.now();
    assert_eq!(kept.live(now).count(), 2, "a change keeps the secrets");
}

async fn key(house: &House, role: &str, scope: &str) -> String {
    let name = format!("{role} {}", house.next());
    let made = house.post("/v1/keys", json!({"name": name, "role": role, "scope": scope})).await.ok(201).body;
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

async fn a_key_must_write_only_what_it_may_change_directly(on: On) {
    let house = furnished(on).await;
    let labels = json!({"labels": {"tier": "gold", "internal/risk": "high-marker"}, "caps": {"tenants": 5}});
    house.send("PATCH", PATH, &[("if-match", "*")], labels).await.ok(200);
    let send = async |token: &str, query: &str, file: &Value| {
        let headers = [("authorization", token), ("content-type", "application/json")];
        house.send_as_it_is("POST", &format!("/v1/apply{query}"), &headers, file).await
    };
    let customer = key(&house, "customer", "organization:acme").await;
    let made = send(&customer, "", &document(json!([hook("main")]))).await.ok(200).body;
    assert_eq!(made["results"][0]["result"], "changed");
    // The rest of the document may say what is so: the caller does not see internal labels, and removes none.
    let mut whole = document(json!([hook("aux")]));
    whole[0]["display_name"] = json!("Acme");
    whole[0]["labels"] = json!({"tier": "gold"});
    send(&customer, "", &whole).await.ok(200);
    let kept = house.get(PATH).await.ok(200).body;
    assert_eq!(
        (&kept["labels"]["internal/risk"], names(&house).await),
        (&json!("high-marker"), vec!["aux".to_owned()])
    );
    whole[0]["caps"] = json!({"tenants": 6});
    whole[0]["labels"] = json!({"internal/risk": "low"});
    for query in ["", "?dry_run=true"] {
        let answered = send(&customer, query, &whole).await;
        let line = &answered.body["results"][0];
        assert_eq!(line["error"]["code"], "fields_forbidden", "{:#}", answered.body);
        assert_eq!(pointers(&line["error"]), ["/caps", "/labels", "/labels/internal~1risk"]);
        assert!(!answered.body.to_string().contains("high-marker"), "{:#}", answered.body);
    }
    let before = version(&house).await;
    for (role, scope) in [
        ("customer", "organization:globex"),
        ("customer", "tenant:acme-eu"),
        ("viewer", "organization:acme"),
        ("auditor", "all"),
    ] {
        if scope.ends_with("globex") {
            house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
        }
        send(&key(&house, role, scope).await, "", &document(json!([hook("spy")]))).await.ok(403);
    }
    assert_eq!(version(&house).await, before);
    let viewer = key(&house, "viewer", "all").await;
    let planned = send(&viewer, "?dry_run=true", &document(json!([hook("main")]))).await.ok(200).body.to_string();
    assert!(planned.contains("https://hooks.acme.example/***") && !planned.contains("example/main"), "{planned}");
    let shown = house.send_as_it_is("GET", PATH, &[("authorization", &viewer)], ()).await.ok(200).body.to_string();
    assert!(shown.contains("https://hooks.acme.example/***") && !shown.contains("example/aux"), "{shown}");
    let shown = house.send_as_it_is("GET", PATH, &[("authorization", &customer)], ()).await.ok(200).body;
    assert_eq!(shown["webhooks"][0]["url"], "https://hooks.acme.example/aux");
}

async fn what_was_changed_since_the_decision_must_be_refused(on: On) {
    let house = furnished(on).await;
    // Many writers of one organization: each file is written as it was decided, or refused.
    let file = |number: usize| document(json!([hook(&format!("file-{number}"))]));
    let direct = |number: usize| hook(&format!("direct-{number}"));
    let list = format!("{PATH}/webhooks");
    let writes = futures_util::future::join_all((0..8).map(|number| {
        let (house, list) = (&house, &list);
        async move {
            if number % 2 == 0 {
                house.post("/v1/apply", file(number)).await
            } else {
                house.post(list, direct(number)).await
            }
        }
    }));
    let answers = writes.await;
    let changed = answers.iter().filter(|answer| match answer.body["results"][0]["result"].as_str() {
        Some(result) => result == "changed",
        None => answer.status.as_u16() == 201,
    });
    let changed = i64::try_from(changed.count()).expect("few");
    assert_eq!(version(&house).await, 1 + changed, "each write is one version: {answers:#?}");
    let versions = house.events("event_type=ORGANIZATION_UPDATED").await;
    assert_eq!(i64::try_from(versions.len()).expect("few"), changed);
    let shown = house.get(PATH).await.ok(200).body["webhooks"].as_array().expect("webhooks").len();
    assert_eq!(names(&house).await.len(), shown);
}

async fn a_closed_organization_must_take_no_webhooks(on: On) {
    let house = furnished(on).await;
    house.post("/v1/organizations", json!({"organization_id": "beta", "webhooks": [hook("main")]})).await.ok(201);
    house.send("DELETE", "/v1/organizations/beta", &[("if-match", "*")], ()).await.ok(200);
    let file = json!([{"kind": "Organization", "organization_id": "beta", "webhooks": []}]);
    house.post("/v1/apply", file).await.ok(409);
    house.get("/v1/organizations/beta/webhooks/main").await.ok(200);
    let beta = "/v1/organizations/beta";
    for webhooks in
        [json!([hook("main"), hook("more")]), json!([{"name": "main", "url": "https://x", "events": ["*"]}])]
    {
        house.send("PATCH", beta, &[("if-match", "*")], json!({"webhooks": webhooks})).await.ok(409);
    }
    let path = "/v1/organizations/beta/webhooks/main";
    house.send("DELETE", path, &[("if-match", "*")], ()).await.ok(204);
}
