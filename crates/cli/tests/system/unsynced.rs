//! A disk whose sync fails: a preloaded library makes fsync return an error while a file exists.

use super::agree;
use super::http::Request;
use super::load::prepare;
use super::place::{On, Place};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int synced(const char *name, int file) {
    const char *fails = getenv("FSYNC_FAILS_WHILE_THERE_IS");
    if (fails && access(fails, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
"#;

/// Compiles the library.
fn library(directory: &Path) -> PathBuf {
    let (source, library) = (directory.join("unsynced.c"), directory.join("unsynced.so"));
    std::fs::write(&source, LIBRARY).expect("written");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    let made = command.output().expect("cc (Debian: gcc)");
    assert!(made.status.success(), "{made:?}");
    library
}

#[test]
fn must_report_an_unknown_outcome_while_the_disk_does_not_confirm_a_write() {
    for is_killed in [true, false] {
        let place = Place::new(On::Sqlite);
        let fails = place.path("fails");
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("LD_PRELOAD", library(&place.path(""))).env("FSYNC_FAILS_WHILE_THERE_IS", &fails);
        let server = place.start(command);
        let mut client = server.client();
        prepare(&mut client);
        agree::at_rest(&mut client);
        let manifest = json!({"tenant_id": "unsure", "organization_id": "acme", "region": "eu-west-1"});
        let register = Request::post("/v1/tenants", manifest).key("unsure");
        std::fs::write(&fails, "").expect("written");
        client.send(&register).problem(503, "outcome_unknown");
        if is_killed {
            server.kill();
        } else {
            std::fs::remove_file(&fails).expect("removed");
            client.send(&register).ok(201);
            server.kill();
        }
        drop(server);
        // After an immediate kill, the change is present completely or not at all.
        let again = place.serve();
        let mut client = again.client();
        agree::at_rest(&mut client);
        agree::log_and_record_agree(&mut client);
        let there = client.get("/v1/tenants/unsure").status == 200;
        assert!(there || is_killed, "an acknowledged change is lost");
        let made = client.send(&register).ok(201);
        assert_eq!(made.header("idempotency-replayed") == "true", there);
        assert_eq!(client.send(&register).ok(201).body, made.body);
        agree::at_rest(&mut client);
        agree::log_and_record_agree(&mut client);
        again.assert_no_errors();
        again.stop();
    }
}
