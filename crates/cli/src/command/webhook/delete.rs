//! `webhook delete`

use super::owner::Owner;
use crate::client::Client;
use crate::command::lifecycle::confirm;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::say;
use clap::Args;
use reqwest::Method;
use tenancy_api::webhook::OwnedWebhook;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook delete acme-eu/main --yes
  tenancy webhook delete audit --platform";

/// Arguments of `webhook delete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(short, long)]
    yes: bool,
}

/// Deletes a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Delete) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.push(name);
    let before: OwnedWebhook<'static> = client.get(&segments).await?.value;
    let what = format!("This deletes {} with its secrets. Events that are not delivered yet are not sent.", given.name);
    confirm("webhook delete", &what, given.yes)?;
    client.v1(Method::DELETE, &segments).on_version(before.version).send().await?;
    say(&format!("{} is deleted", given.name))?;
    Ok(Exit::Done)
}
