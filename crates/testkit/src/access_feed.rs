//! A control plane that has only the feed of access answers, with the faults that a follower must survive.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Pause after which a stream without events gets the event `position`; the server's is two seconds.
const POSITION_EVERY: Duration = Duration::from_millis(200);

/// Server of `/v1/access/events` on 127.0.0.1: a snapshot, then every change; `410` for a cursor of another epoch or from
/// before what is kept.
#[derive(Debug)]
pub struct AccessFeed {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    /// Changes of the epoch: the tenant of each. Its position is its index plus one.
    log: Vec<String>,
    /// Positions up to this one are not kept.
    forgotten: usize,
    tenants: BTreeMap<String, String>,
    is_down: bool,
    is_database_away: bool,
    is_key_refused: bool,
    /// Number of the event `end` that all streams get, and its reason.
    ends: (u64, String),
    streams: Vec<TcpStream>,
    cursors: Vec<Option<String>>,
}

impl AccessFeed {
    /// Starts the server, without tenants. Its threads end with the process.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                // An error is a client that disconnects.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Commits a change: from now on, the access answer of the tenant is this JSON.
    pub fn set(&self, tenant_id: &str, access: &str) {
        self.change(|state| {
            state.tenants.insert(tenant_id.to_owned(), access.to_owned());
            state.log.push(tenant_id.to_owned());
        });
    }

    /// Begins another epoch of the log, as a restore does, without this tenant.
    pub fn restore_without(&self, tenant_id: &str) {
        self.change(|state| {
            state.tenants.remove(tenant_id);
            state.log.clear();
            (state.epoch, state.forgotten) = (state.epoch + 1, 0);
        });
        self.cut();
    }

    /// Closes all connections, and each new one, until [`AccessFeed::up`].
    pub fn down(&self) {
        self.change(|state| state.is_down = true);
        self.cut();
    }

    /// Serves again.
    pub fn up(&self) {
        self.change(|state| state.is_down = false);
    }

    /// Sends only comments, as the server does while it cannot read its database.
    pub fn lose_database(&self) {
        self.change(|state| state.is_database_away = true);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.state().streams.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends the event `end` on all streams.
    pub fn end(&self, reason: &str) {
        self.change(|state| state.ends = (state.ends.0 + 1, reason.to_owned()));
    }

    /// Refuses the key of every request from now on.
    pub fn refuse_key(&self) {
        self.change(|state| state.is_key_refused = true);
    }

    /// Cursors with which clients have opened streams so far.
    #[must_use]
    pub fn cursors(&self) -> Vec<Option<String>> {
        self.shared.state().cursors.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.moved.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (path, cursor) = head(&stream)?;
        let opened = {
            let mut state = self.state();
            if state.is_down {
                return Ok(());
            }
            state.streams.push(stream.try_clone()?);
            state.cursors.push(cursor.clone());
            state.open(&path, cursor.as_deref())
        };
        let (text, from) = match opened {
            Ok(opened) => opened,
            Err((status, code)) => return stream.write_all(problem(status, code).as_bytes()),
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
        stream.write_all(text.as_bytes())?;
        self.tail(&mut stream, from)
    }

    fn tail(&self, stream: &mut TcpStream, mut at: usize) -> io::Result<()> {
        let (epoch, ends) = {
            let state = self.state();
            (state.epoch, state.ends.0)
        };
        loop {
            let mut state = self.state();
            if state.log.len() == at && state.ends.0 == ends && state.epoch == epoch {
                (state, _) = self.moved.wait_timeout(state, POSITION_EVERY).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_down || state.epoch != epoch {
                return Ok(());
            }
            let mut text = String::new();
            for (index, tenant) in state.log.iter().enumerate().skip(at) {
                text.push_str(&state.change(index, tenant));
            }
            at = state.log.len();
            if state.ends.0 != ends {
                text.push_str(&format!("event: end\ndata: {{\"reason\":\"{}\"}}\n\n", state.ends.1));
                stream.write_all(text.as_bytes())?;
                return Ok(());
            }
            if text.is_empty() {
                text = match state.is_database_away {
                    true => ":\n\n".to_owned(),
                    false => format!("id: {epoch}.{at}\nevent: position\ndata: {{\"position\":{at}}}\n\n"),
                };
            }
            drop(state);
            stream.write_all(text.as_bytes())?;
        }
    }
}

impl State {
    /// Returns the beginning of a stream, and the position from which it continues.
    fn open(&self, path: &str, cursor: Option<&str>) -> Result<(String, usize), (&'static str, &'static str)> {
        if path != "/v1/access/events" {
            return Err(("404 Not Found", "not_found"));
        }
        if self.is_key_refused {
            return Err(("401 Unauthorized", "unauthenticated"));
        }
        if let Some(cursor) = cursor {
            let parts = cursor.split_once('.').and_then(|(epoch, at)| Some((epoch.parse().ok()?, at.parse().ok()?)));
            let at = parts.filter(|(epoch, at): &(u64, usize)| *epoch == self.epoch && *at >= self.forgotten);
            let (_, at) = at.ok_or(("410 Gone", "cursor_expired"))?;
            let mut text: String =
                self.log.iter().enumerate().skip(at).map(|(index, tenant)| self.change(index, tenant)).collect();
            text.push_str(&self.caught_up());
            return Ok((text, self.log.len()));
        }
        let mut text: String = self.tenants.values().map(|data| format!("event: tenant\ndata: {data}\n\n")).collect();
        text.push_str(&self.caught_up());
        Ok((text, self.log.len()))
    }

    fn change(&self, index: usize, tenant: &str) -> String {
        format!("id: {}.{}\nevent: tenant\ndata: {}\n\n", self.epoch, index + 1, self.tenants[tenant])
    }

    fn caught_up(&self) -> String {
        let at = self.log.len();
        format!("id: {}.{at}\nevent: caught-up\ndata: {{\"position\":{at}}}\n\n", self.epoch)
    }
}

/// Reads the head of a request: its path and its `Last-Event-ID`.
fn head(stream: &TcpStream) -> io::Result<(String, Option<String>)> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut cursor = None;
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("last-event-id") => cursor = Some(value.to_owned()),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    Ok((path, cursor))
}

fn problem(status: &str, code: &str) -> String {
    let (number, title) = status.split_once(' ').expect("a status line");
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{number},"code":"{code}","detail":"refused","correlation_id":"c-1"}}"#
    );
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
