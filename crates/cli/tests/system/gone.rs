//! A SQLite file that is deleted or replaced under a running server: nothing that is answered may be lost.

use super::http::Request;
use super::place::{On, Place};
use super::server::Server;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long changes may be answered until the server notices: it checks ten times a second.
const LOST_AT_MOST: Duration = Duration::from_millis(1000);

/// Runs `go` on the database file of a server under writes. Afterwards no change may be answered as done, the server
/// must say so, and end.
#[track_caller]
fn must_end(go: impl FnOnce(&Path, &Path)) {
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    let mut client = server.client();
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    let file = place.path(".tenancy/tenancy.db");
    go(&file, &place.path(".tenancy/tenancy.db-wal"));
    let begun = Instant::now();
    for number in 0.. {
        let body = json!({"organization_id": format!("more-{number}")});
        // The server may have ended before it refuses a write.
        let Ok(answer) = client.try_send(&Request::post("/v1/organizations", body)) else { break };
        if !answer.is_success() {
            answer.problem(503, "database_gone");
            break;
        }
        assert!(begun.elapsed() < LOST_AT_MOST, "changes are answered as done");
    }
    must_have_ended(server);
}

#[track_caller]
fn must_have_ended(server: Server) {
    let (code, said) = server.ended();
    assert!(code.is_some_and(|code| code != 0), "{code:?} {said}");
    assert!(said.contains("deleted or replaced") && said.contains("restore the file"), "{said}");
}

#[test]
fn must_refuse_writes_and_end_when_its_file_is_deleted() {
    must_end(|file, _| std::fs::remove_file(file).expect("deleted"));
}

#[test]
fn must_refuse_writes_and_end_when_its_file_is_replaced() {
    must_end(|file, _| {
        std::fs::copy(file, file.with_extension("copy")).expect("copied");
        std::fs::rename(file.with_extension("copy"), file).expect("replaced");
    });
}

#[test]
fn must_refuse_writes_and_end_when_its_log_is_deleted() {
    must_end(|_, log| std::fs::remove_file(log).expect("deleted"));
}

#[test]
fn must_end_when_its_file_is_deleted_and_nothing_is_written() {
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    std::fs::remove_file(place.path(".tenancy/tenancy.db")).expect("deleted");
    let mut client = server.client();
    // The server ends within a second; until then it is not ready.
    if let Ok(answer) = client.try_send(&Request::get("/readyz")) {
        assert!(answer.status == 503 && answer.body.to_string().contains("deleted or replaced"), "{}", answer.body);
    }
    must_have_ended(server);
}
