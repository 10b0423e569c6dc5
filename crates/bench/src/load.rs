//! Load generator: keep-alive connections that each send the next request after the previous answer.

use memchr::memmem;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Result of a load.
#[derive(Debug, Clone)]
pub struct Load {
    /// Number of requests with the expected answer.
    pub answered: u64,
    /// Requests per second.
    pub per_second: f64,
    /// Mean latency, in milliseconds.
    pub latency_ms: f64,
    /// Numbers of the requests, with the times of their answers.
    pub answers: Vec<(u64, Instant)>,
}

/// Bytes of a request, built from a unique number.
pub type Request = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Returns the bytes of a request.
pub fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends requests over `connections` for `time`. An answer with another status than `expected` ends the bench.
pub async fn run(
    to: SocketAddr,
    connections: usize,
    time: Duration,
    expected: u16,
    make: Request,
    numbers: &Arc<AtomicU64>,
) -> Load {
    let until = Instant::now() + time;
    let began = Instant::now();
    let mut all = Vec::new();
    for _ in 0..connections {
        let (make, numbers) = (Arc::clone(&make), Arc::clone(numbers));
        all.push(tokio::spawn(async move { one(to, until, expected, &make, &numbers).await }));
    }
    let (mut latencies, mut answers) = (Vec::new(), Vec::new());
    for connection in all {
        let (times, answered) = connection.await.expect("a connection works");
        latencies.extend(times);
        answers.extend(answered);
    }
    let answered = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_second = answered as f64 / began.elapsed().as_secs_f64();
    // The mean, which pgbench reports as well.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let latency_ms = latencies.iter().sum::<f64>() / latencies.len().max(1) as f64;
    Load { answered, per_second, latency_ms, answers }
}

/// Sends the requests with these numbers, so many per second, over `connections`. Returns when each was answered. A server
/// that answers too slowly gets fewer per second.
pub async fn paced(
    to: SocketAddr,
    connections: u64,
    per_second: u64,
    numbers: Range<u64>,
    expected: u16,
    make: Request,
) -> Vec<(u64, Instant)> {
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut all = Vec::new();
    for _ in 0..connections {
        let (make, next, numbers) = (Arc::clone(&make), Arc::clone(&next), numbers.clone());
        all.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(to).await.expect("connected");
            stream.set_nodelay(true).expect("no delay");
            let (mut answers, mut buffer) = (Vec::new(), Vec::with_capacity(16 * 1024));
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let number = numbers.start + index;
                if number >= numbers.end {
                    return answers;
                }
                let due = began + Duration::from_micros(index * 1_000_000 / per_second);
                tokio::time::sleep_until(due.into()).await;
                stream.write_all(&make(number)).await.expect("sent");
                let status = answer(&mut stream, &mut buffer).await;
                assert_eq!(status, expected, "{}", String::from_utf8_lossy(&buffer));
                answers.push((number, Instant::now()));
            }
        }));
    }
    let mut answers = Vec::new();
    for connection in all {
        answers.extend(connection.await.expect("a connection works"));
    }
    answers
}

/// Sends one request, and returns the time to its answer in seconds.
pub async fn once(to: SocketAddr, bytes: &[u8], expected: u16) -> f64 {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    let mut buffer = Vec::with_capacity(16 * 1024);
    let began = Instant::now();
    stream.write_all(bytes).await.expect("sent");
    let status = answer(&mut stream, &mut buffer).await;
    assert_eq!(status, expected, "{}", String::from_utf8_lossy(&buffer[..buffer.len().min(2000)]));
    began.elapsed().as_secs_f64()
}

async fn one(
    to: SocketAddr,
    until: Instant,
    expected: u16,
    make: &Request,
    numbers: &AtomicU64,
) -> (Vec<f64>, Vec<(u64, Instant)>) {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let (mut latencies, mut answers, mut buffer) = (Vec::new(), Vec::new(), Vec::with_capacity(16 * 1024));
    while Instant::now() < until {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let bytes = make(number);
        let began = Instant::now();
        stream.write_all(&bytes).await.expect("sent");
        let status = answer(&mut stream, &mut buffer).await;
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&buffer));
        let now = Instant::now();
        latencies.push(now.duration_since(began).as_secs_f64() * 1000.0);
        answers.push((number, now));
    }
    (latencies, answers)
}

/// Reads one answer with a Content-Length, or without a body. Returns its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.expect("received"), 0, "the server closed");
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else { continue };
        // A 204 has no length. hyper sends lower-case names.
        let length = memmem::find(&buffer[..end], b"content-length: ").map_or(0, |at| {
            let digits = buffer[at + 16..end].iter().take_while(|byte| byte.is_ascii_digit());
            digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
        });
        let whole = end + 4 + length;
        while buffer.len() < whole {
            assert_ne!(stream.read_buf(buffer).await.expect("received"), 0, "the server closed");
        }
        return buffer[9..12].iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    }
}
