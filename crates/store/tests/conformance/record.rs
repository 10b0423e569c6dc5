//! Committed changes are read back; changes whose guard fails write nothing.

use crate::harness::{Bench, full, on_both, on_model, on_pooled, organization, small, tenant};
use jiff::SignedDuration;
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::apikey::Role;
use tenancy_core::changes::{Changes, Conflict, Guard, IdempotencyRecord};
use tenancy_core::ids::Alias;
use tenancy_core::json::{Object, sha256_hex};
use tenancy_core::organization::Usage;
use tenancy_core::rules::keys;
use tenancy_core::scope::Scope;
use tenancy_store::page::{AuditFilter, MAX_PAGE_BYTES, Page, TenantFilter};

on_both!(
    must_read_back_what_was_registered,
    must_refuse_an_id_that_is_taken,
    must_refuse_a_tenant_of_no_organization,
    must_commit_nothing_in_the_name_of_a_key_that_is_revoked,
    must_keep_caps_exact_under_concurrent_registrations,
    must_let_exactly_one_of_many_writers_on_one_version_win,
    must_keep_every_version,
    must_release_an_alias_that_a_manifest_drops,
    must_page_through_a_list_without_gap_or_repetition,
    must_filter_tenants,
    must_refuse_a_cursor_of_another_list,
    must_refuse_a_cursor_of_another_log,
    must_end_a_page_whose_items_are_large,
    must_remove_what_has_expired_and_nothing_else,
    an_answer_must_count_as_absent_from_when_it_expires,
    must_keep_one_answer_when_nothing_changed_and_none_for_a_changed_key,
);

on_pooled!(
    must_read_back_what_was_registered,
    must_commit_nothing_in_the_name_of_a_key_that_is_revoked,
    must_keep_caps_exact_under_concurrent_registrations,
    must_let_exactly_one_of_many_writers_on_one_version_win,
    must_keep_every_version,
    must_release_an_alias_that_a_manifest_drops,
    must_filter_tenants,
);

on_model!(
    must_read_back_what_was_registered,
    must_refuse_an_id_that_is_taken,
    must_refuse_a_tenant_of_no_organization,
    must_commit_nothing_in_the_name_of_a_key_that_is_revoked,
    must_keep_caps_exact_under_concurrent_registrations,
    must_let_exactly_one_of_many_writers_on_one_version_win,
    must_keep_every_version,
    must_release_an_alias_that_a_manifest_drops,
    must_refuse_a_cursor_of_another_list,
);

async fn must_read_back_what_was_registered(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let decided = bench.register(&full("acme-eu", "acme")).await.unwrap();
    assert_eq!(bench.snapshot("acme-eu").await, decided);
    let alias = Alias::parse("stripe:cus_acme-eu").unwrap();
    assert_eq!(bench.store.aliased(&alias).await.unwrap().map(|target| target.tenant_id), Some(tenant("acme-eu")));
    assert_eq!(bench.store.snapshot(&tenant("acme-us")).await.unwrap(), None);
    let record = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
    assert_eq!((record.usage.tenants, record.usage.quotas["storageGiB"]), (1, 500));
}

async fn must_refuse_an_id_that_is_taken(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("acme-eu", "acme")).await.unwrap();
    let again = bench.register(&small("acme-eu", "acme")).await;
    assert_eq!(again, Err(Error::Conflict(Conflict::TenantExists(tenant("acme-eu")))));
    let record = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
    assert_eq!(record.usage, Usage { tenants: 1, ..Usage::default() });
}

async fn must_refuse_a_tenant_of_no_organization(bench: Bench) {
    let refused = bench.register(&small("acme-eu", "nobody")).await;
    assert_eq!(refused, Err(Error::Conflict(Conflict::OrganizationMissing(organization("nobody")))));
    assert_eq!(bench.store.snapshot(&tenant("acme-eu")).await.unwrap(), None);
}

/// Any number of changes with a key can be in one batch before its revocation. After it, in the same batch or later,
/// none is committed.
async fn must_commit_nothing_in_the_name_of_a_key_that_is_revoked(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let made = keys::create(
        "gateway",
        keys::Rights::unlimited(Role::Operator),
        None,
        sha256_hex(&[b"gateway"]),
        &mut bench.context(),
    )
    .unwrap();
    bench.commit(made.changes).await.unwrap();
    let in_its_name = |id: &str| {
        let mut changes = bench.registration(&small(id, "acme")).changes.unwrap();
        changes.guard(Guard::CallerAt(made.key.key_id.clone(), made.key.version));
        changes
    };
    let revocation = keys::revoke(&made.key, &[], &mut bench.context()).unwrap().changes.unwrap();
    let members = [in_its_name("t-1"), in_its_name("t-2"), revocation, in_its_name("t-3"), in_its_name("t-4")];
    let answers = bench.store.commit_together(members.to_vec()).await;
    let revoked = Err(Error::Conflict(Conflict::ApiKeyMoved(made.key.key_id.clone())));
    let positions = answers[..3].iter().map(|answer| answer.as_ref().unwrap().position).collect::<Vec<_>>();
    assert_eq!(positions, [positions[0], positions[0] + 1, positions[0] + 2]);
    assert_eq!(answers[3..], [revoked.clone(), revoked.clone()]);
    assert_eq!(bench.store.commit(in_its_name("t-5")).await, revoked);
    // A key may revoke itself once.
    let made = keys::create(
        "itself",
        keys::Rights::unlimited(Role::Admin),
        None,
        sha256_hex(&[b"itself"]),
        &mut bench.context(),
    )
    .unwrap();
    bench.commit(made.changes).await.unwrap();
    let mut revocation = keys::revoke(&made.key, &[], &mut bench.context()).unwrap().changes.unwrap();
    revocation.guard(Guard::CallerAt(made.key.key_id.clone(), made.key.version));
    let again = keys::revoke(&made.key, &[], &mut bench.context()).unwrap().changes.unwrap();
    assert!(bench.store.commit(revocation).await.is_ok());
    assert_eq!(bench.store.commit(again).await, Err(Error::Conflict(Conflict::ApiKeyMoved(made.key.key_id.clone()))));
    assert_eq!(bench.store.snapshot(&tenant("t-3")).await.unwrap(), None);
}

async fn must_keep_caps_exact_under_concurrent_registrations(bench: Bench) {
    bench.organization("acme", json!({"tenants": 7, "quotas": {"storageGiB": 50}})).await;
    let mut all = Vec::new();
    for number in 0..40 {
        let mut document = small(&format!("acme-{number}"), "acme");
        // Every third tenant uses storage: the cap on the sum is reached before the cap on the number.
        if number % 3 == 0 {
            document["quotas"] = json!({"storageGiB": 25});
        }
        let changes = bench.registration(&document).changes.unwrap();
        let store = bench.store.clone();
        all.push(tokio::spawn(async move { store.commit(changes).await }));
    }
    let mut accepted = 0;
    for one in all {
        match one.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(Error::Conflict(Conflict::CapsExceeded { exceeded, .. })) => assert!(!exceeded.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    let usage = bench.store.organization(&organization("acme")).await.unwrap().unwrap().usage;
    assert_eq!((accepted, usage.tenants), (7, 7));
    assert!(usage.quotas.get("storageGiB").is_none_or(|sum| *sum <= 50));
    let tenants = bench.store.tenants(&Scope::All, &TenantFilter::default(), &Page::default()).await.unwrap();
    assert_eq!(tenants.items.len(), 7);
}

async fn must_let_exactly_one_of_many_writers_on_one_version_win(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let snapshot = bench.register(&small("acme-eu", "acme")).await.unwrap();
    let mut writers = Vec::new();
    for number in 0..32 {
        let mut document = small("acme-eu", "acme");
        document["display_name"] = json!(format!("name {number}"));
        let changes = bench.change(&snapshot, &document, &[]).unwrap().changes.unwrap();
        let store = bench.store.clone();
        writers.push(tokio::spawn(async move { (number, store.commit(changes).await) }));
    }
    let mut winners = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            (number, Ok(_)) => winners.push(number),
            (_, Err(Error::Conflict(Conflict::TenantMoved { version: 2, .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let now = bench.snapshot("acme-eu").await;
    assert_eq!((now.tenant.terms.version, now.tenant.terms.display_name), (2, Some(format!("name {}", winners[0]))));
}

async fn must_keep_every_version(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let mut snapshot = bench.register(&full("acme-eu", "acme")).await.unwrap();
    for days in [300, 200] {
        let mut document = full("acme-eu", "acme");
        document["environments"][1]["retention_days"] = json!(days);
        let decision = bench.change(&snapshot, &document, &["less-retention"]).unwrap();
        bench.commit(decision.changes).await.unwrap();
        snapshot = decision.snapshot;
        assert_eq!(bench.snapshot("acme-eu").await, snapshot);
    }
    let versions = bench.store.tenant_versions(&tenant("acme-eu"), &Page::default()).await.unwrap().items;
    let kept: Vec<_> = versions
        .iter()
        .map(|row| (row.version, row.manifest["environments"][1]["retention_days"].as_i64().unwrap()))
        .collect();
    assert_eq!(kept, [(3, 200), (2, 300), (1, 365)]);
    let prod = snapshot.environments.iter().find(|environment| environment.name == "prod").unwrap();
    let versions = bench.store.environment_versions(&tenant("acme-eu"), &prod.env_id, &Page::default()).await.unwrap();
    assert_eq!(versions.items.iter().map(|row| row.version).collect::<Vec<_>>(), [3, 2, 1]);
    let first = bench.store.tenant_version(&tenant("acme-eu"), 1).await.unwrap().unwrap();
    assert_eq!(first.manifest["quotas"]["odd"]["kept"], json!([1.5, null, 1e30]));
}

async fn must_release_an_alias_that_a_manifest_drops(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let snapshot = bench.register(&full("acme-eu", "acme")).await.unwrap();
    let mut other = full("acme-us", "acme");
    other["aliases"] = json!({"stripe": "cus_acme-eu"});
    let alias = Alias::parse("stripe:cus_acme-eu").unwrap();
    assert_eq!(bench.register(&other).await, Err(Error::Conflict(Conflict::AliasTaken(alias.clone()))));
    let mut without = full("acme-eu", "acme");
    without["aliases"] = json!({});
    let decision = bench.change(&snapshot, &without, &[]).unwrap();
    bench.commit(decision.changes).await.unwrap();
    bench.register(&other).await.unwrap();
    assert_eq!(bench.store.aliased(&alias).await.unwrap().map(|target| target.tenant_id), Some(tenant("acme-us")));
}

async fn must_page_through_a_list_without_gap_or_repetition(bench: Bench) {
    bench.organization("acme", json!({})).await;
    for number in 0..25 {
        bench.register(&small(&format!("t-{number:02}"), "acme")).await.unwrap();
    }
    let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: 10 });
    loop {
        let listed = bench.store.tenants(&Scope::All, &TenantFilter::default(), &page).await.unwrap();
        seen.extend(listed.items.into_iter().map(|row| row.tenant_id.to_string()));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).map(|number| format!("t-{number:02}")).collect::<Vec<_>>());
}

async fn must_filter_tenants(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    bench.register(&full("acme-eu", "acme")).await.unwrap();
    bench.register(&small("acme-us", "acme")).await.unwrap();
    bench.register(&small("other-eu", "other")).await.unwrap();
    let found = async |filter: TenantFilter| {
        let listed = bench.store.tenants(&Scope::All, &filter, &Page::default()).await.unwrap();
        listed.items.into_iter().map(|row| row.tenant_id.to_string()).collect::<Vec<_>>()
    };
    let q = |q: &str| TenantFilter { q: Some(q.to_owned()), ..TenantFilter::default() };
    assert_eq!(found(q("acme-e")).await, ["acme-eu"]);
    assert_eq!(found(q("ACME EUR")).await, ["acme-eu"]);
    assert_eq!(found(q("www.acme")).await, ["acme-eu"]);
    assert_eq!(found(q("stripe:cus_")).await, ["acme-eu"]);
    assert_eq!(found(q("%")).await, Vec::<String>::new());
    let labels = |key: &str, value: &str| TenantFilter {
        labels: vec![(key.to_owned(), value.to_owned())],
        ..TenantFilter::default()
    };
    assert_eq!(found(labels("team/owner", "a.b")).await, ["acme-eu"]);
    assert_eq!(found(labels("tier", "silver")).await, Vec::<String>::new());
    for odd in ["$", "$x", "$.tier", "a\"b", "a'b", "[0]", "#", ""] {
        assert_eq!(found(labels(odd, "gold")).await, Vec::<String>::new(), "{odd}");
    }
    let other = TenantFilter { organization_id: Some(organization("other")), ..TenantFilter::default() };
    assert_eq!(found(other).await, ["other-eu"]);
    let later = TenantFilter { created_from: Some(bench.store.now()), ..TenantFilter::default() };
    assert_eq!(found(later).await, Vec::<String>::new());
}

async fn must_refuse_a_cursor_of_another_list(bench: Bench) {
    bench.organization("a1", json!({})).await;
    bench.organization("a2", json!({})).await;
    let page = Page { after: None, limit: 1 };
    let next = bench
        .store
        .organizations(&Scope::All, &tenancy_store::page::OrganizationFilter::default(), &page)
        .await
        .unwrap()
        .next;
    for after in [next.unwrap(), "zz".to_owned(), "é".to_owned(), "00".to_owned()] {
        let page = Page { after: Some(after), limit: 1 };
        let refused = bench.store.tenants(&Scope::All, &TenantFilter::default(), &page).await;
        assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
    }
}

async fn must_end_a_page_whose_items_are_large(bench: Bench) {
    bench.organization("acme", json!({})).await;
    // With all allowed fields of webhooks, about 300 KB.
    let url = format!("https://example.com/{}", "x".repeat(2000));
    let webhook = |n: usize| json!({"name": format!("w{n}"), "url": url, "events": ["TENANCY_CREATED"]});
    let mut document = small("large", "acme");
    document["webhooks"] = (0..64).map(webhook).collect();
    let mut snapshot = bench.register(&document).await.unwrap();
    for version in 2..=60 {
        document["display_name"] = json!(version.to_string());
        let decided = bench.change(&snapshot, &document, &[]).unwrap();
        bench.commit(decided.changes).await.unwrap();
        snapshot = decided.snapshot;
    }
    let (mut after, mut versions, mut pages) = (None, Vec::new(), 0);
    loop {
        let listed = bench.store.tenant_versions(&tenant("large"), &Page { after, limit: 500 }).await.unwrap();
        let bytes: usize = listed.items.iter().map(|version| version.manifest.to_string().len()).sum();
        assert!(bytes < MAX_PAGE_BYTES + 1024 * 1024, "{bytes}");
        versions.extend(listed.items.iter().map(|version| version.version));
        (after, pages) = (listed.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(versions, (1..=60).rev().collect::<Vec<_>>());
    assert!(pages > 1);
}

async fn must_refuse_a_cursor_of_another_log(bench: Bench) {
    bench.organization("a1", json!({})).await;
    bench.organization("a2", json!({})).await;
    let page = |after| Page { after, limit: 1 };
    let listed = async |after| bench.store.audit(&Scope::All, &AuditFilter::default(), &page(after)).await;
    let next = listed(None).await.unwrap().next.unwrap();
    assert_eq!(listed(Some(next.clone())).await.unwrap().items.len(), 1);
    // The cursor is "log:", the epoch and the position; the epoch may change.
    let gone = next.replacen("6c6f673a31", "6c6f673a32", 1);
    assert_ne!(gone, next);
    let refused = listed(Some(gone)).await;
    assert!(matches!(&refused, Err(Error::Malformed(why)) if why.contains("or without a cursor")), "{refused:?}");
}

fn answer(bench: &Bench, digest: &str, body: &str, hours: i64) -> IdempotencyRecord {
    let now = bench.store.now();
    IdempotencyRecord {
        digest: digest.to_owned(),
        request_digest: String::new(),
        status: 201,
        headers: Object::from_iter([("etag".to_owned(), json!("1.1"))]),
        body: body.to_owned(),
        created_at: now,
        expires_at: now + SignedDuration::from_hours(hours),
        tenant_id: None,
    }
}

async fn must_keep_one_answer_when_nothing_changed_and_none_for_a_changed_key(bench: Bench) {
    let made =
        keys::create("gateway", keys::Rights::unlimited(Role::Admin), None, "token".into(), &mut bench.context())
            .unwrap();
    bench.commit(made.changes).await.unwrap();
    let keep = async |digest: &str, body: &str, version: i64| {
        bench.store.keep_answer(answer(&bench, digest, body, 1), &made.key.key_id, version).await.unwrap()
    };
    let at_once = ["a", "b", "c", "d"].map(|body| keep("one", body, 1));
    let answered = futures_util::future::join_all(at_once).await;
    let kept = bench.store.answer("one").await.unwrap().unwrap();
    assert_eq!(answered.iter().filter(|before| before.is_none()).count(), 1, "{answered:#?}");
    assert!(answered.iter().flatten().all(|before| *before == kept), "{answered:#?}");
    assert_eq!(kept.headers["etag"], "1.1");
    for (body, hours) in [("past", -1), ("now", 1)] {
        let record = answer(&bench, "expired", body, hours);
        assert_eq!(bench.store.keep_answer(record, &made.key.key_id, 1).await, Ok(None), "{body}");
    }
    assert_eq!(bench.store.answer("expired").await.unwrap().unwrap().body, "now");

    let mut changes = keys::revoke(&made.key, &[], &mut bench.context()).unwrap().changes.unwrap();
    changes.store_answer(answer(&bench, "committed", "", 1));
    bench.commit(Some(changes)).await.unwrap();
    assert_eq!(keep("late", "", 1).await, None);
    assert_eq!(bench.store.answer("late").await, Ok(None));
    assert!(keep("committed", "another", 2).await.is_some_and(|before| before.body.is_empty()));
}

async fn must_remove_what_has_expired_and_nothing_else(bench: Bench) {
    bench.organization("acme", json!({})).await;
    for (number, hours) in [(1, -1), (2, 1)] {
        let changes = answered(&bench, &format!("t-{number}"), &format!("digest {number}"), hours);
        bench.commit(Some(changes)).await.unwrap();
    }
    // One response and one outdated usage row. On SQLite the newest usage row has replaced it.
    let expected = if bench.name == "sqlite" { 1 } else { 2 };
    assert_eq!(bench.store.remove_expired().await, Ok(expected));
    assert_eq!(bench.store.remove_expired().await, Ok(0));
    assert_eq!(bench.store.answer("digest 1").await, Ok(None));
    assert!(bench.store.answer("digest 2").await.unwrap().is_some());
    let record = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
    assert_eq!(record.usage.tenants, 2);
}

/// Registration with a response that expires in this many hours.
fn answered(bench: &Bench, id: &str, digest: &str, hours: i64) -> Changes {
    let mut changes = bench.registration(&small(id, "acme")).changes.unwrap();
    changes.store_answer(answer(bench, digest, id, hours));
    changes
}

/// An expired response blocks a new one until it is removed, but is not returned.
async fn an_answer_must_count_as_absent_from_when_it_expires(bench: Bench) {
    bench.organization("acme", json!({})).await;
    // Zero hours: expired by the time it is read.
    for (id, digest, hours) in [("t-1", "over", 0), ("t-2", "kept", 24)] {
        bench.commit(Some(answered(&bench, id, digest, hours))).await.unwrap();
        let read = bench.store.answer(digest).await.unwrap();
        assert_eq!(read.is_some(), hours > 0, "{digest}");
        let used = bench.commit(Some(answered(&bench, "t-3", digest, 24))).await;
        assert!(matches!(used, Err(Error::Conflict(Conflict::IdempotencyKeyUsed(_)))), "{used:?}");
        bench.store.remove_expired_answer(digest).await.unwrap();
    }
    bench.commit(Some(answered(&bench, "t-3", "over", 24))).await.unwrap();
    assert_eq!(bench.store.answer("over").await.unwrap().unwrap().body, "t-3");
    let used = bench.commit(Some(answered(&bench, "t-4", "kept", 24))).await;
    assert!(matches!(used, Err(Error::Conflict(Conflict::IdempotencyKeyUsed(_)))), "{used:?}");
}
