//! `webhook list` and `webhook describe`

use super::owner::Owner;
use super::{OWNED, ago, facts, standing};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{joined, pairs};
use crate::listing;
use crate::output::{Format, Output, Printer, one};
use crate::terminal::write;
use crate::wire::Received;
use clap::Args;
use jiff::Timestamp;
use tenancy_api::webhook::OwnedWebhook;

const LIST: &str = "\
Examples:
  tenancy webhook list acme-eu
  tenancy webhook list --organization acme
  tenancy webhook list --platform -o json";

const DESCRIBE: &str = "\
Examples:
  tenancy webhook describe acme-eu/main
  tenancy webhook describe main --organization acme";

/// Arguments of `webhook list`.
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub struct List {
    /// Tenant that owns the webhooks
    tenant: Option<String>,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `webhook describe`.
#[derive(Args, Debug)]
#[command(after_help = DESCRIBE)]
pub struct Describe {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

/// Lists webhooks.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: List) -> Result<Exit, Failure> {
    let segments = given.owner.list(given.tenant.as_deref())?;
    let mut printer = Printer::new(&OWNED, given.output.output);
    listing::List::of(&segments).pages(client, |items| printer.page(&items).map(|()| true)).await?;
    printer.finish()?;
    Ok(Exit::Done)
}

/// Shows a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn describe(client: &Client, given: Describe) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.push(name);
    let found: Received<OwnedWebhook<'static>> = client.get(&segments).await?;
    if !matches!(given.output.output, Format::Table | Format::Wide) {
        one(&OWNED, &found, given.output.output)?;
        return Ok(Exit::Done);
    }
    write(&page(&found.value, Timestamp::now()))?;
    Ok(Exit::Done)
}

fn page(owned: &OwnedWebhook<'_>, now: Timestamp) -> String {
    let webhook = &owned.webhook;
    let owner = match (&owned.tenant_id, &owned.organization_id) {
        (Some(id), _) => format!("tenant {id}"),
        (None, Some(id)) => format!("organization {id}"),
        (None, None) => "the platform".to_owned(),
    };
    let or =
        |number: Option<i64>, default: &str| number.map_or_else(|| default.to_owned(), |number| number.to_string());
    facts([
        ("webhook", webhook.name.to_string()),
        ("id", webhook.webhook_id.to_string()),
        ("owner", owner),
        ("url", webhook.url.to_string()),
        ("events", joined(&*webhook.events)),
        ("enabled", standing(webhook)),
        ("format", webhook.format.to_string()),
        ("retries", pairs(&*webhook.retry_policy)),
        ("tries per second", or(webhook.max_per_second, "no limit")),
        ("tries at once", or(webhook.max_in_flight, "8")),
        ("time limit", format!("{}s", or(webhook.timeout_seconds, "15"))),
        ("version", owned.version.to_string()),
        ("created", ago(Some(webhook.created_at), now)),
        ("changed", ago(Some(webhook.updated_at), now)),
    ])
}
