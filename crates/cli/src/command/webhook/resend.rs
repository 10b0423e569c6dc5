//! `webhook resend`

use super::owner::Owner;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::say;
use clap::Args;
use reqwest::Method;
use tenancy_api::delivery::Delivery;

/// Arguments of `webhook resend`.
#[derive(Args, Debug)]
pub struct Resend {
    /// TENANT/WEBHOOK; or the name of the webhook, with --organization or --platform
    #[arg(value_name = "WEBHOOK")]
    pub name: String,
    /// Id of the delivery, from `tenancy webhook deliveries`
    #[arg(value_name = "DELIVERY")]
    delivery: String,
    /// Owner that is no tenant.
    #[command(flatten)]
    pub owner: Owner,
}

/// Sends a delivery again.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Resend) -> Result<Exit, Failure> {
    let (mut segments, name) = given.owner.one(&given.name)?;
    segments.extend([name, "deliveries", &given.delivery, "resend"]);
    let sent = client.v1(Method::POST, &segments).receive::<Delivery<'static>>().await?;
    say(&format!("{} is sent again", sent.value.delivery_id))?;
    Ok(Exit::Done)
}
