//! Manifests: whatever is sent is answered with all that is wrong with it, each at its place in the document as sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tenancy_core::declared::{Declared, QuotaKey};
use tenancy_core::document::MAX_FINDINGS;
use tenancy_core::json::{Strict, merge_patch};
use tenancy_core::manifest::{EnvironmentManifest, Manifest};
use tenancy_core::rules::organizations::OrganizationManifest;
use tenancy_core::{Error, Violation};

fn good() -> Value {
    json!({
        "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme Europe", "profile": "mt-standard",
        "desired_state": "Active", "region": "eu-west-1", "labels": {"tier": "gold"},
        "aliases": {"stripe": "cus_9s6", "host": ["acme.example.com", "www.acme.example.com"]},
        "quotas": {"storageGiB": 500, "concurrentJobs": 10, "apiRateLimit": 200},
        "policies": {"dataResidency": "in-region-only", "encryption": "kms-per-tenant", "retentionDays": 365},
        "billing": {"plan": "enterprise", "costCenter": "CC-1042"}, "deletion_protection": true,
        "environments": [
            {"name": "prod", "region": "eu-west-1", "isolation_level": "strict", "quotas": {"storageGiB": 400},
             "retention_days": 365},
            {"name": "dev", "region": "eu-west-1", "isolation_level": "shared", "quotas": {"storageGiB": 50},
             "retention_days": 30},
        ],
        "webhooks": [{"name": "main", "url": "https://hooks.acme.example/tenancy", "events": ["TENANCY_*"],
                      "retry_policy": {"backoff": "exponential", "max_retries": 8}}],
    })
}

fn parse(document: &Value) -> Result<(Manifest, Vec<Violation>), Error> {
    Manifest::parse(&Declared::default(), document)
}

/// What is wrong, as code and pointer; every finding is checked for what holds of all of them.
fn wrong(document: &Value) -> Vec<(&'static str, String)> {
    match parse(document) {
        Ok((_, warnings)) => {
            checked(document, &warnings);
            Vec::new()
        }
        Err(Error::Invalid(violations)) => {
            assert!(!violations.is_empty(), "a refusal says why");
            checked(document, &violations);
            violations.into_iter().map(|v| (v.code, v.pointer)).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn checked(document: &Value, found: &[Violation]) {
    assert!(found.len() <= MAX_FINDINGS);
    for Violation { code, pointer, message } in found {
        assert!(!code.is_empty() && !message.is_empty());
        assert!(message.len() < 2048, "{}", message.len());
        let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        let place = document.pointer(pointer).or_else(|| document.pointer(parent));
        assert!(place.is_some(), "{pointer} is a place of {document}");
    }
}

/// The good manifest with something else at a place; `null` members are left as they are.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = good();
    let (parent, last) = pointer.rsplit_once('/').expect("a place");
    match document.pointer_mut(parent).expect("a parent") {
        Value::Object(object) => drop(object.insert(last.to_owned(), value)),
        Value::Array(items) => match last.parse::<usize>() {
            Ok(index) => items[index] = value,
            Err(_) => items.push(value),
        },
        other => panic!("{other} has no members"),
    }
    document
}

#[test]
fn must_refuse_what_a_reader_cannot_see_in_names_labels_and_aliases() {
    for hidden in ["\u{1b}[2J", "\u{202e}", "\u{200b}", "\u{feff}", "\u{e0041}"] {
        let text = format!("a{hidden}b");
        let mut document = good();
        document["display_name"] = json!(text);
        document["labels"]["tier"] = json!(text);
        document["aliases"]["stripe"] = json!(text);
        let places: Vec<_> = wrong(&document).into_iter().map(|(_, pointer)| pointer).collect();
        for expected in ["/display_name", "/labels/tier", "/aliases/stripe"] {
            assert!(places.iter().any(|place| place == expected), "{hidden:?}: {places:?}");
        }
    }
}

#[test]
fn must_take_a_good_manifest_whatever_the_order_of_its_lists() {
    let (manifest, warnings) = parse(&good()).expect("good");
    assert!(warnings.is_empty(), "{warnings:?}");
    let mut turned = good();
    turned["environments"].as_array_mut().unwrap().reverse();
    assert_eq!(parse(&turned).expect("good").0, manifest);
    assert_eq!(parse(&turned).expect("good").0.document(), manifest.document());
}

#[test]
fn must_say_what_is_missing_also_where_it_is_null() {
    for (pointer, code) in [
        ("/organization_id", "required"),
        ("/region", "required"),
        ("/environments/1/name", "required"),
        ("/webhooks/0/name", "required"),
        ("/webhooks/0/url", "required"),
        ("/webhooks/0/events", "required"),
    ] {
        assert_eq!(wrong(&with(pointer, Value::Null)), [(code, pointer.to_owned())]);
    }
    assert_eq!(wrong(&with("/webhooks/0/events", json!([]))), [("required", "/webhooks/0/events".to_owned())]);
    let null_id = OrganizationManifest::parse(&Declared::default(), &json!({"organization_id": null}));
    assert!(matches!(null_id, Err(Error::Invalid(list)) if list.len() == 1));
}

#[test]
fn must_count_null_as_absent() {
    let mut document = good();
    for pointer in ["/display_name", "/desired_state", "/labels", "/quotas", "/policies", "/environments", "/webhooks"]
    {
        *document.pointer_mut(pointer).unwrap() = Value::Null;
    }
    document["aliases"] = json!({"stripe": null, "host": []});
    document["billing"] = json!({"plan": null, "terms": {"days": null}});
    document["deletion_protection"] = Value::Null;
    let (manifest, _) = parse(&document).expect("good");
    let least = json!({"tenant_id": "acme-eu", "organization_id": "acme", "profile": "mt-standard",
                       "region": "eu-west-1", "billing": {"terms": {}}});
    assert_eq!(manifest.document(), least);
}

#[test]
fn must_name_the_place_in_the_document_as_sent() {
    // prod is sent first, and is the last by name.
    let strict = with("/profile", json!("st-dedicated"));
    assert_eq!(wrong(&strict), [("profile_rule", "/environments/1/isolation_level".to_owned())]);
    let moved = with("/environments/0/region", json!("us-east-1"));
    assert_eq!(wrong(&moved), [("data_residency", "/environments/0/region".to_owned())]);
    let kept = with("/policies/retentionDays", json!(364));
    assert_eq!(wrong(&kept), [("retention", "/environments/0/retention_days".to_owned())]);
    let twice = with("/environments/-", good()["environments"][0].clone());
    assert_eq!(wrong(&twice), [("duplicate", "/environments/2/name".to_owned())]);
    let alias = with("/aliases/host", json!(["a.example", "b c"]));
    assert_eq!(wrong(&alias), [("bad_alias", "/aliases/host/1".to_owned())]);
}

#[test]
fn must_list_all_that_is_wrong_at_once() {
    let mut document = good();
    document["profile"] = json!("st-dedicated");
    document["regoin"] = json!(1);
    document["quotas"]["storageGiB"] = json!(-1);
    document["policies"]["encryption"] = json!("rot13");
    document["environments"][0]["name"] = json!("porduction");
    document["environments"][1]["retention_days"] = json!(1000);
    document["webhooks"][0]["url"] = json!("ftp://x");
    document["labels"]["sp ace"] = json!("x");
    let found = wrong(&document);
    for (code, pointer) in [
        ("unknown_field", "/regoin"),
        ("out_of_range", "/quotas/storageGiB"),
        ("unknown_word", "/policies/encryption"),
        ("undeclared_environment", "/environments/0/name"),
        ("profile_rule", "/environments/1/isolation_level"),
        ("retention", "/environments/1/retention_days"),
        ("bad_url", "/webhooks/0/url"),
        ("bad_name", "/labels/sp ace"),
    ] {
        assert!(found.contains(&(code, pointer.to_owned())), "{code} {pointer} of {found:?}");
    }
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn must_bound_the_sum_of_the_environments_quotas() {
    assert_eq!(wrong(&with("/environments/1/quotas/storageGiB", json!(100))), []);
    let found = wrong(&with("/environments/1/quotas/storageGiB", json!(101)));
    assert_eq!(found, [("quota_sum", "/quotas/storageGiB".to_owned())]);
    // Two of the largest integers are out of range, each at its place, and their sum is never made.
    let mut document = with("/environments/1/quotas/storageGiB", json!(i64::MAX));
    document["environments"][0]["quotas"]["storageGiB"] = json!(i64::MAX);
    let places = ["/environments/0/quotas/storageGiB", "/environments/1/quotas/storageGiB"];
    assert_eq!(wrong(&document), places.map(|place| ("out_of_range", place.to_owned())));
    // A quota that does not add up is each environment's own.
    let mut declared = Declared::default();
    declared.quotas.insert("storageGiB".to_owned(), QuotaKey { unit: "GiB".to_owned(), sums: false });
    assert!(Manifest::parse(&declared, &with("/environments/1/quotas/storageGiB", json!(400))).is_ok());
}

#[test]
fn must_keep_what_is_undeclared_with_a_warning() {
    let mut document = good();
    document["quotas"] = json!({"storageGib": 500, "seats": {"any": [1, null, 1.5]}});
    document["policies"]["note"] = json!("x");
    document["billing"]["free"] = json!([{"name": "a"}]);
    document["billing"]["costcenter"] = json!("CC-1");
    let (manifest, warnings) = parse(&document).expect("good");
    checked(&document, &warnings);
    let found: Vec<_> = warnings.iter().map(|w| (w.code, w.pointer.as_str())).collect();
    assert_eq!(
        found,
        [
            ("undeclared_key", "/quotas/seats"),
            ("undeclared_key", "/quotas/storageGib"),
            ("undeclared_key", "/policies/note"),
            ("undeclared_key", "/billing/costcenter"),
            ("undeclared_key", "/billing/free"),
            ("tenant_quota_missing", "/environments/0/quotas/storageGiB"),
            ("tenant_quota_missing", "/environments/1/quotas/storageGiB"),
        ]
    );
    assert!(warnings[1].message.contains("storageGiB"), "{}", warnings[1].message);
    assert!(warnings[3].message.contains("did you mean \"costCenter\""), "{}", warnings[3].message);
    for member in ["quotas", "policies", "billing"] {
        assert_eq!(manifest.document()[member], document[member]);
    }
    let caps = json!({"organization_id": "acme", "caps": {"quotas": {"storageGib": 5, "apiRateLimit": null}}});
    let Err(Error::Invalid(found)) = OrganizationManifest::parse(&Declared::default(), &caps) else {
        panic!("a cap that caps nothing")
    };
    assert_eq!((found[0].code, found[0].pointer.as_str()), ("undeclared_quota", "/caps/quotas/storageGib"));
    assert!(found[0].message.contains("did you mean"), "{}", found[0].message);
}

#[test]
fn must_take_short_text_only_for_what_is_known_of_billing() {
    for key in ["/billing/plan", "/billing/costCenter"] {
        for (bad, code) in [
            (json!(5), "wrong_type"),
            (json!({"a": 1}), "wrong_type"),
            (json!("x".repeat(256)), "out_of_range"),
            (json!("a\nb"), "out_of_range"),
        ] {
            assert_eq!(wrong(&with(key, bad)), [(code, key.to_owned())]);
        }
        for fine in [json!("x".repeat(255)), json!(""), json!("Größe L"), Value::Null] {
            assert_eq!(wrong(&with(key, fine)), []);
        }
    }
}

#[test]
fn must_refuse_urls_that_cannot_be_called_or_carry_a_secret() {
    for bad in
        ["", "hooks.example", "ftp://x", "https://", "https:///path", "http://:80/", "https://u:p@h/", "https://a b/"]
    {
        let found = wrong(&with("/webhooks/0/url", json!(bad)));
        assert_eq!(found.len(), 1, "{bad} {found:?}");
        assert_eq!(found[0].1, "/webhooks/0/url");
    }
    for fine in ["http://h", "https://h:8443/x?y=a@b#z", "https://[::1]/"] {
        assert_eq!(wrong(&with("/webhooks/0/url", json!(fine))), [], "{fine}");
    }
}

#[test]
fn must_answer_huge_documents_shortly() {
    let many = |n: usize, value: Value| (0..n).map(|i| (format!("k{i}"), value.clone())).collect::<Map<_, _>>();
    for too_many in [65, 10_000] {
        let labels = wrong(&with("/labels", Value::Object(many(too_many, json!("x")))));
        assert_eq!(labels, [("out_of_range", "/labels".to_owned())]);
    }
    assert_eq!(wrong(&with("/labels", Value::Object(many(64, json!("x"))))), []);
    let fields = wrong(&json!(many(100_000, json!(1))));
    assert_eq!(fields.len(), MAX_FINDINGS);
    assert_eq!(fields.last().unwrap(), &("too_many", String::new()));
    let long = "x".repeat(1_000_000);
    for pointer in ["/region", "/profile", "/display_name", "/tenant_id", "/webhooks/0/events/0", "/labels/tier"] {
        assert_eq!(wrong(&with(pointer, json!(long))).len(), 1, "{pointer}");
    }
    for pointer in ["/quotas/storageGiB", "/policies/encryption"] {
        assert_eq!(wrong(&with(pointer, json!(long))).len(), 2, "{pointer} is wrong, and too long to be kept");
    }
    assert_eq!(wrong(&with(&format!("/{long}"), json!(1))).len(), 1);
    assert_eq!(wrong(&with("/environments", json!(vec![json!({}); 65]))).len(), 1);
    assert_eq!(wrong(&with("/billing/note", json!(long))), [("out_of_range", "/billing".to_owned())]);
}

#[test]
fn must_refuse_what_could_not_be_read_back() {
    let nested = |levels: usize| {
        (0..levels).fold(json!(1), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
    };
    assert_eq!(wrong(&with("/billing/deep", nested(16))), []);
    for levels in [17, 100, 120] {
        assert_eq!(wrong(&with("/billing/deep", nested(levels))), [("too_deep", "/billing/deep".to_owned())]);
        assert_eq!(wrong(&with("/quotas/deep", nested(levels))), [("too_deep", "/quotas/deep".to_owned())]);
    }
    for giant in ["1e308", "18446744073709551615", "-9223372036854775808", "0.5", "1e400"] {
        let text =
            format!(r#"{{"organization_id": "acme", "region": "eu-west-1", "quotas": {{"storageGiB": {giant}}}}}"#);
        match Strict::parse(text.as_bytes()) {
            Ok(document) => {
                assert_eq!(wrong(&document), [("out_of_range", "/quotas/storageGiB".to_owned())], "{giant}")
            }
            Err(_) => assert_eq!(giant, "1e400"),
        }
    }
}

#[test]
fn must_take_an_environment_of_its_own() {
    let declared = Declared::default();
    let (entry, _) = EnvironmentManifest::parse(&declared, &json!({"name": "dev"}), "eu-west-1").expect("good");
    assert_eq!(entry.document(), json!({"name": "dev", "isolation_level": "strict"}));
    assert_eq!((entry.region.as_str(), entry.region_given), ("eu-west-1", false));
    for bad in [json!(null), json!([]), json!({}), json!({"name": "dev", "x": 1}), json!({"name": null})] {
        assert!(
            matches!(EnvironmentManifest::parse(&declared, &bad, "eu-west-1"), Err(Error::Invalid(v)) if !v.is_empty())
        );
    }
}

#[test]
fn must_say_what_cannot_be_declared() {
    assert_eq!(Declared::default().problems(), Vec::<String>::new());
    let environments = vec!["dev".to_owned(), "dev".to_owned(), "x".repeat(33)];
    let mut declared = Declared { environments, holds: BTreeMap::new(), ..Declared::default() };
    declared.regions.insert(String::new(), declared.regions["eu-west-1"].clone());
    assert_eq!(declared.problems().len(), 4, "{:?}", declared.problems());
}

fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2..500i64).prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "dev",
            "stage",
            "prod",
            "main",
            "strict",
            "Active",
            "eu-west-1",
            "us-east-1",
            "é",
            "*"
        ])
        .prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(Value::from("y".repeat(5000))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let names = vec!["name", "region", "quotas", "storageGiB", "retentionDays", "dataResidency", "url", "x/~", ""];
        let key = prop::sample::select(names).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..3).prop_map(|members| json!(members)),
        ]
    })
}

fn place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/tenant_id",
        "/organization_id",
        "/display_name",
        "/profile",
        "/desired_state",
        "/region",
        "/labels",
        "/labels/tier",
        "/aliases",
        "/aliases/host",
        "/aliases/host/0",
        "/quotas",
        "/quotas/storageGiB",
        "/quotas/x",
        "/policies",
        "/policies/dataResidency",
        "/policies/retentionDays",
        "/policies/purgeAfterDays",
        "/billing",
        "/billing/plan",
        "/deletion_protection",
        "/environments",
        "/environments/0",
        "/environments/-",
        "/environments/0/name",
        "/environments/1/region",
        "/environments/1/quotas",
        "/environments/1/retention_days",
        "/environments/0/isolation_level",
        "/environments/0/quotas/storageGiB",
        "/webhooks",
        "/webhooks/0",
        "/webhooks/-",
        "/webhooks/0/name",
        "/webhooks/0/url",
        "/webhooks/0/events",
        "/webhooks/0/events/0",
        "/webhooks/0/retry_policy",
        "/webhooks/0/retry_policy/max_retries",
        "/surprise",
        "/kind~1x",
    ])
}

fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a place");
    match document.pointer_mut(parent) {
        Some(Value::Object(object)) => drop(object.insert(last.replace("~1", "/"), value)),
        Some(Value::Array(items)) => match last.parse::<usize>().ok().filter(|index| *index < items.len()) {
            Some(index) => items[index] = value,
            None => items.push(value),
        },
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(768) })]

    #[test]
    fn must_answer_whatever_is_sent(puts in prop::collection::vec((place(), odd()), 1..5)) {
        let mut document = good();
        for (pointer, value) in puts {
            put(&mut document, pointer, value);
        }
        let Ok(document) = Strict::parse(document.to_string().as_bytes()) else { return Ok(()) };
        wrong(&document);
        if let Ok((manifest, _)) = parse(&document) {
            let written = manifest.document();
            prop_assert_eq!(&parse(&written).expect("good").0, &manifest, "it is read as it is written");
            let mut merged = written.clone();
            merge_patch(&mut merged, &document);
            prop_assert_eq!(&parse(&merged).expect("good").0, &manifest, "applied again, it changes nothing");
        }
    }

    #[test]
    fn must_answer_any_json(document in odd()) {
        wrong(&document);
        let _ = OrganizationManifest::parse(&Declared::default(), &document);
        let caps = json!({"organization_id": "acme", "caps": document, "labels": document});
        if let Ok((manifest, _)) = OrganizationManifest::parse(&Declared::default(), &caps) {
            let again = OrganizationManifest::parse(&Declared::default(), &manifest.document()).expect("good");
            prop_assert_eq!(again.0, manifest);
        }
    }
}
