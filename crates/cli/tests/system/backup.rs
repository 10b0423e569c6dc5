//! Backups that are restored and served.

use super::agree;
use super::http::Client;
use super::load::{End, Worker, prepare};
use super::place::{On, Place, shared};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use tenancy_testkit::Chance;

const WORKERS: u64 = 3;

fn newest(client: &mut Client) -> i64 {
    let items = client.get("/v1/audit?order=desc&limit=1").ok(200).items();
    items.first().and_then(|event| event["position"].as_i64()).unwrap_or_default()
}

/// Returns the cursor behind the newest event.
fn end(client: &mut Client) -> String {
    client.get("/v1/audit?follow=true&after=end").ok(200).body["next"].as_str().expect("a cursor").to_owned()
}

#[track_caller]
fn must_refuse(client: &mut Client, cursor: &str) {
    let refused = client.get(&format!("/v1/audit?after={cursor}")).problem(400, "malformed");
    assert!(refused.text.contains("the database was restored to an earlier time"), "{}", refused.text);
}

/// Checks a server on a restored database with these newest positions: of the backup, and when the backup's source was
/// given up.
fn must_serve_what_was_restored(server: &Server, (kept, lost): (i64, i64), early: &str, late: &str) {
    let mut client = server.client();
    agree::at_rest(&mut client);
    let events = client.all("/v1/audit");
    let positions: Vec<_> = events.iter().filter_map(|event| event["position"].as_i64()).collect();
    assert_eq!(positions, (1..=newest(&mut client)).collect::<Vec<_>>());
    let restored = client.get("/v1/audit?event_type=AUDIT_LOG_RESTORED").ok(200).items();
    assert_eq!(restored.len(), 1);
    assert_eq!(restored[0]["payload"]["first_position"], kept + 1);
    must_refuse(&mut client, late);
    for number in 0..=lost - kept {
        client.post("/v1/organizations", json!({"organization_id": format!("later-{number}")})).ok(201);
    }
    assert!(newest(&mut client) > lost);
    must_refuse(&mut client, late);
    let next = client.get(&format!("/v1/audit?limit=1&after={early}")).ok(200).items();
    assert!(next[0]["position"].as_i64().is_some_and(|position| position <= kept), "{next:?}");
    server.assert_no_errors();
}

#[test]
fn must_restore_a_backup_of_sqlite_that_was_made_under_load() {
    let chance = Chance::new(350);
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    let mut client = server.client();
    prepare(&mut client);
    let early = end(&mut client);
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, &chance)).collect();
    let stop = AtomicBool::new(false);
    let kept = std::thread::scope(|scope| {
        let _end = End(&stop);
        for worker in &mut workers {
            let mut client = server.client();
            let stop = &stop;
            scope.spawn(move || worker.work(&mut client, stop));
        }
        until("there is some load", PATIENCE, || (newest(&mut client) > 100).then_some(()));
        let said = place.good(&["db", "backup", "kept.db"]);
        let kept: i64 = said.trim().rsplit(' ').next().and_then(|last| last.parse().ok()).expect("a position");
        until("more is written", PATIENCE, || (newest(&mut client) > kept + 30).then_some(()));
        kept
    });
    let (late, lost) = (end(&mut client), newest(&mut client));
    server.stop();

    let mode = std::fs::metadata(place.path("kept.db")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = place.run(&["db", "backup", "kept.db"]);
    assert!(again.code == 1 && again.err.contains("kept.db exists already"), "{again:?}");
    let left: Vec<_> =
        std::fs::read_dir(place.path("")).expect("readable").flatten().map(|file| file.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("kept.db.")), "{left:?}");

    std::fs::create_dir(place.path("restored")).expect("made");
    std::fs::set_permissions(place.path("restored"), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::copy(place.path("kept.db"), place.path("restored/tenancy.db")).expect("restored");
    let report = place.good(&["db", "after-restore", "--data-dir", "restored"]);
    assert!(report.contains(&format!("cursors behind position {kept} are refused")), "{report}");
    let server = place.start(place.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "restored"]));
    let busy = place.run(&["db", "after-restore", "--data-dir", "restored"]);
    assert!(busy.code != 0 && busy.err.contains("is open in process"), "{busy:?}");
    must_serve_what_was_restored(&server, (kept, lost), &early, &late);
    server.stop();
    // Also without a server.
    place.good(&["db", "backup", "again.db", "--data-dir", "restored"]);
    let none = place.run(&["db", "backup", "none.db", "--data-dir", "nowhere"]);
    assert!(none.code == 1 && none.err.contains("there is no database"), "{none:?}");
    assert!(!place.path("none.db").exists());
}

#[test]
fn must_print_commands_that_back_up_and_restore_postgresql() {
    let (database, restored) = (shared().database("backed_up"), shared().database("restored"));
    let place = Place::on(&database);
    let server = place.serve();
    let mut client = server.client();
    prepare(&mut client);
    let early = end(&mut client);
    client.post("/v1/organizations", json!({"organization_id": "before"})).ok(201);
    agree::at_rest(&mut client);
    let kept = newest(&mut client);
    let said = place.run(&["db", "backup", "a copy.dump"]);
    assert!(said.code == 1 && said.err.contains("no backup was made"), "{said:?}");
    assert!(said.out.contains("pg_basebackup") && !said.out.contains(&database.url()), "{}", said.out);
    let (of_one, _) = said.out.split_once("\n\n").expect("two ways");
    let (dump, restore) = of_one.split_once("# Restore").expect("two steps");
    let run = |script: &str| {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = shared().program("pg_dump");
        let programs = programs.parent().expect("a directory").display().to_string();
        let mut shell = place.like(Command::new("sh"));
        shell.args(["-euc", script]).env("PATH", format!("{programs}:{path}"));
        shell.env("TENANCY_DATABASE", database.url()).env("NEW_DATABASE", restored.url());
        let ran = shell.output().expect("ended");
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    run(dump);
    for number in 0..5 {
        client.post("/v1/organizations", json!({"organization_id": format!("lost-{number}")})).ok(201);
    }
    let (late, lost) = (end(&mut client), newest(&mut client));
    server.stop();
    let report = run(&format!("#{restore}"));
    assert!(report.contains(&format!("cursors behind position {kept} are refused")), "{report}");
    let server = place.through(restored.url()).serve();
    must_serve_what_was_restored(&server, (kept, lost), &early, &late);
    server.stop();
}
