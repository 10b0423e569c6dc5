//! The stream of a connection: closes it if the client does not read, and reads what the client still sends after a
//! refusal.

use super::connection::Connection;
use super::limits::ConnectionLimits;
use crate::metrics::ConnectionLimit;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream with a write timeout, and with an orderly end.
///
/// While the client reads what it is sent, the stream adds no timer and no system call.
pub struct BoundedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    limits: ConnectionLimits,
    blocked: Option<Blocked>,
    /// Whether the client has ended its side.
    has_ended: bool,
    closing: Closing,
}

/// The client accepts less than the server has to send.
struct Blocked {
    since: Instant,
    /// Bytes that the client has accepted since then, and when it last accepted some.
    accepted: u64,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

enum Closing {
    /// The stream is open.
    NotYet,
    /// The server's side has ended. The client may still be sending.
    Ended(Option<Discard>),
    Done,
}

/// Reads and discards what the client sends.
struct Discard {
    buffer: Box<[u8]>,
    left: u64,
    timer: Pin<Box<Sleep>>,
}

/// Size of the buffer for discarded data.
const BUFFER_BYTES: usize = 16 * 1024;

impl<S> BoundedStream<S> {
    /// Bounds the stream of a connection.
    pub fn new(stream: S, connection: Arc<Connection>, limits: ConnectionLimits) -> Self {
        Self { stream, connection, limits, blocked: None, has_ended: false, closing: Closing::NotYet }
    }

    /// Checks the outcome of a write.
    fn written(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                if let Some(blocked) = &mut self.blocked {
                    blocked.accepted += bytes as u64;
                    blocked.last = Instant::now();
                }
                outcome
            }
            Poll::Ready(Err(_)) => outcome,
            Poll::Pending => {
                let connection = &self.connection;
                let blocked = self.blocked.get_or_insert_with(|| {
                    connection.set_blocked(true);
                    let now = Instant::now();
                    Blocked { since: now, accepted: 0, last: now, timer: Box::pin(sleep_until(now)) }
                });
                let until = blocked.until(&self.limits);
                if blocked.timer.deadline() != until {
                    blocked.timer.as_mut().reset(until);
                }
                ready!(blocked.timer.as_mut().poll(cx));
                connection.seat().limited(ConnectionLimit::WriteTimeout);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
            }
        }
    }
}

impl Blocked {
    /// Returns when the client must have accepted more. The rate is limited too: otherwise a client that accepts one
    /// byte now and then could hold a response for any time.
    fn until(&self, limits: &ConnectionLimits) -> Instant {
        let patience = Duration::from_secs(limits.write_timeout_seconds);
        let earned = Duration::from_secs(self.accepted / limits.min_write_bytes_per_second.max(1));
        (self.last + patience).min(self.since + patience + earned)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> BoundedStream<S> {
    /// Begins to discard if the client may still be sending: if data that is unread is dropped together with the
    /// socket, the system resets the connection, and the client loses the response.
    fn discard(&self) -> Discard {
        let limits = &self.limits;
        let (bytes, seconds) = if self.connection.seat().has_key() {
            (limits.max_discarded_body_bytes, limits.discard_timeout_seconds)
        } else {
            (limits.max_discarded_body_bytes_without_key, limits.discard_timeout_seconds_without_key)
        };
        let timer = Box::pin(sleep_until(Instant::now() + Duration::from_secs(seconds)));
        Discard { buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), left: bytes, timer }
    }

    /// Discards until the client ends its side or a limit is reached.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_expected = self.connection.is_body_unread();
            let Closing::Ended(started) = &mut self.closing else { return Poll::Ready(()) };
            let has_started = started.is_some();
            let mut discard = match started.take() {
                Some(discard) => discard,
                None => self.discard(),
            };
            let mut buffer = ReadBuf::new(&mut discard.buffer);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let read = buffer.filled().len() as u64;
            match polled {
                Poll::Ready(Ok(())) if read > 0 && read < discard.left => discard.left -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                // Nothing is unread, and nothing is expected.
                Poll::Pending if !has_started && !is_expected => return Poll::Ready(()),
                Poll::Pending => {
                    let timed = discard.timer.as_mut().poll(cx);
                    self.closing = Closing::Ended(Some(discard));
                    return timed;
                }
            }
            self.closing = Closing::Ended(Some(discard));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = buffer.remaining();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if left > 0 && matches!(polled, Poll::Ready(Ok(()))) && buffer.remaining() == left {
            this.has_ended = true;
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BoundedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Writers flush after their last write, so everything was accepted.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        if this.blocked.take().is_some() {
            this.connection.set_blocked(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::NotYet) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = if this.has_ended { Closing::Done } else { Closing::Ended(None) };
        }
        ready!(this.poll_discard(cx));
        this.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::response_budget::ResponseBudget;
    use super::super::seats::Seats;
    use super::*;
    use crate::metrics::{Commits, Metrics};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// Returns a stream with small limits, and the client's end of it.
    fn streams() -> (BoundedStream<DuplexStream>, DuplexStream) {
        let seats = Seats::new(1, 1, 1, Arc::new(Metrics::new(&Commits::default())));
        let seat = seats.take([127, 0, 0, 1].into(), false).expect("a seat");
        let connection = Arc::new(Connection::new(seat, ResponseBudget::new(1)));
        let limits = ConnectionLimits {
            write_timeout_seconds: 1,
            min_write_bytes_per_second: 100_000,
            ..ConnectionLimits::default()
        };
        let (server, client) = duplex(1000);
        (BoundedStream::new(server, connection, limits), client)
    }

    async fn send(stream: &mut BoundedStream<DuplexStream>, bytes: usize) -> (io::Result<()>, Duration) {
        let begun = Instant::now();
        let sent = stream.write_all(&vec![b'x'; bytes]).await;
        (sent, begun.elapsed())
    }

    #[tokio::test]
    async fn must_give_up_a_client_that_does_not_read() {
        let (mut stream, client) = streams();
        let (sent, time) = send(&mut stream, 10_000).await;
        assert_eq!(sent.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
        assert!(time >= Duration::from_secs(1) && time < Duration::from_secs(2), "{time:?}");
        drop(client);
    }

    #[tokio::test]
    async fn must_give_up_a_client_that_reads_too_slowly() {
        let (mut stream, mut client) = streams();
        tokio::spawn(async move {
            let mut some = [0; 100];
            while client.read(&mut some).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (sent, time) = send(&mut stream, 100_000).await;
        assert_eq!(sent.expect_err("too slow").kind(), io::ErrorKind::TimedOut);
        assert!(time >= Duration::from_secs(1) && time < Duration::from_secs(2), "{time:?}");
    }

    #[tokio::test]
    async fn must_wait_for_a_client_that_reads_fast_enough() {
        let (mut stream, mut client) = streams();
        let reads = tokio::spawn(async move {
            let (mut some, mut total) = ([0; 1000], 0);
            while let Ok(read @ 1..) = client.read(&mut some).await {
                total += read;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            total
        });
        let (sent, time) = send(&mut stream, 400_000).await;
        sent.expect("sent");
        assert!(time > Duration::from_millis(800), "it took {time:?}");
        assert!(stream.connection.is_blocked());
        stream.flush().await.expect("flushed");
        assert!(!stream.connection.is_blocked());
        stream.shutdown().await.expect("ended");
        drop(stream);
        assert_eq!(reads.await.expect("read"), 400_000);
    }
}
