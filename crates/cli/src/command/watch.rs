//! `watch`: shows events as they happen.

use crate::client::Client;
use crate::events::EVENTS;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::{Format, Output, Printer};
use crate::stream::Stream;
use crate::terminal::write_data;
use crate::time::ago;
use clap::Args;
use jiff::Timestamp;
use std::convert::Infallible;

/// Cursor that starts after the newest event.
pub(crate) const END: &str = "end";

const EXAMPLES: &str = "\
Examples:
  tenancy watch
  tenancy watch --tenant acme-eu --since 1h
  tenancy watch --type 'TENANCY_*,JOB_FAILED'
  tenancy watch --organization acme -o json | jq .event_type";

/// Arguments of `watch`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Watch {
    /// Only events of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only events of tenants of this organization
    #[arg(long, value_name = "NAME", conflicts_with = "tenant")]
    organization: Option<String>,
    /// Only events of this type; can end in *, and can be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Begin with the events at or after this time: 30m, 24h, 7d, or 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Runs the command. It ends when it is interrupted, or when the server refuses to continue.
///
/// # Errors
/// Fails if the server refuses.
pub async fn run(client: &Client, given: Watch) -> Result<Exit, Failure> {
    let since = given.since.as_deref().map(|since| ago(since, Timestamp::now())).transpose()?;
    let tenant = given.tenant.as_deref().map(naming::tenant).transpose()?;
    let stream = Stream::of(client)
        .filter("tenant_id", tenant)
        .filter("organization_id", given.organization.clone())
        .filter("event_type", Some(given.types.join(",")).filter(|types| !types.is_empty()))
        .filter("since", since.map(|since| since.to_string()))
        .filter("after", since.is_none().then_some(END));
    match print(stream, given.output.output).await? {}
}

/// Prints events until the stream fails: JSON as one line for each event.
async fn print(mut stream: Stream<'_>, format: Format) -> Result<Infallible, Failure> {
    let mut printer = Printer::new(&EVENTS, format);
    printer.flush()?;
    loop {
        let event = stream.next().await?;
        if format == Format::Json {
            write_data(&format!("{}\n", event.raw))?;
        } else {
            printer.page(&[event])?;
        }
    }
}
