//! The job engine: claims due jobs by lease and runs them to their end.

use super::leases::Leases;
use super::under_way::UnderWay;
use crate::background::LoopStatus;
use crate::config::Jobs;
use crate::metrics::Metrics;
use crate::provisioner::Provisioner;
use crate::tenancy::Tenancy;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::job::Job;
use tenancy_core::json::hex;
use tenancy_store::Topic;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Runs jobs in one process.
pub struct Runner {
    pub(super) tenancy: Arc<Tenancy>,
    pub(super) provisioner: Arc<dyn Provisioner>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) jobs: Jobs,
    /// Status of claiming.
    status: Arc<LoopStatus>,
    /// Name of this process in leases and in the log.
    pub(super) holder: String,
    pub(super) leases: Leases,
    pub(super) stop: CancellationToken,
    /// Cancelled when the drain time is over: steps in progress are then aborted.
    pub(super) late: CancellationToken,
}

impl Runner {
    /// Creates a runner that stops claiming jobs when `stop` is cancelled.
    pub fn new(
        tenancy: Arc<Tenancy>,
        provisioner: Arc<dyn Provisioner>,
        metrics: Arc<Metrics>,
        jobs: Jobs,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let mut random = [0; 8];
        // If randomness fails, nothing else works either; process ids still keep the names of two processes apart.
        let _ = getrandom::fill(&mut random);
        let holder = format!("runner-{}-{}", std::process::id(), hex(&random));
        let (leases, late) = (Leases::default(), CancellationToken::new());
        let status = LoopStatus::new("jobs", Duration::from_millis(jobs.poll_milliseconds));
        Arc::new(Self { tenancy, provisioner, metrics, jobs, status, holder, leases, stop, late })
    }

    /// Returns the status of claiming.
    pub fn status(&self) -> Arc<LoopStatus> {
        Arc::clone(&self.status)
    }

    /// Runs jobs until `stop` is cancelled. Then releases the lease of each job when its current step is done or
    /// `drain` is over. A step that is not done by then is aborted, and another process starts it again.
    pub async fn run(self: Arc<Self>, drain: Duration) {
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
                () = self.tenancy.store.notified(Topic::Jobs), if !full => {}
                () = tokio::time::sleep(self.pause()), if !full => {}
                () = self.stop.cancelled() => {}
            }
        }
        let drained = async { while working.join_next().await.is_some() {} };
        tokio::pin!(drained);
        if tokio::time::timeout(drain, &mut drained).await.is_err() {
            tracing::warn!(
                "aborting job steps that were still running after {} seconds; the jobs are released",
                drain.as_secs()
            );
            self.late.cancel();
            drained.await;
        }
        beats.abort();
    }

    /// Claims due jobs once, runs them to their end, and returns how many they were. Follow-up jobs are left for the
    /// next call: when a call returns 0, no job is due.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(self: &Arc<Self>) -> Result<usize, Error> {
        let (jobs, until) = self.claim(self.jobs.max_running).await?;
        let (count, mut working) = (jobs.len(), JoinSet::new());
        self.start(jobs, until, &mut working);
        while working.join_next().await.is_some() {}
        Ok(count)
    }

    async fn take(self: &Arc<Self>, working: &mut JoinSet<()>) -> usize {
        let free = self.jobs.max_running.saturating_sub(working.len());
        if free == 0 {
            return 0;
        }
        let claimed = self.claim(free).await;
        self.status.ended(&claimed, self.tenancy.store.now(), &self.metrics);
        let Ok((jobs, until)) = claimed else { return 0 };
        let count = jobs.len();
        self.start(jobs, until, working);
        count
    }

    /// Claims jobs. Returns them with the time until which their leases hold at least, counted from before the claim.
    async fn claim(&self, limit: usize) -> Result<(Vec<Job>, Instant), Error> {
        let until = self.until();
        Ok((self.tenancy.store.claim(&self.holder, limit, self.lease()).await?, until))
    }

    fn start(self: &Arc<Self>, jobs: Vec<Job>, until: Instant, working: &mut JoinSet<()>) {
        for job in jobs {
            let hold = self.leases.hold(&job, until);
            let runner = Arc::clone(self);
            working.spawn(async move {
                let under_way = UnderWay::begin(&runner, &job);
                let ended = runner.work(job, hold).await;
                under_way.end(ended).await;
            });
        }
    }

    /// Extends all leases at each heartbeat. Runs in its own task, so that leases hold whatever the jobs wait for. A
    /// heartbeat that hangs is aborted when the next one is due.
    async fn beat(self: Arc<Self>) {
        let within = Duration::from_secs(self.jobs.heartbeat_seconds);
        let mut every = tokio::time::interval(within);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (leases, until) = (self.leases.all(), self.until());
            if leases.is_empty() {
                continue;
            }
            match self.tenancy.store.heartbeat(&leases, self.lease(), within).await {
                Ok(held) => self.leases.keep(&leases, &held, until),
                Err(error) => tracing::warn!(%error, "could not extend leases"),
            }
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.jobs.lease_seconds)
    }

    /// Returns the time until which a lease that is claimed now can be relied on. It is a little shorter than the
    /// lease, since clocks differ and aborting a step takes time.
    fn until(&self) -> Instant {
        Instant::now() + self.lease().mul_f64(0.9)
    }

    /// Returns the pause before the next look for due jobs if no notification arrives. The pause is random within
    /// limits, so that processes that start together do not query at the same time.
    fn pause(&self) -> Duration {
        let jitter = getrandom::u32().unwrap_or(0) % 256;
        Duration::from_millis(self.jobs.poll_milliseconds).mul_f64(0.875 + f64::from(jitter) / 1024.0)
    }
}
