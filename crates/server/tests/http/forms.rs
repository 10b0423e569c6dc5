//! Normal forms of what clients send, what readers see of URLs, the limit of times, and rows that cannot be read.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use tenancy_core::apikey::Role;

on_both!(
    every_spelling_of_a_host_must_name_one_tenant,
    must_show_who_can_only_read_no_path_of_a_url,
    must_name_the_limit_of_times,
);

async fn every_spelling_of_a_host_must_name_one_tenant(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let document = |id: &str, host: &str| json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "aliases": {"host": host}});
    let made = house.post("/v1/tenants", document("host1", "Shop.Example.com.")).await.ok(201).body;
    assert_eq!(made["aliases"], json!({"host": "shop.example.com"}), "{made:#}");
    let taken = house.post("/v1/tenants", document("host2", "SHOP.example.com")).await.ok(409);
    assert!(taken.body["detail"].as_str().unwrap().contains("host:shop.example.com"), "{:#}", taken.body);
    for spelt in ["host:shop.example.com", "host:SHOP.Example.com", "host:shop.example.com."] {
        assert_eq!(house.get(&format!("/v1/tenants/{spelt}")).await.ok(200).body["tenant_id"], "host1", "{spelt}");
    }
    let found = house.get("/v1/tenants?q=SHOP.ex").await.ok(200).body;
    assert_eq!(found["items"][0]["tenant_id"], "host1");
    for bad in ["https://shop.example.com", "shop.example.com:443", "shop.example.com/x"] {
        let refused = house.post("/v1/tenants", document("host3", bad)).await.ok(422).body;
        let error = &refused["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!("/aliases/host"), &json!("bad_alias")));
        assert!(error["message"].as_str().unwrap().ends_with("write shop.example.com"), "{error:#}");
    }
    let label = json!({"labels": {"owner": "Ame\u{301}lie"}});
    house.send("PATCH", "/v1/tenants/host1", &[("if-match", "*")], label).await.ok(200);
    for spelt in ["Am%C3%A9lie", "Ame%CC%81lie"] {
        let found = house.get(&format!("/v1/tenants?label=owner={spelt}")).await.ok(200).body;
        assert_eq!(found["items"][0]["tenant_id"], "host1", "{spelt}");
    }
}

async fn must_show_who_can_only_read_no_path_of_a_url(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let webhooks = |path: &str| json!({"webhooks": [{"name": "main", "url": format!("https://hooks.example.com{path}"), "events": ["TENANCY_*"]}]});
    for path in ["/services/T0/XXsecret?token=abc", "/services/T1/XXsecret"] {
        house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], webhooks(path)).await.ok(200);
    }
    let mut file = acme_eu();
    file["kind"] = json!("Tenant");
    file["webhooks"] = webhooks("/services/T2/XXsecret")["webhooks"].clone();
    for role in [Role::Viewer, Role::Auditor, Role::Admin] {
        let token = format!("Bearer {}", house.token(role));
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        for (method, path, body) in [
            ("GET", "/v1/tenants/acme-eu", Value::Null),
            ("GET", "/v1/tenants/acme-eu/versions", Value::Null),
            ("GET", "/v1/tenants/acme-eu/versions/2", Value::Null),
            ("POST", "/v1/apply?dry_run=true", json!([file])),
        ] {
            let answer = match &body {
                Value::Null => house.send_as_it_is(method, path, &headers, ()).await,
                body => house.send_as_it_is(method, path, &headers, body).await,
            };
            let text = answer.ok(200).body.to_string();
            let shows = (text.contains("XXsecret"), text.contains("https://hooks.example.com/***"));
            assert_eq!(shows, (role == Role::Admin, role != Role::Admin), "{role} {method} {path}: {text}");
        }
        let log = house.send_as_it_is("GET", "/v1/audit?limit=500", &headers, ()).await.ok(200).body.to_string();
        assert!(!log.contains("XXsecret"), "{log}");
    }
    let masked = house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], webhooks("/***")).await.ok(422);
    assert!(masked.body["detail"].as_str().unwrap().contains("is masked"), "{:#}", masked.body);
}

async fn must_name_the_limit_of_times(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let says = "must not be later than 9999-12-30T22:00:00Z: leave it out for never";
    let (late, last) = ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.5Z");
    let hold = |until: &str| json!({"hold": "billing", "reason": "x", "until": until});
    let key = |name: &str, until: &str| json!({"name": name, "role": "viewer", "expires_at": until});
    for (path, body) in [
        ("/v1/tenants/acme-eu/suspend", hold(late)),
        ("/v1/organizations/acme/suspend", hold(late)),
        ("/v1/keys", key("late", late)),
    ] {
        let detail = house.post(path, body).await.ok(422).body["detail"].clone();
        assert!(detail.as_str().unwrap().contains(says), "{path}: {detail}");
    }
    for path in ["/v1/audit?until=", "/v1/audit?since=", "/v1/tenants?created_before="] {
        let detail = house.get(&format!("{path}{late}")).await.ok(400).body["detail"].clone();
        assert!(detail.as_str().unwrap().contains(says), "{path}: {detail}");
        house.get(&format!("{path}{last}")).await.ok(200);
    }
    house.post("/v1/keys", key("last", last)).await.ok(201);
    house.get("/v1/keys").await.ok(200);
    house.post("/v1/organizations/acme/suspend", hold(last)).await.ok(200);
    house.post("/v1/tenants/acme-eu/suspend", hold(last)).await.ok(202);
    house.work().await;
    let held = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!(held["holds"][0]["until"], last, "{held:#}");
    let released = house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await;
    assert!(released.status.is_success(), "{:#}", released.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_list_a_row_that_cannot_be_read_by_its_id() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    house
        .post("/v1/tenants", json!({"tenant_id": "t-1", "organization_id": "acme", "region": "eu-west-1"}))
        .await
        .ok(201);
    house.postgres.as_ref().unwrap().execute("UPDATE tenants SET labels = '[\"secret\"]' WHERE tenant_id = 'acme-eu'");
    let list = house.get("/v1/tenants").await.ok(200).body;
    assert_eq!(list["items"][0]["tenant_id"], "t-1");
    assert_eq!(list["unreadable"], json!([{"id": "acme-eu", "place": "tenants.labels"}]));
    assert!(!list.to_string().contains("secret"));
    let one = house.get("/v1/tenants/acme-eu").await.ok(500);
    assert_eq!(one.code(), "unreadable");
    assert!(one.body["detail"].as_str().unwrap().contains("tenants.labels"), "{:#}", one.body);
    house.get("/v1/tenants/t-1").await.ok(200);
}
