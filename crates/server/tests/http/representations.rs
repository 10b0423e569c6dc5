//! The form of answers: entity tags, answers that have not changed, compression.

use crate::house::{Answered, House, On, on_both};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read as _;

on_both!(
    a_strong_tag_must_name_one_representation,
    what_has_not_changed_must_answer_304,
    a_large_answer_must_be_compressed_for_a_client_that_asks_for_it,
    an_action_must_refuse_a_tag_that_its_tenant_no_longer_has,
    a_list_of_tags_must_match_if_one_does,
    what_was_released_must_be_told_apart_from_what_never_stood,
    an_accepted_action_must_name_what_to_look_at,
    what_is_no_utf_8_and_no_number_must_be_refused_in_words,
);

const TENANT: &str = "/v1/tenants/acme-eu";
const PROD: &str = "/v1/tenants/acme-eu/environments/prod";
const ORGANIZATION: &str = "/v1/organizations/acme";

/// Bodies by path and tag.
#[derive(Default)]
struct Seen(HashMap<(String, String), Value>);

impl Seen {
    async fn look(&mut self, house: &House) {
        for path in [TENANT, PROD, ORGANIZATION] {
            let read = house.get(path).await.ok(200);
            let tag = read.header("etag").to_owned();
            assert!(!tag.is_empty());
            let before = self.0.entry((path.to_owned(), tag.clone())).or_insert_with(|| read.body.clone());
            assert_eq!(*before, read.body, "{path} has two bodies under {tag}");
        }
    }
}

async fn a_strong_tag_must_name_one_representation(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut seen = Seen::default();
    seen.look(&house).await;
    let tenants = |id: &str| json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active"});
    for change in ["suspend", "activate"] {
        house.post(&format!("{TENANT}/{change}"), json!({"hold": "billing"})).await.ok(202);
        seen.look(&house).await;
        // Another tenant changes the usage of the organization.
        house.post("/v1/tenants", tenants(&format!("other-{change}"))).await.ok(201);
        seen.look(&house).await;
        while house.runner.run_once().await.expect("worked") > 0 {
            seen.look(&house).await;
        }
    }
    let environments = seen.0.keys().filter(|(path, _)| path == PROD).count();
    assert!(environments > 1, "the state of an environment changes without its version");
}

async fn what_has_not_changed_must_answer_304(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for path in [TENANT, PROD, ORGANIZATION] {
        let read = house.get(path).await.ok(200);
        let tag = read.header("etag").to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"1.1\", {tag}"), "*".to_owned()] {
            let same = house.send("GET", path, &[("if-none-match", &known)], ()).await;
            assert_eq!(
                (same.status.as_u16(), same.header("etag"), &same.body),
                (304, tag.as_str(), &json!("")),
                "{known}"
            );
            assert!(!same.header("x-correlation-id").is_empty());
        }
        house.send("GET", path, &[("if-none-match", "\"0.0\"")], ()).await.ok(200);
    }
    house.send("GET", "/v1/tenants/none", &[("if-none-match", "*")], ()).await.ok(404);
    house.post(&format!("{TENANT}/suspend"), json!({})).await.ok(202);
    let tag = house.get(TENANT).await.header("etag").to_owned();
    house.send("GET", TENANT, &[("if-none-match", &tag)], ()).await.ok(304);
}

fn unpacked(answer: &Answered) -> Value {
    let mut text = String::new();
    GzDecoder::new(answer.bytes.as_slice()).read_to_string(&mut text).expect("gzip");
    serde_json::from_str(&text).expect("JSON")
}

async fn a_large_answer_must_be_compressed_for_a_client_that_asks_for_it(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let labels: serde_json::Map<_, _> =
        (0..20).map(|n| (format!("label-{n}"), json!("a value of some length"))).collect();
    house.send("PATCH", TENANT, &[("if-match", "*")], json!({"labels": labels})).await.ok(200);
    let plain = house.get(TENANT).await.ok(200);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let packed = house.send("GET", TENANT, &[("accept-encoding", "br, gzip")], ()).await.ok(200);
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "accept-encoding"));
    assert!(packed.bytes.len() < plain.bytes.len());
    assert_eq!(unpacked(&packed), plain.body);
    let tag = packed.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}-gzip\"", plain.header("etag").trim_matches('"')));
    house.send("GET", TENANT, &[("accept-encoding", "gzip"), ("if-none-match", &tag)], ()).await.ok(304);
    house.send("PATCH", TENANT, &[("if-match", &tag)], json!({"labels": {"a": "b"}})).await.ok(200);
    let small = house.send("GET", "/healthz", &[("accept-encoding", "gzip")], ()).await.ok(200);
    assert_eq!((small.header("content-encoding"), small.header("vary")), ("", ""));
    let big = house.send("GET", "/openapi.json", &[("accept-encoding", "gzip")], ()).await.ok(200);
    assert!(unpacked(&big)["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
}

async fn an_action_must_refuse_a_tag_that_its_tenant_no_longer_has(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let read = house.get(TENANT).await.header("etag").to_owned();
    house.post(&format!("{TENANT}/suspend"), json!({"hold": "billing"})).await.ok(202);
    let stale = [("if-match", read.as_str())];
    for action in ["suspend", "activate", "undelete", "purge"] {
        let body = if action == "activate" { json!({"hold": "billing"}) } else { json!({}) };
        let refused = house.send("POST", &format!("{TENANT}/{action}"), &stale, body).await.ok(412);
        assert_eq!(refused.code(), "stale_version", "{action}");
        let now = house.get(TENANT).await.header("etag").to_owned();
        assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains(&now)), "{}", refused.body);
    }
    house.send("DELETE", TENANT, &stale, ()).await.ok(412);
    let job = house.get(TENANT).await.body["open_job"]["job_id"].as_str().expect("a job").to_owned();
    house.send("POST", &format!("{TENANT}/jobs/{job}/cancel"), &stale, json!({})).await.ok(412);
    house.send("PATCH", TENANT, &stale, json!({"labels": {"a": "b"}})).await.ok(200);

    let read = house.get(ORGANIZATION).await.header("etag").to_owned();
    house.post(&format!("{ORGANIZATION}/suspend"), json!({"hold": "abuse"})).await.ok(200);
    let stale = [("if-match", read.as_str())];
    house.send("POST", &format!("{ORGANIZATION}/activate"), &stale, json!({"hold": "abuse"})).await.ok(412);
    house.send("DELETE", ORGANIZATION, &stale, ()).await.ok(412);
    let now = house.get(ORGANIZATION).await.header("etag").to_owned();
    house
        .send("POST", &format!("{ORGANIZATION}/activate"), &[("if-match", &now)], json!({"hold": "abuse"}))
        .await
        .ok(200);
}

async fn a_list_of_tags_must_match_if_one_does(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let label = |value: &str| json!({"labels": {"a": value}});
    for unknown in ["abc", "\"99999999999999999999\"", "\"7.4.4\"", "\"5.1\", \"abc\""] {
        let refused = house.send("PATCH", TENANT, &[("if-match", unknown)], label("x")).await.ok(412);
        assert_eq!(refused.code(), "stale_version", "{unknown}");
    }
    house.send("PATCH", TENANT, &[("if-match", "\"abc\", W/\"1.1\"")], label("b")).await.ok(200);
    house.send("PATCH", TENANT, &[("if-match", "")], label("c")).await.ok(400);
}

async fn what_was_released_must_be_told_apart_from_what_never_stood(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let release = async |kind: &str| house.post(&format!("{TENANT}/activate"), json!({"hold": kind})).await;
    let never = release("billing").await.ok(409);
    assert!(never.body["detail"].as_str().is_some_and(|detail| detail.contains("no hold")), "{}", never.body);
    house.post(&format!("{TENANT}/suspend"), json!({"hold": "billing"})).await.ok(202);
    release("billing").await.ok(202);
    let again = release("billing").await.ok(409);
    assert!(again.body["detail"].as_str().is_some_and(|detail| detail.contains("was released at")), "{}", again.body);
}

async fn an_accepted_action_must_name_what_to_look_at(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.work().await;
    let suspend = house.post(&format!("{TENANT}/suspend"), json!({"hold": "billing"})).await.ok(202);
    assert!(suspend.header("location").contains("/jobs/"));
    house.work().await;
    // A second hold changes no state, so there is no job.
    let second = house.post(&format!("{TENANT}/suspend"), json!({"hold": "abuse"})).await.ok(202);
    assert_eq!(second.header("location"), TENANT);
}

async fn what_is_no_utf_8_and_no_number_must_be_refused_in_words(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let refused = house.get("/v1/tenants?q=%ff").await.ok(400);
    assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains("UTF-8")), "{}", refused.body);
    house.get("/v1/tenants/%ff").await.ok(400);
    for version in ["abc", "1.5", "99999999999999999999", "-1"] {
        let refused = house.get(&format!("{TENANT}/versions/{version}")).await.ok(404);
        assert_eq!(refused.code(), "not_found");
        assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains(version)), "{}", refused.body);
    }
    let patch = [("if-match", "*"), ("content-type", "text/csv")];
    let refused = house.send("PATCH", TENANT, &patch, json!({})).await.ok(415);
    assert!(refused.header("accept-patch").contains("application/merge-patch+json"));
}
