//! One `initdb` for each release on a machine; clusters are copies of its result.

use std::fs::{File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::{give, server_command};
use crate::binaries;

const INITDB: [&str; 6] =
    ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"];

/// A linguistic collation, as most installations have: it reveals a missing `COLLATE "C"`.
const LINGUISTIC: [&str; 2] = ["--locale-provider=icu", "--icu-locale=en-US"];

/// Copies a fresh data directory to `target`, which must not exist.
pub(crate) fn copy_to(target: &Path) {
    let template = template();
    let copied = Command::new("cp").arg("-Rp").arg(&template).arg(target).output();
    let copied = copied.expect("run `cp`");
    assert!(copied.status.success(), "cp: {}", String::from_utf8_lossy(&copied.stderr));
}

/// Creates the template if no process has created it. If two processes try at once, one creates it and the other waits.
fn template() -> PathBuf {
    let cache = cache_directory();
    let template = cache.join(key());
    if template.exists() {
        return template;
    }
    let lock = File::create(cache.join("lock")).expect("make the template's lock file");
    lock.lock().expect("lock the template");
    if !template.exists() {
        let making = tempfile::Builder::new().prefix("making-").tempdir_in(&cache);
        let making = making.expect("make a directory for the template");
        std::fs::set_permissions(making.path(), Permissions::from_mode(0o711)).expect("open the directory");
        let data = making.path().join("data");
        std::fs::create_dir(&data).expect("make the data directory");
        give(&data);
        initdb(&data);
        // Atomic: the template is visible only when it is complete.
        std::fs::rename(&data, &template).expect("put the template in its place");
    }
    template
}

fn initdb(data: &Path) {
    let run = |more: &[&str]| {
        server_command(&binaries::directory().join("initdb"), data)
            .args(INITDB)
            .args(more)
            .arg("--pgdata")
            .arg(data)
            .output()
            .expect("run initdb")
    };
    let made = run(&LINGUISTIC);
    if made.status.success() {
        return;
    }
    // The server was built without ICU.
    let plain = run(&[]);
    assert!(
        plain.status.success(),
        "initdb: {}{}",
        String::from_utf8_lossy(&made.stderr),
        String::from_utf8_lossy(&plain.stderr)
    );
}

/// In the shared temporary directory, but owned by this user only: another user's template could run code.
fn cache_directory() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let directory = std::env::temp_dir().join(format!("tenancy-testkit-{uid}"));
    match std::fs::create_dir(&directory) {
        Ok(()) => {
            std::fs::set_permissions(&directory, Permissions::from_mode(0o711)).expect("open the cache");
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = std::fs::symlink_metadata(&directory).expect("look at the cache");
            assert!(
                found.is_dir() && found.uid() == uid && found.mode() & 0o022 == 0,
                "{} is not a directory that only this user can write: remove it",
                directory.display()
            );
        }
        Err(error) => panic!("make {}: {error}", directory.display()),
    }
    directory
}

/// Another server program or other options use another template.
fn key() -> String {
    let program = binaries::directory().join("postgres");
    let found = std::fs::metadata(&program).expect("look at the server program");
    let mut hasher = DefaultHasher::new();
    (program, found.len(), found.mtime(), INITDB, LINGUISTIC).hash(&mut hasher);
    format!("template-{:016x}", hasher.finish())
}
