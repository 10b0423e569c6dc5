//! `webhook rotate`

use super::owner::Owner;
use super::show;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::program::quoted;
use crate::time::duration;
use clap::Args;
use reqwest::Method;
use std::time::Duration;
use tenancy_api::document::WebhookRotation;
use tenancy_api::webhook::NewWebhook;
use tenancy_core::webhook::MAX_OVERLAP_SECONDS;

const EXAMPLES: &str = "\
Examples:
  tenancy webhook rotate acme-eu/main
  tenancy webhook rotate main --organization acme --overlap 1h
  SECRET=$(tenancy webhook rotate acme-eu/main -o name)   prints only the secret

A webhook that a manifest declares gets its secret from the server. This shows a new one.";

/// Arguments of `webhook rotate`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Rotate {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
    /// Time during which requests are also signed with the former secrets, from 0s to 7d
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration)]
    overlap: Duration,
    #[command(flatten)]
    output: Output,
}

/// Rotates the secret of a webhook.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Rotate) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "rotate"]);
    let overlap = i64::try_from(given.overlap.as_secs()).unwrap_or(i64::MAX);
    if overlap > MAX_OVERLAP_SECONDS {
        return Err(Failure::usage("--overlap must be from 0s to 7d"));
    }
    let body = WebhookRotation { secret: None, overlap_seconds: Some(overlap) };
    let rotated = client.v1(Method::POST, &segments).json(&body).receive::<NewWebhook<'static>>().await?;
    show(&rotated, given.output.output, || {
        let failure = Failure::refused(format!(
            "{} was rotated, but its new secret was lost with the first response: rotate it again",
            given.name
        ));
        failure.and_type(&format!("webhook rotate {}{}", quoted(&given.name), given.owner.options()))
    })
}
