//! `purge`: destroys an archived tenant's data for good.

use crate::client::Client;
use crate::command::lifecycle::ask_for;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::Output;
use crate::terminal::{ask, can_ask};
use crate::waiting::Patience;
use crate::wire::TenantRow;
use clap::Args;
use reqwest::Method;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  tenancy purge acme-eu         asks for the tenant's id again
  tenancy purge acme-eu --yes   for scripts

Only an archived tenant whose grace period is over. The audit log stays; the id is never used again.";

/// Arguments of `purge`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Purge {
    /// A tenant, by its id or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Do not ask; where nobody can be asked, it must be said
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
pub async fn run(client: &Client, given: Purge) -> Result<Exit, Failure> {
    let name = naming::tenant(&given.name)?;
    let tenant: TenantRow = client.get(&["tenants", name]).await?.value;
    let id = &*tenant.tenant_id;
    // Nothing brings it back, so that, unlike elsewhere, silence is no yes.
    if !given.yes {
        if !can_ask() {
            return Err(Failure::usage("a purge cannot be undone: say --yes where nobody can be asked"));
        }
        if ask(&format!("this destroys the data of {id} for good; type its id to go on:"))? != id {
            return Err(Failure::refused("nothing was done"));
        }
    }
    let request = client.v1(Method::POST, &["tenants", id, "purge"]).json(&json!({}));
    ask_for(client, request, given.patience, given.output.output).await
}
