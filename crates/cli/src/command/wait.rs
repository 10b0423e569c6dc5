//! `wait`: waits until a tenant is in its desired state, or until a job ends.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{JOBS, TENANTS};
use crate::naming;
use crate::output::{Format, Output, one, one_of};
use crate::program::{command, quoted};
use crate::progress::Progress;
use crate::terminal::{plain, say};
use crate::waiting::{MAX_TIMEOUT_SECONDS, Patience, Settled, settle, why};
use crate::wire::{Job, Received, Tenant};
use clap::{Args, ValueEnum, value_parser};
use std::time::Duration;
use tenancy_api::Word;
use tenancy_core::job::JobState;
use tokio::time::{Instant, sleep};

/// Interval of polling a tenant without an open job, such as one that waits for the release of a hold.
const LOOK_SECONDS: u64 = 1;

const EXAMPLES: &str = "\
Examples:
  tenancy wait acme-eu                      Wait until it is in its desired state.
  tenancy wait acme-eu --state Archived
  tenancy wait --job acme-eu/job_018f4e9a
  tenancy wait acme-eu -o json              Print the tenant after the wait.

Exit code: 0 when the state is reached, 6 if a job failed, 7 after the timeout.";

/// Arguments of `wait`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Wait {
    /// Id of the tenant, or an alias such as stripe:cus_9s6
    #[arg(value_name = "TENANT", required_unless_present = "job", conflicts_with = "job")]
    name: Option<String>,
    /// Wait until this job ends
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Wait for this state instead of the desired state
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "job")]
    state: Option<State>,
    /// Stop waiting after this time (exit code 7)
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = value_parser!(u64).range(..=MAX_TIMEOUT_SECONDS))]
    timeout: u64,
    #[command(flatten)]
    output: Output,
}

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum State {
    Draft,
    Active,
    Suspended,
    Archived,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Active => "Active",
            Self::Suspended => "Suspended",
            Self::Archived => "Archived",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Fails if a request or the job fails, or after the timeout.
pub async fn run(client: &Client, given: Wait) -> Result<Exit, Failure> {
    let deadline = Patience { no_wait: false, timeout: given.timeout }.deadline();
    match (&given.name, &given.job) {
        (_, Some(job)) => for_job(client, job, deadline, &given).await,
        (Some(name), None) => for_tenant(client, naming::tenant(name)?, &given, deadline).await,
        (None, None) => Err(Failure::usage(format!("name a tenant or a job: {}", command("wait TENANT")))),
    }
}

/// Fails for a tenant that does not come back by itself: it is purged, or archived before the state is reached.
fn out_of_service_for_good(tenant: &Tenant, reached: bool) -> Result<(), Failure> {
    let id = &tenant.row.tenant_id;
    if tenant.row.purged_at.is_some() {
        return Err(Failure::refused(format!("{id} is purged: its data is destroyed, and its id stays taken")));
    }
    let is_archived = tenant.row.state.as_str() == State::Archived.as_str() && tenant.open_job.is_none();
    match is_archived && !reached {
        true => Err(Failure::refused(format!("{id} is Archived")).and_type(&format!("undelete {}", quoted(id)))),
        false => Ok(()),
    }
}

async fn for_tenant(client: &Client, name: &str, given: &Wait, deadline: Instant) -> Result<Exit, Failure> {
    let progress = Progress::of(1);
    let mut is_reason_printed = false;
    loop {
        let settled = settle(client, name, deadline, &progress).await?;
        let reached = match given.state {
            Some(state) => settled.tenant.value.row.state.as_str() == state.as_str(),
            None => settled.standing().is_reached(),
        };
        let over = settled.failed.is_some() || settled.timed_out;
        if !over && given.state.is_none_or(|state| state != State::Archived) {
            out_of_service_for_good(&settled.tenant.value, reached).inspect_err(|_| progress.finish())?;
        }
        if over || reached {
            progress.finish();
            let line = settled.verdict(given.timeout)?;
            match given.output.output {
                Format::Table | Format::Wide => say(&line)?,
                format => one_of(&TENANTS, &settled.tenant.value.row, &settled.tenant.raw, format)?,
            }
            return Ok(Exit::Done);
        }
        if Instant::now() >= deadline {
            progress.finish();
            return Settled { timed_out: true, ..settled }.verdict(given.timeout).map(|_| Exit::TimedOut);
        }
        // Print the reason now, so that the user can act on it before the timeout.
        if !is_reason_printed && given.state.is_none_or(|state| state == State::Active) {
            is_reason_printed = true;
            progress.remark(&plain(&settled.verdict(given.timeout)?));
            settled.remedy().into_iter().for_each(|command| progress.remark(&format!("next: {command}")));
        }
        sleep(Duration::from_secs(LOOK_SECONDS)).await;
    }
}

async fn for_job(client: &Client, name: &str, deadline: Instant, given: &Wait) -> Result<Exit, Failure> {
    let progress = Progress::of(1);
    let mut job: Received<Job> = naming::job(client, name).await?;
    loop {
        let Job { tenant_id: tenant, job_id: id, action, state, .. } = &job.value;
        progress.job(tenant, &job.value);
        match state {
            Word::Known(JobState::Completed) => {
                progress.finish();
                match given.output.output {
                    Format::Table | Format::Wide => say(&format!("{id} ({action} of {tenant}) is completed"))?,
                    format => one(&JOBS, &job, format)?,
                }
                return Ok(Exit::Done);
            }
            Word::Known(JobState::Failed) => {
                progress.finish();
                let message = format!("{id} ({action} of {tenant}) failed: {}", why(&job.value));
                return Err(Failure::new(Exit::JobFailed, message).and_type(&format!("logs {tenant}/{id}")));
            }
            state if Instant::now() >= deadline => {
                progress.finish();
                let waits = job.value.waiting_for.as_ref().map(|what| format!("; it waits for {what}"));
                let message = format!("{id} is still {state} after {} s{}", given.timeout, waits.unwrap_or_default());
                return Err(Failure::new(Exit::TimedOut, message));
            }
            _ => {}
        }
        let request = client.v1(reqwest::Method::GET, &["tenants", tenant, "jobs", id]);
        job = request.query("wait_seconds", "2").receive().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use clap::ValueEnum;

    #[test]
    fn must_accept_every_state() {
        let states: Vec<_> = State::value_variants().iter().map(|state| state.as_str()).collect();
        let words: Vec<_> = tenancy_core::tenant::State::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(states, words);
        let shown = State::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        assert!(shown.zip(words).all(|(value, word)| value.get_name() == word));
    }
}
