//! `purge`: destroys the data of an archived tenant permanently.

use crate::client::Client;
use crate::command::lifecycle::ask_for;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::Output;
use crate::program::{command, quoted};
use crate::terminal::{ask, can_ask};
use crate::time::short;
use crate::waiting::Patience;
use crate::wire::TenantRow;
use clap::Args;
use jiff::Timestamp;
use reqwest::Method;
use tenancy_api::document::Purge as Body;

const EXAMPLES: &str = "\
Examples:
  tenancy purge acme-eu         Asks for the id of the tenant.
  tenancy purge acme-eu --yes   For scripts.
  tenancy purge acme-eu --early Before the grace period ends, with an admin key.

The tenant must be archived, and its grace period must be over. The audit log is kept. The id is never reused.";

/// Arguments of `purge`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Purge {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(short, long)]
    yes: bool,
    /// Purge before the grace period ends; requires an admin key
    #[arg(long)]
    early: bool,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Purge) -> Result<Exit, Failure> {
    let name = naming::tenant(&given.name)?;
    let tenant: TenantRow = client.get(&["tenants", name]).await?.value;
    let id = &*tenant.tenant_id;
    let back = format!("undelete {}", quoted(id));
    // A purge cannot be undone. Unlike other commands, it asks for the id of the tenant.
    if !given.yes {
        if !can_ask() {
            let until = tenant.purge_after.filter(|at| *at > Timestamp::now()).map(|at| {
                format!(" Its grace period ends on {}; `{}` restores it until then.", short(at), command(&back))
            });
            let what = format!("This destroys the data of {id} permanently.{}", until.unwrap_or_default());
            return Err(Failure::usage(format!("{what} Without a terminal, `purge` needs --yes")));
        }
        if ask(&format!("This destroys the data of {id} permanently. Type the id of the tenant to confirm:"))? != id {
            return Err(Failure::refused("not confirmed: nothing was changed"));
        }
    }
    let request = client.v1(Method::POST, &["tenants", id, "purge"]).json(&Body { early: given.early.then_some(true) });
    ask_for(client, request, given.patience, given.output.output).await
}
