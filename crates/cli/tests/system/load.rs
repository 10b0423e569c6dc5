//! Load that keeps book: what each worker was answered, and what it was not.

use super::http::{Answer, Client, Request};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tenancy_testkit::Chance;

/// These take as many as their caps allow: one has too little storage for more, the other may have no greater number.
pub const CAPPED: [&str; 2] = ["capped-storage", "capped-number"];
/// How many tenants the caps of each of [`CAPPED`] come to.
pub const ROOM: usize = 8;
/// Everybody adds one to its label.
pub const COUNTER: &str = "counter";

/// One that has tenants of its own, which nobody else changes.
pub struct Worker {
    number: u64,
    chance: Chance,
    sent: u64,
    pub tenants: Vec<Tenant>,
    /// Tenants that the caps had room for, with their organizations.
    pub capped: Vec<(&'static str, String)>,
    /// How often there was no room.
    pub full: usize,
    /// How often it added one to the counter.
    pub counted: i64,
    /// How often somebody else had added one since it read the counter.
    pub stale: usize,
    /// What was answered with success.
    pub answered: Vec<(Request, Answer)>,
    /// How often it was told the first answer again: that one had not come through.
    pub replayed: usize,
    /// Answers that said that the server could not.
    pub failures: Vec<String>,
    /// How many they are, for who looks on.
    pub refused: Arc<AtomicUsize>,
    /// What was sent and not answered.
    pending: Option<(Request, Effect)>,
}

/// What a worker knows of a tenant of its own.
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

/// Ends the workers' work, also when the test fails.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the workers need to be there.
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

    /// Works until `stop`, or until no answer comes. What was not answered the last time is sent first, as it was.
    pub fn work(&mut self, client: &mut Client, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && self.once(client) {}
    }

    /// Sends what was not answered, until it is.
    #[track_caller]
    pub fn settle(&mut self, client: &mut Client) {
        while self.pending.is_some() {
            assert!(self.once(client), "no answer");
        }
    }

    /// Sends one request; whether an answer came.
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
            // Nothing has happened, or nobody knows: the same again.
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

    /// What to do next; `None` when the server could not say what there is.
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
