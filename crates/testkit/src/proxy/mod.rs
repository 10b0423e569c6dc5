//! A TCP proxy in front of a PostgreSQL port that fails on purpose, at a chosen protocol message.

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

/// A proxy between clients and a PostgreSQL server (or a [`PgBouncer`](crate::PgBouncer)). It passes
/// everything through until it is told otherwise, and runs on a thread of its own, so a test may block.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `upstream`.
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

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// The way to a database through this proxy, as superuser.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        url("postgres", self.port, database.name())
    }

    /// How many messages clients have sent since the proxy started, start-up packets not counted.
    #[must_use]
    pub fn frontend_messages(&self) -> u64 {
        self.state.messages()
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// Makes something go wrong, beside what is armed already. At a message at which several faults
    /// fire, the one armed first has its way.
    pub fn arm(&self, fault: Fault) -> Armed {
        self.state.arm(fault)
    }

    /// Forgets all faults. Connections that are open, delays that began and freezing stay.
    pub fn disarm(&self) {
        self.state.disarm();
    }

    /// The n-th message from now, from 1, never reaches the server: [`Fault::cut_before`].
    pub fn cut_before(&self, n: u64) -> Armed {
        self.arm(Fault::cut_before().nth(n))
    }

    /// The n-th message from now, from 1, reaches the server, and its answer never the client:
    /// [`Fault::cut_after`].
    pub fn cut_after(&self, n: u64) -> Armed {
        self.arm(Fault::cut_after().nth(n))
    }

    /// Cuts all connections at once, on both sides, and blocks until they are closed. New ones may come.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// While `true`, new connections are closed as soon as they are made. Open ones stay.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuse(refuse);
    }

    /// While `true`, nothing passes in either direction on any connection, but nothing is closed: the
    /// network is gone and nobody says so.
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
            // A client that was gone before it was accepted, or no file descriptor left for it.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if state.is_refusing() {
            continue;
        }
        let open = state.open();
        tokio::spawn(async move {
            // A server that is not there: the client sees its connection closed.
            if let Ok(server) = TcpStream::connect(upstream).await {
                connection::run(client, server, open).await;
            }
        });
    }
}
