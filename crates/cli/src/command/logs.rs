//! `logs`: prints the log of a job.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{JOBS, percent};
use crate::naming;
use crate::output::{Format, Output, one};
use crate::terminal::{plain, remark, write};
use crate::wire::Job;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  tenancy logs acme-eu                    Prints the log of its newest job.
  tenancy logs acme-eu/job_018f4e9a
  tenancy logs acme-eu -o json            Prints the whole job.
  tenancy get jobs acme-eu                Lists the jobs.";

/// Arguments of `logs`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Logs {
    /// Job, or tenant for its newest job
    #[arg(value_name = "JOB or TENANT")]
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// Fails if the request fails.
pub async fn run(client: &Client, given: Logs) -> Result<Exit, Failure> {
    let name = given.name.as_str();
    let job = match naming::is_job(name) || naming::job_of_tenant(name).is_some() {
        true => Some(naming::job(client, name).await?),
        false => naming::newest_job(client, name).await?,
    };
    let Some(job) = job else {
        remark(&format!("{name} has no job"));
        return Ok(Exit::Done);
    };
    if !matches!(given.output.output, Format::Table | Format::Wide) {
        return one(&JOBS, &job, given.output.output).map(|()| Exit::Done);
    }
    let Job { action, tenant_id, state, progress, logs, .. } = &job.value;
    remark(&plain(&format!("{action} of {tenant_id}, {state} ({})", percent(*progress))));
    let logs = logs.as_deref().unwrap_or_default();
    let end = if logs.is_empty() || logs.ends_with('\n') { "" } else { "\n" };
    write(&format!("{}{end}", plain(logs)))?;
    Ok(Exit::Done)
}
