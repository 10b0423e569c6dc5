//! `placement cordon` and `placement uncordon`

use super::{PLACEMENTS, find};
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, Output, one};
use crate::terminal::say;
use crate::wire::Received;
use clap::Args;
use reqwest::Method;
use serde_json::json;
use tenancy_api::placement::Placement;

const EXAMPLES: &str = "\
Examples:
  tenancy placement cordon disk-1
  tenancy placement uncordon disk-1";

/// Arguments of `placement cordon` and `placement uncordon`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Cordon {
    /// Name of the placement
    #[arg(value_name = "PLACEMENT")]
    pub name: String,
    #[command(flatten)]
    output: Output,
}

/// Lets a placement take no new environments.
///
/// # Errors
/// Fails if the request fails.
pub async fn cordon(client: &Client, given: Cordon) -> Result<Exit, Failure> {
    switch(client, given, true).await
}

/// Lets a placement take new environments again.
///
/// # Errors
/// Fails if the request fails.
pub async fn uncordon(client: &Client, given: Cordon) -> Result<Exit, Failure> {
    switch(client, given, false).await
}

async fn switch(client: &Client, given: Cordon, cordoned: bool) -> Result<Exit, Failure> {
    let segments = ["placements", given.name.as_str()];
    let before = find(client, &given.name).await?;
    let request = client.v1(Method::PATCH, &segments).json(&json!({"cordoned": cordoned}));
    let switched: Received<Placement<'static>> = request.on_version(before.value.version).receive().await?;
    match given.output.output {
        Format::Table | Format::Wide => {
            let environments = switched.value.environment_count.unwrap_or_default();
            let what = match cordoned {
                true => format!("takes no new environments; {environments} stay on it"),
                false => "takes new environments".to_owned(),
            };
            say(&format!("{} {what}", given.name))?;
        }
        format => one(&PLACEMENTS, &switched, format)?,
    }
    Ok(Exit::Done)
}
