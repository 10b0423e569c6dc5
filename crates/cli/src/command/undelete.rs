//! `undelete`: restores an archived tenant.

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

The tenant becomes Suspended, with an operator hold. To put it back into service: tenancy activate TENANT";

/// Arguments of `undelete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Undelete {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Undelete) -> Result<Exit, Failure> {
    let segments = ["tenants", naming::tenant(&given.name)?, "undelete"];
    let request = client.v1(Method::POST, &segments).json(&json!({}));
    ask_for(client, request, given.patience, given.output.output).await
}
