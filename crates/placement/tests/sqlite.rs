//! Environments as SQLite files: each promise of a provisioner, on real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use rusqlite::Connection;
use std::path::Path;
use tenancy_core::Timestamp;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::placement::{Access, Fence, Place, PlacementKind};
use tenancy_core::tenant::Profile;
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_placement::{Fault, Provisioner as _, Recorded, Wanted};

const FIRST: Fence = Fence { log_epoch: 1, counter: 1, lease_epoch: 1 };

fn wanted(env_id: &str) -> Wanted {
    Wanted {
        tenant_id: TenantId::parse("acme-eu").expect("an id"),
        profile: Profile::Standard,
        env_id: EnvironmentId::known(env_id),
        name: "dev".to_owned(),
        region: "eu-west-1".to_owned(),
        isolation_level: IsolationLevel::Shared,
        quotas: Object::new(),
        retention_days: Some(30),
        policies: Object::new(),
    }
}

fn at(counter: i64, lease_epoch: i64) -> Fence {
    Fence { log_epoch: 1, counter, lease_epoch }
}

/// A place as the record has it, which was made.
fn made(env: &Wanted, place: &Place) -> Recorded {
    Recorded { env_id: env.env_id.clone(), place: place.clone(), is_made: true }
}

/// A place that was chosen, and never made.
fn chosen(env_id: &str) -> Recorded {
    let place = Place { kind: PlacementKind::Sqlite, location: env_id.to_owned(), fingerprint: "chosen".to_owned() };
    Recorded { env_id: EnvironmentId::known(env_id), place, is_made: false }
}

/// Makes a place as a job does: it is chosen, and then made.
async fn make(files: &SqliteFiles, env: &Wanted, access: Access, fence: Fence) -> Result<Place, Fault> {
    let place = files.choose(env).await.expect("chosen");
    files.make(env, &place, access, fence).await.map(|()| place)
}

fn count(path: &Path) -> rusqlite::Result<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    Connection::open_with_flags(path, flags)?.query_row("SELECT count(*) FROM notes", [], |row| row.get(0))
}

#[tokio::test]
async fn making_twice_must_return_the_same_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    assert_eq!(files.look(&env.env_id).await, Ok(None));
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    assert_eq!(place.kind, PlacementKind::Sqlite);
    assert_eq!(files.make(&env, &place, Access::Full, at(1, 2)).await, Ok(()));
    // Another process that opens the same folder finds it.
    let again = SqliteFiles::open(folder.path()).expect("opens");
    let found = again.verify(&made(&env, &place)).await.expect("there");
    assert_eq!((found.place, found.access), (place, Access::Full));
    assert!(found.bytes > 0);
}

#[tokio::test]
async fn a_place_that_was_left_by_a_crash_before_the_ledger_knew_it_must_be_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    Connection::open(folder.path().join("ledger.sqlite"))
        .and_then(|ledger| ledger.execute("DELETE FROM places", []))
        .expect("the ledger forgets");
    // So does a folder that a crash left half-made.
    std::fs::create_dir(folder.path().join("env-1.new")).expect("a folder");
    assert_eq!(files.make(&env, &place, Access::Full, at(1, 2)).await, Ok(()));
    std::fs::create_dir(folder.path().join("env-2.new")).expect("a folder");
    make(&files, &wanted("env-2"), Access::Full, FIRST).await.expect("made");
}

#[tokio::test]
async fn a_blocked_file_must_refuse_programs_and_keep_its_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    let recorded = made(&env, &place);
    let path = files.path(&env.env_id);
    // The program leaves its rows in the write-ahead log.
    let program = Connection::open(&path).expect("opens");
    program.execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('kept')").expect("written");
    files.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("blocked");
    assert!(Connection::open(&path).is_err(), "also a program that would create the file is refused");
    drop(program);
    for epoch in [1, 2] {
        files.set_access(&recorded, Access::Full, at(3, epoch)).await.expect("opened");
        assert_eq!(count(&path), Ok(1));
    }
}

#[tokio::test]
async fn a_place_that_was_never_made_must_not_be_made_by_an_earlier_job_once_it_is_blocked() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let refused = files.set_access(&chosen("env-1"), Access::Full, FIRST).await.expect_err("nothing to open");
    assert!(refused.to_string().contains("is gone"), "{refused}");
    files.set_access(&chosen("env-1"), Access::Blocked, at(2, 1)).await.expect("nothing to close");
    assert_eq!(make(&files, &env, Access::Full, at(1, 9)).await, Err(Fault::Late));
    assert_eq!(files.look(&env.env_id).await, Ok(None));
}

#[tokio::test]
async fn a_late_worker_must_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, at(1, 2)).await.expect("made");
    let recorded = made(&env, &place);
    files.set_access(&recorded, Access::Blocked, at(2, 1)).await.expect("blocked");
    assert_eq!(files.look(&env.env_id).await.expect("looked").expect("there").place, place);
    for late in [at(1, 9), at(2, 0)] {
        assert_eq!(make(&files, &env, Access::Full, late).await, Err(Fault::Late));
        assert_eq!(files.set_access(&recorded, Access::Full, late).await, Err(Fault::Late));
        assert_eq!(files.update(&env, late).await, Err(Fault::Late));
        assert_eq!(files.remove(&recorded, late).await, Err(Fault::Late));
    }
    assert_eq!(files.verify(&recorded).await.map(|found| found.access), Ok(Access::Blocked));
    // After a restore, the counters of the record are lower than those that the place has seen.
    let restored = Fence { log_epoch: 2, counter: 1, lease_epoch: 1 };
    assert_eq!(files.set_access(&recorded, Access::Full, restored).await, Ok(()));
}

#[tokio::test]
async fn removal_must_leave_no_file_and_let_nobody_make_the_place_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    for (id, access) in [("env-1", Access::Full), ("env-2", Access::Blocked), ("env-3", Access::ReadOnly)] {
        let env = wanted(id);
        let place = make(&files, &env, access, FIRST).await.expect("made");
        for epoch in [1, 2] {
            files.remove(&made(&env, &place), at(2, epoch)).await.expect("removed");
        }
        assert_eq!(files.look(&env.env_id).await, Ok(None));
        assert!(matches!(make(&files, &env, Access::Full, at(3, 1)).await, Err(Fault::Refused(_))));
    }
    // One that a crash left half-made.
    std::fs::create_dir(folder.path().join("half-made.new")).expect("a folder");
    std::fs::write(folder.path().join("half-made.new/data.sqlite"), "x").expect("written");
    for id in ["never-made", "half-made"] {
        files.remove(&chosen(id), FIRST).await.expect("nothing to remove");
    }
    let left: Vec<_> = walk(folder.path()).into_iter().filter(|name| name.contains("data.sqlite")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_another_one_must_be_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let (one, other) = (wanted("env-1"), wanted("env-2"));
    let place = make(&files, &one, Access::Full, FIRST).await.expect("made");
    make(&files, &other, Access::Full, FIRST).await.expect("made");
    std::fs::copy(files.path(&other.env_id), files.path(&one.env_id)).expect("copied");
    let said = files.verify(&made(&one, &place)).await.expect_err("another file").to_string();
    assert!(said.contains("does not belong to environment env-1"), "{said}");
    std::fs::write(files.path(&one.env_id), "not a database").expect("written");
    assert!(matches!(files.verify(&made(&one, &place)).await, Err(Fault::Refused(_))));
    std::fs::remove_dir_all(folder.path().join("env-1")).expect("removed");
    let said = make(&files, &one, Access::Full, at(2, 1)).await.expect_err("gone").to_string();
    assert!(said.contains("restore it from a backup"), "{said}");
}

#[tokio::test]
async fn a_file_that_a_program_has_damaged_locked_or_deleted_must_be_closed_and_destroyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    for (number, id) in ["damaged", "without-table", "locked", "deleted"].into_iter().enumerate() {
        let env = wanted(id);
        let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
        let path = files.path(&env.env_id);
        let program = Connection::open(&path).expect("opens");
        match number {
            0 => std::fs::write(&path, "no database any more").expect("written"),
            1 => program.execute_batch("DROP TABLE tenancy_environment").expect("dropped"),
            2 => program.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("locked"),
            _ => std::fs::remove_file(&path).expect("removed"),
        }
        let recorded = made(&env, &place);
        assert_eq!(files.set_access(&recorded, Access::Blocked, at(2, 1)).await, Ok(()), "{id}");
        assert!(!path.exists(), "{id}");
        drop(program);
        assert_eq!(files.remove(&recorded, at(3, 1)).await, Ok(()), "{id}");
        assert!(walk(folder.path()).iter().all(|name| !name.contains(id)), "{id}");
    }
}

#[tokio::test]
async fn a_folder_that_does_not_know_a_made_place_must_neither_close_nor_destroy_it() {
    let (folder, another) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let env = wanted("env-1");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let recorded = made(&env, &make(&files, &env, Access::Full, FIRST).await.expect("made"));
    let unmounted = SqliteFiles::open(another.path()).expect("opens");
    for attempt in [1, 2] {
        let closed = unmounted.set_access(&recorded, Access::Blocked, at(2, attempt)).await;
        assert!(matches!(closed, Err(Fault::Unavailable(why)) if why.contains("check data_dir")));
        assert!(matches!(unmounted.remove(&recorded, at(2, attempt)).await, Err(Fault::Unavailable(_))));
    }
}

#[tokio::test]
async fn only_the_owner_must_have_access_and_errors_must_not_say_where_the_folder_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    let file = files.path(&env.env_id);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for private in [folder.path(), &folder.path().join("closed"), file.parent().expect("a folder")] {
        assert_eq!(mode(private), 0o700, "{}", private.display());
    }
    for private in [file.as_path(), &folder.path().join("ledger.sqlite")] {
        assert_eq!(mode(private), 0o600, "{}", private.display());
    }
    std::fs::write(&file, "not a database").expect("written");
    let said = files.verify(&made(&env, &place)).await.expect_err("damaged").to_string();
    assert!(!said.contains(&folder.path().display().to_string()) && said.contains("env-1/data.sqlite"), "{said}");
}

#[tokio::test]
async fn a_connection_must_be_the_path_of_the_open_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    let connection = files.connect(&made(&env, &place), Access::ReadOnly, Timestamp::MAX).await;
    let file = files.path(&env.env_id).to_string_lossy().into_owned();
    assert_eq!(connection, Ok(tenancy_placement::Connection::Sqlite { file }));
    assert_eq!(files.expire(Timestamp::MAX).await, Ok(0));
}

#[tokio::test]
async fn a_foreign_file_must_not_be_destroyed() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = make(&files, &env, Access::Full, FIRST).await.expect("made");
    let another = Place { fingerprint: "of another record".to_owned(), ..place };
    let refused = files.remove(&made(&env, &another), at(2, 1)).await.expect_err("not its file").to_string();
    assert!(refused.contains("move it away"), "{refused}");
    assert!(files.path(&env.env_id).exists());
}

#[tokio::test]
async fn an_update_must_be_readable_by_programs_and_leave_a_read_only_file_read_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let mut env = wanted("env-1");
    make(&files, &env, Access::ReadOnly, FIRST).await.expect("made");
    env.retention_days = Some(7);
    files.update(&env, at(1, 2)).await.expect("updated");
    let text = "SELECT settings ->> 'retention_days' FROM tenancy_environment";
    let read = Connection::open(files.path(&env.env_id)).expect("opens").query_row(text, [], |row| row.get(0));
    assert_eq!(read, Ok(7));
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(files.path(&env.env_id)).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
}

#[tokio::test]
async fn calls_at_once_must_leave_one_place_and_the_highest_fence() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let env = wanted("env-1");
    let place = files.choose(&env).await.expect("chosen");
    let calls = (1..=16).map(|epoch| {
        let (files, env) = (SqliteFiles::open(folder.path()).expect("opens"), env.clone());
        let place = place.clone();
        tokio::spawn(async move { files.make(&env, &place, Access::Full, at(1, epoch)).await })
    });
    let ended = futures_util::future::join_all(calls).await;
    assert!(ended.into_iter().any(|one| one.expect("no panic").is_ok()));
    files.verify(&made(&env, &place)).await.expect("one place");
    assert_eq!(files.make(&env, &place, Access::Full, at(1, 15)).await, Err(Fault::Late));
}

fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(walk(&path));
        }
        found.push(path.display().to_string());
    }
    found
}
