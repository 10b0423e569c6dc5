//! `job`: cancels jobs.

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
  tenancy job cancel acme-eu                     Cancels the open job.
  tenancy job cancel acme-eu job_018f4e9a --reason 'the certificate is not available'

Completed steps are not undone. The job is not retried automatically. A purge that has started cannot be cancelled.";

/// Arguments of `job cancel`.
#[derive(Args, Debug)]
#[command(after_help = CANCEL)]
pub struct Cancel {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT")]
    name: String,
    /// Id of the job. Default: the open job of the tenant
    #[arg(value_name = "JOB")]
    job: Option<String>,
    /// Reason, shown with the audit log; a purge deletes it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Cancels a job.
///
/// # Errors
/// Fails if the request fails or no job is open.
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
        let failure = Failure::refused(format!("no job is open on {name}"));
        failure.and_type(&format!("get jobs {}", quoted(name)))
    })
}
