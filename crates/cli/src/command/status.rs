//! `status`: shows the server, the key, and counts of tenants, organizations and open jobs.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::joined;
use crate::listing::List;
use crate::output::{Format, Output};
use crate::table::{Cell, Table};
use crate::terminal::{colours, say, write, write_data};
use crate::time::short;
use crate::wire::{Job, Organization, Received, TenantRow};
use crate::yaml;
use clap::Args;
use indicatif::HumanBytes;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use std::collections::BTreeMap;
use tenancy_api::health::Readiness;
use tenancy_api::key::WhoAmI;
use tenancy_api::status::{BackgroundLoop, Database, JobQueue, Status as ServerStatus};
use tenancy_core::job::JobState;

/// Maximum number of items to count. More are shown as "at least".
const MAX_COUNTED: usize = 5_000;

const EXAMPLES: &str = "\
Examples:
  tenancy status
  tenancy status --context prod -o json";

/// Arguments of `status`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if a request fails. Ends with [`Exit::NoServer`] if the server is not ready.
pub async fn run(client: &Client, given: Status) -> Result<Exit, Failure> {
    // Without retries: a server that is not ready is a valid result here.
    let (_, ready) = client.request(Method::GET, &["readyz"]).look().await?;
    let Ok(ready) = Readiness::deserialize(&ready) else { return Err(client.no_tenancy()) };
    let mut report = Report {
        url: client.url().to_owned(),
        found_by: client.found_by().to_owned(),
        ready: ready.is_ready(),
        not_ready_because: (!ready.is_ready()).then(|| ready.wrong.join("; ")),
        warnings: ready.warnings,
        has: None,
    };
    // A server that is not ready cannot answer these requests.
    if report.ready {
        report.has = Some(Has {
            key: client.get(&["whoami"]).await?,
            tenants: count::<TenantRow>(client, &["tenants"], |tenant| Some(tenant.state.as_str())).await?,
            organizations: count::<Organization>(client, &["organizations"], |_| None).await?,
            open_jobs: open_jobs(client).await?,
            server: server(client).await?,
        });
    }
    match given.output.output {
        Format::Json => write_data(&yaml::json(&json!(report))?)?,
        Format::Yaml => write_data(&yaml::yaml(&json!(report))?)?,
        Format::Name => say(client.url())?,
        Format::Table | Format::Wide => write(&render(&report, colours()))?,
    }
    Ok(if report.ready { Exit::Done } else { Exit::NoServer })
}

/// Output of `status`.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    found_by: String,
    ready: bool,
    not_ready_because: Option<String>,
    warnings: Vec<String>,
    #[serde(flatten)]
    has: Option<Has>,
}

/// Details of a server that is ready.
#[derive(Debug, Serialize)]
struct Has {
    #[serde(serialize_with = "as_it_came")]
    key: Received<WhoAmI<'static>>,
    tenants: Count,
    organizations: Count,
    open_jobs: Count,
    #[serde(flatten)]
    server: Option<ServerStatus<'static>>,
}

fn as_it_came<T, S: Serializer>(received: &Received<T>, serializer: S) -> Result<S::Ok, S::Error> {
    received.raw.serialize(serializer)
}

/// Number of items, in total and by state.
#[derive(Debug, Default, Serialize)]
struct Count {
    count: usize,
    at_least: bool,
    by: BTreeMap<String, usize>,
}

async fn count<T: DeserializeOwned>(
    client: &Client,
    segments: &[&str],
    word: impl Fn(&T) -> Option<&str>,
) -> Result<Count, Failure> {
    let mut counted = Count::default();
    let list = List::of(segments).at_most(Some(MAX_COUNTED));
    let more = list.pages(client, |items: Vec<Received<T>>| {
        counted.count += items.len();
        for word in items.iter().filter_map(|item| word(&item.value)) {
            *counted.by.entry(word.to_owned()).or_default() += 1;
        }
        Ok(true)
    });
    let at_least = more.await?;
    Ok(Count { at_least, ..counted })
}

async fn open_jobs(client: &Client) -> Result<Count, Failure> {
    let mut count = 0;
    for state in [JobState::Queued, JobState::Running] {
        let list = List::of(&["jobs"]).filter("state", Some(state.as_str())).at_most(Some(MAX_COUNTED));
        count += list.all::<Job>(client).await?.len();
    }
    Ok(Count { count, at_least: count >= MAX_COUNTED, ..Count::default() })
}

/// Returns what the server says of itself; `None` if the server does not have this route or the key may not read
/// it.
async fn server(client: &Client) -> Result<Option<ServerStatus<'static>>, Failure> {
    match client.get::<ServerStatus<'static>>(&["status"]).await {
        Ok(answer) => Ok(Some(answer.value)),
        Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::NotAllowed) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn render(report: &Report, colours: bool) -> String {
    let ready = match (&report.not_ready_because, report.warnings.as_slice()) {
        (Some(why), _) => format!("no: {why}"),
        (None, []) => "yes".to_owned(),
        (None, warnings) => format!("yes, but {}", warnings.join("; ")),
    };
    let mut rows = vec![("server", report.url.clone()), ("found by", report.found_by.clone()), ("ready", ready)];
    if let Some(has) = &report.has {
        let WhoAmI { key_id, name, role, scope, .. } = &has.key.value;
        rows.extend([
            ("key", format!("{name} ({key_id}), {role}, scope {scope}")),
            ("organizations", counted(&has.organizations)),
            ("tenants", counted(&has.tenants)),
            ("open jobs", counted(&has.open_jobs)),
        ]);
        if let Some(server) = &has.server {
            rows.extend(server.version.as_ref().map(|version| ("version", version.to_string())));
            let database = |of: &Database| format!("{}, {}", of.kind, HumanBytes(of.bytes.unsigned_abs()));
            rows.extend(server.database.as_ref().map(|of| ("database", database(of))));
            rows.extend(server.jobs.as_ref().map(|jobs| ("job queue", queue(jobs))));
            let waits = server.jobs.iter().flat_map(|jobs| &jobs.waits_for);
            rows.extend(waits.map(|waiting| {
                let jobs = if waiting.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", waiting.jobs) };
                ("waits for", format!("{} ({jobs})", waiting.condition))
            }));
            rows.extend(server.provisioner.as_ref().map(|kind| ("provisioner", provisioner(kind))));
            rows.push(("background", in_background(&server.background)));
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![Cell::new(name), Cell::new(value)]).collect();
    Table::untitled(2, colours).render(&rows)
}

/// Returns `2 due, 1 waiting, 3 running in 1 process`.
fn queue(jobs: &JobQueue<'_>) -> String {
    let least = if jobs.is_more { "at least " } else { "" };
    let processes = match jobs.processes {
        0 => String::new(),
        1 => " in 1 process".to_owned(),
        count => format!(" in {count} processes"),
    };
    let since = jobs.oldest_due_at.map(|at| format!(" (the oldest since {})", short(at))).unwrap_or_default();
    format!("{least}{} due{since}, {} waiting, {} running{processes}", jobs.due, jobs.waiting, jobs.running)
}

/// Returns what jobs make, for people.
fn provisioner(kind: &str) -> String {
    match kind {
        "record" => "record: jobs only record, and make nothing".to_owned(),
        "placements" => "placements: environments are put on placements (tenancy placement list)".to_owned(),
        _ => kind.to_owned(),
    }
}

/// Returns `5 loops, no errors`, or each loop whose last run failed, with its error.
fn in_background(loops: &[BackgroundLoop<'_>]) -> String {
    let is_failing = |one: &&BackgroundLoop<'_>| one.last_error_at.is_some() && one.last_error_at == one.last_run_at;
    let failure = |one: &BackgroundLoop<'_>| {
        let at = one.last_error_at.map(|at| format!(" at {at}")).unwrap_or_default();
        format!("{} failed{at}: {}", one.name, one.last_error.as_deref().unwrap_or_default())
    };
    match loops.iter().filter(is_failing).map(failure).collect::<Vec<_>>() {
        failing if failing.is_empty() => format!("{} loops, no errors", loops.len()),
        failing => failing.join("; "),
    }
}

/// Formats a count as `3: 2 Active, 1 Suspended`.
fn counted(count: &Count) -> String {
    let least = if count.at_least { "at least " } else { "" };
    let parts = joined(count.by.iter().map(|(word, count)| format!("{count} {word}")));
    let parts = if parts.is_empty() { parts } else { format!(": {parts}") };
    format!("{least}{}{parts}", count.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(has: Option<Has>) -> Report {
        Report {
            url: "http://127.0.0.1:7300".to_owned(),
            found_by: "context dev".to_owned(),
            ready: true,
            not_ready_because: None,
            warnings: Vec::new(),
            has,
        }
    }

    /// A loop with a fixed last run, which optionally failed.
    fn background_loop(name: &'static str, failed_at: Option<&str>) -> BackgroundLoop<'static> {
        let at = |text: &str| text.parse().expect("a time");
        BackgroundLoop {
            name: name.into(),
            period_seconds: 1.0,
            runs: 2,
            errors: u64::from(failed_at.is_some()),
            last_run_at: Some(at("2026-07-01T00:00:02Z")),
            last_success_at: None,
            last_error_at: failed_at.map(at),
            last_error: failed_at.map(|_| "no answer".to_owned()),
        }
    }

    #[test]
    fn must_show_server_key_and_counts() {
        let key = json!({"key_id": "key_1", "name": "dev", "role": "admin", "scope": "all"});
        let key = Received::of(key).expect("a key");
        let by = BTreeMap::from([("Active".to_owned(), 2), ("Suspended".to_owned(), 1)]);
        let tenants = Count { count: 3, at_least: false, by };
        let organizations = Count { count: 1, ..Count::default() };
        let background =
            vec![background_loop("jobs", None), background_loop("ended-holds", Some("2026-07-01T00:00:01Z"))];
        let said = json!({
            "version": "1.2.3", "database": {"kind": "SQLite", "bytes": 4_194_304}, "background": background,
            "provisioner": "record",
            "jobs": {"due": 2, "waiting": 1, "running": 3, "is_more": false, "processes": 1,
                     "oldest_due_at": "2026-07-01T00:00:02Z",
                     "waits_for": [{"condition": "a certificate", "jobs": 1}]},
        });
        let server = Some(serde_json::from_value(said).expect("a status"));
        let report = ready(Some(Has { key, tenants, organizations, open_jobs: Count::default(), server }));
        assert_eq!(
            render(&report, false),
            "server         http://127.0.0.1:7300\n\
             found by       context dev\n\
             ready          yes\n\
             key            dev (key_1), admin, scope all\n\
             organizations  1\n\
             tenants        3: 2 Active, 1 Suspended\n\
             open jobs      0\n\
             version        1.2.3\n\
             database       SQLite, 4.00 MiB\n\
             job queue      2 due (the oldest since 2026-07-01T00:00:02Z), 1 waiting, 3 running in 1 process\n\
             waits for      a certificate (1 job)\n\
             provisioner    record: jobs only record, and make nothing\n\
             background     2 loops, no errors\n"
        );
        let expected = json!({
            "url": "http://127.0.0.1:7300", "found_by": "context dev", "ready": true, "not_ready_because": null,
            "warnings": [], "key": {"key_id": "key_1", "name": "dev", "role": "admin", "scope": "all"},
            "organizations": {"count": 1, "at_least": false, "by": {}},
            "tenants": {"count": 3, "at_least": false, "by": {"Active": 2, "Suspended": 1}},
            "open_jobs": {"count": 0, "at_least": false, "by": {}},
        });
        let mut shown = json!(report);
        for field in ["version", "database", "jobs", "provisioner", "background"] {
            assert!(shown.as_object_mut().and_then(|shown| shown.remove(field)).is_some());
        }
        assert_eq!(shown, expected);
        let failing = [background_loop("jobs", Some("2026-07-01T00:00:02Z"))];
        assert_eq!(in_background(&failing), "jobs failed at 2026-07-01T00:00:02Z: no answer");
        let warned = Report { warnings: vec!["few partitions lie ahead".to_owned()], ..ready(None) };
        assert!(render(&warned, false).contains("yes, but few partitions lie ahead"));
        let why = "the database cannot be reached";
        let away = Report { ready: false, not_ready_because: Some(why.to_owned()), ..ready(None) };
        assert!(render(&away, false).ends_with("ready     no: the database cannot be reached\n"));
    }
}
