//! The snapshot file: what is kept, for whom, and when it is removed.

use super::following::{access, follow_into};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tenancy_client::snapshot_file::Loaded;
use tenancy_client::{AccessCache, SnapshotFile};
use tenancy_testkit::AccessFeed;

#[tokio::test]
async fn must_continue_from_the_file_without_a_snapshot_of_the_server() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = SnapshotFile::new(temp.path().join("state/agent.snapshot"), "key-1".to_owned());
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &["host:a"]));
    feed.set("b", &access("b", 1, &[]));
    let first = follow_into(&feed, AccessCache::new());
    assert!(!file.save(&AccessCache::new()).expect("nothing to save"));
    first.until("ready", |following| following.cache.is_current()).await;
    assert!(file.save(&first.cache).expect("saved"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(file.path()), mode(&temp.path().join("state"))), (0o600, 0o700));
    assert_eq!(std::fs::read_dir(temp.path().join("state")).expect("read").count(), 1);
    drop(first);
    feed.down();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cache = AccessCache::new();
    assert_eq!(file.load(&cache).expect("read"), Loaded::Used);
    let age = cache.get("host:a").expect("known").age();
    assert!(age >= Duration::from_millis(300) && age < Duration::from_secs(30), "{age:?}");
    assert!(cache.is_ready() && !cache.is_current() && cache.tenants() == 2);
    // A file whose contents are still right gets a new time and a new cursor.
    feed.up();
    let second = follow_into(&feed, cache);
    second.until("following", |following| following.cache.is_current()).await;
    assert!(feed.cursors().last().expect("a stream").is_some(), "it continues from the cursor of the file");
    feed.set("b", &access("b", 2, &[]));
    second.until("the change", |following| following.version("b") == Some(2)).await;
    file.save(&second.cache).expect("saved");
    file.touch(&second.cache).expect("touched");
    let cache = AccessCache::new();
    assert_eq!(file.load(&cache).expect("read"), Loaded::Used);
    assert_eq!(cache.cursor(), second.cache.cursor());
    assert_eq!(cache.get("b").expect("known").access.version, 2);
}

#[tokio::test]
async fn must_remove_a_file_that_must_not_be_used() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("agent.snapshot");
    let file = SnapshotFile::new(path.clone(), "key-1".to_owned());
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    let cache = &following.cache;
    let removed = |file: &SnapshotFile, why: &str| {
        let fresh = AccessCache::new();
        let loaded = file.load(&fresh).expect("read");
        assert!(matches!(&loaded, Loaded::Removed(reason) if reason.contains(why)), "{loaded:?} is not {why}");
        assert!(!path.exists() && fresh.tenants() == 0 && !fresh.is_ready());
    };
    file.save(cache).expect("saved");
    removed(&SnapshotFile::new(path.clone(), "key-2".to_owned()), "another key");
    file.save(cache).expect("saved");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    removed(&file, "other users");
    file.save(cache).expect("saved");
    let text = std::fs::read_to_string(&path).expect("read");
    for length in [0, 10, 1024, 1100, text.len() - 1] {
        let cut = SnapshotFile::new(path.clone(), "key-1".to_owned());
        cut.save(cache).expect("saved");
        std::fs::OpenOptions::new().write(true).open(&path).expect("open").set_len(length as u64).expect("cut");
        removed(&cut, "");
    }
    file.save(cache).expect("saved");
    std::fs::write(&path, text.replace("\"tenants\":1", "\"tenants\":2")).expect("written");
    removed(&file, "not complete");
    let elsewhere = temp.path().join("elsewhere");
    std::fs::write(&elsewhere, &text).expect("written");
    std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
    removed(&file, "other users");
    assert!(elsewhere.exists());
}

#[tokio::test]
async fn must_contain_answers_about_access_and_nothing_else() {
    let temp = tempfile::tempdir().expect("a directory");
    let file = SnapshotFile::new(temp.path().join("agent.snapshot"), "digest".to_owned());
    let feed = AccessFeed::start();
    let mut secret: serde_json::Value = serde_json::from_str(&access("a", 1, &[])).expect("json");
    secret["display_name"] = "zz-display".into();
    feed.set("a", &secret.to_string());
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    file.save(&following.cache).expect("saved");
    let text = std::fs::read_to_string(file.path()).expect("read");
    assert!(!text.contains("zz-display") && !text.contains("tenancy_token"), "{text}");
}
