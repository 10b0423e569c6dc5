//! `wait`: until a tenant is in its desired state, or a job ended.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::{JOBS, TENANTS};
use crate::naming;
use crate::output::{Format, Output, one, one_of};
use crate::progress::Progress;
use crate::terminal::{plain, say};
use crate::waiting::{MOST_SECONDS, Patience, Settled, settle, why};
use crate::wire::{Job, Received};
use clap::{Args, ValueEnum, value_parser};
use std::time::Duration;
use tenancy_api::Word;
use tenancy_core::job::JobState;
use tokio::time::{Instant, sleep};

/// Pause between two looks at a tenant that waits for something outside, such as the release of a hold.
const LOOK_SECONDS: u64 = 1;

const EXAMPLES: &str = "\
Examples:
  tenancy wait acme-eu                      until it is in its desired state
  tenancy wait acme-eu --state Archived
  tenancy wait --job acme-eu/job_018f4e9a
  tenancy wait acme-eu -o json              and print it as it is then

Ends with 0, or with 6 when a job failed, or with 7 when the time is up.";

/// Arguments of `wait`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Wait {
    /// A tenant, by its id or an alias
    #[arg(value_name = "TENANT", required_unless_present = "job", conflicts_with = "job")]
    name: Option<String>,
    /// Until this job ended
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Until the tenant is in this state, instead of the desired one
    #[arg(long, value_enum, ignore_case = true, conflicts_with = "job")]
    state: Option<State>,
    /// Stop waiting after so long (exit code 7)
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = value_parser!(u64).range(..=MOST_SECONDS))]
    timeout: u64,
    #[command(flatten)]
    output: Output,
}

/// A state that can be waited for.
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

/// Runs it.
///
/// # Errors
/// What the server says, the job that failed, or that time is up.
pub async fn run(client: &Client, given: Wait) -> Result<Exit, Failure> {
    let deadline = Patience { no_wait: false, timeout: given.timeout }.deadline();
    match (&given.name, &given.job) {
        (_, Some(job)) => for_job(client, job, deadline, &given).await,
        (Some(name), None) => for_tenant(client, naming::tenant(name)?, &given, deadline).await,
        (None, None) => Err(Failure::usage("wait for what? write: wait TENANT")),
    }
}

async fn for_tenant(client: &Client, name: &str, given: &Wait, deadline: Instant) -> Result<Exit, Failure> {
    let progress = Progress::of(1);
    let mut told = false;
    loop {
        let settled = settle(client, name, deadline, &progress).await?;
        let reached = match given.state {
            Some(state) => settled.tenant.value.row.state.as_str() == state.as_str(),
            None => settled.standing().is_reached(),
        };
        let over = settled.failed.is_some() || settled.timed_out;
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
        // Said at once: whoever can end what keeps it need not wait for the time to be up.
        if !told && given.state.is_none_or(|state| state == State::Active) {
            told = true;
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
                return Err(Failure::new(Exit::TimedOut, format!("{id} is still {state} after {} s", given.timeout)));
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
    fn must_wait_for_every_state_there_is() {
        let states: Vec<_> = State::value_variants().iter().map(|state| state.as_str()).collect();
        let words: Vec<_> = tenancy_core::tenant::State::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(states, words);
        let shown = State::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        assert!(shown.zip(words).all(|(value, word)| value.get_name() == word));
    }
}
