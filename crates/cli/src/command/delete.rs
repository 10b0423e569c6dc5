//! `delete`: archives a tenant.

use crate::client::Client;
use crate::command::lifecycle::{ask_for, confirm};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{names, text};
use crate::naming;
use crate::output::Output;
use crate::program::quoted;
use crate::waiting::Patience;
use clap::Args;
use reqwest::Method;

const EXAMPLES: &str = "\
Examples:
  tenancy suspend acme-eu --reason 'contract ended'
  tenancy delete acme-eu
  tenancy undelete acme-eu      within the grace period (policies.purgeAfterDays)

The tenant must be Suspended or a Draft, without deletion protection and without a hold that keeps its data.";

/// Arguments of `delete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// A tenant, by its id or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Do not ask; where nobody can be asked, what was typed is the yes
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says, or the job that failed.
pub async fn run(client: &Client, given: Delete) -> Result<Exit, Failure> {
    let name = naming::tenant(&given.name)?;
    let segments = ["tenants", name];
    let found = client.get(&segments).await?;
    let tenant = &found.body;
    let id = text(tenant, "tenant_id").unwrap_or(name);
    let environments = names(tenant.get("environments"), "name");
    let with = if environments.is_empty() { String::new() } else { format!(", with {environments}") };
    let state = text(tenant, "state").unwrap_or_default();
    confirm(&format!("archive {id} ({state}{with})?"), given.yes)?;
    // The version that was looked at: whoever changed it meanwhile is not deleted unseen.
    let version = found.version.or_else(|| tenant["version"].as_i64()).unwrap_or_default();
    let request = client.v1(Method::DELETE, &segments).on_version(version);
    let outcome = ask_for(client, request, given.patience, given.output.output).await;
    outcome.map_err(|failure| match failure.code.as_deref() {
        Some("not_in_this_state") if state == "Active" => {
            failure.and_type(&format!("suspend {} --reason 'to be deleted'", quoted(id)))
        }
        _ => failure,
    })
}
