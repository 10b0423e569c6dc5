//! The deliverer sends deliveries. It claims webhooks, not deliveries: one process at a time has a webhook, so its limits
//! are in one place, and 100,000 deliveries that wait for a dead receiver cost nobody else anything.

use super::places::Places;
use super::recorder::Recorder;
use super::rendering::Renderer;
use super::transport::Transport;
use crate::background::LoopStatus;
use crate::config::Webhooks;
use crate::engine::{Engine, Lease, LeaseWatch, Numbers, Queue, run, run_once};
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::{Bucket, Lane};
use tenancy_core::webhook::Webhook;
use tenancy_core::{Error, Timestamp};
use tenancy_store::Topic;
use tenancy_store::upkeep::LaneReturn;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sends deliveries in one process.
pub struct Deliverer {
    pub(super) engine: Engine<WebhookId>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Webhooks,
    pub(super) renderer: Renderer,
    pub(super) recorder: Recorder,
    /// Requests in progress to all webhooks.
    pub(crate) places: Arc<Places>,
    /// Whether a webhook without due deliveries is kept for a moment. A test drains instead.
    pub(super) lingers: AtomicBool,
    /// Numbers of wakes of the webhooks that this process has.
    wakes: Mutex<HashMap<WebhookId, watch::Sender<i64>>>,
    /// Buckets of webhooks that were returned and are not full yet: a webhook that is claimed again has the same rate.
    buckets: Mutex<HashMap<WebhookId, Bucket>>,
}

impl Deliverer {
    /// Creates a deliverer that stops claiming webhooks when `stop` is cancelled.
    pub fn new(
        tenancy: Arc<Tenancy>,
        transport: Arc<dyn Transport>,
        metrics: Arc<Metrics>,
        settings: Webhooks,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let numbers = Numbers {
            max_running: settings.max_running,
            lease: Duration::from_secs(settings.lease_seconds),
            heartbeat: Duration::from_secs(settings.heartbeat_seconds),
            poll: Duration::from_millis(settings.poll_milliseconds),
        };
        let names = ("deliverer", "webhook-deliveries");
        let engine = Engine::new((tenancy, metrics), names, Topic::Deliveries, numbers, stop);
        let (places, wakes) = (Places::new(settings.max_requests), Mutex::default());
        let (renderer, recorder) = (Renderer::default(), Recorder::default());
        let (lingers, buckets) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Self { engine, transport, settings, renderer, recorder, places, lingers, wakes, buckets })
    }

    /// Returns the status of claiming.
    pub fn status(&self) -> Arc<LoopStatus> {
        Arc::clone(&self.engine.status)
    }

    /// Whether this process sends deliveries.
    pub fn sends(&self) -> bool {
        self.settings.send
    }

    /// Returns for how many days deliveries are kept.
    pub fn retention_days(&self) -> u32 {
        self.settings.retention_days
    }

    /// Sends deliveries until `stop` is cancelled. Requests in progress then have `drain` to end.
    pub async fn run(self: Arc<Self>, drain: Duration) {
        self.lingers.store(true, Ordering::Relaxed);
        run(self, drain).await;
    }

    /// Claims the webhooks that are due, sends what is due now, and returns the number of webhooks. When it returns 0,
    /// nothing is due.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(self: &Arc<Self>) -> Result<usize, Error> {
        run_once(self).await
    }

    /// Returns a view of the number of wakes of a webhook that this process has.
    pub(super) fn watch_wakes(&self, lane: &Lane) -> watch::Receiver<i64> {
        let (sender, receiver) = watch::channel(lane.wakes);
        self.wakes().insert(lane.webhook_id.clone(), sender);
        receiver
    }

    /// Returns the bucket of a webhook that is claimed, if it has a limit on its rate.
    pub(super) fn bucket(&self, webhook: &Webhook, now: Timestamp) -> Option<Bucket> {
        let kept = self.buckets().remove(&webhook.webhook_id);
        let rate = webhook.max_per_second?;
        let mut bucket = kept.unwrap_or_else(|| Bucket::new(rate, now));
        bucket.set_rate(rate);
        Some(bucket)
    }

    /// Keeps the bucket of a webhook that is returned.
    pub(super) fn keep_bucket(&self, id: &WebhookId, bucket: Option<Bucket>, now: Timestamp) {
        let mut buckets = self.buckets();
        buckets.retain(|_, bucket| !bucket.is_full(now));
        buckets.extend(bucket.map(|bucket| (id.clone(), bucket)));
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<WebhookId, Bucket>> {
        // After a panic the map is still valid, too.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakes(&self) -> MutexGuard<'_, HashMap<WebhookId, watch::Sender<i64>>> {
        // After a panic the map is still valid: each operation changes one entry as a whole.
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for Deliverer {
    type Row = Lane;
    type Key = WebhookId;

    fn engine(&self) -> &Engine<WebhookId> {
        &self.engine
    }

    fn lease_of(lane: &Lane) -> Lease<WebhookId> {
        (lane.webhook_id.clone(), lane.lease_epoch)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Lane>, Error> {
        self.engine.tenancy.store.claim_lanes(&self.engine.holder, limit, self.engine.numbers.lease).await
    }

    async fn extend(&self, leases: &[Lease<WebhookId>]) -> Result<Vec<Lease<WebhookId>>, Error> {
        let numbers = &self.engine.numbers;
        self.engine.tenancy.store.extend_lanes(leases, numbers.lease, numbers.heartbeat).await
    }

    async fn work(self: Arc<Self>, lane: Lane, lease: LeaseWatch) {
        let held = Self::lease_of(&lane);
        let id = lane.webhook_id.clone();
        let visited = tokio::select! {
            biased;
            () = lease.lost() => Ok(None),
            // Requests in progress are aborted, and sent again by another process.
            () = self.engine.late.cancelled() => Ok(Some(LaneReturn::at_once(held.clone()))),
            visited = self.visit(lane) => visited,
        };
        let returned = match visited {
            Ok(Some(returned)) => self.engine.tenancy.store.return_lane(&returned).await,
            // The lease is lost, or the webhook is gone.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = returned {
            // Another process continues when the lease ends.
            tracing::warn!(webhook_id = id.as_str(), %error, "stopped the deliveries of a webhook on an error");
        }
        self.engine.leases.drop(&held);
        let mut wakes = self.wakes();
        if wakes.get(&id).is_some_and(|sender| sender.receiver_count() == 0) {
            wakes.remove(&id);
        }
    }

    async fn looked(&self) {
        self.renderer.forget(self.engine.tenancy.now());
        let held: Vec<_> = self.wakes().keys().cloned().collect();
        match self.engine.tenancy.store.lane_wakes(&held).await {
            Ok(found) => {
                let wakes = self.wakes();
                for (id, number) in found {
                    if let Some(sender) = wakes.get(&id) {
                        sender.send_if_modified(|known| std::mem::replace(known, number) != number);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "could not look for deliveries of webhooks that this process has"),
        }
    }
}
