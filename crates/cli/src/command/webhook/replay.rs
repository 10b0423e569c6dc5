//! `webhook replay`

use super::owner::Owner;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{command, quoted};
use crate::terminal::{remark, say};
use crate::time::ago;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::delivery::ReplayRequest;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook replay acme-eu/main --since 2h
  tenancy webhook replay acme-eu/main --since 2026-11-30T08:00:00Z --only-undelivered
  tenancy webhook replay acme-eu/main --pause
  tenancy webhook status acme-eu/main   shows how far it is";

/// Arguments of `webhook replay`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[group(id = "what", required = true, multiple = false, args = ["since", "pause", "continues"])]
pub struct Replay {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Sends the events since this time again: a duration such as 2h or 3d before now, or a time such as
    /// 2026-11-30T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Sends only events that were not delivered
    #[arg(long, requires = "since")]
    only_undelivered: bool,
    /// Pauses the replay in progress
    #[arg(long)]
    pause: bool,
    /// Continues the replay that is paused
    #[arg(long = "continue")]
    continues: bool,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
}

/// Sends events again, or pauses or continues that.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Replay) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "replay"]);
    let since = given.since.as_deref().map(|since| ago(since, Timestamp::now())).transpose()?;
    let body = ReplayRequest {
        since,
        only_undelivered: (since.is_some() && given.only_undelivered).then_some(true),
        paused: since.is_none().then_some(given.pause),
    };
    let sent = client.v1(Method::POST, &segments).json(&body).send().await;
    sent.map_err(|failure| failure.of_flags(&[("/since", "--since")]))?;
    match since {
        Some(since) => say(&format!("{}: the events since {since} are sent again", given.name))?,
        None if given.pause => say(&format!("{}: the replay is paused", given.name))?,
        None => say(&format!("{}: the replay continues", given.name))?,
    }
    let status = command(&format!("webhook status {}{}", quoted(&given.name), given.owner.options()));
    remark(&format!("next: {status}"));
    Ok(Exit::Done)
}
