//! `listen`: a developer's program receives events as a webhook would.

use super::shell::{EXAMPLE, Shell};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::webhook::Secret;
use tenancy_server::webhooks::sending::standard::signature;

/// Starts a program that gives these answers, then 204, and passes on head and body of each request.
pub fn program(answers: &'static [&'static str]) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://localhost:{}/hooks", listener.local_addr().expect("an address").port());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut got = Vec::new();
            let mut piece = [0; 4096];
            loop {
                let end = got.windows(4).position(|four| four == b"\r\n\r\n");
                let head = end.map(|end| String::from_utf8_lossy(&got[..end]).into_owned());
                if let (Some(end), Some(head)) = (end, head)
                    && got.len() >= end + 4 + value(&head, "content-length").parse::<usize>().expect("a number")
                {
                    sender.send((head, got[end + 4..].to_vec())).expect("sent");
                    break;
                }
                let length = stream.read(&mut piece).expect("read");
                got.extend_from_slice(&piece[..length]);
            }
            let answer = answers.next().map_or("204 No Content\r\n\r\n", |answer| answer);
            write!(stream, "HTTP/1.1 {}", answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)).expect("written");
        }
    });
    (url, receiver)
}

pub fn value<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|found| found.1).unwrap_or_default()
}

#[test]
fn must_forward_signed_events_to_a_program_on_this_machine() {
    let shell = Shell::new();
    let dev = shell.dev(&["--apply", EXAMPLE]);
    assert!(dev.shown.contains("\nWebhooks may use http:// and addresses of this machine here"), "{}", dev.shown);
    let (url, received) = program(&[]);
    let listen = shell
        .start(&["listen", "--forward-to", &url, "--tenant", "acme-eu", "--type", "TENANCY_*", "--verbose"], "Ctrl-C");
    let secret = listen.shown.lines().find_map(|line| line.strip_prefix("Signing secret of this session: "));
    let secret = Secret::parse(secret.expect("the secret"), Timestamp::UNIX_EPOCH).expect("a secret");
    shell.good("set acme-us labels.a=b");
    shell.good("set acme-eu labels.a=b");
    let (head, body) = received.recv_timeout(Duration::from_secs(30)).expect("a request");
    assert!(head.starts_with("POST /hooks HTTP/1.1\r\n"), "{head}");
    let timestamp = value(&head, "webhook-timestamp").parse().expect("a number");
    let expected = signature(&[secret], value(&head, "webhook-id"), timestamp, &body).expect("signed");
    assert_eq!(value(&head, "webhook-signature"), expected);
    let body = String::from_utf8(body).expect("text");
    assert!(body.starts_with(r#"{"type":"TENANCY_UPDATED","timestamp":""#) && body.contains("acme-eu"), "{body}");
    assert!(listen.line_with("TENANCY_UPDATED").contains("  acme-eu  -> 204 in "));
    listen.line_with("> webhook-id: ");

    let refused = shell.bad("listen --forward-to https://hooks.example/x", 2);
    assert!(refused.contains("--forward-to must name this machine"), "{refused}");
}
