//! What the verbs of the lifecycle have in common: asked for, accepted, waited for.

use crate::client::{Answer, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{ORGANIZATIONS, TENANTS, names, text};
use crate::output::{Format, one};
use crate::program::quoted;
use crate::terminal::{ask, can_ask, remark, say};
use crate::waiting::{Patience, settle_all};
use serde_json::Value;

/// Sends what asks for a transition, and waits for the jobs it queues.
pub async fn ask_for(
    client: &crate::client::Client,
    request: Request<'_>,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let answer = request.send().await?;
    finish(client, answer, patience, format).await
}

/// Sends what places or releases a hold on an organization, and says which stand. Its tenants follow by themselves.
///
/// # Errors
/// What the server says.
pub async fn ask_organization(request: Request<'_>, format: Format) -> Result<Exit, Failure> {
    let organization = request.send().await?.body;
    if !matches!(format, Format::Table | Format::Wide) {
        return one(&ORGANIZATIONS, &organization, format).map(|()| Exit::Done);
    }
    let id = text(&organization, "organization_id").unwrap_or_default();
    say(&match names(organization.get("holds"), "hold").as_str() {
        "" => format!("{id} has no hold: its tenants go where their own holds and manifests say"),
        holds => format!("{id} is held by {holds}, and all its tenants with it"),
    })?;
    let list = format!("get tenants --organization {}", quoted(id));
    remark(&format!("next: {}", crate::program::command(&list)));
    Ok(Exit::Done)
}

/// Waits for the jobs of an accepted change, and says how the tenant is then.
pub async fn finish(
    client: &crate::client::Client,
    answer: Answer,
    patience: Patience,
    format: Format,
) -> Result<Exit, Failure> {
    let accepted = answer.body;
    // A change of a manifest answers with the tenant itself, one of the lifecycle with the tenant in it.
    let tenant = accepted.get("tenant").unwrap_or(&accepted);
    let id = text(tenant, "tenant_id").unwrap_or_default().to_owned();
    let job = accepted.get("job").or(tenant.get("open_job")).filter(|job| !job.is_null());
    let asked_for = accepted.get("job").and_then(|job| text(job, "action"));
    if patience.no_wait {
        return match (format, job) {
            (Format::Table | Format::Wide, Some(job)) => {
                say(&format!("{id}: {}", queued(job)))?;
                remark(&format!("next: {}", crate::program::command(&format!("wait {}", quoted(&id)))));
                Ok(Exit::Done)
            }
            (Format::Table | Format::Wide, None) => said(&id, tenant),
            _ => one(&TENANTS, tenant, format).map(|()| Exit::Done),
        };
    }
    let settled = settle_all(client, std::slice::from_ref(&id), patience.deadline()).await?;
    let Some(settled) = settled.get(&id) else { return said(&id, tenant) };
    let line = settled.verdict(patience.timeout)?;
    match format {
        // Whoever archived it knows that it is not as its manifest wishes.
        Format::Table | Format::Wide if asked_for == Some("delete") => return said(&id, &settled.tenant),
        Format::Table | Format::Wide => say(&line)?,
        _ => one(&TENANTS, &settled.tenant, format)?,
    }
    if let Some(command) = settled.remedy() {
        remark(&format!("next: {command}"));
    }
    Ok(Exit::Done)
}

fn said(id: &str, tenant: &Value) -> Result<Exit, Failure> {
    say(&format!("{id} is {}", text(tenant, "state").unwrap_or_default()))?;
    Ok(Exit::Done)
}

fn queued(job: &Value) -> String {
    let field = |name| text(job, name).unwrap_or_default();
    format!("{} is {} ({})", field("action"), field("state"), field("job_id"))
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
