//! `delete`: archives a tenant, closes an organization, or removes an environment.

use crate::allow::Allow;
use crate::client::Client;
use crate::command::lifecycle::{ask_for, confirm, finish};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ORGANIZATIONS, joined};
use crate::naming::{self, Name};
use crate::output::{Format, Output, one};
use crate::program::{command, quoted};
use crate::terminal::{remark, say};
use crate::time::short;
use crate::waiting::Patience;
use crate::wire::{Environment, Organization, Received, Tenant, TenantRow};
use clap::Args;
use reqwest::Method;
use tenancy_core::quotas::purge_after_days;
use tenancy_core::tenant::State;

const EXAMPLES: &str = "\
Examples:
  tenancy suspend acme-eu --reason 'contract ended'
  tenancy delete acme-eu --yes
  tenancy undelete acme-eu      Restores it within the grace period (policies.purgeAfterDays).
  tenancy delete environment acme-eu/dev --yes --allow remove-environment
  tenancy delete organization acme --yes

A tenant must be Suspended or Draft, without deletion protection and without a hold that keeps its data.
An organization is closed: its tenants remain, and new ones are refused.";

/// Arguments of `delete`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Delete {
    /// Tenant to archive; or a kind (tenant, organization or environment) and a name
    #[arg(value_name = "NAME", required = true, num_args = 1..=2)]
    names: Vec<String>,
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
pub async fn run(client: &Client, given: Delete) -> Result<Exit, Failure> {
    let names: Vec<_> = given.names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [name] | ["tenant" | "tenants", name] => tenant(client, name, &given).await,
        ["organization" | "organizations" | "org", name] => organization(client, name, &given).await,
        ["environment" | "environments" | "env", name] => environment(client, name, &given).await,
        _ => Err(Failure::usage("name a tenant, or tenant, organization or environment and its name")),
    }
}

async fn tenant(client: &Client, name: &str, given: &Delete) -> Result<Exit, Failure> {
    let segments = ["tenants", naming::tenant(name)?];
    let tenant: Tenant = client.get(&segments).await?.value;
    let TenantRow { tenant_id: id, state, version, .. } = &tenant.row;
    let environments = joined(tenant.environments.iter().map(|entry| &entry.name));
    let with = if environments.is_empty() { String::new() } else { format!(", with {environments}") };
    let days = purge_after_days(&tenant.row.policies);
    let back = command(&format!("undelete {}", quoted(id)));
    let what = format!(
        "This archives {id} ({state}{with}). Its data is purged after {days} days; `{back}` restores it until then."
    );
    confirm("delete", &what, given.yes)?;
    // Based on the version that was shown, so that a tenant that was changed in the meantime is not deleted.
    let request = client.v1(Method::DELETE, &segments).on_version(*version);
    let outcome = ask_for(client, request, given.patience, given.output.output).await;
    let outcome = outcome.map_err(|failure| match failure.code.as_deref() {
        Some("not_in_this_state") if *state == State::Active => {
            failure.and_type(&format!("suspend {} --reason 'to be deleted'", quoted(id)))
        }
        _ => failure,
    })?;
    let now: TenantRow = client.get(&["tenants", id]).await?.value;
    if let Some(at) = now.purge_after.filter(|_| now.state == State::Archived) {
        remark(&format!("its data is kept until {}; to restore it before then: {back}", short(at)));
    }
    Ok(outcome)
}

async fn organization(client: &Client, name: &str, given: &Delete) -> Result<Exit, Failure> {
    let segments = ["organizations", name];
    let organization: Organization = client.get(&segments).await?.value;
    let id = &organization.organization_id;
    let what = format!("This closes {id}: its tenants remain, and new ones are refused. It cannot be opened again.");
    confirm("delete", &what, given.yes)?;
    let request = client.v1(Method::DELETE, &segments).on_version(organization.version);
    let closed: Received<Organization> = request.receive().await?;
    match given.output.output {
        Format::Table | Format::Wide => say(&format!("organization {id} is closed"))?,
        format => one(&ORGANIZATIONS, &closed, format)?,
    }
    Ok(Exit::Done)
}

async fn environment(client: &Client, name: &str, given: &Delete) -> Result<Exit, Failure> {
    let Name::Environment(tenant, environment) = naming::resolved(client, name).await? else {
        return Err(Failure::usage(format!("name an environment as TENANT/ENVIRONMENT, not {name:?}")));
    };
    let segments = ["tenants", tenant, "environments", environment];
    let before: Environment = client.get(&segments).await?.value;
    let id = format!("{}/{}", before.tenant_id, before.entry.name);
    confirm("delete", &format!("This removes {id} and its data. It cannot be restored."), given.yes)?;
    let request = client.v1(Method::DELETE, &segments).on_version(before.entry.version);
    request.allow(&given.allow.allow).send().await?;
    if matches!(given.output.output, Format::Table | Format::Wide) {
        say(&format!("{id} is removed"))?;
    }
    let tenant: Received<Tenant> = client.get(&["tenants", &before.tenant_id]).await?;
    finish(client, (&tenant.value, &tenant.raw), None, given.patience, given.output.output).await
}
