//! Load whose workers record each request and its response.

use super::http::{Answer, Client, Request};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tenancy_testkit::Chance;

/// Organizations that reach their caps: one its cap on storage, the other its cap on tenants.
pub const CAPPED: [&str; 2] = ["capped-storage", "capped-number"];
/// Number of tenants that the caps of each of [`CAPPED`] allow.
pub const ROOM: usize = 8;
/// Tenant whose label all workers increment.
pub const COUNTER: &str = "counter";

/// A worker with its own tenants, which no other worker changes.
pub struct Worker {
    number: u64,
    chance: Chance,
    sent: u64,
    pub tenants: Vec<Tenant>,
    /// Tenants that were created within the caps, with their organizations.
    pub capped: Vec<(&'static str, String)>,
    /// Number of refusals by a cap.
    pub full: usize,
    /// Number of successful increments of the counter.
    pub counted: i64,
    /// Number of increments that failed because another worker was faster.
    pub stale: usize,
    /// Successful requests with their responses.
    pub answered: Vec<(Request, Answer)>,
    /// Number of replayed responses, after a lost first response.
    pub replayed: usize,
    /// Responses with a server error.
    pub failures: Vec<String>,
    /// Number of failures, shared with the test.
    pub refused: Arc<AtomicUsize>,
    /// Request without a response.
    pending: Option<(Request, Effect)>,
}

/// State of a tenant as its worker expects it.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: String,
    pub version: i64,
    pub label: String,
    pub held: bool,
    pub suspensions: usize,
}

#[derive(Debug, Clone)]
enum Effect {
    Registered(String),
    Capped(&'static str, String),
    Counted,
    Changed(usize, String),
    Suspended(usize),
    Activated(usize),
}

/// Stops the workers when it is dropped, also if the test fails.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates what the workers need.
pub fn prepare(client: &mut Client) {
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    let caps = [json!({"quotas": {"storageGiB": 5 * ROOM}}), json!({"tenants": ROOM})];
    for (id, caps) in CAPPED.iter().zip(caps) {
        client.post("/v1/organizations", json!({"organization_id": id, "caps": caps})).ok(201);
    }
    let mut counter = manifest(COUNTER, "acme");
    counter["labels"] = json!({"count": "0"});
    client.post("/v1/tenants", counter).ok(201);
}

fn manifest(id: &str, organization: &str) -> Value {
    json!({
        "tenant_id": id, "organization_id": organization, "region": "eu-west-1", "desired_state": "Active",
        "quotas": {"storageGiB": 5}, "environments": [{"name": "dev"}, {"name": "prod"}],
    })
}

impl Worker {
    pub fn new(number: u64, chance: &Chance) -> Self {
        Self {
            number,
            chance: chance.numbered(number),
            sent: 0,
            tenants: Vec::new(),
            capped: Vec::new(),
            full: 0,
            counted: 0,
            stale: 0,
            answered: Vec::new(),
            replayed: 0,
            failures: Vec::new(),
            refused: Arc::default(),
            pending: None,
        }
    }

    /// Sends requests until `stop` is set or a response is missing. A request without a response is sent again first.
    pub fn work(&mut self, client: &mut Client, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && self.once(client) {}
    }

    /// Sends the request without a response again until a response arrives.
    #[track_caller]
    pub fn settle(&mut self, client: &mut Client) {
        while self.pending.is_some() {
            assert!(self.once(client), "no answer");
        }
    }

    /// Sends one request. Returns whether a response arrived.
    pub fn once(&mut self, client: &mut Client) -> bool {
        if self.pending.is_none() {
            self.sent += 1;
            let Ok(chosen) = self.choose(client) else { return false };
            let key = format!("worker-{}-{}", self.number, self.sent);
            self.pending = chosen.map(|(request, effect)| (request.key(key), effect));
        }
        let Some((request, effect)) = self.pending.clone() else { return true };
        let Ok(answer) = client.try_send(&request) else { return false };
        self.replayed += usize::from(answer.header("idempotency-replayed") == "true");
        if answer.status >= 500 {
            self.fail(format!("{request:?}: {}", answer.text));
        }
        if answer.status == 503 {
            // The request had no effect or its outcome is unknown: send it again.
            return true;
        }
        self.pending = None;
        self.note(&request, effect, &answer);
        if answer.is_success() {
            self.answered.push((request, answer));
        }
        true
    }

    fn fail(&mut self, failure: String) {
        self.failures.push(failure);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Chooses the next request. Returns `None` if the required read failed.
    fn choose(&mut self, client: &mut Client) -> io::Result<Option<(Request, Effect)>> {
        let lot = self.chance.below(10);
        if self.tenants.is_empty() || lot < 2 {
            let id = format!("own-{}-{}", self.number, self.sent);
            return Ok(Some((Request::post("/v1/tenants", manifest(&id, "acme")), Effect::Registered(id))));
        }
        if lot == 2 {
            let organization = CAPPED[self.chance.index(CAPPED.len())];
            let id = format!("{organization}-{}-{}", self.number, self.sent);
            return Ok(Some((
                Request::post("/v1/tenants", manifest(&id, organization)),
                Effect::Capped(organization, id),
            )));
        }
        if lot < 5 {
            let path = format!("/v1/tenants/{COUNTER}");
            let read = client.try_send(&Request::get(&*path))?;
            if read.status >= 500 {
                self.fail(read.text);
                return Ok(None);
            }
            let tenant = read.ok(200).body;
            let count: i64 = tenant["labels"]["count"].as_str().and_then(|count| count.parse().ok()).expect("a count");
            let body = json!({"labels": {"count": (count + 1).to_string()}});
            let version = tenant["version"].as_i64().expect("a version");
            return Ok(Some((Request::patch(path, version, body), Effect::Counted)));
        }
        let index = self.chance.index(self.tenants.len());
        let tenant = &self.tenants[index];
        let path = format!("/v1/tenants/{}", tenant.id);
        if lot < 8 {
            let label = self.sent.to_string();
            let body = json!({"labels": {"sent": label}});
            return Ok(Some((Request::patch(path, tenant.version, body), Effect::Changed(index, label))));
        }
        let (verb, effect) =
            if tenant.held { ("activate", Effect::Activated(index)) } else { ("suspend", Effect::Suspended(index)) };
        Ok(Some((Request::post(format!("{path}/{verb}"), json!({"hold": "billing"})), effect)))
    }

    fn note(&mut self, request: &Request, effect: Effect, answer: &Answer) {
        let must_be = |status| assert_eq!(answer.status, status, "{request:?}: {}", answer.text);
        match effect {
            Effect::Registered(id) => {
                must_be(201);
                self.tenants.push(Tenant { id, version: 1, label: String::new(), held: false, suspensions: 0 });
            }
            Effect::Capped(organization, id) => match answer.status {
                201 => self.capped.push((organization, id)),
                _ => {
                    answer.clone().problem(409, "organization_cap_exceeded");
                    self.full += 1;
                }
            },
            Effect::Counted => match answer.status {
                200 => self.counted += 1,
                _ => {
                    answer.clone().problem(412, "stale_version");
                    self.stale += 1;
                }
            },
            Effect::Changed(index, label) => {
                must_be(200);
                self.tenants[index].version += 1;
                self.tenants[index].label = label;
            }
            Effect::Suspended(index) => {
                must_be(202);
                self.tenants[index].held = true;
                self.tenants[index].suspensions += 1;
            }
            Effect::Activated(index) => {
                must_be(202);
                self.tenants[index].held = false;
            }
        }
    }
}
