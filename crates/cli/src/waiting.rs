//! Waiting until a tenant is at rest: as wished, kept from it by a hold, or with a job that failed.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::text;
use crate::naming::newest_job;
use crate::program::{command, quoted};
use crate::progress::Progress;
use clap::{Args, value_parser};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
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
    pub tenant: Value,
    /// The job that failed, and is why it is not as wished.
    pub failed: Option<Value>,
    /// Whether a job is still under way.
    pub timed_out: bool,
}

/// Waits until no job is open on a tenant.
///
/// # Errors
/// What the server says.
pub async fn settle(client: &Client, id: &str, deadline: Instant, progress: &Progress) -> Result<Settled, Failure> {
    let mut last: Option<Value> = None;
    loop {
        let tenant = client.get(&["tenants", id]).await?.body;
        let open = tenant.get("open_job").and_then(|job| text(job, "job_id")).map(str::to_owned);
        let Some(job) = open else {
            progress.settled(id);
            // What failed before we came counts too, where the wish is not fulfilled.
            if last.is_none() && !as_wished(&tenant) {
                last = newest_job(client, id).await?;
            }
            let failed = last.filter(|job| text(job, "state") == Some("failed"));
            return Ok(Settled { tenant, failed, timed_out: false });
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Settled { tenant, failed: None, timed_out: true });
        }
        let seconds = SERVER_WAIT_SECONDS.min(left.as_secs() + 1);
        let request = client.v1(Method::GET, &["tenants", id, "jobs", &job]);
        let job = request.query("wait_seconds", seconds.to_string()).send().await?.body;
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

/// Whether a tenant's state is its wish. Without a wish it is as it is; a Draft has never been in service, so it is as good
/// as Suspended.
pub fn as_wished(tenant: &Value) -> bool {
    let state = text(tenant, "state");
    match text(tenant, "desired_state") {
        Some("Suspended") if state == Some("Draft") => true,
        wish => wish.is_none() || wish == state,
    }
}

impl Settled {
    /// What a person is told, and what a script: `Ok` with a line, or the failure.
    ///
    /// # Errors
    /// When its job failed, or is not over.
    pub fn verdict(&self, timeout_seconds: u64) -> Result<String, Failure> {
        let field = |name| text(&self.tenant, name);
        let id = field("tenant_id").unwrap_or_default();
        let state = field("state").unwrap_or_default();
        if self.timed_out {
            let waits = field("waits_for").map(|what| format!(": waits for {what}")).unwrap_or_default();
            let message = format!("{id} is still {state} after {timeout_seconds} s{waits}");
            let next = self.remedy().unwrap_or_else(|| command(&format!("wait {}", quoted(id))));
            return Err(Failure::new(Exit::TimedOut, message).and(next));
        }
        if let Some(job) = &self.failed {
            let action = text(job, "action").unwrap_or_default();
            let error = text(job, "error").or(text(job, "error_code")).unwrap_or("no reason was given");
            let message = format!("{id} is {state}: its {action} job failed: {error}");
            return Err(Failure::new(Exit::JobFailed, message).and_type(&format!("logs {}", quoted(id))));
        }
        Ok(match (field("desired_state"), field("waits_for")) {
            (Some(wish), Some(what)) if wish != state => format!("{id} is {state}, wished {wish}: waits for {what}"),
            _ => format!("{id} is {state}"),
        })
    }

    /// The command that ends what keeps a tenant from its wish: releases the hold, where there is exactly one, or takes it
    /// out of the archive.
    pub fn remedy(&self) -> Option<String> {
        if as_wished(&self.tenant) {
            return None;
        }
        let waits_for = text(&self.tenant, "waits_for")?;
        if text(&self.tenant, "state") == Some("Archived") && !waits_for.starts_with("job ") {
            return Some(command(&format!("undelete {}", quoted(text(&self.tenant, "tenant_id")?))));
        }
        let holds = self.tenant["holds"].as_array()?.iter();
        let named: Vec<_> = holds
            .filter_map(|hold| Some((text(hold, "hold")?, hold["organization"].as_bool() == Some(true))))
            .filter(|(hold, _)| waits_for.split([' ', ',']).any(|word| word == *hold))
            .collect();
        let [(hold, above)] = named.as_slice() else { return None };
        let whose = match above {
            true => format!("{} --organization", quoted(text(&self.tenant, "organization_id")?)),
            false => quoted(text(&self.tenant, "tenant_id")?).into_owned(),
        };
        Some(command(&match *hold {
            "operator" => format!("activate {whose}"),
            hold => format!("activate {whose} --hold {}", quoted(hold)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settled(tenant: Value) -> Settled {
        Settled { tenant, failed: None, timed_out: false }
    }

    #[test]
    fn must_take_a_draft_for_as_good_as_suspended_and_for_nothing_else() {
        for (state, wish, reached) in [
            ("Draft", json!(null), true),
            ("Draft", json!("Suspended"), true),
            ("Draft", json!("Active"), false),
            ("Active", json!("Suspended"), false),
            ("Archived", json!("Suspended"), false),
            ("Suspended", json!("Suspended"), true),
        ] {
            let tenant = json!({"state": state, "desired_state": wish});
            assert_eq!(as_wished(&tenant), reached, "{tenant}");
        }
    }

    #[test]
    fn must_say_what_keeps_a_tenant_from_its_wish() {
        let held = settled(json!({
            "tenant_id": "acme-eu", "state": "Suspended", "desired_state": "Active",
            "waits_for": "the release of hold billing", "holds": [{"hold": "billing", "organization": false}],
        }));
        assert_eq!(
            held.verdict(1).expect("no failure"),
            "acme-eu is Suspended, wished Active: waits for the release of hold billing"
        );
        assert!(held.remedy().expect("a command").ends_with("activate acme-eu --hold billing"));
        let above = settled(json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "state": "Suspended", "desired_state": "Active",
            "waits_for": "the release of hold billing on organization acme",
            "holds": [{"hold": "legal", "organization": false}, {"hold": "billing", "organization": true}],
        }));
        assert!(above.remedy().expect("a command").ends_with("activate acme --organization --hold billing"));
        let archived = settled(json!({
            "tenant_id": "acme-eu", "state": "Archived", "desired_state": "Active", "waits_for": "its undeletion",
        }));
        assert_eq!(
            archived.verdict(1).expect("no failure"),
            "acme-eu is Archived, wished Active: waits for its undeletion"
        );
        assert!(archived.remedy().expect("a command").ends_with("undelete acme-eu"));
        let wished = settled(json!({"tenant_id": "acme-eu", "state": "Active", "desired_state": "Active"}));
        assert_eq!((wished.verdict(1).expect("no failure").as_str(), wished.remedy()), ("acme-eu is Active", None));
    }

    #[test]
    fn must_fail_by_what_kept_it() {
        let tenant = json!({"tenant_id": "acme-eu", "state": "Draft", "desired_state": "Active", "waits_for": "job x"});
        let late = Settled { timed_out: true, ..settled(tenant.clone()) };
        assert_eq!(late.verdict(5).expect_err("late").exit, Exit::TimedOut);
        let job = json!({"action": "create", "state": "failed", "error": "no room: add a database"});
        let failed = Settled { failed: Some(job), ..settled(tenant) }.verdict(5).expect_err("failed");
        assert_eq!(failed.exit, Exit::JobFailed);
        assert_eq!(failed.message, "acme-eu is Draft: its create job failed: no room: add a database");
    }
}
