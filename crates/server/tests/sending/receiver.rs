//! Receivers: each is a real server that does one thing with every connection.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a receiver has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    /// Head and body of each request.
    pub requests: Mutex<Vec<(String, Vec<u8>)>>,
    /// Connections that the sender has closed, of a receiver that answers every request.
    pub closed: AtomicUsize,
    /// Bytes that the receiver could write.
    pub written: AtomicUsize,
}

impl Seen {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

/// A running receiver.
pub struct Receiver {
    pub url: String,
    pub port: u16,
    pub seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Starts a receiver that runs this on each connection.
    pub async fn start<F, D>(on_connection: F) -> Self
    where
        F: Fn(TcpStream, Arc<Seen>) -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1", 0, on_connection).await
    }

    pub async fn start_at<F, D>(address: &str, port: u16, on_connection: F) -> Self
    where
        F: Fn(TcpStream, Arc<Seen>) -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((address, port)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(on_connection(stream, Arc::clone(&noted)));
            }
        });
        Self { url: format!("http://{address}:{port}/hook?a=b"), port, seen, task }
    }

    /// Starts a receiver that answers every request with this text.
    pub async fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |stream, seen| answer_all(stream, seen, answer.clone())).await
    }

    /// Starts a receiver that reads a request, writes this text, and goes on with a behavior of its own.
    pub async fn beginning<F, D>(answer: &'static str, then: F) -> Self
    where
        F: Fn(TcpStream, Arc<Seen>) -> D + Send + Sync + Clone + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        Self::start(move |mut stream, seen| {
            let then = then.clone();
            async move {
                read(&mut stream, &seen).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                then(stream, seen).await;
            }
        })
        .await
    }
}

/// Answers every request on a connection with this text.
pub async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, seen: Arc<Seen>, answer: String) {
    while read(&mut stream, &seen).await {
        if stream.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    seen.closed.fetch_add(1, Ordering::SeqCst);
}

/// Reads one request. Returns whether there was one.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, seen: &Seen) -> bool {
    let mut got = Vec::new();
    loop {
        if let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(got[..end].to_vec()).expect("text");
            let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if got.len() >= end + 4 + length {
                let body = got[end + 4..end + 4 + length].to_vec();
                seen.requests.lock().expect("not poisoned").push((head, body));
                return true;
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => got.extend_from_slice(&piece[..count]),
        }
    }
}

/// Returns the value of a header.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Writes a text again and again, until the sender closes the connection.
pub async fn repeat(mut stream: TcpStream, seen: Arc<Seen>, piece: Vec<u8>, pause: std::time::Duration) {
    while stream.write_all(&piece).await.is_ok() {
        seen.written.fetch_add(piece.len(), Ordering::SeqCst);
        tokio::time::sleep(pause).await;
    }
}

/// Keeps a connection open without a word.
pub async fn hang(stream: TcpStream, _: Arc<Seen>) {
    std::future::pending::<()>().await;
    drop(stream);
}
