//! `access`: shows whether a tenant may be served, as gateways see it.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{column, pairs};
use crate::naming::{self, Name};
use crate::output::{Kind, Output, one};
use crate::table::Cell;
use crate::wire::Received;
use clap::Args;
use reqwest::Method;
use tenancy_api::access::Access as Answer;

const EXAMPLES: &str = "\
Examples:
  tenancy access acme-eu
  tenancy access acme-eu/prod
  tenancy access host:acme.example.com --environment prod -o json

The command ends with exit code 1 if the tenant must not be served.";

/// Arguments of `access`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Access {
    /// Name or alias of the tenant, or an environment as TENANT/ENVIRONMENT
    name: String,
    /// Environment of the tenant
    #[arg(long)]
    environment: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Access answers.
const ACCESS: Kind<Answer> = Kind {
    plural: "access",
    name: |access| access.tenant_id.clone(),
    columns: &[
        column!("TENANT", |access, _| Cell::new(&access.tenant_id)),
        column!("ENVIRONMENT", |access, _| Cell::maybe(access.environment.as_deref())),
        column!("ALLOWED", |access, _| Cell::new(if access.allowed { "yes" } else { "no" })),
        column!("REASON", |access, _| Cell::maybe(access.reason.as_ref().map(ToString::to_string))),
        column!("STATE", |access, _| Cell::state(Some(access.state.as_str()))),
        column!("REGION", |access, _| Cell::new(&access.region)),
        column!("QUOTAS", |access, _| Cell::new(pairs(&access.quotas))),
        column!("PLAN", wide, |access, _| Cell::maybe(access.plan.as_deref())),
        column!("VERSION", wide, |access, _| Cell::new(access.version.to_string())),
    ],
};

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Access) -> Result<Exit, Failure> {
    let (tenant, environment) = match (naming::name(&given.name), given.environment.as_deref()) {
        (Name::Environment(tenant, environment), None) => (tenant, Some(environment)),
        (Name::Environment(..), Some(_)) => {
            return Err(Failure::usage("name the environment once: with TENANT/ENVIRONMENT or with --environment"));
        }
        (Name::Tenant(tenant), environment) => (tenant, environment),
    };
    let request = client.v1(Method::GET, &["access"]).query("tenant", tenant).query_if("environment", environment);
    let found: Received<Answer> = request.receive().await?;
    one(&ACCESS, &found, given.output.output)?;
    Ok(if found.value.allowed { Exit::Done } else { Exit::Refused })
}
