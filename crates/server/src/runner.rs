//! The job engine: claims due jobs by lease, works their steps through the provisioner, commits what they achieved.
//!
//! A lease holds for some seconds and is prolonged by heartbeats on a way of their own. All that a job writes is fenced
//! by its lease: a process that was thought dead and comes back can write nothing of a job that another has taken over.

mod leases;
mod work;

use crate::config::Jobs;
use crate::metrics::Metrics;
use crate::provisioner::Provisioner;
use crate::tenancy::Tenancy;
use leases::Leases;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::job::Job;
use tenancy_core::json::hex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Works jobs in one process.
pub struct Runner {
    tenancy: Arc<Tenancy>,
    provisioner: Arc<dyn Provisioner>,
    metrics: Arc<Metrics>,
    jobs: Jobs,
    /// Who this process is, in leases and in the log.
    holder: String,
    leases: Leases,
    stop: CancellationToken,
}

impl Runner {
    /// A runner that stops taking jobs when `stop` says so.
    pub fn new(
        tenancy: Arc<Tenancy>,
        provisioner: Arc<dyn Provisioner>,
        metrics: Arc<Metrics>,
        jobs: Jobs,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let mut random = [0; 8];
        // Without randomness nothing else works either; two processes still differ by their number.
        let _ = getrandom::fill(&mut random);
        let holder = format!("runner-{}-{}", std::process::id(), hex(&random));
        Arc::new(Self { tenancy, provisioner, metrics, jobs, holder, leases: Leases::default(), stop })
    }

    /// Works until `stop`; then gives back what it holds, once each job's step under way is done.
    pub async fn run(self: Arc<Self>) {
        let beats = tokio::spawn(Arc::clone(&self).beat());
        let mut working = JoinSet::new();
        while !self.stop.is_cancelled() {
            let took = self.take(&mut working).await;
            let full = working.len() >= self.jobs.max_running;
            if took > 0 && !full {
                continue;
            }
            tokio::select! {
                Some(_) = working.join_next(), if !working.is_empty() => {}
                () = self.tenancy.store.job_queued(), if !full => {}
                () = tokio::time::sleep(self.pause()), if !full => {}
                () = self.stop.cancelled() => {}
            }
        }
        while working.join_next().await.is_some() {}
        beats.abort();
    }

    /// Claims what is due, once, and works it to its end; returns how many jobs there were. Jobs that follow from these
    /// are for the next call: call it until it returns 0, and nothing is left to do.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(self: &Arc<Self>) -> Result<usize, Error> {
        let jobs = self.claim(self.jobs.max_running).await?;
        let (count, mut working) = (jobs.len(), JoinSet::new());
        self.start(jobs, &mut working);
        while working.join_next().await.is_some() {}
        Ok(count)
    }

    async fn take(self: &Arc<Self>, working: &mut JoinSet<()>) -> usize {
        let free = self.jobs.max_running.saturating_sub(working.len());
        if free == 0 {
            return 0;
        }
        match self.claim(free).await {
            Ok(jobs) => {
                let count = jobs.len();
                self.start(jobs, working);
                count
            }
            Err(error) => {
                tracing::warn!(%error, "no jobs can be claimed");
                0
            }
        }
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Job>, Error> {
        self.tenancy.store.claim(&self.holder, limit, self.lease()).await
    }

    fn start(self: &Arc<Self>, jobs: Vec<Job>, working: &mut JoinSet<()>) {
        for job in jobs {
            let lost = self.leases.hold(&job);
            let runner = Arc::clone(self);
            working.spawn(async move {
                runner.metrics.jobs_running.inc();
                runner.work(job, lost).await;
                runner.metrics.jobs_running.dec();
            });
        }
    }

    /// Prolongs all leases, again and again. Its own task: whatever the jobs wait for, their leases hold.
    async fn beat(self: Arc<Self>) {
        let mut every = tokio::time::interval(Duration::from_secs(self.jobs.heartbeat_seconds));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let leases = self.leases.all();
            if leases.is_empty() {
                continue;
            }
            match self.tenancy.store.heartbeat(&leases, self.lease()).await {
                Ok(held) => self.leases.keep(&leases, &held),
                Err(error) => tracing::warn!(%error, "leases could not be prolonged"),
            }
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.jobs.lease_seconds)
    }

    /// How long to wait when nothing says that there is anything to do; never quite the same, so that processes that
    /// were started together do not ask together.
    fn pause(&self) -> Duration {
        let jitter = getrandom::u32().unwrap_or(0) % 256;
        Duration::from_millis(self.jobs.poll_milliseconds).mul_f64(0.875 + f64::from(jitter) / 1024.0)
    }
}
