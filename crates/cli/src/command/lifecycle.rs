//! What the verbs of the lifecycle have in common: asked for, accepted, waited for.

use crate::client::{Client, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ORGANIZATIONS, TENANTS, joined};
use crate::output::{Format, one, one_of};
use crate::program::quoted;
use crate::terminal::{ask, can_ask, remark, say};
use crate::waiting::{Patience, settle_all};
use crate::wire::{OpenJob, Organization, Received, Tenant};
use serde::Deserialize;
use serde_json::Value;
use tenancy_core::action::Action;

/// A change of the lifecycle that was accepted, with the tenant as it came.
#[derive(Deserialize)]
struct Accepted {
    tenant: Received<Tenant>,
    job: Option<OpenJob>,
}

/// Sends what asks for a transition, and waits for the jobs it queues.
pub async fn ask_for(
    client: &Client,
    request: Request<'_>,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let Accepted { tenant, job } = request.receive().await?.value;
    finish(client, (&tenant.value, &tenant.raw), job.as_ref(), patience, format).await
}

/// Sends what places or releases a hold on an organization, and says which stand. Its tenants follow by themselves.
///
/// # Errors
/// What the server says.
pub async fn ask_organization(request: Request<'_>, format: Format) -> Result<Exit, Failure> {
    let organization: Received<Organization> = request.receive().await?;
    if !matches!(format, Format::Table | Format::Wide) {
        return one(&ORGANIZATIONS, &organization, format).map(|()| Exit::Done);
    }
    let Organization { organization_id: id, holds, .. } = &organization.value;
    say(&match joined(holds.iter().flatten().map(|hold| &hold.hold)).as_str() {
        "" => format!("{id} has no hold: its tenants go where their own holds and manifests say"),
        holds => format!("{id} is held by {holds}, and all its tenants with it"),
    })?;
    let list = format!("get tenants --organization {}", quoted(id));
    remark(&format!("next: {}", crate::program::command(&list)));
    Ok(Exit::Done)
}

/// Waits for the jobs of an accepted change of a tenant, and says how the tenant is then. `asked_for` is the job of a change
/// of the lifecycle.
pub async fn finish(
    client: &Client,
    (tenant, raw): (&Tenant, &Value),
    asked_for: Option<&OpenJob>,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let id = tenant.row.tenant_id.to_string();
    if patience.no_wait {
        return match (format, asked_for.or(tenant.open_job.as_ref())) {
            (Format::Table | Format::Wide, Some(job)) => {
                say(&format!("{id}: {} is {} ({})", job.action, job.state, job.job_id))?;
                remark(&format!("next: {}", crate::program::command(&format!("wait {}", quoted(&id)))));
                Ok(Exit::Done)
            }
            (Format::Table | Format::Wide, None) => said(tenant),
            _ => one_of(&TENANTS, &tenant.row, raw, format).map(|()| Exit::Done),
        };
    }
    let settled = settle_all(client, std::slice::from_ref(&id), patience.deadline()).await?;
    let Some(settled) = settled.get(&id) else { return said(tenant) };
    let line = settled.verdict(patience.timeout)?;
    match format {
        // A caller who archived the tenant knows that it is not in the desired state of its manifest.
        Format::Table | Format::Wide if asked_for.is_some_and(|job| job.action == Action::Delete) => {
            return said(&settled.tenant.value);
        }
        Format::Table | Format::Wide => say(&line)?,
        _ => one_of(&TENANTS, &settled.tenant.value.row, &settled.tenant.raw, format)?,
    }
    if let Some(command) = settled.remedy() {
        remark(&format!("next: {command}"));
    }
    Ok(Exit::Done)
}

fn said(tenant: &Tenant) -> Result<Exit, Failure> {
    say(&format!("{} is {}", tenant.row.tenant_id, tenant.row.state))?;
    Ok(Exit::Done)
}

/// Asks a person for a yes; where nobody can be asked, what was typed is the yes.
///
/// # Errors
/// When the answer is no.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes || !can_ask() {
        return Ok(());
    }
    match ask(&format!("{question} [y/N]"))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("nothing was done")),
    }
}
