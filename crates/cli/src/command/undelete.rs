//! `undelete`: takes a tenant out of the archive.

use crate::client::Client;
use crate::command::lifecycle::ask_for;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::Output;
use crate::waiting::Patience;
use clap::Args;
use reqwest::Method;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  tenancy undelete acme-eu

It comes back Suspended, and becomes Active from there if that is its desired state and no hold stands.";

/// Arguments of `undelete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Undelete {
    /// A tenant, by its id or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says, or the job that failed.
pub async fn run(client: &Client, given: Undelete) -> Result<Exit, Failure> {
    let segments = ["tenants", naming::tenant(&given.name)?, "undelete"];
    let request = client.v1(Method::POST, &segments).json(&json!({}));
    ask_for(client, request, given.patience, given.output.output).await
}
