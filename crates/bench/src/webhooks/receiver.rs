//! Receivers of webhooks: HTTP/1.1 over loopback, on a thread of their own.

use memchr::memmem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With 204, at once.
    Healthy,
    /// With 500, at once.
    Failing,
    /// Never.
    Hanging,
}

/// An event that a receiver got: the tenant's id, and the time of the first byte of the request.
pub type Arrival = (String, Instant);

/// Several receivers. Each has an address of its own.
pub struct Receivers {
    runtime: Runtime,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Number of requests that were answered with 204.
    accepted: AtomicU64,
    /// Arrivals at healthy receivers, while somebody wants them.
    arrivals: Mutex<Option<Vec<Arrival>>>,
    /// Body of the last request.
    body: Mutex<String>,
}

impl Receivers {
    /// Creates a place for receivers.
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        Self { runtime, shared: Arc::default() }
    }

    /// Starts a receiver, and returns its address.
    pub async fn start(&self, manner: Manner) -> SocketAddr {
        let shared = Arc::clone(&self.shared);
        let started = self.runtime.spawn(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.expect("accepted");
                    tokio::spawn(serve(stream, manner, Arc::clone(&shared)));
                }
            });
            address
        });
        started.await.expect("started")
    }

    /// Number of requests that were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Notes arrivals from now on.
    pub fn note(&self) {
        *self.shared.arrivals.lock().expect("no panic") = Some(Vec::new());
    }

    /// Number of arrivals since [`Receivers::note`].
    pub fn noted(&self) -> usize {
        self.shared.arrivals.lock().expect("no panic").as_ref().map_or(0, Vec::len)
    }

    /// Returns the arrivals since [`Receivers::note`].
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().expect("no panic").take().unwrap_or_default()
    }

    /// Body of the last request.
    pub fn body(&self) -> String {
        self.shared.body.lock().expect("no panic").clone()
    }

    /// Stops all receivers.
    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// Answers the requests of one connection until the client closes it.
async fn serve(mut stream: TcpStream, manner: Manner, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("no delay");
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        buffer.clear();
        let Some((began, body_at)) = request(&mut stream, &mut buffer).await else { return };
        let answer: &[u8] = match manner {
            Manner::Healthy => b"HTTP/1.1 204 No Content\r\n\r\n",
            Manner::Failing => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            Manner::Hanging => std::future::pending().await,
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
        if manner == Manner::Healthy {
            note(&shared, &buffer[body_at..], began);
        }
    }
}

fn note(shared: &Shared, body: &[u8], began: Instant) {
    if let Some(arrivals) = shared.arrivals.lock().expect("no panic").as_mut() {
        arrivals.push((tenant_id(body), began));
    }
    if shared.accepted.fetch_add(1, Ordering::Relaxed) == 0 {
        *shared.body.lock().expect("no panic") = String::from_utf8_lossy(body).into_owned();
    }
}

/// Reads one request. Returns the time of its first byte, and where its body begins; `None` if the client has closed.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Instant, usize)> {
    let mut began = None;
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        let began = *began.get_or_insert_with(Instant::now);
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else { continue };
        let length = memmem::find(&buffer[..end], b"content-length: ").expect("a length");
        let digits = buffer[length + 16..end].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        if buffer.len() >= end + 4 + length {
            return Some((began, end + 4));
        }
    }
}

/// Returns the `tenant_id` in the JSON of an event; an empty text if there is none.
pub fn tenant_id(json: &[u8]) -> String {
    const BEFORE: &[u8] = b"\"tenant_id\":\"";
    let Some(at) = memmem::find(json, BEFORE) else { return String::new() };
    let rest = &json[at + BEFORE.len()..];
    let end = memchr::memchr(b'"', rest).unwrap_or(0);
    String::from_utf8_lossy(&rest[..end]).into_owned()
}
