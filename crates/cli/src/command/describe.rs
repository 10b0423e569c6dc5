//! `describe`: everything about one thing.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ENVIRONMENTS, JOBS, KEYS, ORGANIZATIONS, TENANTS, WEBHOOKS};
use crate::kinds::{brief, names, pairs, percent, shown, text, words};
use crate::listing::List;
use crate::naming::{self, Name};
use crate::output::{Format, Kind, Output, one};
use crate::table::{Cell, Table, state_colour};
use crate::terminal::{Colour, colours, write};
use crate::time::{age, short};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

/// Newest events that are shown with a tenant.
const EVENTS_SHOWN: usize = 5;

const EXAMPLES: &str = "\
Examples:
  tenancy describe tenant acme-eu
  tenancy describe tenant stripe:cus_9s6
  tenancy describe environment acme-eu/prod
  tenancy describe organization acme
  tenancy describe job acme-eu/job_018f4e9a
  tenancy describe webhook acme-eu/main
  tenancy describe key ci";

/// Arguments of `describe`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Describe {
    /// What it is
    #[arg(value_enum)]
    what: What,
    /// Its name
    name: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    #[value(alias = "tenants")]
    Tenant,
    #[value(aliases = ["organizations", "org"])]
    Organization,
    #[value(aliases = ["environments", "env"])]
    Environment,
    #[value(alias = "jobs")]
    Job,
    #[value(aliases = ["webhooks", "hook"])]
    Webhook,
    #[value(alias = "keys")]
    Key,
}

/// Runs it.
///
/// # Errors
/// What the server says.
pub async fn run(client: &Client, given: Describe) -> Result<Exit, Failure> {
    let name = given.name.as_str();
    let now = Timestamp::now();
    let (kind, item): (&Kind, Value) = match (given.what, naming::name(name)) {
        (What::Tenant, Name::Tenant(tenant)) => (&TENANTS, client.get(&["tenants", tenant]).await?.body),
        (What::Environment | What::Tenant, Name::Environment(tenant, environment)) => {
            (&ENVIRONMENTS, client.get(&["tenants", tenant, "environments", environment]).await?.body)
        }
        (What::Environment, Name::Tenant(_)) => {
            return Err(Failure::usage(format!("an environment is written tenant/environment, not {name:?}")));
        }
        (What::Organization, _) => (&ORGANIZATIONS, client.get(&["organizations", name]).await?.body),
        (What::Job, _) => (&JOBS, naming::job(client, name).await?),
        (What::Webhook, _) => (&WEBHOOKS, naming::webhook(client, name).await?),
        (What::Key, _) => (&KEYS, naming::key(client, name).await?),
    };
    if !matches!(given.output.output, Format::Table | Format::Wide) {
        return one(kind, &item, given.output.output).map(|()| Exit::Done);
    }
    let mut page = Page::new(now, colours());
    match given.what {
        What::Tenant if text(&item, "env_id").is_none() => {
            let id = text(&item, "tenant_id").unwrap_or(name);
            let segments = ["tenants", id, "audit"];
            let newest = List::of(&segments).filter("order", Some("desc")).at_most(Some(EVENTS_SHOWN));
            page.tenant(&item);
            page.events(&newest.all(client).await?);
        }
        What::Job => page.job(&item),
        What::Organization => page.organization(&item),
        What::Webhook => page.webhook(&item),
        What::Key => page.key(&item),
        _ => page.environment(&item),
    }
    write(&page.text)?;
    Ok(Exit::Done)
}

/// A page of titles and what stands under them.
struct Page {
    text: String,
    now: Timestamp,
    colours: bool,
}

impl Page {
    fn new(now: Timestamp, colours: bool) -> Self {
        Self { text: String::new(), now, colours }
    }

    fn title(&mut self, title: &str) {
        self.text.push_str(&format!("\n{}\n", Colour::Bold.paint(title, self.colours)));
    }

    /// Names and what they are; what is not set is left out.
    fn facts(&mut self, facts: Vec<(&str, String)>) {
        let set = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let rows: Vec<_> = set.map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
        self.text.push_str(&Table::untitled(2, self.colours).render(&rows));
    }

    fn ages(&self, item: &Value, field: &str) -> String {
        text(item, field).map(|at| format!("{} ({})", age(at, self.now), short(at))).unwrap_or_default()
    }

    fn tenant(&mut self, t: &Value) {
        let field = |name: &str| text(t, name).unwrap_or_default().to_owned();
        let state = text(t, "state").unwrap_or_default();
        let state = state_colour(state).unwrap_or(Colour::Bold).paint(state, self.colours);
        let name = Colour::Bold.paint(text(t, "tenant_id").unwrap_or_default(), self.colours).into_owned();
        self.text.push_str(&format!("{name}  {state}\n"));
        let since = self.ages(t, "state_since");
        let created = self.ages(t, "created_at");
        let purge = self.ages(t, "purge_after");
        self.facts(vec![
            ("waits for", field("waits_for")),
            ("wish", field("desired_state")),
            ("in this state", since),
            ("display name", field("display_name")),
            ("organization", field("organization_id")),
            ("profile", field("profile")),
            ("region", field("region")),
            ("labels", pairs(t.get("labels"))),
            ("aliases", aliases(&t["aliases"])),
            ("quotas", pairs(t.get("quotas"))),
            ("policies", pairs(t.get("policies"))),
            ("billing", pairs(t.get("billing"))),
            ("protected", if t["deletion_protection"] == true { "from deletion".to_owned() } else { String::new() }),
            ("version", shown(&t["version"])),
            ("registered", created),
            ("may be purged", purge),
            ("webhooks", names(t.get("webhooks"), "name")),
        ]);
        self.list(
            "Environments",
            &t["environments"],
            &["NAME", "STATE", "ISOLATION", "REGION", "RETENTION", "QUOTAS"],
            |e, _| {
                vec![
                    Cell::maybe(text(e, "name")),
                    Cell::state(text(e, "state")),
                    Cell::maybe(text(e, "isolation_level")),
                    Cell::maybe(text(e, "region")),
                    Cell::maybe(e["retention_days"].as_i64().map(|days| format!("{days}d"))),
                    Cell::new(pairs(e.get("quotas"))),
                ]
            },
        );
        self.list("Holds", &t["holds"], HOLD_TITLES, hold);
        if let Some(job) = t.get("open_job").filter(|job| job.is_object()) {
            self.title("Job");
            let field = |name: &str| text(job, name).unwrap_or_default().to_owned();
            self.facts(vec![
                ("job", field("job_id")),
                ("action", field("action")),
                ("state", field("state")),
                ("done", percent(job)),
            ]);
        }
    }

    fn list(
        &mut self,
        title: &str,
        items: &Value,
        titles: &'static [&'static str],
        row: fn(&Value, Timestamp) -> Vec<Cell>,
    ) {
        let rows: Vec<_> = items.as_array().into_iter().flatten().map(|item| row(item, self.now)).collect();
        if !rows.is_empty() {
            self.title(title);
            self.text.push_str(&Table::new(titles.iter().copied(), self.colours).render(&rows));
        }
    }

    fn events(&mut self, events: &[Value]) {
        let rows = events.iter().map(|event| {
            vec![
                Cell::new(age(text(event, "occurred_at").unwrap_or_default(), self.now)),
                Cell::maybe(text(event, "event_type")),
                Cell::maybe(text(event, "actor").map(brief)),
            ]
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            self.title("Newest events");
            self.text.push_str(&Table::new(["AGE", "EVENT", "ACTOR"], self.colours).render(&rows));
        }
    }

    fn job(&mut self, job: &Value) {
        let field = |name: &str| text(job, name).unwrap_or_default().to_owned();
        let times = [("queued", self.ages(job, "created_at")), ("ended", self.ages(job, "finished_at"))];
        let mut facts = vec![
            ("job", field("job_id")),
            ("tenant", field("tenant_id")),
            ("action", field("action")),
            ("state", field("state")),
            ("done", percent(job)),
            ("waits for", field("waiting_for")),
            ("failed by", field("error_code")),
            ("error", field("error")),
            ("attempt", shown(&job["attempt"])),
            ("asked for by", field("requested_by")),
            ("correlation id", field("correlation_id")),
        ];
        facts.extend(times);
        self.facts(facts);
        self.list("Steps", &job["steps"], &["STEP", "STATE"], |step, _| {
            vec![Cell::maybe(text(step, "name")), Cell::state(text(step, "state"))]
        });
        if let Some(logs) = text(job, "logs").filter(|logs| !logs.is_empty()) {
            self.title("Log");
            self.text.push_str(&crate::terminal::plain(logs));
            if !logs.ends_with('\n') {
                self.text.push('\n');
            }
        }
    }

    fn organization(&mut self, o: &Value) {
        let field = |name: &str| text(o, name).unwrap_or_default().to_owned();
        let (created, closed) = (self.ages(o, "created_at"), self.ages(o, "closed_at"));
        self.facts(vec![
            ("organization", field("organization_id")),
            ("display name", field("display_name")),
            ("labels", pairs(o.get("labels"))),
            ("version", shown(&o["version"])),
            ("created", created),
            ("closed", closed),
        ]);
        let (used, caps) = (&o["usage"], &o["caps"]);
        let quotas = [used, caps].into_iter().filter_map(|of| of["quotas"].as_object()).flatten();
        let names: std::collections::BTreeSet<_> = quotas.map(|(name, _)| name.as_str()).collect();
        let row = |name: &str, used: &Value, cap: &Value| {
            vec![Cell::new(name), Cell::new(used.as_i64().unwrap_or_default().to_string()), Cell::new(shown(cap))]
        };
        let tenants = row("tenants", &used["tenants"], &caps["tenants"]);
        let quotas = names.iter().map(|name| row(name, &used["quotas"][*name], &caps["quotas"][*name]));
        let rows: Vec<_> = std::iter::once(tenants).chain(quotas).collect();
        self.title("Its tenants, in sum");
        self.text.push_str(&Table::new(["WHAT", "USED", "CAP"], self.colours).render(&rows));
        self.list("Holds", &o["holds"], HOLD_TITLES, hold);
    }

    fn webhook(&mut self, w: &Value) {
        let field = |name: &str| text(w, name).unwrap_or_default().to_owned();
        self.facts(vec![
            ("webhook", (WEBHOOKS.name)(w)),
            ("url", field("url")),
            ("events", words(w.get("events"))),
            ("retries", pairs(w.get("retry_policy"))),
        ]);
    }

    fn key(&mut self, k: &Value) {
        let field = |name: &str| text(k, name).unwrap_or_default().to_owned();
        let times = ["created_at", "expires_at", "revoked_at"].map(|field| self.ages(k, field));
        let [created, expires, revoked] = times;
        self.facts(vec![
            ("key", field("key_id")),
            ("name", field("name")),
            ("role", field("role")),
            ("created", created),
            ("expires", expires),
            ("revoked", revoked),
        ]);
    }

    fn environment(&mut self, e: &Value) {
        let field = |name: &str| text(e, name).unwrap_or_default().to_owned();
        let (created, provisioned) = (self.ages(e, "created_at"), self.ages(e, "provisioned_at"));
        self.facts(vec![
            ("environment", (ENVIRONMENTS.name)(e)),
            ("state", field("state")),
            ("isolation", field("isolation_level")),
            ("region", field("region")),
            ("quotas", pairs(e.get("quotas"))),
            ("retention", e["retention_days"].as_i64().map(|days| format!("{days}d")).unwrap_or_default()),
            ("version", shown(&e["version"])),
            ("id", field("env_id")),
            ("created", created),
            ("provisioned", provisioned),
        ]);
    }
}

/// Titles of a list of holds.
const HOLD_TITLES: &[&str] = &["HOLD", "ON", "SINCE", "UNTIL", "PLACED BY", "REASON"];

fn hold(h: &Value, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::maybe(text(h, "hold")),
        Cell::new(if h["organization"] == true { "organization" } else { "tenant" }),
        Cell::new(age(text(h, "created_at").unwrap_or_default(), now)),
        Cell::maybe(text(h, "until").map(|at| age(at, now))),
        Cell::maybe(text(h, "placed_by").map(brief)),
        Cell::maybe(text(h, "reason")),
    ]
}

/// `host:acme.example.com, stripe:cus_9s6`
fn aliases(aliases: &Value) -> String {
    let kinds = aliases.as_object().into_iter().flatten();
    let each = kinds.flat_map(|(kind, values)| {
        let values = values.as_array().map_or_else(|| std::slice::from_ref(values), Vec::as_slice);
        values.iter().map(move |value| format!("{kind}:{}", shown(value)))
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_say_everything_about_a_tenant() {
        let mut page = Page::new("2026-11-23T12:00:00Z".parse().expect("a time"), false);
        page.tenant(&json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "profile": "mt-standard", "region": "eu-west-1",
            "state": "Suspended", "state_since": "2026-11-23T11:50:00Z", "desired_state": "Active", "version": 3,
            "created_at": "2026-11-20T12:00:00Z", "waits_for": "the release of hold billing",
            "aliases": {"host": ["a.example", "b.example"], "stripe": "cus_9s6"}, "quotas": {"storageGiB": 500},
            "environments": [{"name": "prod", "state": "Suspended", "region": "eu-west-1", "isolation_level": "strict"}],
            "holds": [{"hold": "billing", "reason": "invoice\n1042", "placed_by": "user:key_1",
                       "created_at": "2026-11-23T11:50:00Z", "organization": false}],
        }));
        let expected = "\
acme-eu  Suspended
waits for      the release of hold billing
wish           Active
in this state  10m (2026-11-23T11:50:00Z)
organization   acme
profile        mt-standard
region         eu-west-1
aliases        host:a.example, host:b.example, stripe:cus_9s6
quotas         storageGiB=500
version        3
registered     3d (2026-11-20T12:00:00Z)

Environments
NAME  STATE      ISOLATION  REGION     RETENTION  QUOTAS
prod  Suspended  strict     eu-west-1  -          -

Holds
HOLD     ON      SINCE  UNTIL  PLACED BY   REASON
billing  tenant  10m    -      user:key_1  invoice 1042
";
        assert_eq!(page.text, expected);
    }
}
