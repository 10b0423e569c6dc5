//! `webhook replay`

use super::owner::Owner;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::say;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::delivery::ReplayRequest;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook replay acme-eu/main --since 2026-11-30T08:00:00Z
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
    name: String,
    /// Sends the events since this time again, such as 2026-11-30T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Sends only events that were not delivered
    #[arg(long, requires = "since")]
    only_undelivered: bool,
    /// Pauses the replay in progress
    #[arg(long)]
    pause: bool,
    /// Continues the replay that is paused
    #[arg(long = "continue")]
    continues: bool,
    #[command(flatten)]
    owner: Owner,
}

/// Sends events again, or pauses or continues that.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Replay) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "replay"]);
    let (body, said) = match given.since {
        Some(_) => {
            let body = ReplayRequest {
                since: given.since,
                only_undelivered: given.only_undelivered.then_some(true),
                paused: None,
            };
            (body, "the events are sent again; `tenancy webhook status` shows how far it is")
        }
        None => {
            let body = ReplayRequest { since: None, only_undelivered: None, paused: Some(given.pause) };
            (body, if given.pause { "the replay is paused" } else { "the replay continues" })
        }
    };
    client.v1(Method::POST, &segments).json(&body).send().await?;
    say(said)?;
    Ok(Exit::Done)
}
