//! One connection through the proxy: forwards both directions and applies faults.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fault::Effect;
use super::frontend::{Frontend, Piece};
use super::state::Open;

const READ_BYTES: usize = 64 * 1024;
/// Maximum time that a cut waits for the server to process what was sent and to close.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How the direction from client to server ended.
enum End {
    /// The client or the server closed the connection.
    Closed,
    /// Nothing more is sent to the server; the client is cut when the server has finished.
    Cut,
    /// The client is cut now; the server gets these bytes later.
    CutDeliver { bytes: Vec<u8>, later: Duration },
}

/// State of the direction from server to client.
#[derive(Default)]
struct Answers {
    muted: AtomicBool,
    held_until: Mutex<Option<Instant>>,
}

impl Answers {
    fn mute(&self) {
        self.muted.store(true, Ordering::SeqCst);
    }

    fn is_muted(&self) -> bool {
        self.muted.load(Ordering::SeqCst)
    }

    fn hold(&self, by: Duration) {
        *self.held_until.lock().expect("not poisoned") = Some(Instant::now() + by);
    }

    async fn released(&self) {
        // Repeated in case the delay was extended.
        while let Some(until) = self.held() {
            sleep_until(until).await;
        }
    }

    fn held(&self) -> Option<Instant> {
        self.held_until.lock().expect("not poisoned").filter(|until| *until > Instant::now())
    }
}

/// Forwards bytes until one side closes or a fault cuts. Dropping `open` marks the connection as closed.
pub(super) async fn run(client: TcpStream, server: TcpStream, open: Open) {
    // Messages are forwarded immediately, as without a proxy.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    tokio::select! {
        () = open.cut() => {}
        () = pass(client, server, &open) => {}
    }
}

async fn pass(client: TcpStream, server: TcpStream, open: &Open) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = Answers::default();
    let end = {
        let down = down(&mut from_server, &mut to_client, &answers, open);
        let mut down = std::pin::pin!(down);
        tokio::select! {
            end = up(&mut from_client, &mut to_server, &answers, open) => {
                if matches!(end, End::Closed) {
                    // The client has finished; the server may still answer.
                    let _ = to_server.shutdown().await;
                    down.await;
                }
                end
            }
            () = &mut down => End::Closed,
        }
    };
    match end {
        End::Closed => {}
        End::Cut => {
            // The server receives everything that was sent before the end of the stream. A plain close could discard
            // data that the server has not read.
            let _ = to_server.shutdown().await;
            drain(&mut from_server).await;
        }
        End::CutDeliver { bytes, later } => {
            drop((from_client, to_client));
            // In a separate task: for clients and `cut` the connection is closed.
            tokio::spawn(async move {
                sleep(later).await;
                let _ = to_server.write_all(&bytes).await;
                let _ = to_server.shutdown().await;
                drain(&mut from_server).await;
            });
        }
    }
}

async fn down(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, answers: &Answers, open: &Open) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        open.thawed().await;
        answers.released().await;
        // Muted permanently: `up` is about to end this connection.
        if answers.is_muted() {
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    if answers.is_muted() {
        std::future::pending().await
    }
}

async fn up(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, answers: &Answers, open: &Open) -> End {
    let mut frontend = Frontend::new();
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        if let Some(end) = forward(&mut buffer, &mut frontend, to, answers, open).await {
            return end;
        }
        match from.read_buf(&mut buffer).await {
            Ok(1..) => open.thawed().await,
            _ => return End::Closed,
        }
    }
}

/// Forwards all complete messages of `buffer` and keeps the rest.
async fn forward(
    buffer: &mut Vec<u8>,
    frontend: &mut Frontend,
    to: &mut OwnedWriteHalf,
    answers: &Answers,
    open: &Open,
) -> Option<End> {
    let mut passing = 0;
    while let Some(piece) = frontend.next(&buffer[passing..]) {
        let (length, effect) = match piece {
            Piece::Uncounted { length } => (length, None),
            Piece::Counted { length, kind, sql } => (length, open.message(frontend, kind, sql, length)),
        };
        if let Some(effect) = effect {
            // Earlier messages are sent first.
            if let Some(end) = send(to, &buffer[..passing], answers, open).await {
                return Some(end);
            }
            buffer.drain(..passing);
            passing = 0;
            match effect {
                Effect::Delay(by) => sleep(by).await,
                Effect::DelayAnswer(by) => answers.hold(by),
                // Between the header and the zero byte at the end.
                Effect::Garble => buffer[5..length - 1].fill(b'?'),
                Effect::CutBefore => {
                    answers.mute();
                    return Some(End::Cut);
                }
                Effect::CutAfter => {
                    answers.mute();
                    return send(to, &buffer[..length], answers, open).await.or(Some(End::Cut));
                }
                Effect::CutDeliverLater(later) => {
                    answers.mute();
                    return Some(End::CutDeliver { bytes: std::mem::take(buffer), later });
                }
            }
        }
        passing += length;
    }
    let end = send(to, &buffer[..passing], answers, open).await;
    buffer.drain(..passing);
    end
}

async fn send(to: &mut OwnedWriteHalf, bytes: &[u8], answers: &Answers, open: &Open) -> Option<End> {
    let allowed = open.bytes(bytes.len());
    if allowed.is_some() {
        answers.mute();
    }
    let sent = to.write_all(&bytes[..allowed.unwrap_or(bytes.len())]).await;
    match (allowed, sent) {
        (Some(_), _) => Some(End::Cut),
        (None, Ok(())) => None,
        (None, Err(_)) => Some(End::Closed),
    }
}

async fn drain(from: &mut (impl AsyncRead + Unpin)) {
    let _ = timeout(DRAIN_LIMIT, tokio::io::copy(from, &mut tokio::io::sink())).await;
}
