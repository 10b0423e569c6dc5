//! The queue of jobs: claims due jobs by lease and runs them to their end.

use super::under_way::UnderWay;
use crate::background::LoopStatus;
use crate::config::Jobs;
use crate::engine::{Engine, Lease, LeaseWatch, Numbers, Queue, run, run_once};
use crate::metrics::Metrics;
use crate::provisioner::Provisioner;
use crate::tenancy::Tenancy;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::JobId;
use tenancy_core::job::Job;
use tenancy_store::Topic;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Runs jobs in one process.
pub struct Runner {
    pub(super) engine: Engine<JobId>,
    pub(super) provisioner: Arc<dyn Provisioner>,
    pub(super) jobs: Jobs,
    /// Epoch of the log, when it is known. If it is older than the current one, places refuse the work.
    pub(super) log_epoch: Mutex<Option<i64>>,
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
        let numbers = Numbers {
            max_running: jobs.max_running,
            lease: Duration::from_secs(jobs.lease_seconds),
            heartbeat: Duration::from_secs(jobs.heartbeat_seconds),
            poll: Duration::from_millis(jobs.poll_milliseconds),
        };
        let engine = Engine::new((tenancy, metrics), ("runner", "jobs"), Topic::Jobs, numbers, stop);
        Arc::new(Self { engine, provisioner, jobs, log_epoch: Mutex::default() })
    }

    /// Returns the status of claiming.
    pub fn status(&self) -> Arc<LoopStatus> {
        Arc::clone(&self.engine.status)
    }

    /// Runs jobs until `stop` is cancelled. Then releases the lease of each job when its current step is done or
    /// `drain` is over. A step that is not done by then is aborted, and another process starts it again.
    pub async fn run(self: Arc<Self>, drain: Duration) {
        run(self, drain).await;
    }

    /// Claims due jobs once, runs them to their end, and returns how many they were. Follow-up jobs are left for the
    /// next call: when a call returns 0, no job is due.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(self: &Arc<Self>) -> Result<usize, Error> {
        run_once(self).await
    }
}

impl Queue for Runner {
    type Row = Job;
    type Key = JobId;

    fn engine(&self) -> &Engine<JobId> {
        &self.engine
    }

    fn lease_of(job: &Job) -> Lease<JobId> {
        (job.job_id.clone(), job.lease_epoch)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Job>, Error> {
        self.engine.tenancy.store.claim(&self.engine.holder, limit, self.engine.numbers.lease).await
    }

    async fn extend(&self, leases: &[Lease<JobId>]) -> Result<Vec<Lease<JobId>>, Error> {
        let numbers = &self.engine.numbers;
        self.engine.tenancy.store.heartbeat(leases, numbers.lease, numbers.heartbeat).await
    }

    async fn work(self: Arc<Self>, job: Job, lease: LeaseWatch) {
        let under_way = UnderWay::begin(&self, &job);
        let ended = self.carry_out(job, lease).await;
        under_way.end(ended).await;
    }
}
