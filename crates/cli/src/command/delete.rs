//! `delete`: archives a tenant.

use crate::client::Client;
use crate::command::lifecycle::{ask_for, confirm};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::joined;
use crate::naming;
use crate::output::Output;
use crate::program::quoted;
use crate::waiting::Patience;
use crate::wire::{Tenant, TenantRow};
use clap::Args;
use reqwest::Method;
use tenancy_core::tenant::State;

const EXAMPLES: &str = "\
Examples:
  tenancy suspend acme-eu --reason 'contract ended'
  tenancy delete acme-eu
  tenancy undelete acme-eu      Restores it within the grace period (policies.purgeAfterDays).

The tenant must be Suspended or Draft, without deletion protection and without a hold that keeps its data.";

/// Arguments of `delete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Skip the confirmation prompt. Without a terminal, the command never prompts
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Delete) -> Result<Exit, Failure> {
    let name = naming::tenant(&given.name)?;
    let segments = ["tenants", name];
    let tenant: Tenant = client.get(&segments).await?.value;
    let TenantRow { tenant_id: id, state, version, .. } = &tenant.row;
    let environments = joined(tenant.environments.iter().map(|entry| &entry.name));
    let with = if environments.is_empty() { String::new() } else { format!(", with {environments}") };
    confirm(&format!("Archive {id} ({state}{with})?"), given.yes)?;
    // Based on the version that was shown, so that a tenant that was changed in the meantime is not deleted.
    let request = client.v1(Method::DELETE, &segments).on_version(*version);
    let outcome = ask_for(client, request, given.patience, given.output.output).await;
    outcome.map_err(|failure| match failure.code.as_deref() {
        Some("not_in_this_state") if *state == State::Active => {
            failure.and_type(&format!("suspend {} --reason 'to be deleted'", quoted(id)))
        }
        _ => failure,
    })
}
