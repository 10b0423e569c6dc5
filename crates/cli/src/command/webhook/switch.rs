//! `webhook enable` and `webhook disable`

use super::OWNED;
use super::owner::Owner;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output, one};
use crate::terminal::say;
use crate::wire::Received;
use clap::Args;
use reqwest::Method;
use tenancy_api::webhook::OwnedWebhook;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook disable acme-eu/main
  tenancy webhook enable acme-eu/main
  tenancy webhook enable audit --platform";

/// Arguments of `webhook enable` and `webhook disable`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Switch {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    #[command(flatten)]
    output: Output,
}

/// Enables a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn enable(client: &Client, given: Switch) -> Result<Exit, Failure> {
    switch(client, given, "enable").await
}

/// Disables a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn disable(client: &Client, given: Switch) -> Result<Exit, Failure> {
    switch(client, given, "disable").await
}

async fn switch(client: &Client, given: Switch, to: &str) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, to]);
    let switched: Received<OwnedWebhook<'static>> = client.v1(Method::POST, &segments).receive().await?;
    match given.output.output {
        Format::Table | Format::Wide => say(&format!("{} is {to}d", given.name))?,
        format => one(&OWNED, &switched, format)?,
    }
    Ok(Exit::Done)
}
