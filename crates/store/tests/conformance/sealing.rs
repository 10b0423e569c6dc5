//! Private data is stored encrypted, under keys that are not in the database.

use crate::harness::{Bench, full, small, tenant};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::json::merge_patch;
use tenancy_core::log_fault::LogFaultKind;
use tenancy_core::rules::lifecycle::request;
use tenancy_core::scope::Scope;
use tenancy_store::database::Database;
use tenancy_store::page::{AuditFilter, LoggedEvent, Page};
use tenancy_testkit::Postgres;
use tenancy_vault::directory::Directory;
use tenancy_vault::{KeyError, KeyName, KeyService, Vault};

/// Text in the private data of a tenant.
pub const PRIVATE: &str = "Zimmermann-Zoe";

/// Columns that are stored encrypted.
const SEALED: [(&str, &str); 3] =
    [("audit_private", "content"), ("tenant_versions", "manifest"), ("environment_versions", "manifest")];

/// A migrated database, its keys, and access to its tables.
pub struct Rig {
    pub database: Database,
    pub directory: tempfile::TempDir,
    postgres: Option<tenancy_testkit::Database>,
}

impl Rig {
    pub async fn new(on_postgres: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let postgres = on_postgres.then(|| Postgres::shared().database("sealing"));
        let database = match &postgres {
            Some(postgres) => Database::Postgres(postgres.url()),
            None => Database::Sqlite(directory.path().join("tenancy.db")),
        };
        database.migrate(false).await.unwrap();
        Self { database, directory, postgres }
    }

    pub fn keys(&self) -> Directory {
        Directory::create(&self.directory.path().join("keys")).unwrap()
    }

    pub async fn open(&self) -> Bench {
        Bench::with(&self.database, Vault::new(Arc::new(self.keys()), 100)).await.unwrap()
    }

    /// Runs a statement that returns texts, past the store.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        if let Some(postgres) = &self.postgres {
            return postgres.rows(sql).into_iter().map(|row| row.into_iter().flatten().collect::<String>()).collect();
        }
        let connection = rusqlite::Connection::open(self.directory.path().join("tenancy.db")).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    pub fn execute(&self, sql: &str) {
        match &self.postgres {
            Some(postgres) => postgres.execute(sql),
            None => rusqlite::Connection::open(self.directory.path().join("tenancy.db"))
                .unwrap()
                .execute_batch(sql)
                .unwrap(),
        }
    }

    fn stored(&self) -> Vec<String> {
        SEALED.iter().flat_map(|(table, column)| self.texts(&format!("SELECT {column} FROM {table}"))).collect()
    }

    pub fn wrapping_key(&self, tenant: &str) -> String {
        self.texts(&format!("SELECT wrapping_key FROM data_keys WHERE tenant_id = '{tenant}'")).concat()
    }
}

/// Defines one test per database from a function that takes a [`Rig`].
macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::sealing::Rig::new(false).await).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::sealing::Rig::new(true).await).await; })+
        }
    };
}
pub(crate) use on_each;

on_each!(
    must_store_private_data_encrypted_and_read_it_back,
    must_read_rows_from_before_and_seal_them,
    must_wrap_the_key_as_the_policy_says,
    must_destroy_the_keys_of_a_purged_tenant_also_if_the_service_was_away,
    must_refuse_a_database_that_was_used_with_other_keys,
    must_wrap_data_keys_under_a_new_shared_key,
    must_seal_texts_for_one_row_of_one_tenant,
);

pub fn document(id: &str, encryption: &str) -> Value {
    let mut document = full(id, "acme");
    let text = format!("{PRIVATE} {id}");
    let more = json!({"display_name": text, "labels": {"owner": text}, "billing": {"invoices": {"to": text}},
        "policies": {"purgeAfterDays": 0, "encryption": encryption}, "desired_state": "Suspended"});
    merge_patch(&mut document, &more);
    document
}

pub async fn log(bench: &Bench) -> Vec<LoggedEvent> {
    bench.store.audit(&Scope::All, &AuditFilter::default(), &Page { after: None, limit: 500 }).await.unwrap().items
}

pub fn private_of<'a>(events: &'a [LoggedEvent], id: &str) -> Vec<&'a LoggedEvent> {
    let of_tenant = |event: &&LoggedEvent| event.event.tenant_id.as_ref().is_some_and(|tenant| tenant.as_str() == id);
    events.iter().filter(of_tenant).filter(|event| event.event.payload.contains_key("private_digest")).collect()
}

async fn purge(bench: &Bench, id: &str) {
    for action in [Action::Delete, Action::Purge] {
        let snapshot = bench.snapshot(id).await;
        let asked = request(&bench.declared, &snapshot, action, &mut bench.context()).unwrap();
        bench.commit(asked.changes).await.unwrap();
        bench.drain().await;
    }
}

async fn must_store_private_data_encrypted_and_read_it_back(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for (id, encryption) in [("t-own", "kms-per-tenant"), ("t-shared", "platform")] {
        bench.register(&document(id, encryption)).await.unwrap();
    }
    bench.drain().await;
    let stored = rig.stored();
    assert!(stored.len() > 6 && stored.iter().all(|text| text.starts_with("\"sealed:1:")), "{stored:?}");
    assert!(rig.wrapping_key("t-own").starts_with("tenant-t-own-") && rig.wrapping_key("t-shared") == "shared-1");
    // Another process has nothing in memory.
    bench.store.close().await;
    drop(bench);
    let bench = rig.open().await;
    for id in ["t-own", "t-shared"] {
        let version = bench.store.tenant_version(&tenant(id), 1).await.unwrap().unwrap();
        assert_eq!(version.manifest["display_name"], json!(format!("{PRIVATE} {id}")));
        let listed = bench.store.tenant_versions(&tenant(id), &Page::default()).await.unwrap();
        assert_eq!((listed.items, listed.unreadable.len()), (vec![version], 0));
        let environment = &bench.snapshot(id).await.environments[0];
        let versions =
            bench.store.environment_versions(&tenant(id), &environment.env_id, &Page::default()).await.unwrap();
        assert_eq!((versions.items.len(), versions.unreadable.len()), (1, 0));
        let events = log(&bench).await;
        let private = private_of(&events, id);
        assert!(!private.is_empty() && private.iter().all(|event| event.event.private.is_some() && !event.tampered));
    }
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);
    // What was sealed for one row does not open in another.
    rig.execute(
        "UPDATE tenant_versions SET manifest = (SELECT manifest FROM tenant_versions WHERE tenant_id = 't-own') \
         WHERE tenant_id = 't-shared'",
    );
    let moved = bench.store.tenant_version(&tenant("t-shared"), 1).await;
    assert_eq!(moved, Err(Error::Unreadable("tenant_versions.manifest".to_owned())));
    let listed = bench.store.tenant_versions(&tenant("t-shared"), &Page::default()).await.unwrap();
    assert_eq!((listed.items.len(), listed.unreadable.len()), (0, 1));
}

async fn must_read_rows_from_before_and_seal_them(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2"] {
        bench.register(&document(id, "kms-per-tenant")).await.unwrap();
    }
    bench.drain().await;
    let (events, page) = (log(&bench).await, Page::default());
    let before = bench.store.tenant_versions(&tenant("t-1"), &page).await.unwrap();
    // As an earlier release has stored it: plain, and without data keys.
    for event in events.iter().filter(|event| event.event.private.is_some()) {
        let content = event.event.private.as_ref().unwrap().content.to_string().replace('\'', "''");
        rig.execute(&format!(
            "UPDATE audit_private SET content = '{content}' WHERE audit_id = '{}'",
            event.event.audit_id
        ));
    }
    let manifest = before.items[0].manifest.to_string();
    rig.execute(&format!("UPDATE tenant_versions SET manifest = '{manifest}' WHERE tenant_id = 't-1'"));
    rig.execute("DELETE FROM environment_versions; DELETE FROM data_keys WHERE tenant_id = 't-1' OR tenant_id = ''");
    bench.store.close().await;
    drop(bench);
    let bench = rig.open().await;
    assert_eq!(log(&bench).await, events);
    assert_eq!(bench.store.tenant_versions(&tenant("t-1"), &page).await.unwrap(), before);
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);

    let private = events.iter().filter(|event| event.event.private.is_some()).count();
    assert_eq!(bench.store.seal_plain_rows(10_000).await.unwrap(), private + 1);
    assert_eq!(bench.store.seal_plain_rows(10_000).await.unwrap(), 0);
    assert!(rig.stored().iter().all(|text| text.starts_with("\"sealed:1:")));
    assert!(rig.wrapping_key("t-1").starts_with("tenant-t-1-"));
    assert_eq!(log(&bench).await, events);
    assert_eq!(bench.store.tenant_versions(&tenant("t-1"), &page).await.unwrap(), before);
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);
}

async fn must_wrap_the_key_as_the_policy_says(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    bench.register(&document("t-1", "platform")).await.unwrap();
    bench.drain().await;
    let mut former: Option<String> = None;
    for (encryption, prefix) in
        [("kms-per-tenant", "tenant-t-1-"), ("platform", "shared-1"), ("kms-per-tenant", "tenant-t-1-")]
    {
        let allow = ["loosen-policy"];
        let changed = bench.change(&bench.snapshot("t-1").await, &document("t-1", encryption), &allow).unwrap();
        bench.commit(changed.changes).await.unwrap();
        while bench.store.settle_data_keys().await.unwrap() > 0 {}
        let now = rig.wrapping_key("t-1");
        assert!(now.starts_with(prefix), "{encryption}: {now}");
        if let Some(former) = former.filter(|former| former.starts_with("tenant-")) {
            let gone = rig.keys().public_key(&KeyName::parse(&former).unwrap()).await;
            assert!(matches!(gone, Err(KeyError::Missing(_))), "{former}: {gone:?}");
        }
        assert_eq!(
            rig.texts("SELECT tenant_id FROM data_keys WHERE due_at IS NOT NULL OR former_key IS NOT NULL"),
            [""; 0]
        );
        former = Some(now);
    }
    bench.store.close().await;
    drop(bench);
    let bench = rig.open().await;
    let versions = bench.store.tenant_versions(&tenant("t-1"), &Page::default()).await.unwrap();
    assert_eq!((versions.items.len(), versions.unreadable.len()), (4, 0));
}

/// Keys whose destruction fails while they are away.
struct Away(Directory, Arc<AtomicBool>);

pub type Answer<'a, T> = BoxFuture<'a, Result<T, KeyError>>;

impl KeyService for Away {
    fn create(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        self.0.create(names)
    }
    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        self.0.wrap(name, plain, context)
    }
    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        self.0.unwrap(name, wrapped, context)
    }
    fn destroy(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        if self.1.load(Ordering::SeqCst) {
            return async { Err(KeyError::Unavailable("as instructed".to_owned())) }.boxed();
        }
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

async fn must_destroy_the_keys_of_a_purged_tenant_also_if_the_service_was_away(rig: Rig) {
    let away = Arc::new(AtomicBool::new(false));
    let service = Away(rig.keys(), Arc::clone(&away));
    let bench = Bench::with(&rig.database, Vault::new(Arc::new(service), 100)).await.unwrap();
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2", "t-3"] {
        bench.register(&document(id, if id == "t-3" { "platform" } else { "kms-per-tenant" })).await.unwrap();
    }
    bench.drain().await;
    let [first, second] = ["t-1", "t-2"].map(|id| KeyName::parse(&rig.wrapping_key(id)).unwrap());
    let is_gone = async |name: &KeyName| matches!(rig.keys().public_key(name).await, Err(KeyError::Missing(_)));
    purge(&bench, "t-1").await;
    purge(&bench, "t-3").await;
    assert!(is_gone(&first).await && !is_gone(&second).await);
    assert_eq!(rig.texts("SELECT tenant_id FROM data_keys WHERE tenant_id <> '' ORDER BY 1"), ["t-2"]);

    away.store(true, Ordering::SeqCst);
    purge(&bench, "t-2").await;
    assert!(!is_gone(&second).await);
    assert_eq!(rig.texts("SELECT wrapped FROM data_keys WHERE tenant_id = 't-2'"), [""], "the data key is erased");
    away.store(false, Ordering::SeqCst);
    assert_eq!(bench.store.settle_data_keys().await, Ok(0), "not due yet");
    bench.store.shift_clock(Duration::from_secs(61));
    assert_eq!(bench.store.settle_data_keys().await, Ok(1));
    assert!(is_gone(&second).await);
    assert_eq!(rig.texts("SELECT tenant_id FROM data_keys WHERE tenant_id <> ''"), [""; 0]);
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);
}

async fn must_refuse_a_database_that_was_used_with_other_keys(rig: Rig) {
    let bench = rig.open().await;
    bench.store.close().await;
    drop(bench);
    let other = tempfile::tempdir().unwrap();
    let keys = Directory::create(&other.path().join("keys")).unwrap();
    let refused = Bench::with(&rig.database, Vault::new(Arc::new(keys), 100)).await.err();
    assert!(
        matches!(&refused, Some(Error::NotNow(why)) if why.contains("with the keys") && why.contains("[keys]")),
        "{refused:?}"
    );
    rig.open().await;
}

async fn must_wrap_data_keys_under_a_new_shared_key(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    bench.register(&document("t-1", "platform")).await.unwrap();
    bench.register(&document("t-2", "kms-per-tenant")).await.unwrap();
    let own = rig.wrapping_key("t-2");
    assert_eq!(bench.store.rotate_shared_key().await.as_deref(), Ok("shared-2"));
    let done = bench.store.rewrap_data_keys(None).await.unwrap();
    assert_eq!(
        (done.rewrapped, done.next),
        (1 + rig.texts("SELECT '1' FROM data_keys WHERE tenant_id = ''").len(), None)
    );
    assert_eq!(bench.store.rewrap_data_keys(None).await.unwrap().rewrapped, 0);
    assert_eq!((rig.wrapping_key("t-1").as_str(), rig.wrapping_key("t-2")), ("shared-2", own));
    bench.store.close().await;
    drop(bench);
    let bench = rig.open().await;
    assert!(bench.store.tenant_version(&tenant("t-1"), 1).await.unwrap().is_some());
}

async fn must_seal_texts_for_one_row_of_one_tenant(rig: Rig) {
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    for owner in ["", "t-1"] {
        let sealed = bench.store.seal_for(owner, "webhook/whk_1/secret", PRIVATE).await.unwrap();
        assert!(sealed.starts_with("sealed:1:") && !sealed.contains(PRIVATE));
        assert_eq!(bench.store.open_for(owner, "webhook/whk_1/secret", &sealed).await.as_deref(), Ok(PRIVATE));
        for (other, row) in
            [(owner, "webhook/whk_2/secret"), ("t-2", "webhook/whk_1/secret"), ("none", "webhook/whk_1/secret")]
        {
            let refused = bench.store.open_for(other, row, &sealed).await;
            assert!(matches!(refused, Err(Error::Unreadable(_))), "{other}: {refused:?}");
        }
    }
    assert_eq!(bench.store.open_for("t-1", "row", "plain").await.as_deref(), Ok("plain"));
    let refused = bench.store.seal_for("t-new", "row", "plain").await;
    assert!(matches!(&refused, Err(Error::NotNow(why)) if why.contains("t-new has no key")), "{refused:?}");
}

fn contains(file: &Path, text: &str) -> bool {
    std::fs::read(file).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_leave_nothing_sealed_readable_in_a_backup_from_before_a_purge() {
    let rig = Rig::new(false).await;
    let (backup, path) = (rig.directory.path().join("backup.db"), rig.directory.path().join("tenancy.db"));
    let bench = rig.open().await;
    bench.organization("acme", json!({})).await;
    // A value that is only in private data: the tenant has another one now.
    for (id, encryption) in [("t-own", "kms-per-tenant"), ("t-shared", "platform")] {
        bench.register(&document(id, encryption)).await.unwrap();
        let mut changed = document(id, encryption);
        let other = json!({"display_name": "A", "labels": {"owner": "B"}, "billing": {"invoices": {"to": "C"}}});
        merge_patch(&mut changed, &other);
        let changed = bench.change(&bench.snapshot(id).await, &changed, &[]).unwrap();
        bench.commit(changed.changes).await.unwrap();
    }
    bench.drain().await;
    let events = log(&bench).await;
    rig.database.backup(&backup).unwrap();
    assert!(!contains(&backup, PRIVATE) && contains(&backup, "sealed:1:"), "what only private data contain");
    purge(&bench, "t-own").await;
    purge(&bench, "t-shared").await;
    bench.store.close().await;
    drop(bench);

    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    std::fs::copy(&backup, &path).unwrap();
    let bench = rig.open().await;
    // Its wrapping key was destroyed after the backup: until that is said, the key may also be lost by mistake.
    assert!(bench.store.tenant_version(&tenant("t-own"), 1).await.is_err());
    let renamed = bench.change(&bench.snapshot("t-own").await, &document("t-own", "kms-per-tenant"), &[]).unwrap();
    assert_eq!(bench.commit(renamed.changes).await.err(), Some(Error::KeysUnavailable));
    assert_eq!(bench.store.try_data_keys(None).await.unwrap().missing, ["t-own"]);
    assert_eq!(bench.store.erase_data_keys(&[tenant("t-own")]).await, Ok(1));
    assert_eq!(bench.store.try_data_keys(None).await.unwrap().missing, [""; 0]);
    let unreadable = async |id: &str| {
        let listed = bench.store.tenant_versions(&tenant(id), &Page::default()).await.unwrap();
        assert!(bench.store.tenant_version(&tenant(id), 1).await.is_err(), "{id}");
        assert_eq!((listed.items.len(), listed.unreadable.len()), (0, 2), "{id}");
        for environment in bench.snapshot(id).await.environments {
            let versions = bench.store.environment_versions(&tenant(id), &environment.env_id, &Page::default()).await;
            assert!(versions.unwrap().items.is_empty(), "{id}");
        }
        let events = log(&bench).await;
        let private = private_of(&events, id);
        assert!(private.len() > 1 && private.iter().all(|event| event.event.private.is_none() && !event.tampered));
    };
    unreadable("t-own").await;
    // The key that others share still opens this one, until it is named as purged.
    let version = bench.store.tenant_version(&tenant("t-shared"), 1).await.unwrap().unwrap();
    assert_eq!(version.manifest["display_name"], json!(format!("{PRIVATE} t-shared")));
    let fault = bench.store.verify_log(None).await.unwrap().fault;
    assert_eq!(fault.map(|fault| fault.kind), Some(LogFaultKind::Removed), "until the purge is repeated");
    assert_eq!(bench.store.erase_data_keys(&[tenant("t-shared")]).await, Ok(1));
    unreadable("t-shared").await;
    // Both can be purged again.
    for id in ["t-own", "t-shared"] {
        purge(&bench, id).await;
    }
    assert_eq!(bench.store.verify_log(None).await.unwrap().fault, None);
    assert_eq!(log(&bench).await.len(), events.len() + 10, "with the removal of a webhook each");
}
