//! What runs in the background of a process: loops that one driver runs again and again, and how each of them goes.
//!
//! A loop takes no hints to do its work: a wake-up only makes it run sooner. One that fails or panics is counted, and
//! runs again.

use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::{Error, Timestamp};
use tenancy_store::Topic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a loop that failed waits, if its period is longer.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// One run of a loop. It may stop early when the process stops.
pub type Run = fn(Arc<Tenancy>, CancellationToken) -> BoxFuture<'static, Result<(), Error>>;

/// A loop, as it is registered.
pub struct Loop {
    /// Its name in figures, in `tenancy status` and in the log.
    pub name: &'static str,
    /// Longest time between two runs.
    pub period: Duration,
    /// What makes it run sooner.
    pub wake: Wake,
    /// One run.
    pub run: Run,
}

/// What makes a loop run sooner than its period says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Nothing.
    Never,
    /// Holds on an organization changed in this process.
    HoldsChanged,
    /// A hint of the record.
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

/// How a loop has gone in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How often it ran.
    pub runs: u64,
    /// How many of these failed.
    pub errors: u64,
    /// When the last run ended.
    pub last_run_at: Option<Timestamp>,
    /// When the last run that did not fail ended.
    pub last_success_at: Option<Timestamp>,
    /// When the last run that failed ended.
    pub last_error_at: Option<Timestamp>,
    /// Why it failed.
    pub last_error: Option<String>,
}

/// What is known of a loop: written by it, read by whoever asks.
#[derive(Debug)]
pub struct LoopStatus {
    /// Its name.
    pub name: &'static str,
    /// Longest time between two runs.
    pub period: Duration,
    figures: Mutex<Figures>,
}

impl LoopStatus {
    /// That of a loop that has not run yet.
    pub fn new(name: &'static str, period: Duration) -> Arc<Self> {
        Arc::new(Self { name, period, figures: Mutex::default() })
    }

    /// How it has gone.
    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a run that ended; one that failed is logged.
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
                    "a loop in the background failed"
                );
                figures.errors += 1;
                figures.last_error_at = Some(now);
                figures.last_error = Some(why);
            }
        }
        metrics.loop_ended(self.name, done.is_ok(), now);
    }
}

/// An error for who looks after the server: nobody else reads it, so it says what happened.
fn said(error: &Error) -> String {
    match error {
        Error::Internal(what) => what.clone(),
        error => error.to_string(),
    }
}

/// The driver of the loops of one process.
pub struct Background {
    tenancy: Arc<Tenancy>,
    metrics: Arc<Metrics>,
    loops: Vec<(Loop, Arc<LoopStatus>)>,
    others: Vec<Arc<LoopStatus>>,
    stop: CancellationToken,
}

impl Background {
    /// With these loops, until `stop`.
    pub fn new(tenancy: Arc<Tenancy>, metrics: Arc<Metrics>, loops: Vec<Loop>, stop: CancellationToken) -> Self {
        let loops = loops.into_iter().map(|one| {
            let status = LoopStatus::new(one.name, one.period);
            (one, status)
        });
        Self { tenancy, metrics, loops: loops.collect(), others: Vec::new(), stop }
    }

    /// Shows one more that runs by itself, among the loops.
    #[must_use]
    pub fn showing(mut self, status: Arc<LoopStatus>) -> Self {
        self.others.push(status);
        self
    }

    /// How the loops go, in the order of their registration.
    pub fn status(&self) -> impl Iterator<Item = &LoopStatus> {
        self.loops.iter().map(|(_, status)| status).chain(&self.others).map(AsRef::as_ref)
    }

    /// Runs a loop once; nothing if there is none of that name.
    pub async fn run_once(&self, name: &str) {
        if let Some((one, status)) = self.loops.iter().find(|(one, _)| one.name == name) {
            self.run_one(one, status).await;
        }
    }

    /// Runs all loops, each in a task of its own.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker) {
        for index in 0..self.loops.len() {
            let background = Arc::clone(self);
            tasks.spawn(async move {
                let stop = background.stop.clone();
                // What a loop does can be cut off anywhere: it goes on with the next run, here or elsewhere.
                stop.run_until_cancelled(background.drive(index)).await;
            });
        }
    }

    async fn drive(&self, index: usize) {
        let (one, status) = &self.loops[index];
        loop {
            // Listening begins before the run, so that a hint during the run is not missed.
            let woken = one.wake.up(&self.tenancy);
            tokio::pin!(woken);
            let (mut is_woken, run) = (false, self.run_one(one, status));
            tokio::pin!(run);
            let is_good = loop {
                tokio::select! {
                    biased;
                    () = &mut woken, if !is_woken => is_woken = true,
                    is_good = &mut run => break is_good,
                }
            };
            let pause = if is_good { one.period } else { one.period.min(RETRY_AFTER) };
            tokio::select! {
                () = woken, if !is_woken => {}
                () = tokio::time::sleep(if is_woken { Duration::ZERO } else { pause }) => {}
            }
        }
    }

    /// One run; whether it was good.
    async fn run_one(&self, one: &Loop, status: &LoopStatus) -> bool {
        let work = AssertUnwindSafe(async { (one.run)(Arc::clone(&self.tenancy), self.stop.clone()).await });
        let panicked = |_| Err(Error::Internal("it panicked: standard error of the server says where".to_owned()));
        let done = work.catch_unwind().await.unwrap_or_else(panicked);
        status.ended(&done, self.tenancy.store.now(), &self.metrics);
        done.is_ok()
    }
}
