//! `wait`: until a tenant is as wished, or a job ended.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::text;
use crate::naming;
use crate::progress::Progress;
use crate::terminal::say;
use crate::waiting::{Patience, Settled, as_wished, settle};
use clap::Args;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pause between two looks at a tenant that waits for something outside, such as the release of a hold.
const LOOK_SECONDS: u64 = 1;

const EXAMPLES: &str = "\
Examples:
  tenancy wait acme-eu                      until its state is its wish
  tenancy wait acme-eu --state Archived
  tenancy wait --job acme-eu/job_018f4e9a

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
    /// Until the tenant is in this state, instead of the wished one
    #[arg(long, conflicts_with = "job")]
    state: Option<String>,
    /// Stop waiting after so long (exit code 7)
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
}

/// Runs it.
///
/// # Errors
/// What the server says, the job that failed, or that time is up.
pub async fn run(client: &Client, given: Wait) -> Result<Exit, Failure> {
    let deadline = Patience { no_wait: false, timeout: given.timeout }.deadline();
    match (&given.name, &given.job) {
        (_, Some(job)) => for_job(client, job, deadline, given.timeout).await,
        (Some(name), None) => for_tenant(client, naming::tenant(name)?, &given, deadline).await,
        (None, None) => Err(Failure::usage("wait for what? write: wait TENANT")),
    }
}

async fn for_tenant(client: &Client, name: &str, given: &Wait, deadline: Instant) -> Result<Exit, Failure> {
    let progress = Progress::of(1);
    loop {
        let settled = settle(client, name, deadline, &progress).await?;
        let reached = match &given.state {
            Some(state) => text(&settled.tenant, "state") == Some(state),
            None => as_wished(&settled.tenant),
        };
        let over = settled.failed.is_some() || settled.timed_out;
        if over || reached {
            progress.finish();
            say(&settled.verdict(given.timeout)?)?;
            return Ok(Exit::Done);
        }
        if Instant::now() >= deadline {
            progress.finish();
            return Settled { timed_out: true, ..settled }.verdict(given.timeout).map(|_| Exit::TimedOut);
        }
        sleep(Duration::from_secs(LOOK_SECONDS)).await;
    }
}

async fn for_job(client: &Client, name: &str, deadline: Instant, timeout: u64) -> Result<Exit, Failure> {
    let progress = Progress::of(1);
    let mut job = naming::job(client, name).await?;
    loop {
        let field = |field| text(&job, field).unwrap_or_default();
        let (tenant, id) = (field("tenant_id").to_owned(), field("job_id").to_owned());
        progress.job(&tenant, &job);
        match field("state") {
            "completed" => {
                progress.finish();
                say(&format!("{id} ({} of {tenant}) is completed", field("action")))?;
                return Ok(Exit::Done);
            }
            "failed" => {
                progress.finish();
                let why = text(&job, "error").or(text(&job, "error_code")).unwrap_or("no reason was given");
                let message = format!("{id} ({} of {tenant}) failed: {why}", field("action"));
                return Err(Failure::new(Exit::JobFailed, message).and_type(&format!("logs {tenant}/{id}")));
            }
            state if Instant::now() >= deadline => {
                progress.finish();
                return Err(Failure::new(Exit::TimedOut, format!("{id} is still {state} after {timeout} s")));
            }
            _ => {}
        }
        let request = client.v1(reqwest::Method::GET, &["tenants", &tenant, "jobs", &id]);
        job = request.query("wait_seconds", "2").send().await?.body;
    }
}
