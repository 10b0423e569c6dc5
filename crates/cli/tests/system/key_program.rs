//! A server whose keys are behind a program: the documented example from the registration to the purge, and programs that
//! hang, write nonsense, or end.

use super::http::{Client, Request, message};
use super::keys_away::{manifest, purge, register, settled};
use super::place::{On, Place, on_both, shared};
use super::server::{PATIENCE, Server, until};
use serde_json::{Value, json};
use std::io::{BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use tenancy_testkit::Database;

on_both!(
    must_keep_secrets_with_the_example_program_until_the_purge,
    must_answer_in_time_and_recover_when_the_program_misbehaves,
);

const VARIABLE: &str = "TENANCY_KEYS_PROGRAM";
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/key-program");

fn database(on: On) -> Option<Database> {
    (on == On::Postgres).then(|| shared().database("key_program"))
}

/// Starts a server that may send to this machine.
fn serve(place: &Place) -> Server {
    place.serve_with(&[("WEBHOOKS_ALLOW_HTTP", "true"), ("WEBHOOKS_ALLOW_LOOPBACK", "true")])
}

/// Receives one webhook and returns its headers and its body.
fn receive(listener: &TcpListener) -> (Vec<(String, String)>, String) {
    listener.set_nonblocking(true).expect("set");
    let (stream, _) = until("a webhook arrives", PATIENCE, || listener.accept().ok());
    stream.set_nonblocking(false).expect("set");
    let mut reader = BufReader::new(stream);
    let (_, headers, body) = message(&mut reader).expect("a request");
    let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).expect("answered");
    (headers, body)
}

/// Computes the signature with Python, as a receiver does.
fn signature(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let program = "import base64, hashlib, hmac, sys\n\
        secret, *parts = sys.argv[1:]\n\
        key = base64.b64decode(secret.removeprefix('whsec_'))\n\
        print('v1,' + base64.b64encode(hmac.digest(key, '.'.join(parts).encode(), hashlib.sha256)).decode())";
    let ran = Command::new("python3").args(["-c", program, secret, id, timestamp, body]).output().expect("ran");
    String::from_utf8(ran.stdout).expect("text").trim().to_owned()
}

fn must_keep_secrets_with_the_example_program_until_the_purge(on: On) {
    let database = database(on);
    let place = Place::with_keys(database.as_ref(), VARIABLE, &format!("python3,{EXAMPLE},keys.json"));
    let keys = || std::fs::read_to_string(place.path("keys.json")).expect("keys");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = serve(&place);
    let mut client = server.client();
    register(&mut client, &[("own", "kms-per-tenant"), ("shared", "platform")]);
    assert!(keys().contains("\"tenant-own-") && keys().contains("\"shared-1\""), "{}", keys());
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let hook = json!({"name": "main", "url": url, "events": ["TENANCY_UPDATED"]});
    let made = client.post("/v1/tenants/own/webhooks", hook).ok(201);
    let secret = made.body["secret"].as_str().expect("a secret").to_owned();
    server.stop();

    let server = serve(&place);
    let mut client = server.client();
    let listed = client.get("/v1/tenants/own/versions").ok(200).items();
    assert_eq!(listed[0]["manifest"]["display_name"], "Zoe own");
    let renamed = json!({"display_name": "Another"});
    client.send(&Request::patch("/v1/tenants/own", 2, renamed)).ok(200);
    let (headers, body) = receive(&listener);
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).expect("a header").1.as_str();
    let signed = signature(&secret, header("webhook-id"), header("webhook-timestamp"), &body);
    assert!(header("webhook-signature").split(' ').any(|one| one == signed), "{signed}: {headers:?}");
    assert!(body.contains("TENANCY_UPDATED"), "{body}");

    purge(&mut client, "own");
    until("the wrapping key is destroyed", PATIENCE, || (!keys().contains("\"tenant-own-")).then_some(()));
    server.stop();
    let server = serve(&place);
    let mut client = server.client();
    let events = client.all("/v1/tenants/own/audit");
    assert!(events.len() > 3 && events.iter().all(|event| event.get("private").is_none()), "{events:?}");
    assert_eq!(client.get("/v1/tenants/own/webhooks").ok(200).items(), [Value::Null; 0]);
    let versions = client.get("/v1/tenants/own/versions").ok(200);
    assert!(!versions.text.contains("Zoe") && !versions.text.contains("Another"), "{}", versions.text);
    assert_eq!(client.get("/v1/tenants/shared/versions").ok(200).items().len(), 1);
    server.assert_no_errors();
    server.stop();
}

/// Passes requests to the example, unless the file `mode` says how to misbehave.
const MISBEHAVING: &str = "import os, subprocess, sys, time\n\
    child = subprocess.Popen([sys.executable, sys.argv[1], 'keys.json'], stdin=subprocess.PIPE, \
    stdout=subprocess.PIPE, text=True, bufsize=1)\n\
    for line in sys.stdin:\n  \
      mode = open('mode').read() if os.path.exists('mode') else ''\n  \
      if mode == 'hang': time.sleep(1000)\n  \
      if mode == 'nonsense': print('secret-text', flush=True); time.sleep(1000)\n  \
      if mode == 'end': sys.stderr.write('no credentials\\n'); sys.exit(7)\n  \
      if mode == 'away':\n    \
        import json\n    \
        print(json.dumps({'id': json.loads(line)['id'], 'error': 'unavailable', 'message': 'throttled'}), flush=True)\n    \
        continue\n  \
      child.stdin.write(line); child.stdin.flush()\n  \
      print(child.stdout.readline(), end='', flush=True)\n";

/// Ways to misbehave, and what is said of each.
const MODES: [(&str, &str); 4] = [
    ("hang", "did not answer within 5000 ms"),
    ("nonsense", "no JSON object with an `id`"),
    ("end", "no credentials"),
    ("away", "throttled"),
];
/// The time limit of the program is 5 seconds; a request may need the program more than once.
const SOON: Duration = Duration::from_secs(20);

#[track_caller]
fn must_fail_soon(client: &mut Client, request: &Request) {
    let begun = Instant::now();
    let answer = client.send(request).problem(503, "keys_unavailable");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(!answer.header("retry-after").is_empty() && !answer.text.contains("secret-text"), "{}", answer.text);
}

fn must_answer_in_time_and_recover_when_the_program_misbehaves(on: On) {
    let database = database(on);
    // The program is looked for in the working directory of the first command, which is the home directory.
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), MISBEHAVING).expect("written");
    let program = format!("python3,{},{EXAMPLE}", script.path().display());
    let place = Place::with_keys(database.as_ref(), VARIABLE, &program);
    let limit = [("KEYS_PROGRAM_TIMEOUT_SECONDS", "5")];
    let server = place.serve_with(&limit);
    register(&mut server.client(), &[("own", "kms-per-tenant")]);
    server.stop();

    for (version, (mode, said)) in (1..).zip(MODES) {
        // It serves when the program begins to misbehave.
        let server = place.serve_with(&limit);
        let mut client = server.client();
        std::fs::write(place.path("mode"), mode).expect("written");
        let name = json!({"display_name": mode});
        let rename = Request::patch("/v1/tenants/own", version, name).key(mode);
        must_fail_soon(&mut client, &rename);
        must_fail_soon(&mut client, &Request::post("/v1/tenants", manifest(mode, "kms-per-tenant")));
        must_fail_soon(&mut client, &Request::get("/v1/tenants/own/versions"));
        client.get("/v1/tenants/own").ok(200);
        client.get("/healthz").ok(200);
        assert!(client.get("/readyz").ok(200).text.contains("could not be used"), "{mode}");
        let log = server.errors();
        assert!(log.contains(said) && !log.contains("secret-text"), "{mode}: {log}");
        std::fs::remove_file(place.path("mode")).expect("removed");
        until("the program answers again", PATIENCE, || {
            let answer = client.send(&rename);
            (answer.status != 503).then(|| answer.ok(200))
        });
        client.post("/v1/tenants", manifest(mode, "kms-per-tenant")).ok(201);
        settled(&mut client, mode);
        server.stop();

        // It misbehaves when a server starts.
        std::fs::write(place.path("mode"), mode).expect("written");
        let begun = Instant::now();
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        let ran = command.env("TENANCY_KEYS_PROGRAM_TIMEOUT_SECONDS", "5").output().expect("ended");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(begun.elapsed() < SOON && !ran.status.success(), "{mode}: {:?} {err}", begun.elapsed());
        assert!(err.contains(said) && err.contains("cannot be used") && !err.contains("secret-text"), "{mode}: {err}");
        std::fs::remove_file(place.path("mode")).expect("removed");
    }
}
