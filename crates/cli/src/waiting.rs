//! Waits until no job is open on a tenant: it is in its desired state, a hold prevents that, or a job failed.

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
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::job::JobState;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Maximum number of tenants to wait for at the same time.
const MAX_WAITING: usize = 16;
/// Time that the server holds a request until the job ends. Short, so that the progress bar moves.
const SERVER_WAIT_SECONDS: u64 = 2;

/// Whether and how long to wait.
#[derive(Args, Debug, Clone, Copy)]
pub struct Patience {
    /// Do not wait for the queued jobs
    #[arg(long)]
    pub no_wait: bool,
    /// Stop waiting after this time (exit code 7); the jobs continue
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = value_parser!(u64).range(..=MAX_TIMEOUT_SECONDS))]
    pub timeout: u64,
}

/// Maximum value of `--timeout`: one year.
pub const MAX_TIMEOUT_SECONDS: u64 = 365 * 24 * 3600;

impl Patience {
    /// Returns the end of the timeout, starting now.
    pub fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.timeout)
    }
}

/// A tenant after the wait.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Current tenant.
    pub tenant: Received<Tenant>,
    /// Failed job, which is the reason that the tenant is not in its desired state.
    pub failed: Option<Job>,
    /// Whether a job is still open.
    pub timed_out: bool,
    /// What the open job waits for.
    pub waiting_for: Option<String>,
}

/// Waits until no job is open on a tenant.
///
/// # Errors
/// Fails if the request fails.
pub async fn settle(client: &Client, id: &str, deadline: Instant, progress: &Progress) -> Result<Settled, Failure> {
    let mut last: Option<Job> = None;
    loop {
        let tenant: Received<Tenant> = client.get(&["tenants", id]).await?;
        let Some(open) = &tenant.value.open_job else {
            progress.settled(id);
            // A job that failed before this command counts too if the desired state is not reached.
            if last.is_none() && !Standing::of(&tenant.value).is_reached() {
                last = newest_job(client, id).await?.map(|job| job.value);
            }
            let failed = last.filter(|job| job.state == JobState::Failed);
            return Ok(Settled { tenant, failed, timed_out: false, waiting_for: None });
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let waiting_for = last.and_then(|job| job.waiting_for).map(Cow::into_owned);
            return Ok(Settled { tenant, failed: None, timed_out: true, waiting_for });
        }
        let seconds = SERVER_WAIT_SECONDS.min(left.as_secs() + 1);
        let request = client.v1(Method::GET, &["tenants", id, "jobs", &open.job_id]);
        let job: Job = request.query("wait_seconds", seconds.to_string()).receive().await?.value;
        progress.job(id, &job);
        last = Some(job);
    }
}

/// Waits for many tenants, at most `MAX_WAITING` at a time. Returns the results by tenant id.
///
/// # Errors
/// Fails with the first failed request. The jobs of the other tenants continue.
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
            Some(Err(error)) => return Err(Failure::refused(format!("the wait was interrupted: {error}"))),
            None => break,
        }
    }
    progress.finish();
    Ok(settled)
}

impl Settled {
    /// Returns the line to print, or the failure.
    ///
    /// # Errors
    /// Fails if the job of the tenant failed or is still open.
    pub fn verdict(&self, timeout_seconds: u64) -> Result<String, Failure> {
        let standing = self.standing();
        let tenant = &self.tenant.value.row;
        let id = &tenant.tenant_id;
        if self.timed_out {
            let obstacle = standing.obstacle().map(|obstacle| format!("; {obstacle}")).unwrap_or_default();
            let waits = self.waiting_for.as_ref().map(|what| format!(", which waits for {what}")).unwrap_or_default();
            let message = format!("{id} is still {} after {timeout_seconds} s{obstacle}{waits}", tenant.state);
            let next = self.remedy().unwrap_or_else(|| command(&format!("wait {}", quoted(id))));
            return Err(Failure::new(Exit::TimedOut, message).and(next));
        }
        if let Some(job) = &self.failed {
            let message = format!("{id} is {}: its {} job failed: {}", tenant.state, job.action, why(job));
            return Err(Failure::new(Exit::JobFailed, message).and_type(&format!("logs {}", quoted(id))));
        }
        Ok(standing.sentence())
    }

    /// Compares the tenant with its desired state.
    pub fn standing(&self) -> Standing<'_> {
        Standing::of(&self.tenant.value)
    }

    /// Returns the command that lets the tenant reach its desired state.
    pub fn remedy(&self) -> Option<String> {
        self.standing().remedy()
    }
}

/// Returns the reason of a failed job.
pub fn why(job: &Job) -> &str {
    job.error.as_deref().or(job.error_code.as_deref()).unwrap_or("no reason was recorded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{job, tenant};
    use serde_json::json;

    #[test]
    fn must_fail_with_the_reason_that_the_desired_state_is_not_reached() {
        let tenant = tenant(json!({"state": "Draft", "desired_state": "Active", "waits_for": "job x"}));
        let settled = Settled { tenant, failed: None, timed_out: false, waiting_for: None };
        let late = Settled { timed_out: true, ..settled.clone() }.verdict(5).expect_err("late");
        assert_eq!(late.exit, Exit::TimedOut);
        assert_eq!(late.message, "acme-eu is still Draft after 5 s; job x");
        let job = job(json!({"state": "failed", "error": "no capacity: add a database"}));
        let failed = Settled { failed: Some(job.value), ..settled }.verdict(5).expect_err("failed");
        assert_eq!(failed.exit, Exit::JobFailed);
        assert_eq!(failed.message, "acme-eu is Draft: its create job failed: no capacity: add a database");
    }
}
