//! Lists: reading page by page returns the same items as reading at once, without duplicates.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};

on_both!(every_list_must_be_the_same_page_by_page_as_at_once, a_list_of_nothing_must_differ_from_that_of_no_tenant);

async fn furnished(on: On) -> House {
    let house = House::new(on).await;
    house.furnish().await;
    for n in 0..3 {
        house.post("/v1/organizations", json!({"organization_id": format!("o-{n}")})).await.ok(201);
        let manifest = json!({"tenant_id": format!("t-{n}"), "organization_id": "acme", "region": "eu-west-1"});
        house.post("/v1/tenants", manifest).await.ok(201);
        house.post("/v1/keys", json!({"name": format!("key {n}"), "role": "viewer"})).await.ok(201);
        let path = "/v1/tenants/acme-eu/environments/dev";
        house.send("PATCH", path, &[("if-match", "*")], json!({"retention_days": 40 + n})).await.ok(200);
    }
    house
}

async fn page(house: &House, list: &str, page: &str) -> (Vec<Value>, Option<String>) {
    let sign = if list.contains('?') { '&' } else { '?' };
    let body = house.get(&format!("{list}{sign}{page}")).await.ok(200).body;
    (body["items"].as_array().expect("items").clone(), body["next"].as_str().map(str::to_owned))
}

async fn every_list_must_be_the_same_page_by_page_as_at_once(on: On) {
    let house = furnished(on).await;
    for list in [
        "/v1/organizations",
        "/v1/tenants",
        "/v1/tenants/acme-eu/environments",
        "/v1/tenants/acme-eu/versions",
        "/v1/tenants/acme-eu/environments/dev/versions",
        "/v1/jobs",
        "/v1/tenants/acme-eu/jobs",
        "/v1/audit",
        "/v1/audit?order=desc",
        "/v1/tenants/acme-eu/audit",
        "/v1/tenants/acme-eu/audit?order=desc",
        "/v1/keys",
    ] {
        let (at_once, more) = page(&house, list, "limit=500").await;
        assert!(at_once.len() > 1 && more.is_none(), "{list}: {}", at_once.len());
        let (mut items, mut next) = page(&house, list, "limit=1").await;
        while let Some(after) = next {
            assert!(items.len() < at_once.len(), "{list} has no last page");
            let (more, then) = page(&house, list, &format!("limit=1&after={after}")).await;
            assert_eq!(more.len(), 1, "{list}");
            items.extend(more);
            next = then;
        }
        assert_eq!(items, at_once, "{list}");
        assert!((1..items.len()).all(|at| !items[..at].contains(&items[at])), "{list} has one twice");
    }
}

async fn a_list_of_nothing_must_differ_from_that_of_no_tenant(on: On) {
    let house = furnished(on).await;
    assert_eq!(page(&house, "/v1/tenants/t-0/environments", "limit=1").await, (Vec::new(), None));
    for list in ["environments", "versions", "jobs", "audit"] {
        let missing = house.get(&format!("/v1/tenants/nobody/{list}")).await.ok(404);
        assert_eq!(missing.code(), "not_found", "{list}");
    }
}
