//! What a receiver may answer, and what it must not be able to do with it.

use crate::receiver::{Receiver, hang, read, repeat};
use crate::{LONG, SHORT, here, send, sender};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tenancy_server::webhooks::sending::{Limits, Options, Outcome, Sender};
use tokio::io::AsyncWriteExt as _;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn must_judge_an_attempt_by_its_status() {
    let sender = sender();
    for (status, outcome, error) in [
        (200, Outcome::Delivered, None),
        (201, Outcome::Delivered, None),
        (299, Outcome::Delivered, None),
        (301, Outcome::Failed, Some("redirect")),
        (304, Outcome::Failed, Some("redirect")),
        (400, Outcome::Failed, Some("status")),
        (404, Outcome::Failed, Some("status")),
        (410, Outcome::Gone, Some("gone")),
        (429, Outcome::Failed, Some("status")),
        (500, Outcome::Failed, Some("status")),
        (503, Outcome::Failed, Some("status")),
        (999, Outcome::Failed, Some("status")),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\nRetry-After: 7\r\nContent-Length: 6\r\n\r\nsorry\n");
        let receiver = Receiver::answering(answer).await;
        let attempt = send(&sender, &receiver.url, LONG).await;
        assert_eq!((attempt.outcome, attempt.error), (outcome, error), "{status}: {attempt:?}");
        assert_eq!(attempt.answer_start, if status == 304 { "" } else { "sorry" }, "{status}");
        assert_eq!(attempt.status, Some(status));
        let asked = matches!(status, 429 | 503).then_some(Duration::from_secs(7));
        assert_eq!(attempt.retry_after, asked, "{status}");
        assert!(attempt.detail.is_some_and(|detail| detail.contains(&status.to_string())) == error.is_some());
    }
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(send(&sender, &receiver.url, LONG).await.outcome, Outcome::Delivered);
    let dated = "HTTP/1.1 429 x\r\nRetry-After: Mon, 30 Nov 2026 10:02:00 GMT\r\nContent-Length: 0\r\n\r\n";
    let receiver = Receiver::answering(dated).await;
    assert_eq!(send(&sender, &receiver.url, LONG).await.retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn must_not_follow_a_redirect() {
    let sender = sender();
    let other = Receiver::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} x\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url);
        let receiver = Receiver::answering(answer).await;
        let attempt = send(&sender, &receiver.url, LONG).await;
        assert_eq!((attempt.outcome, attempt.error), (Outcome::Failed, Some("redirect")), "{status}");
    }
    assert_eq!(other.seen.connections(), 0);
}

#[tokio::test]
async fn must_end_in_time_whatever_the_receiver_does_before_its_answer() {
    let slow = Duration::from_millis(10);
    let receivers = [
        Receiver::start(hang).await,
        Receiver::beginning("", hang).await,
        Receiver::beginning("HTTP/1.1 200 OK\r\nX: ", move |stream, seen| repeat(stream, seen, b"x".to_vec(), slow))
            .await,
        Receiver::beginning("HTTP/1.1 200 OK\r\n", hang).await,
        Receiver::beginning("", move |stream, seen| {
            repeat(stream, seen, b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), slow)
        })
        .await,
    ];
    let sender = sender();
    for (number, receiver) in receivers.iter().enumerate() {
        let begun = Instant::now();
        let attempt = send(&sender, &receiver.url, SHORT).await;
        assert_eq!((attempt.outcome, attempt.error), (Outcome::Failed, Some("timeout")), "{number}: {attempt:?}");
        assert!(begun.elapsed() < SHORT * 5 && attempt.status.is_none(), "{number}: {attempt:?}");
        assert!(attempt.total_ms >= 290, "{attempt:?}");
    }
}

#[tokio::test]
async fn must_count_a_2xx_as_delivered_whatever_happens_to_its_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst";
    let drip = |stream, seen| repeat(stream, seen, b"a".to_vec(), Duration::from_millis(30));
    let sender = sender();
    for receiver in [
        Receiver::beginning(head, hang).await,
        Receiver::beginning(head, drip).await,
        Receiver::beginning(head, |_, _| async {}).await,
        Receiver::beginning("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\nzz\r\n", hang).await,
    ] {
        let attempt = send(&sender, &receiver.url, SHORT).await;
        assert_eq!((attempt.outcome, attempt.error), (Outcome::Delivered, None), "{attempt:?}");
        assert!(attempt.answer_start.starts_with("first") && attempt.total_ms < 1_500, "{attempt:?}");
        // The connection was closed: the next message needs a new one.
        send(&sender, &receiver.url, SHORT).await;
        assert_eq!(receiver.seen.connections(), 2);
    }
    let receiver = Receiver::beginning("HTTP/1.1 500 x\r\nContent-Length: 100\r\n\r\nfirst", drip).await;
    let attempt = send(&sender, &receiver.url, SHORT).await;
    assert_eq!((attempt.outcome, attempt.status), (Outcome::Failed, Some(500)));
}

#[tokio::test]
async fn must_read_no_more_of_an_answer_than_its_limit() {
    let flood = |stream, seen| repeat(stream, seen, vec![b'a'; 64 * 1024], Duration::ZERO);
    let receiver = Receiver::beginning("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", flood).await;
    let attempt = send(&sender(), &receiver.url, LONG).await;
    assert_eq!(attempt.outcome, Outcome::Delivered);
    assert!(attempt.total_ms < 5_000 && attempt.answer_start.len() == 1_000, "{}", attempt.answer_start.len());
    // What the receiver could write fits into the buffers of the operating system.
    let written = receiver.seen.written.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(receiver.seen.written.load(Ordering::SeqCst) < 32 * 1024 * 1024, "{written}");
    let endless =
        |stream, seen| repeat(stream, seen, b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".to_vec(), Duration::ZERO);
    let receiver = Receiver::beginning("HTTP/1.1 200 OK\r\n", endless).await;
    let attempt = send(&sender(), &receiver.url, LONG).await;
    assert_eq!((attempt.outcome, attempt.error), (Outcome::Failed, Some("bad_answer")), "{attempt:?}");
}

#[tokio::test]
async fn must_say_that_a_receiver_closed_the_connection_or_speaks_no_http() {
    let sender = sender();
    for (answer, error) in [
        ("", "closed"),
        ("HTTP/1.1 200 OK\r\nContent-", "closed"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "bad_answer"),
        ("HTTP/9.9 200 OK\r\n\r\n", "bad_answer"),
        ("HTTP/1.1 000 OK\r\n\r\n", "bad_answer"),
    ] {
        let receiver = Receiver::beginning(answer, |_, _| async {}).await;
        let attempt = send(&sender, &receiver.url, LONG).await;
        assert_eq!((attempt.outcome, attempt.error), (Outcome::Failed, Some(error)), "{answer:?}: {attempt:?}");
    }
    let receiver = Receiver::start(|stream, _| async move { drop(stream) }).await;
    assert_eq!(send(&sender, &receiver.url, LONG).await.error, Some("closed"));
    let nobody = Receiver::answering(OK).await.url.clone();
    tokio::task::yield_now().await;
    let attempt = send(&sender, &nobody, LONG).await;
    assert_eq!(attempt.error, Some("connect"), "{attempt:?}");
}

#[tokio::test]
async fn must_use_a_connection_again_and_survive_that_it_was_closed() {
    let sender = sender();
    let receiver = Receiver::answering(OK).await;
    let first = send(&sender, &receiver.url, LONG).await;
    let second = send(&sender, &receiver.url, LONG).await;
    assert!(first.connect_ms.is_some() && second.connect_ms.is_none(), "{second:?}");
    assert_eq!((receiver.seen.connections(), receiver.seen.requests().len()), (1, 2));
    // This one answers once on each connection, and closes it when the next request comes.
    let receiver = Receiver::beginning(OK, |mut stream, seen| async move {
        read(&mut stream, &seen).await;
    })
    .await;
    for _ in 0..3 {
        let attempt = send(&sender, &receiver.url, LONG).await;
        assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    }
    // This one closes it at once.
    let receiver = Receiver::beginning(OK, |mut stream, _| async move { drop(stream.shutdown().await) }).await;
    for _ in 0..3 {
        let attempt = send(&sender, &receiver.url, LONG).await;
        assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    }
}

#[tokio::test]
async fn must_keep_few_idle_connections_and_close_them_in_time() {
    let idle = Duration::from_millis(400);
    let limits = Limits { idle, max_idle: 3, max_idle_per_receiver: 2, ..Limits::default() };
    let sender = Sender::with(here(), Options { limits, ..Options::default() }).expect("a sender");
    let receivers = [Receiver::answering(OK).await, Receiver::answering(OK).await];
    for receiver in &receivers {
        let attempts = futures_util::future::join_all((0..4).map(|_| send(&sender, &receiver.url, LONG))).await;
        assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Delivered), "{attempts:?}");
        assert_eq!(receiver.seen.connections(), 4);
    }
    // Two of the first receiver and one of the second are kept.
    until_closed(&receivers, [2, 3]).await;
    let begun = Instant::now();
    until_closed(&receivers, [4, 4]).await;
    assert!(begun.elapsed() < idle * 5, "{:?}", begun.elapsed());
}

async fn until_closed(receivers: &[Receiver; 2], expected: [usize; 2]) {
    let begun = Instant::now();
    let closed = || [0, 1].map(|index: usize| receivers[index].seen.closed.load(Ordering::SeqCst));
    while closed() != expected {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?} closed, not {expected:?}", closed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
