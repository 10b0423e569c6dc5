//! Webhooks of tenants, of organizations and of the platform: who owns them, what is checked, and where secrets are.

use crate::house::{Answered, House, On, on_both};
use serde_json::{Value, json};
use tenancy_core::ids::{OrganizationId, TenantId, WebhookId};
use tenancy_core::webhook::{Secrets, WebhookOwner};

on_both!(
    webhooks_of_each_owner_must_be_created_read_changed_and_deleted,
    a_secret_must_be_shown_once_and_be_nowhere_else,
    secrets_must_rotate_with_an_overlap,
    a_given_secret_must_be_checked_and_never_repeated,
    a_webhook_from_a_manifest_must_have_a_secret_that_only_rotation_shows,
    every_bad_value_must_be_named_for_each_owner,
    a_webhook_must_be_changed_only_on_its_version,
    a_name_must_be_taken_once_per_owner,
    enabling_must_end_what_the_server_disabled,
    a_customer_must_manage_its_own_webhooks_and_see_no_others,
    a_reader_must_see_no_more_than_the_host_of_a_url,
    an_absent_field_must_stay_in_an_apply_and_a_present_one_must_replace,
    a_purge_must_delete_the_webhooks,
    a_url_that_nothing_is_sent_to_must_be_refused_on_every_path,
);

const OWNERS: [&str; 3] = ["/tenants/acme-eu", "/organizations/acme", ""];

fn main_hook() -> Value {
    json!({
        "name": "main", "url": "https://hooks.acme.example/x", "events": ["TENANCY_*", "JOB_FAILED"],
        "retry_policy": {"backoff": "fixed", "base_seconds": 7, "max_seconds": 70, "max_retries": 3, "jitter": 0.25},
        "max_per_second": 5, "max_in_flight": 2, "timeout_seconds": 3, "format": "cloudevents", "enabled": true,
    })
}

fn simple(name: &str) -> Value {
    json!({"name": name, "url": "https://hooks.example", "events": ["*"]})
}

async fn furnished(on: On) -> House {
    let house = House::new(on).await;
    house.furnish().await;
    house
}

fn owner_of(path: &str) -> WebhookOwner {
    match path {
        "" => WebhookOwner::Platform,
        path if path.contains("organizations") => WebhookOwner::Organization(OrganizationId::known("acme")),
        _ => WebhookOwner::Tenant(TenantId::known("acme-eu")),
    }
}

async fn secrets(house: &House, owner: &str, webhook: &Value) -> Secrets {
    let id = WebhookId::known(webhook["webhook_id"].as_str().expect("an id"));
    house.server.tenancy.store.webhook_secrets(&owner_of(owner), &id).await.expect("readable")
}

async fn live(house: &House, owner: &str, webhook: &Value) -> Vec<String> {
    let now = house.server.tenancy.now();
    secrets(house, owner, webhook).await.live(now).map(|secret| secret.text.clone()).collect()
}

fn etag(answered: &Answered) -> String {
    answered.header("etag").to_owned()
}

async fn webhooks_of_each_owner_must_be_created_read_changed_and_deleted(on: On) {
    let house = furnished(on).await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        let made = house.post(&list, main_hook()).await.ok(201);
        assert_eq!(made.header("location"), format!("{list}/main"));
        assert!(made.header("cache-control").contains("no-store"));
        for (name, value) in main_hook().as_object().expect("an object") {
            assert_eq!(&made.body[name], value, "{owner} {name}");
        }
        let read = house.get(&format!("{list}/main")).await.ok(200);
        assert_eq!(read.body["webhook_id"], made.body["webhook_id"]);
        assert_eq!((etag(&read), read.body.get("secret")), (etag(&made), None));
        let by_id = house.get(&format!("{list}/{}", made.body["webhook_id"].as_str().expect("an id"))).await.ok(200);
        assert_eq!(by_id.body, read.body);
        house.post(&list, simple("aux")).await.ok(201);
        let names = |body: &Value| {
            body["items"].as_array().expect("items").iter().map(|w| w["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&house.get(&list).await.ok(200).body), ["aux", "main"], "{owner}");
        let first = house.get(&format!("{list}?limit=1")).await.ok(200).body;
        let next = first["next"].as_str().expect("a cursor");
        assert_eq!(names(&house.get(&format!("{list}?limit=1&after={next}")).await.ok(200).body), ["main"]);

        let patched = json!({"retry_policy": {"max_retries": 9}, "max_in_flight": null});
        let path = format!("{list}/main");
        let changed = house.send("PATCH", &path, &[("if-match", "*")], patched).await.ok(200).body;
        assert_eq!(changed["retry_policy"]["max_retries"], 9);
        assert_eq!((&changed["retry_policy"]["base_seconds"], changed.get("max_in_flight")), (&json!(7), None));
        let mut sent = house.get(&path).await.ok(200);
        sent.body["url"] = json!("https://other.example");
        let put = house.send("PUT", &path, &[("if-match", &etag(&sent))], &sent.body).await.ok(200).body;
        assert_eq!((&put["url"], put.get("secret")), (&json!("https://other.example"), None));
        let mut edited = put.clone();
        edited["created_at"] = json!("2020-01-01T00:00:00Z");
        let refused = house.send("PUT", &path, &[("if-match", "*")], &edited).await.ok(422).body;
        assert_eq!(refused["errors"][0]["pointer"], "/created_at");
        let again = house.send("PUT", &path, &[("if-match", "*")], &put).await.ok(200).body;
        assert_eq!(again["version"], put["version"], "nothing changed");
        house.send("DELETE", &path, &[("if-match", "*")], ()).await.ok(204);
        let gone = house.get(&format!("{list}/aus")).await.ok(404).body;
        assert!(gone["detail"].as_str().is_some_and(|text| text.contains("aux")), "{gone:#}");
        let put = house.send("PUT", &path, &[("if-none-match", "*")], main_hook()).await.ok(201);
        assert!(put.body["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{owner}");
        house.send("PUT", &path, &[("if-none-match", "*")], main_hook()).await.ok(412);
    }
    let changes: Vec<_> = house.events("event_type=WEBHOOK_UPDATED").await;
    let of = |change: &str| changes.iter().filter(|event| event["payload"]["change"] == change).count();
    assert_eq!((of("added"), of("changed"), of("removed")), (9, 6, 3), "{changes:#?}");
    let organization = changes.iter().filter(|event| event["payload"]["organization_id"] == "acme").count();
    assert_eq!(organization, 6, "events of an organization name it");
}

async fn a_secret_must_be_shown_once_and_be_nowhere_else(on: On) {
    let house = furnished(on).await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        let made = house.post(&list, simple("main")).await.ok(201).body;
        let first = made["secret"].as_str().expect("a secret").to_owned();
        let rotated = house.post(&format!("{list}/main/rotate"), ()).await.ok(200).body;
        let second = rotated["secret"].as_str().expect("a secret").to_owned();
        assert_ne!(first, second);
        assert_eq!(live(&house, owner, &made).await, [second.clone(), first.clone()]);
        house
            .send("PATCH", &format!("{list}/main"), &[("if-match", "*")], json!({"events": ["JOB_FAILED"]}))
            .await
            .ok(200);
        assert_eq!(live(&house, owner, &made).await, [second, first], "a change keeps the secrets");
        for path in [
            list.clone(),
            format!("{list}/main"),
            "/v1/tenants/acme-eu".to_owned(),
            "/v1/tenants/acme-eu/versions".to_owned(),
            "/v1/tenants/acme-eu/versions/2".to_owned(),
            "/v1/organizations/acme".to_owned(),
            "/v1/audit?limit=500".to_owned(),
        ] {
            let shown = house.get(&path).await.ok(200).body.to_string();
            assert!(!shown.contains("whsec_") && !shown.contains("\"secret\""), "{path}: {shown}");
        }
    }
}

async fn secrets_must_rotate_with_an_overlap(on: On) {
    let house = furnished(on).await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        let made = house.post(&list, simple("main")).await.ok(201).body;
        let rotate = async |body: Value| house.post(&format!("{list}/main/rotate"), body).await;
        for _ in 0..9 {
            rotate(json!({"overlap_seconds": 60})).await.ok(200);
        }
        let full = rotate(json!({"overlap_seconds": 60})).await.ok(409);
        assert!(full.body["detail"].as_str().is_some_and(|text| text.contains("10 live secrets")), "{:#}", full.body);
        house.server.tenancy.store.shift_clock(std::time::Duration::from_secs(61));
        assert_eq!(live(&house, owner, &made).await.len(), 1, "the overlap is over");
        rotate(json!({"overlap_seconds": 0})).await.ok(200);
        assert_eq!(live(&house, owner, &made).await.len(), 1);
        for bad in [json!({"overlap_seconds": -1}), json!({"overlap_seconds": 7 * 86_400 + 1}), json!({"overlap": 1})] {
            rotate(bad).await.ok(422);
        }
    }
}

async fn a_given_secret_must_be_checked_and_never_repeated(on: On) {
    let house = furnished(on).await;
    let good = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        for bad in [
            json!("whsec_c2hvcnQtYW5kLXNlY3JldA=="),
            json!("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            json!(7),
            json!(""),
        ] {
            let mut document = simple("main");
            document["secret"] = bad.clone();
            let refused = house.post(&list, document).await.ok(422).body;
            assert_eq!(refused["errors"][0]["pointer"], "/secret", "{bad}");
            assert!(
                !refused.to_string().contains("c2hvcnQt") && !refused.to_string().contains("MDEyMzQ1"),
                "{refused:#}"
            );
        }
        let mut document = simple("main");
        document["secret"] = json!(good);
        let made = house.post(&list, document).await.ok(201).body;
        assert_eq!((&made["secret"], live(&house, owner, &made).await), (&json!(good), vec![good.to_owned()]));
        house.post(&format!("{list}/main/rotate"), json!({"secret": good})).await.ok(409);
        let both = json!({"secret": "x", "overlap_seconds": -1});
        let refused = house.post(&format!("{list}/main/rotate"), both).await.ok(422).body;
        assert_eq!(refused["errors"].as_array().map(Vec::len), Some(2), "{refused:#}");
        let mut entry = simple("main");
        entry["secret"] = json!(good);
        let refused = house.send("PUT", &format!("{list}/main"), &[("if-match", "*")], entry).await.ok(422).body;
        assert!(refused["errors"][0]["message"].as_str().is_some_and(|text| text.contains("rotate")), "{refused:#}");
    }
}

async fn a_webhook_from_a_manifest_must_have_a_secret_that_only_rotation_shows(on: On) {
    let house = furnished(on).await;
    let file = json!([
        {"kind": "Tenant", "tenant_id": "acme-eu", "webhooks": [simple("declared")]},
        {"kind": "Tenant", "tenant_id": "acme-two", "organization_id": "acme", "region": "eu-west-1", "webhooks": [simple("declared")]},
    ]);
    let applied = house.post("/v1/apply", file).await.ok(200).body;
    assert!(!applied.to_string().contains("whsec_"), "{applied:#}");
    let webhook = house.get("/v1/tenants/acme-eu/webhooks/declared").await.ok(200).body;
    let first = live(&house, OWNERS[0], &webhook).await;
    assert_eq!((first.len(), live(&house, OWNERS[0], &webhook).await), (1, first.clone()), "it is made once");
    let rotated = house.post("/v1/tenants/acme-eu/webhooks/declared/rotate", ()).await.ok(200).body;
    let second = rotated["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(live(&house, OWNERS[0], &webhook).await, [second, first[0].clone()]);
    let all = house.events("event_type=WEBHOOK_UPDATED").await;
    let added = all.iter().find(|event| event["tenant_id"] == "acme-two");
    let added = added.unwrap_or_else(|| panic!("a registration commits the event, too: {all:#?}"));
    assert_eq!(added["payload"]["change"], "added");
}

async fn every_bad_value_must_be_named_for_each_owner(on: On) {
    let house = furnished(on).await;
    let bad = json!({
        "name": "Main Hook", "url": "https://u:p@x", "events": ["TENANCY_CREATD"],
        "retry_policy": {"backoff": "linear", "base_seconds": 0, "max_seconds": 86_401, "max_retries": 101, "jitter": 1.5, "factor": 2},
        "max_per_second": 0, "max_in_flight": 65, "timeout_seconds": 31, "format": "xml", "enabled": "yes", "colour": 1,
    });
    let expected = [
        "/colour",
        "/enabled",
        "/events/0",
        "/format",
        "/max_in_flight",
        "/max_per_second",
        "/name",
        "/retry_policy/backoff",
        "/retry_policy/base_seconds",
        "/retry_policy/factor",
        "/retry_policy/jitter",
        "/retry_policy/max_retries",
        "/retry_policy/max_seconds",
        "/timeout_seconds",
        "/url",
    ];
    let pointers = |refused: &Value, below: &str| {
        let errors = refused["errors"].as_array().expect("errors").clone();
        let mut found: Vec<_> =
            errors.iter().map(|e| e["pointer"].as_str().expect("a pointer").replace(below, "")).collect();
        found.sort();
        found
    };
    for owner in OWNERS {
        let refused = house.post(&format!("/v1{owner}/webhooks"), &bad).await.ok(422).body;
        assert_eq!(pointers(&refused, ""), expected, "{owner}");
    }
    let tenant = json!({"webhooks": [bad]});
    let refused = house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], tenant).await.ok(422).body;
    assert_eq!(pointers(&refused, "/webhooks/0"), expected);
    let longer = json!({"name": "main", "url": "https://x", "events": ["*"], "retry_policy": {"base_seconds": 9, "max_seconds": 8}});
    let refused = house.post("/v1/webhooks", longer).await.ok(422).body;
    assert_eq!(pointers(&refused, ""), ["/retry_policy/max_seconds"]);
}

async fn a_webhook_must_be_changed_only_on_its_version(on: On) {
    let house = furnished(on).await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        let made = house.post(&list, simple("main")).await.ok(201);
        let path = format!("{list}/main");
        let change = async |tag: &str, events: &str| {
            house.send("PATCH", &path, &[("if-match", tag)], json!({"events": [events]})).await
        };
        let both = tokio::join!(change(made.header("etag"), "JOB_FAILED"), change(made.header("etag"), "TENANCY_*"));
        let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{owner}");
        house.send("DELETE", &path, &[("if-match", made.header("etag"))], ()).await.ok(412);
        house.send("DELETE", &path, &[], ()).await.ok(428);
        house.send("POST", &format!("{path}/rotate"), &[("if-match", "\"999\"")], ()).await.ok(412);
        // Simultaneous rotations lose no secret.
        let before = live(&house, owner, &made.body).await.len();
        let rotate = || async { house.post(&format!("{path}/rotate"), ()).await.ok(200).body["secret"].clone() };
        let (one, two) = tokio::join!(rotate(), rotate());
        let after = live(&house, owner, &made.body).await;
        assert_eq!(after.len(), before + 2, "{owner}");
        assert!(
            after.contains(&one.as_str().expect("text").to_owned())
                && after.contains(&two.as_str().expect("text").to_owned())
        );
    }
}

async fn a_name_must_be_taken_once_per_owner(on: On) {
    let house = furnished(on).await;
    house.post("/v1/organizations", json!({"organization_id": "beta"})).await.ok(201);
    for owner in OWNERS.into_iter().chain(["/organizations/beta"]) {
        let list = format!("/v1{owner}/webhooks");
        let both = tokio::join!(house.post(&list, simple("main")), house.post(&list, simple("main")));
        let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{owner}");
        let refused = house.post(&list, simple("main")).await.ok(409);
        assert_eq!((refused.code(), &refused.body["errors"][0]["pointer"]), ("webhook_exists", &json!("/name")));
    }
    house.send("DELETE", "/v1/organizations/beta", &[("if-match", "*")], ()).await.ok(200);
    house.post("/v1/organizations/beta/webhooks", simple("more")).await.ok(409);
    for number in 1..64 {
        house.post("/v1/webhooks", simple(&format!("hook-{number}"))).await.ok(201);
    }
    let full = house.post("/v1/webhooks", simple("one-more")).await.ok(409).body;
    assert!(full["detail"].as_str().is_some_and(|text| text.contains("64 webhooks")), "{full:#}");
}

async fn enabling_must_end_what_the_server_disabled(on: On) {
    let house = furnished(on).await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        house.post(&list, simple("main")).await.ok(201);
        let switch = async |to: &str| house.post(&format!("{list}/main/{to}"), ()).await.ok(200).body;
        let same = switch("enable").await;
        assert_eq!(same["version"], house.get(&format!("{list}/main")).await.body["version"]);
        assert_eq!(switch("disable").await["enabled"], false);
        assert_eq!(house.get(&format!("{list}/main")).await.ok(200).body["enabled"], false);
        assert_eq!(switch("enable").await["enabled"], true);
        disable_as_the_server(&house, owner).await;
        let read = house.get(&format!("{list}/main")).await.ok(200).body;
        assert_eq!((&read["enabled"], &read["disabled_cause"]), (&json!(true), &json!("gone")), "{owner}");
        if owner.starts_with("/tenants") {
            let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
            assert_eq!(tenant["webhooks"][0]["disabled_cause"], "gone");
            house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", "*")], &tenant).await.ok(200);
        }
        // A manifest does not end it.
        house
            .send(
                "PATCH",
                &format!("{list}/main"),
                &[("if-match", "*")],
                json!({"enabled": true, "events": ["JOB_FAILED"]}),
            )
            .await
            .ok(200);
        assert_eq!(house.get(&format!("{list}/main")).await.body["disabled_cause"], "gone", "{owner}");
        switch("disable").await;
        let on = switch("enable").await;
        assert_eq!((on.get("disabled_at"), on.get("disabled_cause")), (None, None), "{owner}");
        let read = house.get(&format!("{list}/main")).await.body;
        assert_eq!((read.get("disabled_at"), &read["enabled"]), (None, &json!(true)), "{owner}");
    }
}

/// Disables the webhook `main` of an owner as the server does after a 410.
async fn disable_as_the_server(house: &House, owner: &str) {
    use tenancy_core::changes::Write;
    use tenancy_core::ids::CorrelationId;
    use tenancy_core::rules::webhooks::{event, updated, with_write};
    use tenancy_core::webhook::Webhook;
    use tenancy_server::tenancy::RequestContext;
    let (tenancy, owner) = (&house.server.tenancy, owner_of(owner));
    let request = RequestContext::by_part("webhooks", CorrelationId::known("webhooks"));
    let context = &mut tenancy.context(&request).expect("a moment");
    let before = tenancy.store.webhook(&owner, "main").await.expect("readable").expect("there");
    let after = Webhook { disabled_at: Some(context.now), disabled_cause: Some("gone".to_owned()), ..before.clone() };
    let changes = match owner.tenant_id() {
        Some(id) => {
            let snapshot = tenancy.store.snapshot(id).await.expect("readable").expect("there");
            let said = event(&after, "disabled", context);
            let write = Write::UpdateWebhookState(after.clone());
            with_write(&tenancy.declared, &snapshot, &after, write, said, context).expect("decided").changes
        }
        None => updated(&before, after, "disabled", context).expect("decided").changes,
    };
    tenancy.store.commit(changes.expect("a change")).await.expect("committed");
}

async fn key(house: &House, role: &str, scope: &str) -> String {
    let name = format!("{role} {}", house.next());
    let made = house.post("/v1/keys", json!({"name": name, "role": role, "scope": scope})).await.ok(201).body;
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

async fn a_customer_must_manage_its_own_webhooks_and_see_no_others(on: On) {
    let house = furnished(on).await;
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    let customer = key(&house, "customer", "organization:acme").await;
    let other = key(&house, "customer", "organization:globex").await;
    let tenant = key(&house, "customer", "tenant:acme-eu").await;
    let send = async |token: &str, method: &str, path: &str, body: Value| {
        let headers = [("authorization", token), ("content-type", "application/json"), ("if-match", "*")];
        let headers = if method == "POST" { &headers[..2] } else { &headers[..] };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        house.send_as_it_is(method, path, headers, text.as_str()).await
    };
    for list in ["/v1/organizations/acme/webhooks", "/v1/tenants/acme-eu/webhooks"] {
        send(&customer, "POST", list, simple("main")).await.ok(201);
        let path = format!("{list}/main");
        for (method, path, body) in [
            ("PATCH", path.clone(), json!({"events": ["JOB_FAILED"]})),
            ("POST", format!("{path}/rotate"), Value::Null),
            ("POST", format!("{path}/disable"), Value::Null),
            ("GET", list.to_owned(), Value::Null),
        ] {
            send(&customer, method, &path, body).await.ok(200);
        }
        for (method, path) in [("GET", list), ("GET", path.as_str()), ("DELETE", path.as_str())] {
            send(&other, method, path, Value::Null).await.ok(404);
        }
        send(&other, "POST", list, simple("spy")).await.ok(404);
    }
    send(&tenant, "GET", "/v1/organizations/acme/webhooks/main", Value::Null).await.ok(404);
    send(&tenant, "POST", "/v1/organizations/acme/webhooks", simple("spy")).await.ok(404);
    for (method, path) in [("GET", "/v1/webhooks"), ("POST", "/v1/webhooks"), ("DELETE", "/v1/webhooks/main")] {
        let body = if method == "POST" { simple("spy") } else { Value::Null };
        send(&customer, method, path, body).await.ok(403);
    }
    send(&customer, "DELETE", "/v1/organizations/acme/webhooks/main", Value::Null).await.ok(204);
}

async fn a_reader_must_see_no_more_than_the_host_of_a_url(on: On) {
    let house = furnished(on).await;
    let viewer = key(&house, "viewer", "all").await;
    for owner in OWNERS {
        let list = format!("/v1{owner}/webhooks");
        house.post(&list, main_hook()).await.ok(201);
        for path in [list.clone(), format!("{list}/main")] {
            let shown =
                house.send_as_it_is("GET", &path, &[("authorization", &viewer)], ()).await.ok(200).body.to_string();
            assert!(shown.contains("https://hooks.acme.example/***"), "{path}: {shown}");
        }
    }
}

async fn an_absent_field_must_stay_in_an_apply_and_a_present_one_must_replace(on: On) {
    let house = furnished(on).await;
    house.post("/v1/tenants/acme-eu/webhooks", main_hook()).await.ok(201);
    let apply = async |entry: Value| {
        let file = json!([{"kind": "Tenant", "tenant_id": "acme-eu", "webhooks": [entry]}]);
        house.post("/v1/apply", file).await.ok(200);
        house.get("/v1/tenants/acme-eu/webhooks/main").await.ok(200).body
    };
    let after = apply(json!({"name": "main", "events": ["JOB_FAILED"]})).await;
    for (name, value) in main_hook().as_object().expect("an object").iter().filter(|(name, _)| *name != "events") {
        assert_eq!(&after[name], value, "{name} stays");
    }
    assert_eq!(after["events"], json!(["JOB_FAILED"]));
    let after =
        apply(json!({"name": "main", "retry_policy": {"max_retries": 4}, "max_per_second": null, "enabled": false}))
            .await;
    assert_eq!(after["retry_policy"], json!({"max_retries": 4}), "a present field is the whole field");
    assert_eq!((after.get("max_per_second"), &after["enabled"]), (None, &json!(false)));
}

async fn a_purge_must_delete_the_webhooks(on: On) {
    let house = furnished(on).await;
    let tenant = json!({"tenant_id": "acme-gone", "organization_id": "acme", "region": "eu-west-1", "policies": {"purgeAfterDays": 0}});
    house.post("/v1/tenants", tenant).await.ok(201);
    let made = house.post("/v1/tenants/acme-gone/webhooks", simple("main")).await.ok(201).body;
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-gone", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-gone/webhooks", simple("late")).await.ok(409);
    house.post("/v1/tenants/acme-gone/purge", ()).await.ok(202);
    house.work().await;
    let id = WebhookId::known(made["webhook_id"].as_str().expect("an id"));
    let store = &house.server.tenancy.store;
    assert_eq!(store.webhooks_by_ids(std::slice::from_ref(&id)).await.expect("readable"), []);
    let owner = WebhookOwner::Tenant(TenantId::known("acme-gone"));
    assert!(store.webhook_secrets(&owner, &id).await.expect("readable").is_empty());
}

async fn a_url_that_nothing_is_sent_to_must_be_refused_on_every_path(on: On) {
    let house = furnished(on).await;
    let policy = tenancy_server::webhooks::sending::Policy::default();
    house.server.tenancy.url_policy.set(policy).expect("unset");
    for url in ["http://hooks.example", "https://127.0.0.1/x", "https://169.254.169.254/latest", "https://[::1]/"] {
        let entry = json!({"name": "main", "url": url, "events": ["*"]});
        for owner in OWNERS {
            let refused = house.post(&format!("/v1{owner}/webhooks"), &entry).await.ok(422).body;
            assert_eq!(refused["errors"][0]["pointer"], "/url", "{owner} {url}");
        }
        let patch = json!({"webhooks": [entry]});
        house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], &patch).await.ok(422);
        let file = json!([{"kind": "Tenant", "tenant_id": "acme-eu", "webhooks": [entry]}]);
        let applied = house.post("/v1/apply", file).await.body;
        assert_eq!(applied["results"][0]["result"], "refused", "{applied:#}");
    }
    house.post("/v1/webhooks", simple("main")).await.ok(201);
}
