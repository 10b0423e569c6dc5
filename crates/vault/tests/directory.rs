//! The directory of keys: real files, damaged and torn ones, wrong places, and what a destruction leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use tenancy_vault::directory::Directory;
use tenancy_vault::{KeyError, KeyName, KeyService};

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn of_tenant(number: usize) -> KeyName {
    name(&format!("tenant-acme-{number}-0123456789abcdef"))
}

fn keys() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys");
    (place, path)
}

async fn create(directory: &Directory, name: &KeyName) -> Vec<u8> {
    directory.create(vec![name.clone()]).await.unwrap();
    wrap(directory, name).await
}

async fn wrap(directory: &Directory, name: &KeyName) -> Vec<u8> {
    directory.wrap(name, b"data key".to_vec(), b"context".to_vec()).await.unwrap()
}

async fn unwrap(directory: &Directory, name: &KeyName, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
    directory.unwrap(name, wrapped.to_vec(), b"context".to_vec()).await
}

async fn opens(directory: &Directory, name: &KeyName, wrapped: &[u8]) {
    assert_eq!(unwrap(directory, name, wrapped).await.unwrap(), b"data key", "{name}");
}

async fn is_missing(directory: &Directory, name: &KeyName, wrapped: &[u8]) {
    assert_eq!(unwrap(directory, name, wrapped).await.unwrap_err(), KeyError::Missing(name.clone()));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn refusal<T>(done: Result<T, KeyError>) -> String {
    match done {
        Err(KeyError::Refused(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was accepted"),
    }
}

fn unavailable<T>(done: Result<T, KeyError>) -> String {
    match done {
        Err(KeyError::Unavailable(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[tokio::test]
async fn must_be_readable_by_its_owner_only() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    create(&directory, &KeyName::shared(1)).await;
    create(&directory, &of_tenant(1)).await;
    assert_eq!(mode(&path), 0o700);
    for file in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    set_mode(&path, 0o750);
    let why = refusal(Directory::open(&path));
    assert!(why.contains(&format!("chmod 700 {}", path.canonicalize().unwrap().display())), "{why}");
    set_mode(&path, 0o700);
    set_mode(&path.join("platform.keys"), 0o644);
    assert!(refusal(Directory::open(&path)).contains("chmod 600"), "a file that others can read");
}

#[tokio::test]
async fn must_refuse_a_place_that_is_no_directory_of_keys() {
    let (place, path) = keys();
    let why = refusal(Directory::open(&path));
    assert!(why.contains("restore it") && why.contains("keys"), "{why}");
    fs::create_dir(&path).unwrap();
    set_mode(&path, 0o700);
    assert!(refusal(Directory::open(&path)).contains("is no directory of keys"), "an empty directory");
    fs::write(path.join("tenancy.db"), "other").unwrap();
    assert!(refusal(Directory::create(&path)).contains("tenancy.db"), "a directory with other files");
    assert_eq!(files(&path).len(), 1, "nothing was written into it");
    fs::remove_file(path.join("tenancy.db")).unwrap();
    Directory::create(&path).unwrap();
    fs::write(path.join("identity"), "tenancy-keys-2 abc\n").unwrap();
    assert!(refusal(Directory::open(&path)).contains("tenancy-keys-1"), "the format of a later release");
    drop(place);
}

#[tokio::test]
async fn must_have_one_identity_for_all_processes_and_another_in_another_directory() {
    let (_place, path) = keys();
    let made = std::thread::scope(|scope| {
        let made: Vec<_> = (0..8).map(|_| scope.spawn(|| Directory::create(&path).unwrap())).collect();
        made.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let identities = join_all(made.iter().map(KeyService::identity)).await;
    let identities: HashSet<String> = identities.into_iter().map(Result::unwrap).collect();
    assert_eq!(identities.len(), 1, "{identities:?}");
    let (_place, path) = keys();
    let other = Directory::create(&path).unwrap().identity().await.unwrap();
    assert!(!identities.contains(&other), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn must_create_the_keys_of_concurrent_requests_with_one_sync() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    create(&directory, &of_tenant(0)).await;
    let before = directory.syncs();
    // The first request waits for the lock; the others wait for the first one.
    let lock = File::open(path.join("lock")).unwrap();
    lock.lock().unwrap();
    let names: Vec<_> = (1..=500).map(of_tenant).collect();
    let all = join_all(names.iter().map(|name| create(&directory, name)));
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        drop(lock);
    };
    let (wrapped, ()) = tokio::join!(all, release);
    assert!(directory.syncs() - before <= 2, "{} syncs", directory.syncs() - before);
    let again = Directory::open(&path).unwrap();
    for (name, wrapped) in names.iter().zip(&wrapped) {
        opens(&again, name, wrapped).await;
    }
}

#[tokio::test]
async fn must_begin_another_file_when_one_is_full() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    let mut wrapped = Vec::new();
    for chunk in (0..2000).collect::<Vec<_>>().chunks(100) {
        let names: Vec<_> = chunk.iter().map(|number| of_tenant(*number)).collect();
        directory.create(names.clone()).await.unwrap();
        for name in names {
            wrapped.push((name.clone(), wrap(&directory, &name).await));
        }
    }
    let sizes: Vec<_> = files(&path)
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("tenants-"))
        .map(|file| fs::metadata(file).unwrap().len())
        .collect();
    assert!(sizes.len() >= 2 && sizes.iter().all(|size| *size < 160 << 10), "{sizes:?}");
    let again = Directory::open(&path).unwrap();
    let some: Vec<_> = wrapped.iter().step_by(97).collect();
    for (name, wrapped) in &some {
        opens(&again, name, wrapped).await;
        // By its name alone, a key is searched in all files.
        again.public_key(name).await.unwrap();
    }
    let names = some.iter().map(|(name, _)| name.clone()).collect();
    again.destroy(names).await.unwrap();
    for (name, wrapped) in wrapped.iter().step_by(13) {
        if some.iter().any(|(destroyed, _)| destroyed == name) {
            is_missing(&directory, name, wrapped).await;
        } else {
            opens(&directory, name, wrapped).await;
        }
    }
}

#[tokio::test]
async fn must_leave_nothing_of_a_destroyed_key_in_any_file() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    let other = Directory::open(&path).unwrap();
    let mut wrapped = Vec::new();
    for number in 0..3 {
        wrapped.push(create(&directory, &of_tenant(number)).await);
    }
    let file = path.join("tenants-000001.keys");
    let before = fs::read_to_string(&file).unwrap();
    let secret = before.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    // A descriptor of the old file shows what stays on the disk when the file has no name any more.
    let old = File::open(&file).unwrap();
    other.destroy(vec![of_tenant(1)]).await.unwrap();
    for file in files(&path) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&secret) && !text.contains(of_tenant(1).as_str()), "{}", file.display());
    }
    let zeros = std::io::read_to_string(old).unwrap();
    assert!(!zeros.is_empty() && zeros.bytes().all(|byte| byte == 0), "the old file has bytes of keys");
    for directory in [&directory, &other] {
        opens(directory, &of_tenant(0), &wrapped[0]).await;
        is_missing(directory, &of_tenant(1), &wrapped[1]).await;
        opens(directory, &of_tenant(2), &wrapped[2]).await;
    }
    directory.destroy(vec![of_tenant(0), of_tenant(2), of_tenant(77)]).await.unwrap();
    assert!(!file.exists(), "a file without keys is removed");
    // The process that created the keys goes on.
    let next = create(&directory, &of_tenant(5)).await;
    opens(&other, &of_tenant(5), &next).await;
}

#[tokio::test]
async fn must_never_use_a_destroyed_key_again_in_any_process() {
    let (_place, path) = keys();
    let (here, there) = (Directory::create(&path).unwrap(), Directory::open(&path).unwrap());
    for own in [of_tenant(1), KeyName::shared(1)] {
        let wrapped = create(&here, &own).await;
        opens(&there, &own, &wrapped).await;
        there.destroy(vec![own.clone()]).await.unwrap();
        is_missing(&there, &own, &wrapped).await;
        here.newest_shared().await.unwrap();
        is_missing(&here, &own, &wrapped).await;
        // A key of the same name is another key.
        create(&there, &own).await;
        assert!(refusal(unwrap(&there, &own, &wrapped).await).contains("cannot be unwrapped"));
    }
}

#[tokio::test]
async fn must_keep_the_key_of_a_name_that_is_created_again() {
    let (_place, path) = keys();
    let (here, there) = (Directory::create(&path).unwrap(), Directory::open(&path).unwrap());
    let wrapped = create(&here, &KeyName::shared(1)).await;
    create(&there, &KeyName::shared(1)).await;
    create(&here, &KeyName::shared(1)).await;
    for directory in [&here, &there, &Directory::open(&path).unwrap()] {
        opens(directory, &KeyName::shared(1), &wrapped).await;
    }
}

#[tokio::test]
async fn must_name_the_shared_key_with_the_highest_number() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    assert_eq!(directory.newest_shared().await.unwrap(), None);
    for number in [1, 2, 10, 9] {
        create(&directory, &KeyName::shared(number)).await;
    }
    create(&directory, &name("statements-99")).await;
    assert_eq!(directory.newest_shared().await.unwrap(), Some(KeyName::shared(10)));
}

/// A crash while a record is appended leaves any beginning of it, or a hole of zeros.
#[tokio::test]
async fn must_go_on_after_a_crash_at_any_byte_of_a_record() {
    let (_place, path) = keys();
    let file = path.join("tenants-000001.keys");
    let directory = Directory::create(&path).unwrap();
    let first = create(&directory, &of_tenant(1)).await;
    let torn = create(&directory, &of_tenant(2)).await;
    let text = fs::read(&file).unwrap();
    let ends = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in ends..text.len() {
        fs::write(&file, &text[..cut]).unwrap();
        let directory = Directory::open(&path).unwrap();
        is_missing(&directory, &of_tenant(2), &torn).await;
        opens(&directory, &of_tenant(1), &first).await;
        if cut % 16 == 0 {
            let next = create(&directory, &of_tenant(3)).await;
            opens(&Directory::open(&path).unwrap(), &of_tenant(3), &next).await;
            opens(&Directory::open(&path).unwrap(), &of_tenant(1), &first).await;
        }
    }
    let hole = [&text[..ends], &[0; 512], b"\n", &text[ends..]].concat();
    fs::write(&file, hole).unwrap();
    let directory = Directory::open(&path).unwrap();
    opens(&directory, &of_tenant(1), &first).await;
    opens(&directory, &of_tenant(2), &torn).await;
    directory.destroy(vec![of_tenant(1)]).await.unwrap();
    opens(&directory, &of_tenant(2), &torn).await;
}

#[tokio::test]
async fn must_say_which_file_has_a_damaged_record_and_replace_no_key_by_a_new_one() {
    let (_place, path) = keys();
    for (key, file) in [(KeyName::shared(1), "platform.keys"), (of_tenant(1), "tenants-000001.keys")] {
        let wrapped = create(&Directory::create(&path).unwrap(), &key).await;
        let mut bytes = fs::read(path.join(file)).unwrap();
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
        fs::write(path.join(file), &bytes).unwrap();
        let directory = Directory::open(&path).unwrap();
        let why = unavailable(unwrap(&directory, &key, &wrapped).await);
        assert!(why.contains(file) && why.contains("damaged") && why.contains("Restore"), "{why}");
        if !key.is_of_a_tenant() {
            assert!(unavailable(directory.create(vec![key.clone()]).await).contains("damaged"));
        }
        bytes[at] ^= 1;
        fs::write(path.join(file), &bytes).unwrap();
        opens(&directory, &key, &wrapped).await;
        // What is left of a damaged record is destroyed as well.
        bytes[at] ^= 1;
        fs::write(path.join(file), &bytes).unwrap();
        directory.destroy(vec![key.clone()]).await.unwrap();
        is_missing(&directory, &key, &wrapped).await;
        let secret = std::str::from_utf8(&bytes[at - 40..at]).unwrap();
        let left = fs::read_to_string(path.join(file)).unwrap_or_default();
        assert!(!left.contains(&secret[..20]), "{left}");
    }
}

#[tokio::test]
async fn must_not_create_new_shared_keys_in_a_directory_that_was_restored_in_part() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    create(&directory, &KeyName::shared(1)).await;
    fs::remove_file(path.join("platform.keys")).unwrap();
    for why in [
        unavailable(Directory::open(&path)),
        unavailable(Directory::create(&path)),
        unavailable(directory.newest_shared().await),
        unavailable(directory.create(vec![KeyName::shared(2)]).await),
    ] {
        assert!(why.contains("platform.keys is missing") && why.contains("Restore"), "{why}");
    }
}

#[tokio::test]
async fn must_say_that_the_directory_is_away_and_never_that_keys_are_missing() {
    let (place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    let wrapped = create(&directory, &of_tenant(1)).await;
    let shared = create(&directory, &KeyName::shared(1)).await;
    let away = place.path().join("away");
    fs::rename(&path, &away).unwrap();
    for is_replaced in [false, true] {
        if is_replaced {
            // Another directory of keys is mounted in its place.
            Directory::create(&path).unwrap();
        }
        for why in [
            unavailable(unwrap(&directory, &of_tenant(1), &wrapped).await),
            unavailable(directory.newest_shared().await),
            unavailable(directory.sign(&KeyName::shared(7), Vec::new()).await),
            unavailable(directory.create(vec![of_tenant(2)]).await),
            unavailable(directory.destroy(vec![of_tenant(1)]).await),
        ] {
            assert!(why.contains("Mount the one"), "{why}");
        }
        // The shared key is in memory: tenants can still be registered.
        opens(&directory, &KeyName::shared(1), &shared).await;
        opens(&directory, &KeyName::shared(1), &wrap(&directory, &KeyName::shared(1)).await).await;
    }
    assert_eq!(files(&path).iter().filter(|file| file.to_string_lossy().contains("tenants")).count(), 0);
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    opens(&directory, &of_tenant(1), &wrapped).await;
    create(&directory, &of_tenant(2)).await;
}

#[tokio::test]
async fn must_answer_with_an_error_when_a_stopped_process_holds_the_lock() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    create(&directory, &KeyName::shared(1)).await;
    let lock = File::open(path.join("lock")).unwrap();
    lock.lock().unwrap();
    let (opening, creating) = (path.clone(), vec![of_tenant(1)]);
    let opening = tokio::task::spawn_blocking(move || Directory::open(&opening));
    let (opened, created) = tokio::join!(opening, directory.create(creating));
    for why in [unavailable(opened.unwrap()), unavailable(created)] {
        assert!(why.contains("did not answer within 10 seconds") && why.contains("lock"), "{why}");
    }
    wrap(&directory, &KeyName::shared(1)).await;
    drop(lock);
    create(&directory, &of_tenant(2)).await;
}

#[tokio::test]
async fn must_refuse_a_wrapped_key_that_was_changed() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    let wrapped = create(&directory, &KeyName::shared(1)).await;
    for at in 4..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        refusal(unwrap(&directory, &KeyName::shared(1), &changed).await);
    }
    for length in 0..wrapped.len() {
        refusal(unwrap(&directory, &KeyName::shared(1), &wrapped[..length]).await);
    }
    refusal(directory.unwrap(&KeyName::shared(1), wrapped, b"other context".to_vec()).await);
}

#[tokio::test]
async fn must_erase_what_a_process_left_that_was_killed_while_it_rewrote_a_file() {
    let (_place, path) = keys();
    let directory = Directory::create(&path).unwrap();
    let wrapped = create(&directory, &of_tenant(1)).await;
    let left = path.join("rewritten.tmp");
    let mut file = OpenOptions::new().write(true).create_new(true).open(&left).unwrap();
    file.write_all(&fs::read(path.join("tenants-000001.keys")).unwrap()).unwrap();
    directory.destroy(vec![of_tenant(2)]).await.unwrap();
    assert!(!left.exists(), "it has the secrets of keys that may be destroyed later");
    opens(&directory, &of_tenant(1), &wrapped).await;
}
