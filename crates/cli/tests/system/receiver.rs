//! A real receiver of webhooks in this process. It records every request, and answers it or holds the answer back.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// A receiver on a free port.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Delivered>,
    holds: bool,
    /// Number of times that held requests were dropped.
    dropped: u64,
}

/// A request that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivered {
    /// Name of the endpoint: the path of the URL.
    pub endpoint: String,
    /// Header `webhook-id`.
    pub id: String,
    /// Id of the event in the body.
    pub audit_id: String,
    /// Whether the answer was written.
    pub answered: bool,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&all);
                // A sender that is killed breaks its connections.
                std::thread::spawn(move || serve(&shared, stream).ok());
            }
        });
        Self { address, shared }
    }

    /// Returns the URL of an endpoint.
    pub fn url(&self, endpoint: &str) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    /// Holds all answers back from now on.
    pub fn hold(&self) {
        self.shared.state().holds = true;
    }

    /// Closes the connections of the requests that are held, without an answer, and answers all later requests.
    pub fn drop_held(&self) {
        let mut state = self.shared.state();
        state.holds = false;
        state.dropped += 1;
        self.shared.changed.notify_all();
    }

    /// Number of requests so far.
    pub fn count(&self) -> usize {
        self.shared.state().requests.len()
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Delivered> {
        self.shared.state().requests.clone()
    }

    /// Returns the number of requests of each `webhook-id`.
    pub fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for request in self.requests() {
            *times.entry(request.id).or_default() += 1;
        }
        times
    }

    /// Returns what each endpoint has answered, as pairs of endpoint and event.
    pub fn answered(&self) -> BTreeSet<(String, String)> {
        let answered = self.requests().into_iter().filter(|request| request.answered);
        answered.map(|request| (request.endpoint, request.audit_id)).collect()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Records a request, and waits while answers are held. Returns its place; `None` if it gets no answer.
    fn take(&self, request: Delivered) -> Option<usize> {
        let mut state = self.state();
        let (place, dropped) = (state.requests.len(), state.dropped);
        state.requests.push(request);
        let state = self.changed.wait_while(state, |state| state.holds && state.dropped == dropped).expect("held");
        (state.dropped == dropped).then_some(place)
    }
}

/// Answers the requests of one connection.
fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream)? {
        let Some(place) = shared.take(request) else { return Ok(()) };
        stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        shared.state().requests[place].answered = true;
    }
    Ok(())
}

/// Reads a request; `None` at the end of the connection.
fn read(stream: &mut impl BufRead) -> io::Result<Option<Delivered>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let endpoint = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    let audit_id = body["data"]["audit_id"].as_str().unwrap_or_default().to_owned();
    let id = headers.remove("webhook-id").unwrap_or_default();
    Ok(Some(Delivered { endpoint, id, audit_id, answered: false }))
}
