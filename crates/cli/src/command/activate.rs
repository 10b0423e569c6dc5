//! `activate`: releases a hold.

use crate::client::Client;
use crate::command::lifecycle::{ask_for, ask_organization};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::Output;
use crate::waiting::Patience;
use clap::Args;
use reqwest::Method;
use tenancy_api::document::Activation;

const EXAMPLES: &str = "\
Examples:
  tenancy activate acme-eu                  Releases the operator hold.
  tenancy activate acme-eu --hold billing   Releases the billing hold.
  tenancy activate acme --organization --hold billing   Releases the hold on the organization.

A tenant becomes Active if its desired state is Active and no hold suspends it.";

/// Arguments of `activate`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Activate {
    /// Id of the tenant, or an alias such as stripe:cus_9s6; id of the organization with --organization
    #[arg(value_name = "TENANT")]
    name: String,
    /// Release a hold on the organization. The command does not wait for its tenants
    #[arg(long)]
    organization: bool,
    /// Kind of the hold. Default: operator
    #[arg(long, value_name = "KIND")]
    hold: Option<String>,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Activate) -> Result<Exit, Failure> {
    let body = Activation { hold: given.hold };
    let of_flags = |failure: Failure| failure.of_flags(&[("/hold", "--hold")]);
    if given.organization {
        let request = client.v1(Method::POST, &["organizations", &given.name, "activate"]).json(&body);
        return ask_organization(request, given.output.output).await.map_err(of_flags);
    }
    let segments = ["tenants", naming::tenant(&given.name)?, "activate"];
    let request = client.v1(Method::POST, &segments).json(&body);
    ask_for(client, request, given.patience, given.output.output).await.map_err(of_flags)
}
