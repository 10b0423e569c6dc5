//! `webhook deliveries` and `webhook status`

use super::owner::Owner;
use super::{ago, counted, facts};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::column;
use crate::listing;
use crate::output::{Format, Kind, Output, Printer, one};
use crate::table::{Cell, Table};
use crate::terminal::{colours, write};
use crate::time::{age, short};
use crate::wire::Received;
use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use tenancy_api::delivery::{Attempt, Delivery, DeliveryWithAttempts, WebhookStatus};
use tenancy_core::delivery::DeliveryState;

/// Number up to which the server counts the deliveries that wait.
const MAX_COUNTED: i64 = 10_000;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook deliveries acme-eu/main
  tenancy webhook deliveries main --organization acme --state failed,waiting
  tenancy webhook deliveries acme-eu/main --delivery dlv_0198…   shows each attempt";

/// Arguments of `webhook deliveries`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Deliveries {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Only deliveries in one of these states: waiting, delivered, failed
    #[arg(
        long,
        value_name = "STATES",
        conflicts_with = "delivery",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(value_parser = PossibleValuesParser::new(DeliveryState::WORDS.iter().map(|(word, _)| *word)))]
    state: Vec<String>,
    /// Shows this delivery with its attempts
    #[arg(long, value_name = "DELIVERY")]
    delivery: Option<String>,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `webhook status`.
#[derive(Args, Debug)]
pub struct Status {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

/// Deliveries.
pub const DELIVERY: Kind<Delivery<'static>> = Kind {
    plural: "deliveries",
    name: |delivery| delivery.delivery_id.to_string(),
    columns: &[
        column!("DELIVERY", |d, _| Cell::new(&*d.delivery_id)),
        column!("EVENT", |d, _| Cell::new(d.event_type.as_str())),
        column!("STATE", |d, _| Cell::new(d.state.as_str())),
        column!("ATTEMPTS", |d, _| Cell::new(d.attempts.to_string())),
        column!("LAST", |d, _| Cell::new(last(d))),
        column!("NEXT", |d, _| Cell::new(d.next_attempt_at.map(short).unwrap_or_default())),
        column!("AGE", |d, now| Cell::new(age(d.created_at, now))),
        column!("TENANT", wide, |d, _| Cell::new(d.tenant_id.as_deref().unwrap_or_default())),
        column!("POSITION", wide, |d, _| Cell::new(d.position.to_string())),
    ],
};

fn last(delivery: &Delivery<'_>) -> String {
    let status = delivery.last_status.map(|status| status.to_string());
    status.or_else(|| delivery.last_error.as_ref().map(ToString::to_string)).unwrap_or_default()
}

/// Lists deliveries, or shows one with its attempts.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Deliveries) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "deliveries"]);
    let Some(delivery) = &given.delivery else {
        let states = (!given.state.is_empty()).then(|| given.state.join(","));
        let list = listing::List::of(&segments).filter("state", states);
        let mut printer = Printer::new(&DELIVERY, given.output.output);
        list.pages(client, |items| printer.page(&items).map(|()| true)).await?;
        printer.finish()?;
        return Ok(Exit::Done);
    };
    segments.push(delivery);
    let found: Received<DeliveryWithAttempts<'static>> = client.get(&segments).await?;
    match given.output.output {
        Format::Table | Format::Wide => write(&log(&found.value))?,
        _ => one(&WITH_ATTEMPTS, &found, given.output.output)?,
    }
    Ok(Exit::Done)
}

const WITH_ATTEMPTS: Kind<DeliveryWithAttempts<'static>> =
    Kind { plural: "deliveries", name: |found| found.delivery.delivery_id.to_string(), columns: &[] };

fn log(found: &DeliveryWithAttempts<'_>) -> String {
    let row = |attempt: &Attempt<'_>| {
        let status = attempt.status.map(|status| status.to_string()).unwrap_or_default();
        let what = attempt.detail.as_deref().or(attempt.error.as_deref()).unwrap_or(&attempt.answer_start);
        [
            attempt.attempt.to_string(),
            short(attempt.started_at),
            attempt.outcome.as_str().to_owned(),
            status,
            format!("{} ms", attempt.total_ms),
            attempt.next_attempt_at.map(short).unwrap_or_default(),
            what.to_owned(),
        ]
        .map(Cell::new)
        .to_vec()
    };
    let rows: Vec<_> = found.log.iter().map(row).collect();
    Table::new(["ATTEMPT", "AT", "OUTCOME", "STATUS", "TIME", "NEXT", "ANSWER"], colours()).render(&rows)
}

/// Shows how deliveries to a webhook go.
///
/// # Errors
/// Fails if the request fails.
pub async fn status(client: &Client, given: Status) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "status"]);
    let found: Received<WebhookStatus<'static>> = client.get(&segments).await?;
    match given.output.output {
        Format::Table | Format::Wide => write(&page(&found.value, Timestamp::now()))?,
        _ => one(&STATUS, &found, given.output.output)?,
    }
    Ok(Exit::Done)
}

const STATUS: Kind<WebhookStatus<'static>> =
    Kind { plural: "statuses", name: |status| status.waiting.to_string(), columns: &[] };

fn page(status: &WebhookStatus<'_>, now: Timestamp) -> String {
    let replay = status.replay.as_ref().map(|replay| {
        let paused = if replay.paused { ", paused" } else { "" };
        format!("at position {} of {}{paused}", replay.position, replay.to)
    });
    facts([
        ("waiting", counted(status.waiting, MAX_COUNTED)),
        ("last success", ago(status.last_success_at, now)),
        ("last failure", failure(status, now)),
        ("failing since", status.failing_since.map(short).unwrap_or_default()),
        ("paused until", status.paused_until.map(short).unwrap_or_default()),
        ("replay", replay.unwrap_or_default()),
    ])
}

/// Formats the last failure with its cause, such as `5m ago: 503`.
pub fn failure(status: &WebhookStatus<'_>, now: Timestamp) -> String {
    let when = ago(status.last_failure_at, now);
    match status.last_failure.as_deref() {
        Some(what) if !when.is_empty() => format!("{when}: {what}"),
        _ => when,
    }
}
