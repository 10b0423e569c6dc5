//! Background loops: one driver runs each loop repeatedly and records the outcome of each run.
//!
//! A loop does not depend on wake-ups: a wake-up only makes the next run start sooner. A run that fails or panics is
//! counted, and the loop continues.

use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenancy_core::{Error, Timestamp};
use tenancy_store::Topic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after a failed run, if the loop's period is longer.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Shortest pause between the end of a run and a run that a hint starts.
const MIN_PAUSE: Duration = Duration::from_millis(2);
/// Longest such pause.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// One run of a loop. It may return early when the process stops.
pub type Run = fn(Arc<Tenancy>, CancellationToken) -> BoxFuture<'static, Result<(), Error>>;

/// A registered loop.
pub struct Loop {
    /// Name in metrics, in `tenancy status` and in the log.
    pub name: &'static str,
    /// Maximum time between two runs.
    pub period: Duration,
    /// Event that starts the next run sooner.
    pub wake: Wake,
    /// Function that does one run.
    pub run: Run,
}

/// Event that makes a loop run before its period is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// No event.
    Never,
    /// Holds on an organization changed in this process.
    HoldsChanged,
    /// A notification from the store.
    Topic(Topic),
}

impl Wake {
    async fn up(self, tenancy: &Tenancy) {
        match self {
            Self::Never => std::future::pending().await,
            Self::HoldsChanged => tenancy.holds_changed.notified().await,
            Self::Topic(topic) => tenancy.store.notified(topic).await,
        }
    }
}

/// Outcomes of a loop's runs in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Number of runs.
    pub runs: u64,
    /// Number of failed runs.
    pub errors: u64,
    /// End of the last run.
    pub last_run_at: Option<Timestamp>,
    /// End of the last successful run.
    pub last_success_at: Option<Timestamp>,
    /// End of the last failed run.
    pub last_error_at: Option<Timestamp>,
    /// Error of the last failed run.
    pub last_error: Option<String>,
}

/// Status of a loop. The loop writes it; `/v1/status` reads it.
#[derive(Debug)]
pub struct LoopStatus {
    /// Name of the loop.
    pub name: &'static str,
    /// Maximum time between two runs.
    pub period: Duration,
    figures: Mutex<Figures>,
}

impl LoopStatus {
    /// Creates the status of a loop that has not run yet.
    pub fn new(name: &'static str, period: Duration) -> Arc<Self> {
        Arc::new(Self { name, period, figures: Mutex::default() })
    }

    /// Returns the outcomes of the runs so far.
    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the end of a run, and logs it if it failed.
    pub fn ended<T>(&self, done: &Result<T, Error>, now: Timestamp, metrics: &Metrics) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.runs += 1;
        figures.last_run_at = Some(now);
        match done {
            Ok(_) => figures.last_success_at = Some(now),
            Err(error) => {
                let why = said(error);
                tracing::warn!(
                    background = self.name,
                    code = error.code(),
                    error = %why,
                    "background loop failed"
                );
                figures.errors += 1;
                figures.last_error_at = Some(now);
                figures.last_error = Some(why);
            }
        }
        metrics.loop_ended(self.name, done.is_ok(), now);
    }
}

/// Returns the full text of an error. Only operators of the server read it, so internal details are included.
fn said(error: &Error) -> String {
    match error {
        Error::Internal(what) => what.clone(),
        error => error.to_string(),
    }
}

/// Driver of the loops of one process.
pub struct Background {
    tenancy: Arc<Tenancy>,
    metrics: Arc<Metrics>,
    loops: Vec<(Loop, Arc<LoopStatus>)>,
    others: Vec<Arc<LoopStatus>>,
    stop: CancellationToken,
}

impl Background {
    /// Creates a driver of these loops, which runs until `stop` is cancelled.
    pub fn new(tenancy: Arc<Tenancy>, metrics: Arc<Metrics>, loops: Vec<Loop>, stop: CancellationToken) -> Self {
        let loops = loops.into_iter().map(|one| {
            let status = LoopStatus::new(one.name, one.period);
            (one, status)
        });
        Self { tenancy, metrics, loops: loops.collect(), others: Vec::new(), stop }
    }

    /// Adds a loop with its own driver to the status.
    #[must_use]
    pub fn showing(mut self, status: Arc<LoopStatus>) -> Self {
        self.others.push(status);
        self
    }

    /// Returns the status of each loop, in the order of registration.
    pub fn status(&self) -> impl Iterator<Item = &LoopStatus> {
        self.loops.iter().map(|(_, status)| status).chain(&self.others).map(AsRef::as_ref)
    }

    /// Runs a loop once. Does nothing if no loop has this name.
    pub async fn run_once(&self, name: &str) {
        if let Some((one, status)) = self.loops.iter().find(|(one, _)| one.name == name) {
            self.run_one(one, status).await;
        }
    }

    /// Starts all loops, each in its own task.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        for index in 0..self.loops.len() {
            let background = Arc::clone(self);
            tasks.spawn(async move {
                let stop = background.stop.clone();
                // A run can be cancelled at any point: the next run, in this process or another, continues its work.
                stop.run_until_cancelled(background.drive(index)).await;
            });
        }
    }

    async fn drive(&self, index: usize) {
        let (one, status) = &self.loops[index];
        loop {
            // Starts listening before the run, so that a notification during the run is not missed.
            let woken = one.wake.up(&self.tenancy);
            tokio::pin!(woken);
            let (mut is_woken, began, run) = (false, Instant::now(), self.run_one(one, status));
            tokio::pin!(run);
            let is_good = loop {
                tokio::select! {
                    biased;
                    () = &mut woken, if !is_woken => is_woken = true,
                    is_good = &mut run => break is_good,
                }
            };
            let pause = if is_good { one.period } else { one.period.min(RETRY_AFTER) };
            // A run takes longer when the database is busy. After a longer pause, the next run does the work of more hints,
            // instead of competing with each change for the database.
            tokio::time::sleep((2 * began.elapsed()).clamp(MIN_PAUSE, MAX_PAUSE)).await;
            tokio::select! {
                () = woken, if !is_woken => {}
                () = tokio::time::sleep(if is_woken { Duration::ZERO } else { pause }) => {}
            }
        }
    }

    /// Does one run and returns whether it succeeded.
    async fn run_one(&self, one: &Loop, status: &LoopStatus) -> bool {
        let work = AssertUnwindSafe(async { (one.run)(Arc::clone(&self.tenancy), self.stop.clone()).await });
        let panicked = |_| Err(Error::Internal("the loop panicked; see standard error of the server".to_owned()));
        let done = work.catch_unwind().await.unwrap_or_else(panicked);
        status.ended(&done, self.tenancy.store.now(), &self.metrics);
        done.is_ok()
    }
}
