//! Functions shared by the lifecycle commands: send the request, then wait for the job.

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

/// Response to an accepted lifecycle request.
#[derive(Deserialize)]
struct Accepted {
    tenant: Received<Tenant>,
    job: Option<OpenJob>,
}

/// Sends a lifecycle request and waits for the queued jobs.
pub async fn ask_for(
    client: &Client,
    request: Request<'_>,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let Accepted { tenant, job } = request.receive().await?.value;
    finish(client, (&tenant.value, &tenant.raw), job.as_ref(), patience, format).await
}

/// Sends a request that places or releases a hold on an organization, and prints its holds. Does not wait for the
/// tenants.
///
/// # Errors
/// Fails if the request fails.
pub async fn ask_organization(request: Request<'_>, format: Format) -> Result<Exit, Failure> {
    let organization: Received<Organization> = request.receive().await?;
    if !matches!(format, Format::Table | Format::Wide) {
        return one(&ORGANIZATIONS, &organization, format).map(|()| Exit::Done);
    }
    let Organization { organization_id: id, holds, .. } = &organization.value;
    say(&match joined(holds.iter().flatten().map(|hold| &hold.hold)).as_str() {
        "" => format!("{id} has no hold: the manifests and holds of its tenants apply"),
        holds => format!("{id} and all its tenants are held by {holds}"),
    })?;
    let list = format!("get tenants --organization {}", quoted(id));
    remark(&format!("next: {}", crate::program::command(&list)));
    Ok(Exit::Done)
}

/// Waits for the jobs after an accepted change of a tenant, and prints its state. `requested` is the job of a lifecycle
/// request.
pub async fn finish(
    client: &Client,
    (tenant, raw): (&Tenant, &Value),
    requested: Option<&OpenJob>,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let id = tenant.row.tenant_id.to_string();
    if patience.no_wait {
        return match (format, requested.or(tenant.open_job.as_ref())) {
            (Format::Table | Format::Wide, Some(job)) => {
                say(&format!("{id}: {} is requested ({})", job.action, job.job_id))?;
                remark(&format!("next: {}", crate::program::command(&format!("wait {}", quoted(&id)))));
                Ok(Exit::Done)
            }
            (Format::Table | Format::Wide, None) => print_state(tenant),
            _ => one_of(&TENANTS, &tenant.row, raw, format).map(|()| Exit::Done),
        };
    }
    let settled = settle_all(client, std::slice::from_ref(&id), patience.deadline()).await?;
    let Some(settled) = settled.get(&id) else { return print_state(tenant) };
    let line = settled.verdict(patience.timeout)?;
    match format {
        Format::Table | Format::Wide if requested.is_some_and(|job| job.action == Action::Purge) => {
            return print_state(&settled.tenant.value);
        }
        // After `delete`, the difference between Archived and the desired state is expected.
        Format::Table | Format::Wide if requested.is_some_and(|job| job.action == Action::Delete) => {
            return print_state(&settled.tenant.value);
        }
        Format::Table | Format::Wide => say(&line)?,
        _ => one_of(&TENANTS, &settled.tenant.value.row, &settled.tenant.raw, format)?,
    }
    if let Some(command) = settled.remedy() {
        remark(&format!("next: {command}"));
    }
    if let Some(hint) = settled.standing().draft_hint() {
        remark(&hint);
    }
    Ok(Exit::Done)
}

fn print_state(tenant: &Tenant) -> Result<Exit, Failure> {
    match tenant.row.purged_at {
        Some(_) => say(&format!("{} is purged", tenant.row.tenant_id))?,
        None => say(&format!("{} is {}", tenant.row.tenant_id, tenant.row.state))?,
    }
    Ok(Exit::Done)
}

/// Asks for confirmation. `what` says what the command does, and how to undo it.
///
/// # Errors
/// Fails if the answer is not yes, and without a terminal: it then requires `--yes`.
pub fn confirm(verb: &str, what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !can_ask() {
        return Err(Failure::usage(format!("{what} Without a terminal, `{verb}` needs --yes")));
    }
    match ask(&format!("{what} Continue? [y/N]"))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("not confirmed: nothing was changed")),
    }
}
