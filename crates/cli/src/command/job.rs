//! `job`: cancels what is under way.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::JOBS;
use crate::naming;
use crate::output::{Format, Output, one};
use crate::program::{command, quoted};
use crate::terminal::{remark, say};
use crate::wire::{Job, Received, Tenant};
use clap::Args;
use reqwest::Method;
use tenancy_api::document::Cancellation;

const CANCEL: &str = "\
Examples:
  tenancy job cancel acme-eu                     the job that is open
  tenancy job cancel acme-eu job_018f4e9a --reason 'the certificate will not come'

What its steps have done stays. It is not tried again by itself; a purge that was begun cannot be cancelled.";

/// Arguments of `job cancel`.
#[derive(Args, Debug)]
#[command(after_help = CANCEL)]
pub struct Cancel {
    /// A tenant, by its id or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// The job's id; the one that is open when left out
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Why; kept beside the audit log, and gone with a purge
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Cancels a job.
///
/// # Errors
/// What the server says, or that no job is open.
pub async fn cancel(client: &Client, given: Cancel) -> Result<Exit, Failure> {
    let name = naming::tenant(&given.name)?;
    let id = match given.job {
        Some(id) => id,
        None => open_job(client, name).await?,
    };
    let request = client.v1(Method::POST, &["tenants", name, "jobs", &id, "cancel"]);
    let job: Received<Job> = request.json(&Cancellation { reason: given.reason }).receive().await?;
    if !matches!(given.output.output, Format::Table | Format::Wide) {
        return one(&JOBS, &job, given.output.output).map(|()| Exit::Done);
    }
    let Job { tenant_id: tenant, action, job_id, .. } = &job.value;
    say(&format!("{tenant}: {action} is cancelled ({job_id})"))?;
    remark(&format!("next: {}", command(&format!("describe tenant {}", quoted(tenant)))));
    Ok(Exit::Done)
}

async fn open_job(client: &Client, name: &str) -> Result<String, Failure> {
    let tenant: Tenant = client.get(&["tenants", name]).await?.value;
    tenant.open_job.map(|job| job.job_id.into_owned()).ok_or_else(|| {
        let failure = Failure::refused(format!("{name} has no job that is open: there is nothing to cancel"));
        failure.and_type(&format!("get jobs {}", quoted(name)))
    })
}
