//! `describe`: shows one resource in detail.

use crate::client::Client;
use crate::command::webhook;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{self, ENVIRONMENTS, JOBS, KEYS, ORGANIZATIONS, TENANTS, TenantWebhook, WEBHOOKS};
use crate::kinds::{days, joined, labels, pairs, percent, shown, who};
use crate::listing::List;
use crate::naming::{self, Name};
use crate::output::{Format, Kind, Output, one, one_of};
use crate::standing::Standing;
use crate::table::{Cell, Table, state_colour};
use crate::terminal::{Colour, colours, write};
use crate::time::{age, short};
use crate::wire::{AuditEvent, Environment, Hold, Job, Key, Organization, Received, Tenant, TenantRow};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tenancy_api::Word;
use tenancy_api::environment::{Place, RECORD};
use tenancy_api::webhook::ListedWebhook;
use tenancy_core::manifest::MAX_WEBHOOKS;

/// Number of newest events shown with a tenant.
const EVENTS_SHOWN: usize = 5;

/// Number up to which the server counts the deliveries that wait for each webhook of a list.
const MAX_COUNTED: i64 = 1_000;

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
    /// Kind of the resource
    #[arg(value_enum)]
    what: What,
    /// Name or id of the resource
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

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Describe) -> Result<Exit, Failure> {
    let name = given.name.as_str();
    let now = Timestamp::now();
    let format = given.output.output;
    let named = match given.what {
        What::Tenant | What::Environment => naming::resolved(client, name).await?,
        _ => Name::Tenant(name),
    };
    match (given.what, named) {
        (What::Tenant, Name::Tenant(tenant)) => {
            let tenant: Received<Tenant> = client.get(&["tenants", tenant]).await?;
            if !is_page(format) {
                return one_of(&TENANTS, &tenant.value.row, &tenant.raw, format).map(|()| Exit::Done);
            }
            let segments = ["tenants", &*tenant.value.row.tenant_id, "audit"];
            let newest = List::of(&segments).filter("order", Some("desc")).at_most(Some(EVENTS_SHOWN));
            let mut page = Page::new(now, colours());
            page.tenant(&tenant.value);
            if !tenant.value.webhooks.is_empty() {
                let segments = ["tenants", &*tenant.value.row.tenant_id, "webhooks"];
                let webhooks = List::of(&segments).filter("status", Some("true")).at_most(Some(MAX_WEBHOOKS));
                page.webhooks(&webhooks.all(client).await?);
            }
            if let Some(open) = &tenant.value.open_job {
                let job: Received<Job> =
                    client.get(&["tenants", &*tenant.value.row.tenant_id, "jobs", &open.job_id]).await?;
                page.open_job(&job.value);
            }
            page.events(&newest.all(client).await?);
            write(&page.text).map(|()| Exit::Done)
        }
        (What::Environment | What::Tenant, Name::Environment(tenant, environment)) => {
            let segments = ["tenants", tenant, "environments", environment];
            show(&ENVIRONMENTS, &client.get(&segments).await?, format, Page::environment)
        }
        (What::Environment, Name::Tenant(_)) => {
            Err(Failure::usage(format!("name an environment as TENANT/ENVIRONMENT, not {name:?}")))
        }
        (What::Organization, _) => {
            show(&ORGANIZATIONS, &client.get(&["organizations", name]).await?, format, Page::organization)
        }
        (What::Job, _) => show(&JOBS, &naming::job(client, name).await?, format, Page::job),
        (What::Webhook, _) => show(&WEBHOOKS, &naming::webhook(client, name).await?, format, Page::webhook),
        (What::Key, _) => show(&KEYS, &naming::key(client, name).await?, format, Page::key),
    }
}

/// Returns whether the format is the page for people.
fn is_page(format: Format) -> bool {
    matches!(format, Format::Table | Format::Wide)
}

fn show<T>(kind: &Kind<T>, item: &Received<T>, format: Format, write_to: fn(&mut Page, &T)) -> Result<Exit, Failure> {
    if !is_page(format) {
        return one(kind, item, format).map(|()| Exit::Done);
    }
    let mut page = Page::new(Timestamp::now(), colours());
    write_to(&mut page, &item.value);
    write(&page.text).map(|()| Exit::Done)
}

/// Text of a page with titles.
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

    /// Adds names and values. Empty values are omitted.
    fn facts(&mut self, facts: Vec<(&str, String)>) {
        let set = facts.into_iter().filter(|(_, value)| !value.is_empty());
        let rows: Vec<_> = set.map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
        self.text.push_str(&Table::untitled(2, self.colours).render(&rows));
    }

    fn ages(&self, at: Option<Timestamp>) -> String {
        at.map(|at| format!("{} ({})", age(at, self.now), short(at))).unwrap_or_default()
    }

    fn tenant(&mut self, tenant: &Tenant) {
        let t = &tenant.row;
        let state = kinds::tenant_state(t);
        let state = state_colour(state).unwrap_or(Colour::Bold).paint(state, self.colours);
        let name = Colour::Bold.paint(&t.tenant_id, self.colours);
        self.text.push_str(&format!("{name}  {state}\n"));
        let obstacle = Standing::of(tenant).obstacle().map(str::to_owned);
        let desired = t.desired_state.as_ref().map(Word::to_string);
        self.facts(vec![
            ("desired", desired.into_iter().chain(obstacle).collect::<Vec<_>>().join("; ")),
            ("in this state", self.ages(Some(t.state_since))),
            ("display name", text(&t.display_name)),
            ("organization", t.organization_id.to_string()),
            ("profile", t.profile.to_string()),
            ("region", t.region.to_string()),
            ("labels", labels(&*t.labels)),
            ("aliases", aliases(&tenant.aliases)),
            ("quotas", pairs(&*t.quotas)),
            ("policies", pairs(&*t.policies)),
            ("encryption", encryption(t)),
            ("billing", pairs(&*t.billing)),
            ("protected", if t.deletion_protection { "from deletion".to_owned() } else { String::new() }),
            ("version", t.version.to_string()),
            ("created", self.ages(Some(t.created_at))),
            ("purge after", self.ages(t.purge_after.filter(|_| t.purged_at.is_none()))),
            ("purged", self.ages(t.purged_at)),
        ]);
        let titles = &["NAME", "STATE", "ISOLATION", "REGION", "RETENTION", "PLACE", "QUOTAS"];
        self.list("Environments", &tenant.environments, titles, |e, _| {
            vec![
                Cell::new(&*e.name),
                kinds::state(&e.state),
                Cell::new(e.isolation_level.as_str()),
                Cell::new(&*e.region),
                Cell::maybe(days(e.retention_days)),
                Cell::maybe(e.place.as_ref().map(|place| &*place.kind)),
                Cell::new(pairs(&*e.quotas)),
            ]
        });
        self.list("Holds", &tenant.holds, HOLD_TITLES, hold);
    }

    fn open_job(&mut self, job: &Job) {
        self.title("Job");
        self.facts(vec![
            ("job", job.job_id.to_string()),
            ("action", job.action.to_string()),
            ("state", job.state.to_string()),
            ("waits for", text(&job.waiting_for)),
            ("done", percent(job.progress)),
        ]);
    }

    fn list<T>(
        &mut self,
        title: &str,
        items: &[T],
        titles: &'static [&'static str],
        row: fn(&T, Timestamp) -> Vec<Cell>,
    ) {
        let rows: Vec<_> = items.iter().map(|item| row(item, self.now)).collect();
        if !rows.is_empty() {
            self.title(title);
            self.text.push_str(&Table::new(titles.iter().copied(), self.colours).render(&rows));
        }
    }

    fn webhooks(&mut self, webhooks: &[Received<ListedWebhook<'static>>]) {
        let titles = &["NAME", "ENABLED", "WAITING", "LAST SUCCESS", "LAST FAILURE"];
        self.list("Webhooks", webhooks, titles, |Received { value: listed, .. }, now| {
            let status = listed.status.as_ref();
            vec![
                Cell::new(&*listed.webhook.webhook.name),
                Cell::new(webhook::standing(&listed.webhook.webhook)),
                Cell::maybe(status.map(|status| webhook::counted(status.waiting, MAX_COUNTED))),
                Cell::maybe(status.map(|status| webhook::ago(status.last_success_at, now))),
                Cell::maybe(status.map(|status| webhook::deliveries::failure(status, now))),
            ]
        });
    }

    fn events(&mut self, events: &[Received<AuditEvent>]) {
        let titles = &["AGE", "EVENT", "ACTOR"];
        self.list("Newest events", events, titles, |Received { value: event, .. }, now| {
            vec![
                Cell::new(age(event.occurred_at, now)),
                Cell::new(event.event_type.as_str()),
                Cell::new(who(&event.actor, event.actor_name.as_deref())),
            ]
        });
    }

    fn job(&mut self, job: &Job) {
        self.facts(vec![
            ("job", job.job_id.to_string()),
            ("tenant", job.tenant_id.to_string()),
            ("action", job.action.to_string()),
            ("state", job.state.to_string()),
            ("done", percent(job.progress)),
            ("waits for", text(&job.waiting_for)),
            ("error code", text(&job.error_code)),
            ("error", text(&job.error)),
            ("attempt", job.attempt.to_string()),
            ("requested by", who(&job.requested_by, job.requested_by_name.as_deref())),
            ("correlation id", job.correlation_id.to_string()),
            ("queued", self.ages(Some(job.created_at))),
            ("ended", self.ages(job.finished_at)),
        ]);
        self.list("Steps", &job.steps, &["STEP", "STATE"], |step, _| {
            vec![Cell::new(&*step.name), kinds::state(&step.state)]
        });
        if let Some(logs) = job.logs.as_deref().filter(|logs| !logs.is_empty()) {
            self.title("Log");
            self.text.push_str(&crate::terminal::plain(logs));
            if !logs.ends_with('\n') {
                self.text.push('\n');
            }
        }
    }

    fn organization(&mut self, o: &Organization) {
        self.facts(vec![
            ("organization", o.organization_id.to_string()),
            ("display name", text(&o.display_name)),
            ("labels", labels(&*o.labels)),
            ("version", o.version.to_string()),
            ("created", self.ages(Some(o.created_at))),
            ("closed", self.ages(o.closed_at)),
            ("webhooks", joined(o.webhooks.iter().map(|webhook| &webhook.name))),
        ]);
        let none = BTreeMap::new();
        let (used, usage) = o.usage.as_ref().map_or((0, &none), |usage| (usage.tenants, &*usage.quotas));
        let caps = o.caps.clone().unwrap_or_default();
        let limits = caps.quotas.unwrap_or_default();
        let names: BTreeSet<_> = usage.keys().chain(limits.keys()).collect();
        let row = |name: &str, used: i64, cap: Option<i64>| {
            vec![Cell::new(name), Cell::new(used.to_string()), Cell::maybe(cap.map(|cap| cap.to_string()))]
        };
        let quotas = names
            .into_iter()
            .map(|name| row(name, usage.get(name).copied().unwrap_or_default(), limits.get(name).copied()));
        let rows: Vec<_> = std::iter::once(row("tenants", used, caps.tenants)).chain(quotas).collect();
        self.title("Usage");
        self.text.push_str(&Table::new(["RESOURCE", "USED", "CAP"], self.colours).render(&rows));
        self.list("Holds", o.holds.as_deref().unwrap_or_default(), HOLD_TITLES, hold);
    }

    fn webhook(&mut self, w: &TenantWebhook) {
        self.facts(vec![
            ("webhook", (WEBHOOKS.name)(w)),
            ("url", w.webhook.url.to_string()),
            ("events", joined(&*w.webhook.events)),
            ("retries", pairs(&*w.webhook.retry_policy)),
            ("per second", w.webhook.max_per_second.map(|most| most.to_string()).unwrap_or_default()),
            ("in flight", w.webhook.max_in_flight.map(|most| most.to_string()).unwrap_or_default()),
            ("timeout", w.webhook.timeout_seconds.map(|seconds| format!("{seconds}s")).unwrap_or_default()),
            ("format", w.webhook.format.to_string()),
            ("enabled", webhook::standing(&w.webhook)),
            ("created", self.ages(Some(w.webhook.created_at))),
        ]);
    }

    fn key(&mut self, k: &Key) {
        self.facts(vec![
            ("key", k.key_id.to_string()),
            ("name", k.name.to_string()),
            ("role", k.role.to_string()),
            ("scope", k.scope.clone()),
            ("created by", text(&k.created_by)),
            ("created", self.ages(Some(k.created_at))),
            ("last used", self.ages(k.last_used_at)),
            ("previous token", self.ages(k.previous_expires_at)),
            ("expires", self.ages(k.expires_at)),
            ("revoked", self.ages(k.revoked_at)),
        ]);
    }

    fn environment(&mut self, environment: &Environment) {
        let e = &environment.entry;
        self.facts(vec![
            ("environment", (ENVIRONMENTS.name)(environment)),
            ("state", e.state.to_string()),
            ("isolation", e.isolation_level.to_string()),
            ("region", e.region.to_string()),
            ("quotas", pairs(&*e.quotas)),
            ("retention", days(e.retention_days).unwrap_or_default()),
            ("version", e.version.to_string()),
            ("id", e.env_id.to_string()),
            ("created", self.ages(Some(environment.created_at))),
            ("provisioned", self.ages(e.provisioned_at)),
            ("place", e.place.as_ref().map(place).unwrap_or_default()),
        ]);
    }
}

/// Titles of a list of holds.
const HOLD_TITLES: &[&str] = &["HOLD", "ON", "SINCE", "UNTIL", "PLACED BY", "REASON"];

fn hold(h: &Hold, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::new(&*h.hold),
        Cell::new(if h.organization { "organization" } else { "tenant" }),
        Cell::new(age(h.created_at, now)),
        Cell::maybe(h.until.map(|at| age(at, now))),
        Cell::new(who(&h.placed_by, h.placed_by_name.as_deref())),
        Cell::maybe(h.reason.as_deref()),
    ]
}

/// Describes where the data of an environment lives.
fn place(place: &Place<'_>) -> String {
    match &place.location {
        _ if place.kind == RECORD => format!("{RECORD}: the server only recorded it, and made nothing"),
        Some(location) => match &place.placement {
            Some(placement) => format!("{} on {placement}: {location}", place.kind),
            None => format!("{}: {location}", place.kind),
        },
        None => place.kind.to_string(),
    }
}

/// Describes how the private data of a tenant is encrypted, and what a purge does about backups.
fn encryption(tenant: &TenantRow) -> String {
    let own = tenancy_core::tenant::has_own_key(&tenant.policies);
    let text = match (tenant.purged_at.is_some(), own) {
        (true, _) => "its key is destroyed",
        (false, true) => "own key: a purge destroys it, so private data in backups cannot be read any more",
        (false, false) => "shared key: after a purge, private data in older backups can still be read",
    };
    text.to_owned()
}

/// Returns an optional text, or an empty one.
fn text(text: &Option<Cow<'_, str>>) -> String {
    text.as_deref().unwrap_or_default().to_owned()
}

/// Formats aliases as `host:acme.example.com, stripe:cus_9s6`.
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
    use crate::wire::samples::tenant;
    use serde_json::json;

    #[test]
    fn must_show_a_tenant_in_detail() {
        let mut page = Page::new("2026-11-23T12:00:00Z".parse().expect("a time"), false);
        let tenant = tenant(json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "profile": "mt-standard", "region": "eu-west-1",
            "state": "Suspended", "state_since": "2026-11-23T11:50:00Z", "desired_state": "Active", "version": 3,
            "created_at": "2026-11-20T12:00:00Z", "waits_for": "held by billing",
            "aliases": {"host": ["a.example", "b.example"], "stripe": "cus_9s6"}, "quotas": {"storageGiB": 500},
            "environments": [{"name": "prod", "state": "Suspended", "region": "eu-west-1", "isolation_level": "strict",
                              "env_id": "env_1", "version": 1}],
            "holds": [{"hold": "billing", "reason": "invoice\n1042", "placed_by": "user:key_1",
                       "created_at": "2026-11-23T11:50:00Z", "organization": false}],
        }));
        page.tenant(&tenant.value);
        let expected = "\
acme-eu  Suspended
desired        Active; held by billing
in this state  10m (2026-11-23T11:50:00Z)
organization   acme
profile        mt-standard
region         eu-west-1
aliases        host:a.example, host:b.example, stripe:cus_9s6
quotas         storageGiB=500
encryption     shared key: after a purge, private data in older backups can still be read
version        3
created        3d (2026-11-20T12:00:00Z)

Environments
NAME  STATE      ISOLATION  REGION     RETENTION  PLACE  QUOTAS
prod  Suspended  strict     eu-west-1  -          -      -

Holds
HOLD     ON      SINCE  UNTIL  PLACED BY   REASON
billing  tenant  10m    -      user:key_1  invoice 1042
";
        assert_eq!(page.text, expected);
    }
}
