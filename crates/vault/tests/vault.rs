//! Data keys: created, opened, re-wrapped and destroyed, with keys in a real directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use tenancy_vault::directory::Directory;
use tenancy_vault::{DataKey, KeyError, KeyName, KeyService, Vault, WrappedKey, is_sealed};

/// Opens the same directory once more, as another process does.
fn vault(path: &Path) -> Arc<Vault> {
    Vault::new(Arc::new(Directory::create(path).unwrap()), 100)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("keys")
    }

    fn vault(&self) -> Arc<Vault> {
        vault(&self.path())
    }
}

async fn key(vault: &Vault, tenant: &str, of_its_own: bool) -> (WrappedKey, Arc<DataKey>) {
    vault.create(tenant, of_its_own).await.unwrap()
}

#[tokio::test]
async fn must_open_in_another_process_what_one_sealed() {
    let place = Place::new();
    for of_its_own in [false, true] {
        let (wrapped, sealing) = key(&place.vault(), "acme-eu", of_its_own).await;
        let text = sealing.seal("audit_private/aud_1", b"secret");
        assert!(is_sealed(&text) && !text.contains("secret"), "{text}");
        let opening = place.vault().open(&wrapped).await.unwrap();
        assert_eq!(opening.open("audit_private/aud_1", &text).unwrap(), b"secret");
        assert_eq!(wrapped.wrapping_key.is_of_a_tenant(), of_its_own, "{wrapped:?}");
    }
}

#[tokio::test]
async fn must_refuse_sealed_text_that_was_moved_or_changed() {
    let place = Place::new();
    let vault = place.vault();
    let (_, acme) = key(&vault, "acme", false).await;
    let (_, other) = key(&vault, "other", false).await;
    let text = acme.seal("tenant_versions/7", b"manifest");
    assert_eq!(acme.open("tenant_versions/7", &text).unwrap(), b"manifest");
    let refused = acme.open("tenant_versions/8", &text).unwrap_err();
    assert!(refused.to_string().contains("tenant_versions/8") && refused.to_string().contains("tenant acme"));
    assert!(other.open("tenant_versions/7", &text).is_err(), "another tenant's key opens it");
    for at in "sealed:1:".len()..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(acme.open("tenant_versions/7", &String::from_utf8(changed).unwrap()).is_err(), "byte {at}");
        assert!(acme.open("tenant_versions/7", &text[..at]).is_err(), "cut at {at}");
    }
    assert!(acme.open("tenant_versions/7", "manifest").is_err(), "plain text is not sealed");
}

#[tokio::test]
async fn must_never_seal_twice_to_the_same_text() {
    let place = Place::new();
    let (_, key) = key(&place.vault(), "acme", false).await;
    assert_ne!(key.seal("row", b"same"), key.seal("row", b"same"));
    assert_eq!(key.open("row", &key.seal("row", b"")).unwrap(), b"", "empty text");
}

#[tokio::test]
async fn must_not_unwrap_a_data_key_for_another_tenant() {
    let place = Place::new();
    let (wrapped, _) = key(&place.vault(), "acme", false).await;
    for tenant in ["other", "", "platform", "acme2"] {
        let stolen = WrappedKey { tenant_id: tenant.to_owned(), ..wrapped.clone() };
        let refused = place.vault().open(&stolen).await.unwrap_err();
        assert!(matches!(refused, KeyError::Refused(_)), "{tenant}: {refused:?}");
    }
}

#[tokio::test]
async fn must_have_nothing_readable_once_a_tenants_own_key_is_destroyed() {
    let place = Place::new();
    let vault = place.vault();
    let (wrapped, _) = key(&vault, "acme", true).await;
    let (other, _) = key(&vault, "other", true).await;
    vault.destroy(&wrapped.wrapping_key).await.unwrap();
    vault.destroy(&wrapped.wrapping_key).await.unwrap();
    for vault in [vault, place.vault()] {
        assert_eq!(vault.open(&wrapped).await.unwrap_err(), KeyError::Missing(wrapped.wrapping_key.clone()));
        vault.open(&other).await.unwrap();
    }
}

#[tokio::test]
async fn must_keep_a_data_key_in_memory_only_after_the_commit_and_until_it_is_forgotten() {
    let place = Place::new();
    let vault = place.vault();
    let (wrapped, created) = key(&vault, "acme", true).await;
    assert!(vault.cached("acme").is_none(), "the commit may fail");
    vault.keep(&wrapped, created);
    assert!(vault.cached("acme").is_some());
    vault.destroy(&wrapped.wrapping_key).await.unwrap();
    vault.open(&wrapped).await.unwrap();
    vault.forget("acme");
    assert!(vault.cached("acme").is_none());
    vault.open(&wrapped).await.unwrap_err();
}

#[tokio::test]
async fn must_bound_the_data_keys_in_memory() {
    let place = Place::new();
    let vault = Vault::new(Arc::new(Directory::create(&place.path()).unwrap()), 10);
    for number in 0..100 {
        let (wrapped, _) = key(&vault, &format!("acme-{number}"), false).await;
        vault.open(&wrapped).await.unwrap();
    }
    let cached = (0..100).filter(|number| vault.cached(&format!("acme-{number}")).is_some()).count();
    assert!((1..=10).contains(&cached), "{cached}");
}

#[tokio::test]
async fn must_rewrap_under_a_new_shared_key_while_another_process_goes_on() {
    let place = Place::new();
    let (here, there) = (place.vault(), place.vault());
    let (old, sealing) = key(&here, "acme", false).await;
    let text = sealing.seal("row", b"secret");
    there.open(&old).await.unwrap();
    assert_eq!(here.rewrap(&old).await.unwrap(), None, "it is under the current key");
    assert_eq!(here.rotate().await.unwrap(), KeyName::shared(2));
    let new = here.rewrap(&old).await.unwrap().unwrap();
    assert_eq!(new.wrapping_key, KeyName::shared(2));
    // The other process has never heard of the new key.
    assert_eq!(there.open(&new).await.unwrap().open("row", &text).unwrap(), b"secret");
    let (next, _) = key(&there, "next", false).await;
    assert_eq!(next.wrapping_key, KeyName::shared(2), "it noticed the new key");
    here.destroy(&KeyName::shared(1)).await.unwrap();
    there.forget("acme");
    assert_eq!(there.open(&new).await.unwrap().open("row", &text).unwrap(), b"secret");
    assert_eq!(place.vault().open(&old).await.unwrap_err(), KeyError::Missing(KeyName::shared(1)));
}

#[tokio::test]
async fn must_notice_a_new_shared_key_without_reading_one() {
    let place = Place::new();
    let (here, there) = (place.vault(), place.vault());
    assert_eq!(there.current_shared().await.unwrap(), KeyName::shared(1));
    here.rotate().await.unwrap();
    tokio::time::sleep(tenancy_vault::SHARED_KEY_REFRESH).await;
    assert_eq!(there.current_shared().await.unwrap(), KeyName::shared(2));
}

#[tokio::test]
async fn must_move_a_data_key_between_the_shared_key_and_an_own_one() {
    let place = Place::new();
    let vault = place.vault();
    let (shared, sealing) = key(&vault, "acme", false).await;
    let text = sealing.seal("row", b"secret");
    let own = vault.rewrap_of_its_own(&shared).await.unwrap();
    assert!(own.wrapping_key.is_of_a_tenant());
    assert_eq!(vault.open(&own).await.unwrap().open("row", &text).unwrap(), b"secret");
    let back = vault.rewrap(&own).await.unwrap().unwrap();
    vault.destroy(&own.wrapping_key).await.unwrap();
    assert_eq!(place.vault().open(&back).await.unwrap().open("row", &text).unwrap(), b"secret");
}

#[tokio::test]
async fn must_refuse_to_destroy_the_shared_key_that_is_in_use() {
    let place = Place::new();
    let vault = place.vault();
    let current = vault.current_shared().await.unwrap();
    let refused = vault.destroy(&current).await.unwrap_err();
    assert!(matches!(&refused, KeyError::Refused(why) if why.contains("shared-1")), "{refused:?}");
    vault.rotate().await.unwrap();
    vault.destroy(&current).await.unwrap();
}

#[tokio::test]
async fn must_make_one_first_shared_key_in_many_processes() {
    let place = Place::new();
    let vaults: Vec<_> = (0..8).map(|_| place.vault()).collect();
    let made: Vec<_> = vaults.iter().map(|vault| vault.create("acme", false)).collect();
    for made in futures_util::future::join_all(made).await {
        let (wrapped, _) = made.unwrap();
        assert_eq!(wrapped.wrapping_key, KeyName::shared(1));
        for vault in &vaults {
            vault.open(&wrapped).await.unwrap();
        }
    }
}

#[tokio::test]
async fn must_show_no_key_in_debug_output_or_in_errors() {
    let place = Place::new();
    let (wrapped, key) = key(&place.vault(), "acme", true).await;
    assert_eq!(format!("{key:?}"), "DataKey { tenant_id: \"acme\", .. }");
    assert!(!format!("{:?}", place.vault().open(&wrapped).await).contains(&wrapped.wrapped));
}

#[tokio::test]
async fn must_sign_so_that_the_public_key_verifies() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let place = Place::new();
    let directory = Directory::create(&place.path()).unwrap();
    let name = KeyName::parse("statements-1").unwrap();
    directory.create(vec![name.clone()]).await.unwrap();
    let signature = directory.sign(&name, b"message".to_vec()).await.unwrap();
    let public = Directory::open(&place.path()).unwrap().public_key(&name).await.unwrap();
    UnparsedPublicKey::new(&ED25519, &public).verify(b"message", &signature).unwrap();
    assert!(UnparsedPublicKey::new(&ED25519, &public).verify(b"messagf", &signature).is_err());
}

#[test]
fn must_name_what_no_key_can_be_called() {
    for bad in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(129)] {
        assert!(matches!(KeyName::parse(bad), Err(KeyError::Refused(_))), "{bad:?}");
    }
    assert_eq!(KeyName::shared(12).shared_number(), Some(12));
    assert_eq!(KeyName::parse("shared-x").unwrap().shared_number(), None);
}
