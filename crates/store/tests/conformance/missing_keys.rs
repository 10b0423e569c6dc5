//! Data keys that cannot be used: erased by a purge, or wrapped by a key that is missing. Nothing is stored in plain, and
//! nothing is lost.

use crate::harness::{Bench, tenant};
use crate::sealing::{Answer, PRIVATE, Rig, document, log, on_each, private_of};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tenancy_core::Error;
use tenancy_core::ids::WebhookId;
use tenancy_core::json::merge_patch;
use tenancy_core::log_fault::LogFaultKind;
use tenancy_core::rules::lifecycle::{Suspension, suspend};
use tenancy_core::webhook::WebhookOwner;
use tenancy_store::page::Page;
use tenancy_vault::directory::Directory;
use tenancy_vault::{KeyName, KeyService, Vault, WrappedKey};

on_each!(
    must_store_no_secret_of_a_tenant_whose_key_is_erased,
    must_lose_nothing_while_a_wrapping_key_is_missing,
    must_not_take_a_key_that_is_wrapped_again_for_a_missing_one,
    must_seal_rows_of_other_tenants_while_a_key_is_missing,
);

/// The owner and the id of the webhook of a tenant's manifest.
async fn webhook(bench: &Bench, id: &str) -> (WebhookOwner, WebhookId) {
    (WebhookOwner::Tenant(tenant(id)), bench.snapshot(id).await.webhooks[0].webhook_id.clone())
}

async fn must_store_no_secret_of_a_tenant_whose_key_is_erased(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for id in ["t-erased", "t-other"] {
        bench.register(&document(id, "platform")).await.unwrap();
    }
    bench.drain().await;
    // As after a restore of a backup from before the purge of the tenant.
    assert_eq!(bench.store.erase_data_keys(&[tenant("t-erased")]).await, Ok(1));
    let (owner, id) = webhook(&bench, "t-erased").await;
    let refused = bench.store.webhook_secrets(&owner, &id).await;
    assert!(matches!(&refused, Err(Error::NotNow(why)) if why.contains("t-erased has no key")), "{refused:?}");
    let endpoint = bench.store.endpoint(&id).await;
    assert!(matches!(endpoint, Err(Error::NotNow(_))), "{endpoint:?}");
    let (owner, other) = webhook(&bench, "t-other").await;
    assert_eq!(bench.store.webhook_secrets(&owner, &other).await.unwrap().live(bench.store.now()).count(), 1);
    let stored = rig.texts("SELECT coalesce(secret, 'none') FROM tenant_webhooks ORDER BY tenant_id");
    assert!(stored.len() == 2 && stored[0] == "none" && stored[1].starts_with("sealed:1:"), "{stored:?}");
}

/// Changes what only private data contain: reasons, names.
async fn rename(bench: &Bench, id: &str, name: &str) -> Result<(), Error> {
    let mut changed = document(id, "kms-per-tenant");
    merge_patch(&mut changed, &json!({"display_name": name}));
    let changed = bench.change(&bench.snapshot(id).await, &changed, &[]).unwrap();
    bench.commit(changed.changes).await.map(drop)
}

async fn must_lose_nothing_while_a_wrapping_key_is_missing(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2"] {
        bench.register(&document(id, "kms-per-tenant")).await.unwrap();
    }
    bench.drain().await;
    let (owner, id) = webhook(&bench, "t-1").await;
    bench.store.webhook_secrets(&owner, &id).await.unwrap();
    let events = log(&bench).await;
    bench.store.close().await;
    drop(bench);
    // The files of tenants' keys are lost, or not restored yet.
    let file = rig.directory.path().join("keys/tenants-000001.keys");
    let away = rig.directory.path().join("away.keys");
    std::fs::rename(&file, &away).unwrap();

    let bench = rig.open().await;
    let before = rig.texts("SELECT audit_id FROM tenant_audit ORDER BY 1");
    let snapshot = bench.snapshot("t-1").await;
    assert_eq!(rename(&bench, "t-1", "Another").await, Err(Error::KeysUnavailable));
    let hold = Suspension { hold: Some("billing".to_owned()), reason: Some(PRIVATE.to_owned()), until: None };
    let asked = suspend(&bench.declared, &snapshot, &hold, &mut bench.context()).unwrap();
    assert_eq!(bench.commit(asked.changes).await.err(), Some(Error::KeysUnavailable));
    assert_eq!(rig.texts("SELECT audit_id FROM tenant_audit ORDER BY 1"), before, "nothing is half done");
    assert_eq!(bench.snapshot("t-1").await, snapshot);
    assert_eq!(bench.store.seal_for("t-1", "row", "plain").await, Err(Error::KeysUnavailable));
    // Reads say what they cannot read.
    let read = bench.store.tenant_version(&tenant("t-1"), 1).await;
    assert!(matches!(&read, Err(Error::Unreadable(place)) if place.ends_with("whose key is missing")), "{read:?}");
    let listed = bench.store.tenant_versions(&tenant("t-1"), &Page::default()).await.unwrap();
    assert_eq!((listed.items.len(), listed.unreadable.len()), (0, 1));
    let secrets = bench.store.webhook_secrets(&owner, &id).await;
    assert!(matches!(&secrets, Err(Error::Unreadable(place)) if place.contains("key is missing")), "{secrets:?}");
    let now = log(&bench).await;
    let private = private_of(&now, "t-1");
    assert!(!private.is_empty() && private.iter().all(|event| event.event.private.is_none() && event.tampered));
    let fault = bench.store.verify_log(None).await.unwrap().fault.unwrap();
    assert!(fault.kind == LogFaultKind::Removed && fault.message.contains("or their key"), "{fault:?}");
    // What needs no key of a tenant's own goes on.
    bench.register(&document("t-3", "platform")).await.unwrap();
    bench.store.close().await;
    drop(bench);

    std::fs::rename(&away, &file).unwrap();
    let bench = rig.open().await;
    rename(&bench, "t-1", "Another").await.unwrap();
    let now = log(&bench).await;
    assert_eq!(now[..events.len()], events, "everything is back");
    let (last, private) = (now.last().unwrap(), private_of(&now, "t-1"));
    assert!(last.event.private.is_some() && private.iter().all(|event| event.event.private.is_some()));
    bench.store.webhook_secrets(&owner, &id).await.unwrap();
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);
}

/// Keys of which one is wrapped again by another process while this one unwraps it.
struct Replaced(Directory, Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl KeyService for Replaced {
    fn create(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        self.0.create(names)
    }
    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        self.0.wrap(name, plain, context)
    }
    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        if let Some(meanwhile) = name.is_of_a_tenant().then(|| self.1.lock().unwrap().take()).flatten() {
            meanwhile();
        }
        self.0.unwrap(name, wrapped, context)
    }
    fn destroy(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        self.0.destroy(names)
    }
    fn sign(&self, name: &KeyName, message: Vec<u8>) -> Answer<'_, Vec<u8>> {
        self.0.sign(name, message)
    }
    fn public_key(&self, name: &KeyName) -> Answer<'_, Vec<u8>> {
        self.0.public_key(name)
    }
    fn newest_shared(&self) -> Answer<'_, Option<KeyName>> {
        self.0.newest_shared()
    }
    fn identity(&self) -> Answer<'_, String> {
        self.0.identity()
    }
}

async fn must_not_take_a_key_that_is_wrapped_again_for_a_missing_one(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    bench.register(&document("t-1", "kms-per-tenant")).await.unwrap();
    bench.drain().await;
    bench.store.close().await;
    drop(bench);
    // What an earlier key has wrapped, as this process reads it just before another process wraps it again.
    let keys = rig.keys();
    let vault = Vault::new(Arc::new(rig.keys()), 1);
    let [name, wrapped] = ["wrapping_key", "wrapped"]
        .map(|column| rig.texts(&format!("SELECT {column} FROM data_keys WHERE tenant_id = 't-1'")).concat());
    let old = WrappedKey { tenant_id: "t-1".to_owned(), wrapping_key: KeyName::parse(&name).unwrap(), wrapped };
    let new = vault.rewrap(&old).await.unwrap().unwrap();
    let service = Arc::new(Replaced(rig.keys(), Mutex::default()));
    let bench = Bench::with(&rig.database, Vault::new(Arc::clone(&service) as _, 100)).await.unwrap();
    let statement = format!(
        "UPDATE data_keys SET wrapping_key = '{}', wrapped = '{}' WHERE tenant_id = 't-1'",
        new.wrapping_key, new.wrapped
    );
    keys.destroy(vec![old.wrapping_key]).await.unwrap();
    let rig = Arc::new(rig);
    let other = Arc::clone(&rig);
    let replace = move || std::thread::scope(|scope| scope.spawn(|| other.execute(&statement)).join().unwrap());
    *service.1.lock().unwrap() = Some(Box::new(replace));
    rename(&bench, "t-1", "Another").await.unwrap();
    assert!(service.1.lock().unwrap().is_none(), "the key was wrapped again meanwhile");
    let now = log(&bench).await;
    assert!(private_of(&now, "t-1").iter().all(|event| event.event.private.is_some()));
    assert_eq!(bench.store.tenant_versions(&tenant("t-1"), &Page::default()).await.unwrap().items.len(), 2);
}

async fn must_seal_rows_of_other_tenants_while_a_key_is_missing(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2"] {
        bench.register(&document(id, "kms-per-tenant")).await.unwrap();
    }
    rig.execute("UPDATE tenant_versions SET manifest = '{\"display_name\": \"plain\"}'");
    bench.store.close().await;
    drop(bench);
    rig.keys().destroy(vec![KeyName::parse(&rig.wrapping_key("t-1")).unwrap()]).await.unwrap();
    let bench = rig.open().await;
    assert_eq!(bench.store.seal_plain_rows(100).await, Ok(1));
    let stored = rig.texts("SELECT manifest FROM tenant_versions ORDER BY tenant_id");
    assert!(stored[0].contains("plain") && stored[1].starts_with("\"sealed:1:"), "{stored:?}");
}
