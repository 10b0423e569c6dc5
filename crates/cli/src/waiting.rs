//! Waiting until a tenant is at rest: in its desired state, kept from it by a hold, or with a job that failed.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::naming::newest_job;
use crate::program::{command, quoted};
use crate::progress::Progress;
use crate::standing::Standing;
use crate::wire::{Job, Received, Tenant};
use clap::{Args, value_parser};
use reqwest::Method;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::job::JobState;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most tenants that are waited for at once; the others follow.
const MAX_WAITING: usize = 16;
/// How long the server keeps a request for a job's end: short enough for a bar to move.
const SERVER_WAIT_SECONDS: u64 = 2;

/// Whether and how long to wait.
#[derive(Args, Debug, Clone, Copy)]
pub struct Patience {
    /// Do not wait for the jobs that this queues
    #[arg(long)]
    pub no_wait: bool,
    /// Stop waiting after so long (exit code 7); the jobs go on
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = value_parser!(u64).range(..=MOST_SECONDS))]
    pub timeout: u64,
}

/// The longest that anybody waits: a year.
pub const MOST_SECONDS: u64 = 365 * 24 * 3600;

impl Patience {
    /// Until when, from now on.
    pub fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.timeout)
    }
}

/// A tenant after the waiting.
#[derive(Debug, Clone)]
pub struct Settled {
    /// As it is.
    pub tenant: Received<Tenant>,
    /// The job that failed, and is why it is not in its desired state.
    pub failed: Option<Job>,
    /// Whether a job is still under way.
    pub timed_out: bool,
}

/// Waits until no job is open on a tenant.
///
/// # Errors
/// What the server says.
pub async fn settle(client: &Client, id: &str, deadline: Instant, progress: &Progress) -> Result<Settled, Failure> {
    let mut last: Option<Job> = None;
    loop {
        let tenant: Received<Tenant> = client.get(&["tenants", id]).await?;
        let Some(open) = &tenant.value.open_job else {
            progress.settled(id);
            // What failed before we came counts too, where the desired state is not reached.
            if last.is_none() && !Standing::of(&tenant.value).is_reached() {
                last = newest_job(client, id).await?.map(|job| job.value);
            }
            let failed = last.filter(|job| job.state == JobState::Failed);
            return Ok(Settled { tenant, failed, timed_out: false });
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Settled { tenant, failed: None, timed_out: true });
        }
        let seconds = SERVER_WAIT_SECONDS.min(left.as_secs() + 1);
        let request = client.v1(Method::GET, &["tenants", id, "jobs", &open.job_id]);
        let job: Job = request.query("wait_seconds", seconds.to_string()).receive().await?.value;
        progress.job(id, &job);
        last = Some(job);
    }
}

/// Waits for many tenants, some at a time; answers by their ids.
///
/// # Errors
/// The first that the server says; the others go on by themselves.
pub async fn settle_all(
    client: &Client,
    ids: &[String],
    deadline: Instant,
) -> Result<BTreeMap<String, Settled>, Failure> {
    let progress = Arc::new(Progress::of(ids.len()));
    let mut waiting = JoinSet::new();
    let mut left = ids.iter();
    let mut settled = BTreeMap::new();
    loop {
        while waiting.len() < MAX_WAITING
            && let Some(id) = left.next()
        {
            let (client, progress, id) = (client.clone(), Arc::clone(&progress), id.clone());
            waiting.spawn(async move { (settle(&client, &id, deadline, &progress).await, id) });
        }
        match waiting.join_next().await {
            Some(Ok((one, id))) => {
                let one = one.inspect_err(|_| progress.finish())?;
                settled.insert(id, one);
            }
            Some(Err(error)) => return Err(Failure::refused(format!("waiting broke off: {error}"))),
            None => break,
        }
    }
    progress.finish();
    Ok(settled)
}

impl Settled {
    /// What a person is told, and what a script: `Ok` with a line, or the failure.
    ///
    /// # Errors
    /// When its job failed, or is not over.
    pub fn verdict(&self, timeout_seconds: u64) -> Result<String, Failure> {
        let standing = self.standing();
        let tenant = &self.tenant.value.row;
        let id = &tenant.tenant_id;
        if self.timed_out {
            let obstacle = standing.obstacle().map(|obstacle| format!("; {obstacle}")).unwrap_or_default();
            let message = format!("{id} is still {} after {timeout_seconds} s{obstacle}", tenant.state);
            let next = self.remedy().unwrap_or_else(|| command(&format!("wait {}", quoted(id))));
            return Err(Failure::new(Exit::TimedOut, message).and(next));
        }
        if let Some(job) = &self.failed {
            let message = format!("{id} is {}: its {} job failed: {}", tenant.state, job.action, why(job));
            return Err(Failure::new(Exit::JobFailed, message).and_type(&format!("logs {}", quoted(id))));
        }
        Ok(standing.sentence())
    }

    /// How the tenant stands to its desired state.
    pub fn standing(&self) -> Standing<'_> {
        Standing::of(&self.tenant.value)
    }

    /// The command that removes what keeps the tenant from its desired state.
    pub fn remedy(&self) -> Option<String> {
        self.standing().remedy()
    }
}

/// Why a job failed.
pub fn why(job: &Job) -> &str {
    job.error.as_deref().or(job.error_code.as_deref()).unwrap_or("no reason was given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{job, tenant};
    use serde_json::json;

    #[test]
    fn must_fail_by_what_kept_it() {
        let tenant = tenant(json!({"state": "Draft", "desired_state": "Active", "waits_for": "job x"}));
        let settled = Settled { tenant, failed: None, timed_out: false };
        let late = Settled { timed_out: true, ..settled.clone() }.verdict(5).expect_err("late");
        assert_eq!(late.exit, Exit::TimedOut);
        assert_eq!(late.message, "acme-eu is still Draft after 5 s; job x");
        let job = job(json!({"state": "failed", "error": "no room: add a database"}));
        let failed = Settled { failed: Some(job.value), ..settled }.verdict(5).expect_err("failed");
        assert_eq!(failed.exit, Exit::JobFailed);
        assert_eq!(failed.message, "acme-eu is Draft: its create job failed: no room: add a database");
    }
}
