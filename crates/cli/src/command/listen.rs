//! `listen`: forwards events to a program on this machine, as a webhook would send them.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::terminal::{Colour, colours, say, write};
use crate::time::short;
use crate::wire::{AuditEvent, Received};
use clap::{Args, ValueEnum};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::{Method, Url};
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::list::List;
use tenancy_core::webhook::{self, DEFAULT_TIMEOUT_SECONDS, Secret};
use tenancy_server::webhooks::sending::resolver::{Addresses, Lookup, System};
use tenancy_server::webhooks::sending::{Attempt, Message, Options, Outcome, Policy, Sender, Target};

/// Variable with the secret of the session.
const SECRET_VARIABLE: &str = "TENANCY_WEBHOOK_SECRET";
/// Time that the server may wait for the next event before it answers with an empty page.
const WAIT_SECONDS: u64 = 30;
/// Position after the newest event.
const END: &str = "end";

const EXAMPLES: &str = "\
Examples:
  tenancy listen --forward-to http://localhost:3000/hooks
  tenancy listen --forward-to http://localhost:3000/hooks --type 'TENANCY_*' --tenant acme-eu
  tenancy listen --forward-to http://localhost:3000/hooks --verbose
  TENANCY_WEBHOOK_SECRET=whsec_… tenancy listen --forward-to http://localhost:3000/hooks

The command forwards the events that happen while it runs and that your key may read. It sends each event once, in order,
and shows the answer. Nothing is stored, and nothing is sent again. The requests are those of a real webhook, except that
`webhook-id` is the id of the event.";

/// Arguments of `listen`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Listen {
    /// URL on this machine that receives the events, such as http://localhost:3000/hooks
    #[arg(long, value_name = "URL")]
    forward_to: String,
    /// Only events of this type, such as TENANCY_CREATED or 'TENANCY_*'; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Only events of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only events of tenants of this organization
    #[arg(long, value_name = "NAME", conflicts_with = "tenant")]
    organization: Option<String>,
    /// Format of the requests
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
    /// Show the headers and the event of each request, and the start of each answer
    #[arg(long, short)]
    verbose: bool,
}

/// Format of the requests.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Standard Webhooks 1.0
    #[default]
    Standard,
    /// CloudEvents 1.0 in structured mode
    Cloudevents,
}

impl From<Format> for webhook::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Standard => Self::Standard,
            Format::Cloudevents => Self::CloudEvents,
        }
    }
}

/// Runs until the process is stopped.
///
/// # Errors
/// Fails if the URL does not name this machine, or if a request to the server fails.
pub async fn run(client: &Client, given: Listen) -> Result<Exit, Failure> {
    let session = Session::start(client, given)?;
    let mut after = session.page(END, 0).await?.1;
    say(&format!("Forwarding events of {} to {}", client.url(), session.given.forward_to))?;
    say(&format!("Signing secret of this session: {}", session.secret.text))?;
    write("Ctrl-C stops.\n\n")?;
    loop {
        let (events, next) = session.page(&after, WAIT_SECONDS).await?;
        for event in &events {
            let attempt = session.forward(event).await;
            write(&session.shown(event, &attempt))?;
        }
        after = next;
    }
}

/// One run of the command.
struct Session<'a> {
    client: &'a Client,
    given: Listen,
    sender: Sender,
    secret: Secret,
}

impl<'a> Session<'a> {
    fn start(client: &'a Client, given: Listen) -> Result<Self, Failure> {
        check_target(&given.forward_to)?;
        given.tenant.as_deref().map(naming::tenant).transpose()?;
        let policy = Policy { allows_http: true, allows_loopback: true, ..Policy::default() };
        let options = Options { lookup: Arc::new(OnlyHere(System::default())), ..Options::default() };
        let sender = Sender::with(policy, options).map_err(|error| Failure::refused(error.to_string()))?;
        Ok(Self { client, given, sender, secret: secret(std::env::var(SECRET_VARIABLE).ok().as_deref())? })
    }

    /// Returns the events after a cursor, and the cursor behind them.
    async fn page(&self, after: &str, wait_seconds: u64) -> Result<(Vec<Received<AuditEvent>>, String), Failure> {
        let types = Some(self.given.types.join(",")).filter(|types| !types.is_empty());
        let request = self.client.v1(Method::GET, &["events"]).query("after", after);
        let request = request
            .query("wait", wait_seconds.to_string())
            .query_if("event_type", types)
            .query_if("tenant_id", self.given.tenant.clone())
            .query_if("organization_id", self.given.organization.clone());
        let page = request.receive::<List<Received<AuditEvent>>>().await?.value;
        let next = page.next.ok_or_else(|| Failure::refused("the server returned no cursor: upgrade it"))?;
        Ok((page.items, next))
    }

    async fn forward(&self, event: &Received<AuditEvent>) -> Attempt {
        let timeout = Duration::from_secs(DEFAULT_TIMEOUT_SECONDS.unsigned_abs());
        let secrets = std::slice::from_ref(&self.secret);
        let format = self.given.format.into();
        let target = Target { url: &self.given.forward_to, is_platform: false, timeout, secrets, format };
        let message = Message {
            id: event.value.audit_id.to_string(),
            event_type: event.value.event_type.as_str().to_owned(),
            occurred_at: event.value.occurred_at,
            data: event.raw.to_string().into(),
            source: self.client.url().to_owned(),
        };
        self.sender.send(&target, &message, Timestamp::now()).await
    }

    /// Renders one exchange: a line, and everything that was sent and received with `--verbose`.
    fn shown(&self, event: &Received<AuditEvent>, attempt: &Attempt) -> String {
        let of = &event.value;
        let (colour, mut result) = match (attempt.outcome, attempt.status) {
            (Outcome::Delivered, Some(status)) => (Colour::Green, status.to_string()),
            (_, Some(status)) => (Colour::Red, status.to_string()),
            (_, None) => (Colour::Red, attempt.detail.clone().unwrap_or_default()),
        };
        result = format!("{} in {} ms", colour.paint(&result, colours()), attempt.total_ms);
        let tenant = of.tenant_id.as_deref().unwrap_or("-");
        let mut shown = format!("{}  {}  {tenant}  -> {result}\n", short(of.occurred_at), of.event_type.as_str());
        if self.given.verbose {
            for (name, value) in &attempt.request.headers {
                shown.push_str(&format!("  > {name}: {value}\n"));
            }
            let pretty = serde_json::to_string_pretty(&event.raw).unwrap_or_default();
            shown.extend(pretty.lines().map(|line| format!("  > {line}\n")));
        }
        let is_answer_shown = self.given.verbose || attempt.outcome != Outcome::Delivered;
        if is_answer_shown && !attempt.answer_start.is_empty() {
            shown.push_str(&format!("  < {}\n", attempt.answer_start));
        }
        shown
    }
}

/// Refuses a URL that does not name this machine: events must not leave it without a webhook that the server knows.
fn check_target(url: &str) -> Result<(), Failure> {
    let refused = |why: String| Failure::usage(format!("--forward-to {why}"));
    if let Some(wrong) = webhook::bad_url(url) {
        return Err(refused(wrong));
    }
    let parsed = Url::parse(url).map_err(|error| refused(format!("must be a URL: {error}")))?;
    let host = parsed.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host.trim_end_matches('.') == "localhost" || host.trim_end_matches('.').ends_with(".localhost"),
    };
    if is_here {
        return Ok(());
    }
    let why = format!("must name this machine, such as http://localhost:3000/hooks, not {host}");
    Err(refused(why).and("create a webhook to send events to another machine"))
}

/// Returns the secret of the session: the given one, or a random one.
fn secret(given: Option<&str>) -> Result<Secret, Failure> {
    let now = Timestamp::now();
    if let Some(text) = given.filter(|text| !text.is_empty()) {
        return Secret::parse(text, now).map_err(|why| Failure::usage(format!("{SECRET_VARIABLE} {why}")));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Failure::refused(format!("cannot read random bytes: {error}")))?;
    Ok(Secret::from_bytes(&random, now))
}

/// The resolver of the operating system, without addresses of other machines: a hosts file can give `localhost` any.
struct OnlyHere(System);

impl Lookup for OnlyHere {
    fn lookup(&self, name: &str) -> BoxFuture<'_, Addresses> {
        let looking = self.0.lookup(name);
        async move {
            let addresses = looking.await?;
            match addresses.iter().all(std::net::IpAddr::is_loopback) {
                true => Ok(addresses),
                false => Err("it has an address of another machine".to_owned()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::Context;
    use crate::reach::Server;
    use serde_json::{Value, json};
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn must_forward_to_this_machine_only() {
        for good in ["http://localhost:3000/hooks", "http://127.0.0.1", "https://[::1]:8443/x", "http://app.localhost"]
        {
            assert!(check_target(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1",
            "https://hooks.example",
            "http://localhost.example",
            "http://0.0.0.0:3000",
            "ftp://x",
            "",
        ] {
            let failure = check_target(bad).expect_err(bad);
            assert!(failure.exit == Exit::Usage && failure.message.starts_with("--forward-to must"), "{failure:?}");
        }
    }

    #[test]
    fn must_take_a_secret_from_the_environment_and_not_show_a_bad_one() {
        let random = secret(None).expect("random").text;
        assert_eq!(secret(Some(&random)).expect("given").text, random);
        assert_ne!(secret(Some("")).expect("random").text, random);
        let failure = secret(Some("whsec_mine")).expect_err("too short");
        assert!(failure.message.starts_with(SECRET_VARIABLE) && !failure.message.contains("mine"), "{failure:?}");
    }

    /// Answers each request with the next text, and keeps the requests.
    async fn answering(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let mut request = vec![0; 16 * 1024];
                let length = stream.read(&mut request).await.expect("a request");
                seen.lock().expect("alone").push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        });
        (url, requests)
    }

    fn event(id: &str) -> Value {
        json!({
            "position": 1, "audit_id": id, "event_type": "TENANCY_UPDATED", "event_version": 1, "actor": "user:x",
            "tenant_id": "acme-eu", "payload": {}, "correlation_id": "c", "occurred_at": "2026-11-20T12:00:00Z",
            "added_by_a_newer_server": true,
        })
    }

    fn page(items: &[Value], next: &str) -> String {
        let body = json!({"items": items, "next": next}).to_string();
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn must_forward_each_event_once_signed_and_show_the_answer() {
        // As in `main`. Another test may have installed it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (server, asked) = answering(vec![page(&[event("aud_1"), event("aud_2")], "7")]).await;
        let good = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned();
        let bad = "HTTP/1.1 500 x\r\nConnection: close\r\nContent-Length: 6\r\n\r\nbroken".to_owned();
        let (program, received) = answering(vec![good, bad]).await;
        let context = Context { url: server.clone(), key: None };
        let server = Server { context, found_by: "context dev".to_owned(), helps: "dev".to_owned() };
        let client = Client::new(server).expect("a client");
        let given = Listen {
            forward_to: format!("{program}/hooks"),
            types: vec!["TENANCY_*".to_owned(), "KEY_CREATED".to_owned()],
            tenant: Some("acme-eu".to_owned()),
            organization: None,
            format: Format::Standard,
            verbose: false,
        };
        let mut session = Session::start(&client, given).expect("a session");
        let (events, next) = session.page("5", 30).await.expect("a page");
        assert_eq!((events.len(), next.as_str()), (2, "7"));
        let request = asked.lock().expect("alone").remove(0);
        let expected =
            "GET /v1/events?after=5&wait=30&event_type=TENANCY_*%2CKEY_CREATED&tenant_id=acme-eu HTTP/1.1\r\n";
        assert!(request.starts_with(expected), "{request}");

        let delivered = session.forward(&events[0]).await;
        let shown = session.shown(&events[0], &delivered);
        assert!(shown.starts_with("2026-11-20T12:00:00Z  TENANCY_UPDATED  acme-eu  -> 204 in "), "{shown}");
        let refused = session.forward(&events[1]).await;
        let shown = session.shown(&events[1], &refused);
        assert!(shown.contains(" -> 500 in ") && shown.ends_with("  < broken\n"), "{shown}");
        let received = received.lock().expect("alone").clone();
        for (request, id) in received.iter().zip(["aud_1", "aud_2"]) {
            assert!(request.starts_with("POST /hooks HTTP/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("webhook-id: {id}\r\n")), "{request}");
            assert!(request.contains("webhook-signature: v1,") && request.contains("added_by_a_newer_server"));
        }
        // The program is gone now.
        let lost = session.forward(&events[1]).await;
        session.given.verbose = true;
        let shown = session.shown(&events[1], &lost);
        assert!(shown.contains(" -> the connection failed") && shown.contains("  > webhook-id: aud_2\n"), "{shown}");
        assert!(!shown.contains(&session.secret.text), "{shown}");
    }
}
