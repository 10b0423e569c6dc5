//! A TCP proxy in front of a PostgreSQL port that injects faults at chosen protocol messages.

mod connection;
mod fault;
mod frontend;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use fault::{Armed, Fault};
pub use frontend::Message;

use crate::database::{Database, url};
use crate::port;
use state::State;

const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Proxy between clients and a PostgreSQL server (or a [`PgBouncer`](crate::PgBouncer)). It forwards everything until a
/// fault is armed, and runs on a separate thread, so a test may block.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `upstream`.
    #[must_use]
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind(port::local(0)).expect("listen on 127.0.0.1");
        listener.set_nonblocking(true).expect("set the listener non-blocking");
        let port = listener.local_addr().expect("the listener's address").port();
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("make the proxy's runtime").block_on(async {
                    let listener = TcpListener::from_std(listener).expect("take over the listener");
                    tokio::select! {
                        () = accept(listener, upstream, state) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { port, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// Returns the URL of a database through this proxy, as superuser.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        url("postgres", self.port, database.name())
    }

    /// Number of messages that clients have sent since the proxy started, without start-up packets.
    #[must_use]
    pub fn frontend_messages(&self) -> u64 {
        self.state.messages()
    }

    /// Number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// Arms a fault in addition to those already armed. If several faults fire at one message, the one that was armed
    /// first takes effect.
    pub fn arm(&self, fault: Fault) -> Armed {
        self.state.arm(fault)
    }

    /// Removes all faults. Open connections, running delays and freezing are unchanged.
    pub fn disarm(&self) {
        self.state.disarm();
    }

    /// Cuts before the n-th message from now, from 1: [`Fault::cut_before`].
    pub fn cut_before(&self, n: u64) -> Armed {
        self.arm(Fault::cut_before().nth(n))
    }

    /// Cuts after the n-th message from now, from 1: [`Fault::cut_after`].
    pub fn cut_after(&self, n: u64) -> Armed {
        self.arm(Fault::cut_after().nth(n))
    }

    /// Cuts all connections immediately, on both sides, and blocks until they are closed. New connections are accepted.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// While `true`, new connections are closed immediately. Open ones stay.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuse(refuse);
    }

    /// While `true`, nothing is forwarded in either direction on any connection, but nothing is closed: a network that
    /// fails silently.
    pub fn freeze(&self, freeze: bool) {
        self.state.freeze(freeze);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: Arc<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // The client closed before it was accepted, or there is no free file descriptor.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if state.is_refusing() {
            continue;
        }
        let open = state.open();
        tokio::spawn(async move {
            // If the server is not running, the client sees its connection closed.
            if let Ok(server) = TcpStream::connect(upstream).await {
                connection::run(client, server, open).await;
            }
        });
    }
}
