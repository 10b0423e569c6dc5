//! `placement delete`

use super::find;
use crate::client::Client;
use crate::command::lifecycle::confirm;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::say;
use clap::Args;
use reqwest::Method;

const EXAMPLES: &str = "\
Examples:
  tenancy placement delete disk-1 --yes";

/// Arguments of `placement delete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// Name of the placement
    #[arg(value_name = "PLACEMENT")]
    pub name: String,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(short, long)]
    yes: bool,
}

/// Deletes a placement on which there is nothing.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Delete) -> Result<Exit, Failure> {
    let segments = ["placements", given.name.as_str()];
    let before = find(client, &given.name).await?;
    let what = format!("This deletes placement {}. Its server or disk stays as it is.", given.name);
    confirm("placement delete", &what, given.yes)?;
    client.v1(Method::DELETE, &segments).on_version(before.value.version).send().await?;
    say(&format!("{} is deleted", given.name))?;
    Ok(Exit::Done)
}
