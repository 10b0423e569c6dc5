//! `diff`: shows the differences between two versions of a tenant.

use crate::change;
use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming;
use crate::output::{Format, Output};
use crate::program::quoted;
use crate::terminal::{colours, say, write_data};
use crate::wire::{Received, TenantRow, TenantVersion};
use crate::yaml;
use clap::Args;
use serde_json::{Value, json};
use tenancy_api::applied::Difference;

const EXAMPLES: &str = "\
Examples:
  tenancy diff acme-eu 3        Compares version 3 with the newest version.
  tenancy diff acme-eu 2 3
  tenancy get versions acme-eu  Lists the versions.";

/// Arguments of `diff`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Older version
    #[arg(value_name = "V1")]
    from: i64,
    /// Newer version. Default: the newest version
    #[arg(value_name = "V2")]
    to: Option<i64>,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Diff) -> Result<Exit, Failure> {
    let tenant = naming::tenant(&given.name)?;
    let to = match given.to {
        Some(version) => version,
        None => current_version(client, tenant).await?,
    };
    let changes = between(&manifest(client, tenant, given.from).await?, &manifest(client, tenant, to).await?);
    match given.output.output {
        Format::Json => write_data(&yaml::json(&json!(changes))?)?,
        Format::Yaml => write_data(&yaml::yaml(&json!(changes))?)?,
        Format::Name => {
            for one in &changes {
                say(&change::place(&one.pointer))?;
            }
        }
        Format::Table | Format::Wide if changes.is_empty() => say("no differences")?,
        Format::Table | Format::Wide => {
            for line in change::lines(&changes, "", colours()) {
                say(&line)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns the current version of a tenant.
///
/// # Errors
/// Fails if the request fails.
pub async fn current_version(client: &Client, tenant: &str) -> Result<i64, Failure> {
    Ok(client.get::<TenantRow>(&["tenants", tenant]).await?.value.version)
}

/// Returns the manifest of a version.
///
/// # Errors
/// Fails if the request fails.
pub async fn manifest(client: &Client, tenant: &str, version: i64) -> Result<Value, Failure> {
    Ok(kept_version(client, tenant, version).await?.value.manifest.into_owned())
}

/// Returns a version.
///
/// # Errors
/// Fails if the request fails. If the version does not exist, suggests to list the versions.
pub async fn kept_version(client: &Client, tenant: &str, version: i64) -> Result<Received<TenantVersion>, Failure> {
    let kept = client.get(&["tenants", tenant, "versions", &version.to_string()]).await;
    kept.map_err(|failure| match failure.message.strip_prefix("there is no version") {
        Some(_) => Failure { message: format!("{tenant} has no version {version}"), ..failure }
            .and_type(&format!("get versions {}", quoted(tenant))),
        None => failure,
    })
}

/// Returns the changes from one manifest to another in the format of the server.
pub fn between(from: &Value, to: &Value) -> Vec<Difference> {
    tenancy_core::json::differences(from, to).into_iter().map(Difference::from).collect()
}
