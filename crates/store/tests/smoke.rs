//! A first look at the commit path on SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;
use tenancy_core::declared::Declared;
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_core::manifest::Manifest;
use tenancy_core::moment::{Actor, Moment};
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::{outcome, register};
use tenancy_store::database::Database;
use tenancy_store::page::{AuditFilter, Page, TenantFilter};

#[tokio::test]
async fn must_register_and_run_the_first_job() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::Sqlite(dir.path().join("t.db"));
    database.migrate(false).await.unwrap();
    let store = database.open().await.unwrap();
    let declared = Declared::default();
    let mut n = 0u8;
    let mut moment = || {
        n += 1;
        Moment::new(store.now(), [n; 32], Actor::system("test"), CorrelationId::known("c"))
    };
    let org = OrganizationManifest::parse(&declared, &json!({"organization_id": "acme", "caps": {"tenants": 1}})).unwrap().0;
    let made = organizations::create(&org, &mut moment()).unwrap();
    let receipt = store.commit(made.changes.unwrap()).await.unwrap();
    assert_eq!(receipt.position, 1);
    let doc = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active",
        "display_name": "Acme", "aliases": {"stripe": "cus_1"}, "environments": [{"name": "dev"}, {"name": "prod"}]});
    let (manifest, warnings) = Manifest::parse(&declared, &doc).unwrap();
    let decision = register::register(&declared, &manifest, warnings, &mut moment()).unwrap();
    store.commit(decision.changes.unwrap()).await.unwrap();
    let id = TenantId::parse("acme-eu").unwrap();
    assert_eq!(store.dossier(&id).await.unwrap().unwrap(), decision.dossier);
    for _ in 0..2 {
        let jobs = store.claim("me", 10, std::time::Duration::from_secs(10)).await.unwrap();
        assert_eq!(jobs.len(), 1);
        let dossier = store.dossier(&id).await.unwrap().unwrap();
        let done = outcome::complete(&declared, &dossier, &jobs[0], &mut moment()).unwrap();
        store.commit(done.changes.unwrap()).await.unwrap();
        assert_eq!(store.dossier(&id).await.unwrap().unwrap().tenant, done.dossier.tenant);
    }
    assert_eq!(store.dossier(&id).await.unwrap().unwrap().tenant.state.as_str(), "Active");
    let audit = store.audit(&AuditFilter::default(), &Page::default()).await.unwrap();
    let types: Vec<_> = audit.items.iter().map(|e| (e.position, e.event.event_type.as_str())).collect();
    assert_eq!(types.len(), 7, "{types:?}");
    assert_eq!(store.tenants(&TenantFilter { q: Some("cus".into()), ..Default::default() }, &Page::default()).await.unwrap().items.len(), 1);
    let again = register::register(&declared, &manifest, vec![], &mut moment()).unwrap();
    println!("{:?}", store.commit(again.changes.unwrap()).await);
    store.close().await;
}
