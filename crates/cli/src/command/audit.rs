//! `audit`: shows the audit log.

use super::watch::END;
use crate::client::Client;
use crate::events::EVENTS;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::listing::List;
use crate::naming;
use crate::output::{Format, Output, Printer};
use crate::stream::Stream;
use crate::terminal::{remark, write_data};
use crate::time::ago;
use crate::wire::{AuditEvent, Received};
use clap::{Args, ValueEnum};
use jiff::Timestamp;

/// Default of `--limit`.
const EVENTS_SHOWN: usize = 50;

const EXAMPLES: &str = "\
Examples:
  tenancy audit --tenant acme-eu
  tenancy audit --type TENANCY_SUSPENDED,TENANCY_ACTIVATED --since 24h
  tenancy audit --organization acme --actor ci --since 7d
  tenancy audit --follow
  tenancy audit --since 2026-11-01T00:00:00Z --limit 100000 -o json > november.json
  tenancy audit verify";

/// Arguments of `audit`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Audit {
    /// Verify the whole log against its seals instead of showing events; exits with 1 if anything was changed
    #[arg(
        value_enum,
        value_name = "ACTION",
        conflicts_with_all = ["tenant", "organization", "actor", "types", "correlation_id", "since", "until", "follow"]
    )]
    action: Option<Action>,
    /// Only events of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only events of tenants of this organization
    #[arg(long, value_name = "NAME", conflicts_with = "tenant")]
    organization: Option<String>,
    /// Only events that this actor caused: name or id of a key, or an actor such as system:jobs
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// Only events of this type; can be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Only events with this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only events at or after this time: 30m, 24h, 7d, or 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", conflicts_with = "follow")]
    until: Option<String>,
    /// Maximum number of events; the newest are shown
    #[arg(long, value_name = "COUNT", default_value_t = EVENTS_SHOWN)]
    limit: usize,
    /// Continue to show new events; with -o json, each event is one line
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    output: Output,
}

/// Action other than showing events.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Verify the log against its seals
    Verify,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Audit) -> Result<Exit, Failure> {
    if given.action == Some(Action::Verify) {
        return super::audit_verify::run(client, given.output.output).await;
    }
    let now = Timestamp::now();
    let tenant = given.tenant.as_deref().map(naming::tenant).transpose()?;
    let segments = tenant.map_or_else(|| vec!["audit"], |tenant| vec!["tenants", tenant, "audit"]);
    let since = given.since.as_deref().map(|since| ago(since, now)).transpose()?;
    let until = given.until.as_deref().map(|until| ago(until, now)).transpose()?;
    let actor = match &given.actor {
        Some(actor) => Some(named_actor(client, actor).await?),
        None => None,
    };
    let list = List::of(&segments)
        .filter("event_type", Some(given.types.join(",")).filter(|types| !types.is_empty()))
        .filter("correlation_id", given.correlation_id.clone())
        .filter("organization_id", given.organization.clone())
        .filter("actor", actor.clone())
        .filter("since", since.map(|since| since.to_string()))
        .filter("until", until.map(|until| until.to_string()))
        .filter("order", Some("desc"));
    // Opened before the newest events are listed, so that none between the two is missed.
    let mut stream = Stream::of(client)
        .filter("tenant_id", tenant)
        .filter("organization_id", given.organization.clone())
        .filter("event_type", Some(given.types.join(",")).filter(|types| !types.is_empty()))
        .filter("correlation_id", given.correlation_id.clone())
        .filter("actor", actor.clone())
        .filter("after", Some(END));
    if given.follow {
        stream.connect().await?;
    }
    let mut printer = Printer::new(&EVENTS, given.output.output);
    // Request the newest events, and show them in the order in which they happened.
    let limit = given.limit;
    let mut newest: Vec<Received<AuditEvent>> = list.at_most(Some(limit.saturating_add(1))).all(client).await?;
    let more = newest.len() > limit;
    newest.truncate(limit);
    newest.reverse();
    print(&mut printer, &given, &newest)?;
    if more && matches!(given.output.output, Format::Table | Format::Wide) {
        remark(&format!("only the newest {limit} events are shown; use --limit to show more"));
    }
    if !given.follow {
        printer.finish()?;
        return Ok(Exit::Done);
    }
    // By position and not by time: times follow the clock, which can be set back.
    let shown = newest.iter().map(|event| event.value.position).max().unwrap_or_default();
    printer.flush()?;
    loop {
        let event = stream.next().await?;
        if event.value.position > shown {
            print(&mut printer, &given, &[event])?;
        }
    }
}

/// Prints events. A list in JSON would have no end while it follows.
fn print(printer: &mut Printer<'_, AuditEvent>, given: &Audit, events: &[Received<AuditEvent>]) -> Result<(), Failure> {
    if !given.follow || given.output.output != Format::Json {
        return printer.page(events);
    }
    events.iter().try_for_each(|event| write_data(&format!("{}\n", event.raw)))
}

/// Returns an actor as the log contains it. A key is named by its id or its name, with or without `user:`.
async fn named_actor(client: &Client, text: &str) -> Result<String, Failure> {
    match text.split_once(':') {
        Some((kind, _)) if kind != "user" => return Ok(text.to_owned()),
        _ => {}
    }
    let key = text.strip_prefix("user:").unwrap_or(text);
    if key.starts_with("key_") {
        return Ok(format!("user:{key}"));
    }
    Ok(format!("user:{}", naming::key(client, key).await?.value.key_id))
}
