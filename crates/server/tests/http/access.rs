//! Access: whether tenants may be served, for services and for gateways.

use crate::house::{Answered, House, On, acme_eu, on_both};
use serde_json::{Value, json};
use tenancy_core::apikey::Role;
use tenancy_server::refusals;

on_both!(
    a_tenant_must_be_refused_from_the_moment_a_hold_is_placed_until_it_is_active_again,
    every_state_must_have_its_reason,
    quotas_must_be_those_in_effect,
    an_answer_must_be_current_and_known_by_its_tag,
    a_current_answer_must_cost_as_few_reads_as_a_tenant,
    a_verdict_must_be_200_or_403_whatever_is_asked,
    a_verdict_must_name_the_tenant_its_terms_and_the_reason_in_headers,
    the_query_of_a_gateways_client_must_not_name_the_tenant,
    a_scoped_key_must_not_see_the_plan,
);

async fn access(house: &House, query: &str) -> Value {
    house.get(&format!("/v1/access?{query}")).await.ok(200).body
}

async fn reason(house: &House) -> String {
    let access = access(house, "tenant=acme-eu").await;
    assert_eq!(access["allowed"] == true, access.get("reason").is_none(), "{access}");
    assert_eq!(access["access_level"], if access["allowed"] == true { "full" } else { "none" });
    access["reason"].as_str().unwrap_or_default().to_owned()
}

async fn a_tenant_must_be_refused_from_the_moment_a_hold_is_placed_until_it_is_active_again(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    assert_eq!(reason(&house).await, "");
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    assert_eq!(reason(&house).await, "hold_billing", "before the job has run");
    house.work().await;
    assert_eq!(reason(&house).await, "hold_billing");
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    assert_eq!(reason(&house).await, "tenant_suspended", "before the job has run");
    house.work().await;
    assert_eq!(reason(&house).await, "");

    house.post("/v1/organizations/acme/suspend", json!({"hold": "abuse"})).await.ok(200);
    assert_eq!(reason(&house).await, "hold_abuse", "before the tenant follows its organization");
    house.post("/v1/organizations/acme/activate", json!({"hold": "abuse"})).await.ok(200);
    assert_eq!(reason(&house).await, "");
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "legal"})).await;
    assert_eq!(reason(&house).await, "", "a hold that keeps data does not suspend");
    house
        .send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"desired_state": "Suspended"}))
        .await
        .ok(200);
    assert_eq!(reason(&house).await, "tenant_suspended", "before the job has run");
}

async fn every_state_must_have_its_reason(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let manifest = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1",
        "policies": {"purgeAfterDays": 0}, "aliases": {"stripe": "cus_9s6"}});
    house.post("/v1/tenants", manifest).await.ok(201);
    assert_eq!(reason(&house).await, "tenant_draft");
    house.work().await;
    house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202);
    house.work().await;
    assert_eq!(reason(&house).await, "");
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    assert_eq!(reason(&house).await, "hold_operator");
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    assert_eq!(reason(&house).await, "tenant_archived");
    assert_eq!(access(&house, "alias=stripe:cus_9s6").await["tenant_id"], "acme-eu");
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.work().await;
    assert_eq!(reason(&house).await, "tenant_purged");
    house.get("/v1/access?alias=stripe:cus_9s6").await.ok(404);
    for (query, status) in [
        ("", 400),
        ("tenant=acme-eu&alias=stripe:cus_9s6", 400),
        ("alias=acme-eu", 400),
        ("tenant=", 400),
        ("tenant=acme-eu&no_such=1", 400),
        ("tenant=nobody", 404),
        ("tenant=a b", 404),
    ] {
        house.get(&format!("/v1/access?{}", query.replace(' ', "%20"))).await.ok(status);
    }
}

async fn quotas_must_be_those_in_effect(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let mut manifest = acme_eu();
    manifest["quotas"] = json!({"storageGiB": 500});
    manifest["environments"] = json!([
        {"name": "dev", "region": "eu-central-1", "quotas": {"storageGiB": 50, "apiRateLimit": 5}},
        {"name": "prod", "quotas": {"apiRateLimit": 150}},
    ]);
    house.post("/v1/tenants", manifest).await.ok(201);
    house.work().await;
    let whole = access(&house, "tenant=acme-eu").await;
    assert_eq!(whole["quotas"], json!({"apiRateLimit": 155, "storageGiB": 500}), "a missing quota is the sum");
    assert_eq!((&whole["region"], whole.get("environment")), (&json!("eu-west-1"), None));
    let dev = access(&house, "tenant=stripe:cus_9s6&environment=dev").await;
    assert_eq!(dev["quotas"], json!({"apiRateLimit": 5, "storageGiB": 50}));
    assert_eq!(
        (&dev["region"], &dev["environment"], &dev["allowed"]),
        (&json!("eu-central-1"), &json!("dev"), &json!(true))
    );
    let prod = access(&house, "tenant=acme-eu&environment=prod").await;
    assert_eq!(prod["quotas"], json!({"apiRateLimit": 150, "storageGiB": 500}), "a missing quota is the tenant's");
    assert_eq!(access(&house, "tenant=acme-eu&environment=qa").await["reason"], "environment_missing");
    let added = json!({"environments": [{"name": "dev"}, {"name": "prod"}, {"name": "stage"}]});
    let path = "/v1/tenants/acme-eu?allow=remove-quota,move-region,less-retention,move-isolation";
    house.send("PATCH", path, &[("if-match", "*")], added).await.ok(200);
    let stage = access(&house, "tenant=acme-eu&environment=stage").await;
    assert_eq!(stage["reason"], "environment_not_provisioned");
    house.work().await;
    assert_eq!(access(&house, "tenant=acme-eu&environment=stage").await["allowed"], true);
}

async fn an_answer_must_be_current_and_known_by_its_tag(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let first = house.get("/v1/access?tenant=acme-eu").await.ok(200);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let known = [("if-none-match", first.header("etag"))];
    let same = house.send("GET", "/v1/access?tenant=acme-eu", &known, ()).await.ok(304);
    assert_eq!((same.header("cache-control"), same.bytes.len()), ("private, no-cache", 0));
    let newest = house.events("").await.last().expect("an event")["position"].as_i64();
    assert_eq!(first.body["position"].as_i64(), newest);
    for (path, body) in [
        ("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})),
        ("/v1/organizations/acme/suspend", json!({"hold": "abuse"})),
    ] {
        let before = house.get("/v1/access?tenant=acme-eu").await.ok(200);
        house.post(path, body).await;
        let known = [("if-none-match", before.header("etag"))];
        let after = house.send("GET", "/v1/access?tenant=acme-eu", &known, ()).await.ok(200);
        assert!(after.body["position"].as_i64() > before.body["position"].as_i64(), "{path}");
    }
}

async fn a_current_answer_must_cost_as_few_reads_as_a_tenant(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let store = &house.server.tenancy.store;
    let cost = async |path: &str| {
        house.get(path).await.ok(200);
        let before = store.reads();
        house.get(path).await.ok(200);
        store.reads() - before
    };
    for name in ["acme-eu", "stripe:cus_9s6"] {
        let tenant = cost(&format!("/v1/tenants/{name}")).await;
        assert_eq!(cost(&format!("/v1/access?tenant={name}")).await, tenant, "{name}");
        assert_eq!(cost(&format!("/v1/access/auth?tenant={name}")).await, tenant, "{name}");
    }
}

async fn ask(house: &House, method: &str, path: &str, headers: &[(&str, &str)]) -> Answered {
    let token = format!("Bearer {}", house.token(Role::Gateway));
    let headers: Vec<_> = headers.iter().copied().chain([("authorization", token.as_str())]).collect();
    house.send_as_it_is(method, path, &headers, ()).await
}

async fn a_verdict_must_be_200_or_403_whatever_is_asked(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let eu = [("x-tenant", "acme-eu")];
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        for suffix in ["", "/", "/a/b", "//a", "/a%20b?c=d", "/?tenant=nobody", "/%zz", "/..%2f"] {
            ask(&house, method, &format!("/v1/access/auth{suffix}"), &eu).await.ok(200);
        }
    }
    for (path, headers, reason) in [
        ("", vec![], "tenant_not_named"),
        ("", vec![("x-tenant", "nobody")], "tenant_unknown"),
        ("", vec![("x-tenant", "No Name!")], "tenant_unknown"),
        ("", vec![("x-tenant", "acme-eu"), ("x-tenant", "acme-eu")], "bad_request"),
        ("", vec![("x-tenant", "acme-eu"), ("x-tenant-environment", "qa")], "environment_missing"),
        ("", vec![("host", "nobody.example")], "tenant_unknown"),
        ("?tenant=acme-eu&tenant=acme-us", vec![], "bad_request"),
        ("?tenant=%ff", vec![], "bad_request"),
        ("?no_such=1&tenant=acme-eu", vec![], "bad_request"),
        ("/", vec![("host", "a b")], "tenant_unknown"),
    ] {
        let refused = ask(&house, "GET", &format!("/v1/access/auth{path}"), &headers).await.ok(403);
        assert_eq!(refused.header("x-tenant-reason"), reason, "{path} {headers:?}");
        assert_eq!(refused.body, json!({"reason": reason}));
    }
    for (headers, reason) in [
        (vec![], "unauthenticated"),
        (vec![("authorization", "Bearer tenancy_0000")], "unauthenticated"),
        (vec![("authorization", "Basic x")], "unauthenticated"),
    ] {
        let refused = house.send_as_it_is("GET", "/v1/access/auth?tenant=acme-eu", &headers, ()).await.ok(403);
        assert_eq!(refused.header("x-tenant-reason"), reason, "{headers:?}");
        assert_eq!(refused.header("www-authenticate"), "", "the client of a gateway has no key");
    }
    house.server.tenancy.store.close().await;
    let away = ask(&house, "GET", "/v1/access/auth", &eu).await.ok(403);
    assert!(!["", "tenant_unknown"].contains(&away.header("x-tenant-reason")), "{:?}", away.headers);
}

async fn a_verdict_must_name_the_tenant_its_terms_and_the_reason_in_headers(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let mut manifest = acme_eu();
    manifest["aliases"] = json!({"host": "acme.example.com"});
    manifest["billing"] = json!({"plan": "größte"});
    house.post("/v1/tenants", manifest).await.ok(201);
    house.work().await;
    for headers in [
        [("host", "Acme.Example.com:8443"), ("x-other", "x")],
        [("host", "10.0.0.1"), ("x-forwarded-host", "acme.example.com")],
        [("x-tenant", "host:acme.example.com"), ("host", "y")],
    ] {
        let allowed = ask(&house, "GET", "/v1/access/auth", &headers).await.ok(200);
        let shown = ["id", "organization", "state", "region", "version", "plan", "quota-storagegib", "reason"];
        let shown = shown.map(|name| allowed.header(&format!("x-tenant-{name}")).to_owned());
        assert_eq!(shown, ["acme-eu", "acme", "Active", "eu-west-1", "1", "gr%C3%B6%C3%9Fte", "500", ""]);
        assert_eq!(allowed.header("cache-control"), "no-store");
    }
    let prod = [("x-tenant", "acme-eu"), ("x-tenant-environment", "prod")];
    assert_eq!(ask(&house, "GET", "/v1/access/auth", &prod).await.ok(200).header("x-tenant-quota-storagegib"), "400");
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    let refused = ask(&house, "POST", "/v1/access/auth/orders", &prod).await.ok(403);
    assert_eq!((refused.header("x-tenant-reason"), refused.header("x-tenant-id")), ("hold_billing", "acme-eu"));
    assert_eq!(refusals::run_once(&house.server.tenancy).await, Ok(0), "a verdict is no refused call");
    house.send_as_it_is("GET", "/v1/access/auth", &prod, ()).await.ok(403);
    assert_eq!(refusals::run_once(&house.server.tenancy).await, Ok(1), "a gateway without a key is one");
}

/// A gateway that appends the path of its client to its own also appends the query.
async fn the_query_of_a_gateways_client_must_not_name_the_tenant(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house
        .post("/v1/tenants", json!({"tenant_id": "acme-draft", "organization_id": "acme", "region": "eu-west-1"}))
        .await
        .ok(201);
    let client = "/v1/access/auth/orders?tenant=acme-eu&alias=stripe:cus_9s6&environment=prod";
    let refused = ask(&house, "GET", client, &[("x-tenant", "acme-draft")]).await.ok(403);
    assert_eq!(refused.header("x-tenant-reason"), "tenant_draft");
    let refused = ask(&house, "GET", client, &[]).await.ok(403);
    assert_eq!(refused.header("x-tenant-reason"), "tenant_not_named");
}

async fn a_scoped_key_must_not_see_the_plan(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let plan = json!({"billing": {"plan": "enterprise"}});
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], plan).await.ok(200);
    assert_eq!(access(&house, "tenant=acme-eu").await["plan"], "enterprise");
    let key = json!({"name": "edge of acme", "role": "gateway", "scope": "organization:acme"});
    let made = house.post("/v1/keys", key).await.ok(201).body;
    let token = format!("Bearer {}", made["token"].as_str().expect("a token"));
    let scoped = [("authorization", token.as_str())];
    let shown = house.send_as_it_is("GET", "/v1/access?tenant=acme-eu", &scoped, ()).await.ok(200).body;
    assert_eq!((shown.get("plan"), &shown["allowed"]), (None, &json!(true)));
    let verdict = house.send_as_it_is("GET", "/v1/access/auth?tenant=acme-eu", &scoped, ()).await.ok(200);
    assert_eq!(verdict.header("x-tenant-plan"), "");
}
