//! Load generator: keep-alive connections that each send the next request after the previous answer.

use memchr::memmem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Result of a load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Number of requests with the expected answer.
    pub answered: u64,
    /// Requests per second.
    pub per_second: f64,
    /// Mean latency, in milliseconds.
    pub latency_ms: f64,
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
    let mut latencies = Vec::new();
    for connection in all {
        latencies.extend(connection.await.expect("a connection works"));
    }
    let answered = u64::try_from(latencies.len()).unwrap_or(u64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_second = answered as f64 / began.elapsed().as_secs_f64();
    // The mean, which pgbench reports as well.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let latency_ms = latencies.iter().sum::<f64>() / latencies.len().max(1) as f64;
    Load { answered, per_second, latency_ms }
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

async fn one(to: SocketAddr, until: Instant, expected: u16, make: &Request, numbers: &AtomicU64) -> Vec<f64> {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let (mut latencies, mut buffer) = (Vec::new(), Vec::with_capacity(16 * 1024));
    while Instant::now() < until {
        let bytes = make(numbers.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        stream.write_all(&bytes).await.expect("sent");
        let status = answer(&mut stream, &mut buffer).await;
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&buffer));
        latencies.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    latencies
}

/// Reads one answer with a Content-Length. Returns its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> u16 {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.expect("received"), 0, "the server closed");
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else { continue };
        let length =
            memmem::find(&buffer[..end], b"content-length: ").expect("hyper sends a lower-case content-length");
        let digits = buffer[length + 16..end].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        let whole = end + 4 + length;
        while buffer.len() < whole {
            assert_ne!(stream.read_buf(buffer).await.expect("received"), 0, "the server closed");
        }
        return buffer[9..12].iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    }
}
