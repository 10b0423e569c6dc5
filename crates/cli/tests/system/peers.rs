//! Peers that are slow, invalid or gone: they get a clear response or a closed connection, and other clients are not
//! affected.

use super::agree;
use super::http::{Answer, Client, Request, connect, read};
use super::place::{On, Place};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Server settings with short limits, so that the tests are fast.
const SETTINGS: &[(&str, &str)] =
    &[("LIMITS_HEADER_READ_TIMEOUT_SECONDS", "1"), ("LIMITS_BODY_READ_TIMEOUT_SECONDS", "1")];

/// Longer than these limits, and shorter than the defaults.
const CUT: Duration = Duration::from_secs(5);

/// Sends bytes and reads the response.
fn shout(server: &Server, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(server.address())?;
    // The server may respond and close before everything is sent.
    let sent = stream.write_all(bytes);
    let answer = read(&mut BufReader::new(stream));
    match (answer, sent) {
        (Err(_), Err(error)) => Err(error),
        (answer, _) => answer,
    }
}

/// Returns the head of a request with the admin key.
fn head(place: &Place, line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{headers}\r\n", place.token())
}

/// Checks that another client gets a response in time.
#[track_caller]
fn assert_answers_others(server: &Server) {
    let begun = Instant::now();
    server.client().get("/v1/whoami").ok(200);
    assert!(begun.elapsed() < CUT, "{:?}", begun.elapsed());
}

#[test]
fn must_close_slow_connections() {
    let place = Place::new(On::Sqlite);
    let server = place.serve_with(SETTINGS);
    let post = head(&place, "POST /v1/organizations", "content-length: 40\r\n");
    // Headers byte by byte, no data, half a body: each exceeds the time limit.
    for (bytes, drip, answered) in
        [("GET / HTTP/1.1\r\nx-a: ", true, None), ("", false, None), (&*post, false, Some(408))]
    {
        let mut stream = connect(server.address()).expect("connected");
        stream.write_all(bytes.as_bytes()).expect("sent");
        let begun = Instant::now();
        if drip {
            until("the connection is cut", CUT, || stream.write_all(b"a").is_err().then_some(()));
        } else {
            stream.write_all(if answered.is_some() { b"{" } else { b"" }).expect("sent");
            let mut reader = BufReader::new(stream);
            match answered {
                Some(status) => assert_eq!(read(&mut reader).expect("an answer").status, status),
                None => assert_eq!(reader.read_to_end(&mut Vec::new()).expect("closed"), 0),
            }
        }
        assert!(begun.elapsed() < CUT && begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
        assert_answers_others(&server);
    }
    server.assert_no_errors();
    server.stop();
}

#[test]
fn must_refuse_oversized_and_invalid_requests() {
    let place = Place::new(On::Sqlite);
    let server = place.serve_with(SETTINGS);
    let many = head(&place, "GET /v1/whoami", &"x-many: 1\r\n".repeat(10_000));
    let one = head(&place, "GET /v1/whoami", &format!("x-long: {}\r\n", "x".repeat(200_000)));
    let line = head(&place, &format!("GET /v1/tenants?q={}", "x".repeat(200_000)), "");
    for (bytes, good) in [
        (many.as_bytes(), &[431, 400][..]),
        (one.as_bytes(), &[431]),
        (line.as_bytes(), &[414, 431]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n", &[400]),
        (b"\0\0\0\0\r\n\r\n", &[400]),
        (b"GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        // An HTTP/2 client could not read an HTTP/1.1 response.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[]),
        (b"GET /v1/tenants HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", &[400]),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", &[400]),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", &[400, 405]),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        match shout(&server, bytes) {
            Ok(answer) => assert!(good.contains(&answer.status), "{shown}: {}", answer.status),
            // If unread data remains, a reset can arrive before the response.
            Err(error) => assert!(bytes.len() > 50_000 || good.is_empty(), "{shown}: {error}"),
        }
        assert_answers_others(&server);
    }
    let length = 50 * 1024 * 1024;
    let huge = Request { body: " ".repeat(2 * 1024 * 1024), ..Request::post("/v1/tenants", json!({})) };
    server.client().send(&huge).problem(413, "too_large");
    // The Content-Length exceeds the limit, so the server refuses before the body is sent.
    let mut stream = connect(server.address()).expect("connected");
    let head = head(&place, "POST /v1/apply", &format!("content-length: {length}\r\n"));
    stream.write_all(head.as_bytes()).expect("sent");
    read(&mut BufReader::new(&stream)).expect("an answer").problem(413, "too_large");
    assert_answers_others(&server);
    server.assert_no_errors();
    server.stop();
}

#[test]
fn must_handle_half_closed_and_closed_connections() {
    let place = Place::new(On::Sqlite);
    let server = place.serve_with(SETTINGS);
    server.client().post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    // Half-closed in the middle of a request, half-closed after it, closed: the request is executed completely or not
    // at all.
    let mut stream = connect(server.address()).expect("connected");
    stream
        .write_all(b"POST /v1/tenants HTTP/1.1\r\nhost")
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("closed");
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said}");
    for number in 0..20 {
        let body = json!({"tenant_id": format!("gone-{number}"), "organization_id": "acme", "region": "eu-west-1"});
        let body = body.to_string();
        let head = head(&place, "POST /v1/tenants", &format!("content-length: {}\r\n", body.len()));
        let mut stream = connect(server.address()).expect("connected");
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        if number % 2 == 0 {
            stream.shutdown(Shutdown::Write).expect("half-closed");
            let answer = read(&mut BufReader::new(stream));
            assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 201));
        }
    }
    assert_answers_others(&server);
    server.assert_no_errors();
    // Wait for the open requests.
    server.stop();
    let server = place.serve();
    let mut client = server.client();
    agree::at_rest(&mut client);
    agree::log_and_record_agree(&mut client);
    server.stop();
}

#[test]
fn must_keep_memory_bounded_with_many_idle_connections() {
    let place = Place::new(On::Sqlite);
    let settings = [("LIMITS_MAX_CONNECTIONS", "200"), ("LIMITS_HEADER_READ_TIMEOUT_SECONDS", "2")];
    let server = place.serve_with(&settings);
    assert_answers_others(&server);
    let before = memory_kib(&server);
    // Each has sent almost the maximum size of a head.
    let half = head(&place, "GET /v1/whoami", &"x-many: 0123456789\r\n".repeat(90));
    let half = &half[..half.len() - 2];
    let mut crowd = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(server.address()).expect("connected");
        stream.write_all(half.as_bytes()).expect("sent");
        crowd.push(stream);
    }
    let grown = memory_kib(&server).saturating_sub(before);
    println!("600 connections took {grown} KiB");
    assert!(grown < 40 * 1024, "{grown} KiB");
    // The server closes them and accepts new connections again.
    let begun = Instant::now();
    server.client().get("/v1/whoami").ok(200);
    println!("accepted after {:?}", begun.elapsed());
    drop(crowd);
    server.stop();
}

#[test]
fn must_finish_open_requests_before_it_stops() {
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    server.client().post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    // A connection without data, an idle one, and one whose body is incomplete.
    let silent = connect(server.address()).expect("connected");
    let mut idle = server.client();
    idle.get("/v1/whoami").ok(200);
    let body = json!({"tenant_id": "late", "organization_id": "acme", "region": "eu-west-1"}).to_string();
    let head = head(&place, "POST /v1/tenants", &format!("content-length: {}\r\n", body.len()));
    let mut late = connect(server.address()).expect("connected");
    late.write_all(head.as_bytes()).expect("sent");
    late.write_all(&body.as_bytes()[..10]).expect("sent");
    // The server has read the head, because a later connection gets a response.
    server.client().get("/v1/whoami").ok(200);
    let answered = AtomicBool::new(false);
    server.terminate();
    let address = server.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("new connections are refused", PATIENCE, || connect(address).is_err().then_some(()));
            assert!(!answered.load(Ordering::SeqCst), "the server waits for the open request");
            late.write_all(&body.as_bytes()[10..]).expect("sent");
            answered.store(true, Ordering::SeqCst);
            let answer = read(&mut BufReader::new(&late)).expect("an answer").ok(201);
            assert_eq!(answer.header("connection"), "close");
        });
    });
    let begun = Instant::now();
    server.stopped();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a connection without data delayed the stop: {:?}",
        begun.elapsed()
    );
    drop(silent);
    assert!(idle.try_send(&Request::get("/v1/whoami")).is_err());
    let again = place.serve();
    Client::new(again.address(), Some(place.token())).get("/v1/tenants/late").ok(200);
    again.stop();
}

/// Connections without a key that send requests and never read use up neither the limit nor the open files.
#[test]
fn must_let_a_key_in_while_a_flood_uses_all_open_files() {
    let place = Place::new(On::Sqlite);
    let mut command = place.like(std::process::Command::new("sh"));
    let program = env!("CARGO_BIN_EXE_tenancy");
    command.args(["-c", &format!("ulimit -n 256; exec {program} serve --listen 127.0.0.1:0")]);
    let server = place.start(command);
    let mut early = server.client();
    early.get("/v1/whoami").ok(200);
    let mut flood = Vec::new();
    for number in 0..600 {
        let mut stream = connect(server.address()).expect("connected");
        stream.set_nonblocking(true).expect("set");
        // The server may have closed it, and the buffers may be full.
        let _ = stream.write_all("GET /docs HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50).as_bytes());
        flood.push(stream);
        if number % 100 == 99 {
            early.get("/v1/whoami").ok(200);
            assert_answers_others(&server);
        }
    }
    assert!(server.errors().contains("ulimit -n"), "the operator is told that the limit is low");
    drop(flood);
    server.stop();
}

#[test]
fn must_log_the_peer_and_believe_declared_proxies_only() {
    let place = Place::new(On::Sqlite);
    for (settings, peer) in [(&[][..], "127.0.0.1"), (&[("TRUSTED_PROXIES", "127.0.0.0/8")][..], "198.51.100.9")] {
        let server = place.serve_with(settings);
        let request = Request::get("/v1/whoami").header("x-forwarded-for", "192.0.2.1, 198.51.100.9");
        server.client().send(&request).ok(200);
        let line = format!("\"peer\":\"{peer}\"");
        until("the request is logged", PATIENCE, || server.errors().contains(&line).then_some(()));
        server.stop();
    }
}

#[test]
fn must_name_a_certificate_that_cannot_be_used() {
    let place = Place::new(On::Sqlite);
    std::fs::write(place.path("key.pem"), "no key").expect("written");
    std::fs::write(place.path("cert.pem"), "no certificate").expect("written");
    for (arguments, names) in [
        (&["--tls-cert", "cert.pem"][..], "tls_key"),
        (&["--tls-cert", "missing.pem", "--tls-key", "key.pem"], "missing.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "key.pem"], "cert.pem"),
    ] {
        let ran = place.run(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        assert!(ran.code != 0 && ran.err.contains(names), "{ran:?}");
        assert!(!ran.out.contains("serves"), "{ran:?}");
    }
}

/// Returns the resident memory of a process, in kB.
fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
