//! `rollback`: puts an earlier version back, as a new one.

use crate::allow::Allow;
use crate::change;
use crate::client::Client;
use crate::command::diff::{between, current_version, manifest};
use crate::command::lifecycle::{confirm, finish};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::TENANTS;
use crate::naming;
use crate::output::{Format, Output, one};
use crate::terminal::{error_colours, remark};
use crate::waiting::Patience;
use crate::wire::{Received, Tenant};
use clap::Args;
use reqwest::Method;
use tenancy_api::written::Written;

const EXAMPLES: &str = "\
Examples:
  tenancy get versions acme-eu
  tenancy rollback acme-eu 2
  tenancy rollback acme-eu 2 --yes --allow move-region

The manifest of that version becomes a new version; holds and state are none of a manifest's.";

/// Arguments of `rollback`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Rollback {
    /// A tenant, by its id or an alias
    #[arg(value_name = "TENANT")]
    name: String,
    /// The version to put back
    version: i64,
    /// Do not ask; where nobody can be asked, what was typed is the yes
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
///
/// # Errors
/// What the server says, or the job that failed.
pub async fn run(client: &Client, given: Rollback) -> Result<Exit, Failure> {
    let tenant = naming::tenant(&given.name)?;
    let current = current_version(client, tenant).await?;
    let wanted = manifest(client, tenant, given.version).await?;
    let changes = between(&manifest(client, tenant, current).await?, &wanted);
    if changes.is_empty() {
        remark(&format!("unchanged: version {current} says the same as version {}", given.version));
        if !matches!(given.output.output, Format::Table | Format::Wide) {
            one(&TENANTS, &client.get(&["tenants", tenant]).await?, given.output.output)?;
        }
        return Ok(Exit::Done);
    }
    remark(&format!("from version {current} back to what version {} said:", given.version));
    change::lines(&changes, "  ", error_colours()).iter().for_each(|line| remark(line));
    confirm("go on?", given.yes)?;
    // On the version that the plan was made for: what changed meanwhile is not undone unseen.
    let request =
        client.v1(Method::PUT, &["tenants", tenant]).on_version(current).allow(&given.allow.allow).json(&wanted);
    let after: Received<Written<Tenant>> = request.receive().await?;
    let Written { view, warnings } = &after.value;
    change::warnings(warnings, "", error_colours()).iter().for_each(|line| remark(line));
    finish(client, (view, &after.raw), None, given.patience, given.output.output).await
}
