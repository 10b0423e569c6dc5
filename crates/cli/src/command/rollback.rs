//! `rollback`: restores an earlier version of a tenant as a new version.

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
use crate::program::{command, quoted};
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

The manifest of that version becomes a new version. Holds and the state are not part of a manifest and stay.";

/// Arguments of `rollback`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Rollback {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Version to restore
    version: i64,
    /// Skip the confirmation prompt; required without a terminal
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request or a job fails.
pub async fn run(client: &Client, given: Rollback) -> Result<Exit, Failure> {
    let tenant = naming::tenant(&given.name)?;
    let current = current_version(client, tenant).await?;
    let wanted = manifest(client, tenant, given.version).await?;
    let changes = between(&manifest(client, tenant, current).await?, &wanted);
    if changes.is_empty() {
        remark(&format!("unchanged: versions {current} and {} are equal", given.version));
        if !matches!(given.output.output, Format::Table | Format::Wide) {
            one(&TENANTS, &client.get(&["tenants", tenant]).await?, given.output.output)?;
        }
        return Ok(Exit::Done);
    }
    remark(&format!("changes from version {current} to the manifest of version {}:", given.version));
    change::lines(&changes, "  ", error_colours()).iter().for_each(|line| remark(line));
    let what = format!(
        "This restores the manifest of version {} as a new version; `{}` undoes it.",
        given.version,
        command(&format!("rollback {} {current}", quoted(tenant)))
    );
    confirm("rollback", &what, given.yes)?;
    // Based on the version that was compared, so that a concurrent change is not overwritten.
    let request =
        client.v1(Method::PUT, &["tenants", tenant]).on_version(current).allow(&given.allow.allow).json(&wanted);
    let after: Received<Written<Tenant>> = request.receive().await?;
    let Written { view, warnings } = &after.value;
    change::warnings(warnings, "", error_colours()).iter().for_each(|line| remark(line));
    finish(client, (view, &after.raw), None, given.patience, given.output.output).await
}
