//! Secure defaults: addresses, file modes, and tokens.

use super::http::{Client, Request};
use super::place::{On, Place, cluster, on_both};
use super::server::{Server, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tenancy_testkit::Postgres;

on_both!(must_keep_tokens_out_of_logs_and_database, must_require_a_key_on_every_route_except_the_open_ones);

/// Routes that need no key.
const OPEN: [&str; 6] = ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"];

#[test]
fn must_not_serve_other_addresses_without_tls_by_default() {
    let place = Place::new(On::Sqlite);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        for verb in ["serve", "dev"] {
            let ran = place.run(&[verb, "--listen", address]);
            assert_eq!(ran.code, 2, "{verb} {address}: {}", ran.err);
            assert!(ran.err.contains("loopback") && ran.err.contains("TLS"), "{}", ran.err);
        }
    }
    let command = place.command(&["serve", "--listen", "0.0.0.0:0", "--behind-tls-proxy"]);
    place.start(command).stop();
}

#[test]
fn must_restrict_its_files_to_their_owner() {
    let place = Place::bare(None);
    // Independent of the umask of the shell.
    let program = env!("CARGO_BIN_EXE_tenancy");
    for verb in ["dev", "serve"] {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("umask 0; exec {program} {verb} --listen 127.0.0.1:0")]);
        let server = place.start(place.like(shell));
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let directory = place.path(".tenancy");
        assert_eq!(mode(&directory), 0o700);
        let files: Vec<_> = files(&directory);
        assert!(files.iter().any(|file| file.ends_with("tenancy.db-wal")), "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        server.stop();
    }
}

fn must_keep_tokens_out_of_logs_and_database(on: On) {
    // A cluster of its own, because all of its files are searched.
    let mut postgres = (on == On::Postgres).then(cluster);
    let place = match &postgres {
        None => Place::new(on),
        // The password must not be written either. This server accepts any password.
        Some(postgres) => {
            let database = postgres.database("secrets");
            Place::on(&database).through(database.url().replace("postgres@", "postgres:pa55word@"))
        }
    };
    let server = place.serve_with(&[("LOG", "trace")]);
    let tokens = use_tokens(&server, place.token());
    let log = server.errors();
    assert!(log.contains("\"route\":\"/v1/keys\""), "the log is empty: {log}");
    server.stop();

    // A server that cannot reach its database logs that.
    if let Some(postgres) = &mut postgres {
        postgres.stop();
        let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert!(ran.code != 0 && !ran.err.contains("pa55word") && !ran.out.contains("pa55word"), "{ran:?}");
    }
    // The password must not be in any file.
    let places = [Some(place.path("")), postgres.as_ref().map(Postgres::data_directory)];
    let found = |word: &str| {
        let mut grep = std::process::Command::new("grep");
        let output = grep.args(["-rlaF", "-e", word]).args(places.iter().flatten()).output().expect("grep");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).expect("paths")
    };
    assert!(!found("a-gateway").is_empty(), "the search finds nothing");
    for secret in tokens.iter().map(String::as_str).chain(["pa55word"]) {
        assert_eq!(found(secret), "", "{secret}");
    }
}

/// Uses tokens in every way and returns them without their common prefix.
fn use_tokens(server: &Server, admin: &str) -> Vec<String> {
    let mut client = server.client();
    let request = Request::post("/v1/keys", json!({"name": "a-gateway", "role": "operator"})).key("make-a-key");
    let made = client.send(&request).ok(201).body;
    let token = made["token"].as_str().expect("a token").to_owned();
    let again = client.send(&request).ok(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert!(!again.text.contains(&token), "a token is shown once");
    let mut gateway = Client::new(server.address(), Some(&token));
    gateway.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    gateway
        .post("/v1/tenants", json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1"}))
        .ok(201);
    gateway.post("/v1/keys", json!({"name": "more", "role": "admin"})).problem(403, "forbidden");
    let stranger = format!("tenancy_{}", "5".repeat(64));
    Client::new(server.address(), Some(&stranger)).get("/v1/tenants").problem(401, "unauthenticated");
    // A token that is sent in a wrong place must not be stored.
    client.send(&Request::get("/v1/whoami").header("x-correlation-id", format!("Bearer {token}"))).ok(200);
    client.send(&Request::get(format!("/v1/keys/{}", made["key_id"].as_str().expect("an id")))).ok(200);
    client.send(&Request::new("DELETE", format!("/v1/keys/{}", made["key_id"].as_str().expect("an id")))).ok(200);
    gateway.get("/v1/whoami").problem(401, "unauthenticated");
    [admin, &token, &stranger].map(|token| token.trim_start_matches("tenancy_").to_owned()).into()
}

fn must_require_a_key_on_every_route_except_the_open_ones(on: On) {
    let place = Place::new(on);
    let server = place.serve();
    let mut client = server.client();
    client.post("/v1/organizations", json!({"organization_id": "a-customer"})).ok(201);
    let tenant = json!({"tenant_id": "a-tenant", "organization_id": "a-customer", "region": "eu-west-1"});
    client.post("/v1/tenants", tenant).ok(201);
    until("its job ends", Duration::from_secs(20), || {
        client.get("/v1/tenants/a-tenant").ok(200).body.get("open_job").is_none().then_some(())
    });
    let mut nobody = Client::new(server.address(), None);
    let document = nobody.get("/openapi.json").ok(200).body;
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 20, "{paths:?}");
    for (path, methods) in paths {
        for method in methods.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let method =
                ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|known| known.eq_ignore_ascii_case(method));
            let Some(method) = method else { continue };
            let filled = path.replace("{tenant_id}", "a-tenant").replace("{organization_id}", "a-customer");
            let answer = nobody.send(&Request::new(method, filled));
            if OPEN.contains(&path.as_str()) {
                assert!(answer.status < 400, "{method} {path}: {}", answer.text);
                assert!(!answer.text.contains("a-tenant") && !answer.text.contains("a-customer"), "{path}");
            } else if path.starts_with("/v1/access/auth") {
                // nginx turns every status but 401 and 403 into an error.
                assert_eq!((answer.status, answer.header("x-tenant-reason")), (403, "unauthenticated"));
            } else {
                assert_eq!(answer.header("www-authenticate"), "Bearer");
                answer.problem(401, "unauthenticated");
            }
        }
    }
    for (path, body) in [("/v1/nowhere", Value::Null), ("/v1/tenants/a-tenant/nothing", Value::Null)] {
        assert_eq!(nobody.send(&Request::post(path, body)).status, 404);
    }
    server.stop();
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
