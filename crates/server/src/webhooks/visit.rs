//! One visit to a webhook, from the claim until it is returned: begins what is due in order, within the webhook's limits.

use super::attempts::{NoMessage, exchange, judge, not_made};
use super::consequences::{self, Measure};
use super::deliverer::Deliverer;
use super::places::{Party, Place};
use super::sending::{Attempt, Message};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, try_join};
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenancy_core::delivery::Delivery;
use tenancy_core::ids::DeliveryId;
use tenancy_core::lane::{Bucket, CHANGE, Gate, Lane};
use tenancy_core::webhook::RetryPolicy;
use tenancy_core::{Error, Timestamp};
use tenancy_store::DuePlace;
use tenancy_store::endpoints::Endpoint;
use tenancy_store::upkeep::{LaneReturn, MAX_REMOVED};
use tokio::sync::{oneshot, watch};

/// Maximum number of deliveries whose results are not committed: no more are sent again after a crash.
const MAX_IN_HAND: usize = 512;
/// Number of deliveries that are read at a time.
const READ_AHEAD: usize = 64;
/// How long a webhook is kept without due deliveries: the next event then finds it at once.
const LINGER: Duration = Duration::from_secs(2);
/// Time after which a webhook is returned although more is due, if others may wait for this process.
const VISIT: Duration = Duration::from_secs(5);
/// Time for which deliveries that were read are sent as they were read. What is then still to be sent is read again.
const FRESH: Duration = Duration::from_secs(5);
/// Time for which deliveries are read without the webhook, unless it is known that the webhook was changed.
const LOADED_FOR: Duration = Duration::from_secs(1);
/// Pause before a webhook is sent to again that could not be disabled.
const UNTIL_AGAIN: Duration = Duration::from_secs(30);

/// What ended.
enum Ended {
    /// An attempt.
    Sent(Box<(Delivery, Timestamp, Attempt)>),
    /// A result is committed, or could not be.
    Recorded(DeliveryId, Result<(), Error>),
}

/// What is in progress.
type Running<'a> = FuturesUnordered<BoxFuture<'a, Ended>>;

/// State of a visit.
struct Visit {
    lane: Lane,
    endpoint: Arc<Endpoint>,
    /// When the webhook was read.
    loaded_at: Timestamp,
    /// Whether the webhook has changed since.
    is_stale: bool,
    party: Party,
    policy: RetryPolicy,
    bucket: Option<Bucket>,
    /// Deliveries to send next.
    queue: VecDeque<(Delivery, Result<Message, NoMessage>)>,
    /// When the first delivery of the queue was read.
    read_at: Timestamp,
    /// Deliveries that were read, until their results are committed.
    in_hand: HashSet<DeliveryId>,
    in_flight: usize,
    /// Number of attempts that may run at the same time.
    limit: usize,
    /// A place for the next request, that was asked for.
    asked: Option<oneshot::Receiver<Place>>,
    granted: Option<Place>,
    /// Whether more deliveries may be due than were read.
    may_have_more: bool,
    /// Place after which deliveries are read next; `None` to read from the first one that is due. Those in hand are then
    /// read again.
    place: Option<DuePlace>,
    /// When deliveries were last read from the first one on.
    from_first_at: Timestamp,
    wakes: i64,
    began_at: Timestamp,
    /// Until when nothing more is sent, because the webhook could not be disabled.
    stopped_until: Option<Timestamp>,
}

/// Why nothing can be sent now.
enum Blocked {
    /// Nothing is due.
    Empty,
    /// A limit, until this time.
    Until(Timestamp),
    /// Requests in flight must end first.
    Full,
    /// Requests to other webhooks must end first.
    NoPlace,
}

/// How a visit ends.
enum End {
    /// The webhook no longer exists.
    Gone,
    /// It is off.
    Off,
    /// It is returned; before this time, nothing may be sent.
    Return(Option<Timestamp>),
}

impl Deliverer {
    /// Sends what is due. Returns how the webhook is returned; `None` if it is gone.
    pub(super) async fn visit(self: &Arc<Self>, lane: Lane) -> Result<Option<LaneReturn>, Error> {
        let mut woken = self.watch_wakes(&lane);
        let (id, epoch) = (lane.webhook_id.clone(), lane.lease_epoch);
        let Some(endpoint) = self.engine.tenancy.store.endpoint(&id).await? else {
            return self.remove(&(id, epoch)).await.map(|()| None);
        };
        let mut visit = Visit::new(lane, endpoint, self);
        let mut running = Running::new();
        let end = self.send(&mut visit, &mut running, &mut woken).await;
        // What was sent is recorded, whatever ended the visit.
        (visit.asked, visit.granted) = (None, None);
        let mut recorded = Ok(());
        while let Some(ended) = running.next().await {
            let done = self.ended(&mut visit, ended, &mut running).await;
            recorded = recorded.and(done);
        }
        self.keep_bucket(&id, visit.bucket.take(), self.engine.tenancy.now());
        let end = end?;
        recorded?;
        match end {
            End::Gone => self.remove(&(id, epoch)).await.map(|()| None),
            End::Off => Ok(Some(LaneReturn { is_idle: true, ..visit.returned(None) })),
            End::Return(not_before) => Ok(Some(visit.returned(visit.stopped_until.max(not_before)))),
        }
    }

    /// Removes the deliveries of a webhook that no longer exists.
    async fn remove(&self, lease: &(tenancy_core::ids::WebhookId, i64)) -> Result<(), Error> {
        let all = usize::try_from(MAX_REMOVED).unwrap_or(usize::MAX);
        while self.engine.tenancy.store.remove_deliveries(lease).await? == all {}
        Ok(())
    }

    async fn send(
        self: &Arc<Self>,
        visit: &mut Visit,
        running: &mut Running<'_>,
        woken: &mut watch::Receiver<i64>,
    ) -> Result<End, Error> {
        loop {
            let now = self.engine.tenancy.now();
            if visit.wants_to_read(now) && !self.engine.stop.is_cancelled() && !self.read(visit, now).await? {
                return Ok(End::Gone);
            }
            if !visit.endpoint.webhook.is_on() {
                return Ok(End::Off);
            }
            // Others that are due have waited for longer: this one comes after them.
            let is_long = is_past(visit.began_at, VISIT, now) && self.engine.is_full();
            if is_long || visit.stopped_until.is_some() {
                return Ok(End::Return(Some(now)));
            }
            let blocked = self.start(visit, running);
            if running.is_empty() && visit.asked.is_none() {
                match self.wait(visit, &blocked, woken).await {
                    Some(end) => return Ok(end),
                    None => continue,
                }
            }
            tokio::select! {
                Some(ended) = running.next() => self.ended(visit, ended, running).await?,
                granted = granted(&mut visit.asked) => (visit.asked, visit.granted) = (None, granted),
                () = changed(woken) => visit.note(woken),
                () = self.until(&blocked) => {}
            }
        }
    }

    /// Reads the webhook again, if it may have changed, and due deliveries that are not in hand, with their messages. Returns
    /// `false` if the webhook no longer exists.
    async fn read(&self, visit: &mut Visit, now: Timestamp) -> Result<bool, Error> {
        let (store, id) = (&self.engine.tenancy.store, visit.lane.webhook_id.clone());
        if is_past(visit.read_at, FRESH, now) {
            visit.put_back();
        }
        let is_loaded = !visit.is_stale && !is_past(visit.loaded_at, LOADED_FOR, now);
        let reads_due = visit.wants_more();
        // A delivery that became due before the place is read at the latest after this time, however many are due after it.
        let after = visit.place.filter(|_| !is_past(visit.from_first_at, FRESH, now));
        let limit = if after.is_some() { READ_AHEAD } else { visit.in_hand.len() + READ_AHEAD };
        let endpoint = async { if is_loaded { Ok(None) } else { store.endpoint(&id).await.map(Some) } };
        let due = async { if reads_due { store.due_deliveries(&id, after, limit).await } else { Ok(Vec::new()) } };
        let (endpoint, due) = try_join(endpoint, due).await?;
        match endpoint {
            Some(Some(endpoint)) => visit.changed(endpoint, now, self),
            Some(None) => return Ok(false),
            None => {}
        }
        if !reads_due || !visit.endpoint.webhook.is_on() {
            return Ok(true);
        }
        if after.is_none() {
            visit.from_first_at = now;
        }
        // After the last one, deliveries are read once more from the first one on.
        visit.may_have_more = due.len() == limit || after.is_some();
        visit.place = due.last().filter(|_| due.len() == limit).map(|last| (last.due_at, last.position));
        let new: Vec<_> = due.into_iter().filter(|one| !visit.in_hand.contains(&one.delivery_id)).collect();
        let owner = &visit.endpoint.webhook.owner;
        let messages = self.renderer.messages(&self.engine.tenancy, owner, &new).await?;
        if visit.queue.is_empty() {
            visit.read_at = now;
        }
        for (delivery, message) in new.into_iter().zip(messages) {
            visit.in_hand.insert(delivery.delivery_id.clone());
            visit.queue.push_back((delivery, message));
        }
        Ok(true)
    }

    /// Starts as many attempts as the limits allow, and returns why no more.
    fn start(self: &Arc<Self>, visit: &mut Visit, running: &mut Running<'_>) -> Blocked {
        let mut granted = visit.granted.take();
        loop {
            let now = self.engine.tenancy.now();
            if visit.queue.is_empty() || self.engine.stop.is_cancelled() {
                visit.asked = None;
                return Blocked::Empty;
            }
            let allowed = match visit.lane.gate(now) {
                Gate::Open(until) => return Blocked::Until(until),
                Gate::HalfOpen => 1,
                Gate::Closed => visit.limit,
            };
            if visit.in_flight >= allowed {
                return Blocked::Full;
            }
            let Some(place) = granted.take().or_else(|| self.places.take(&visit.party)) else {
                visit.asked.get_or_insert_with(|| self.places.ask(&visit.party));
                return Blocked::NoPlace;
            };
            if let Some(Err(until)) = visit.bucket.as_mut().map(|bucket| bucket.take(now)) {
                return Blocked::Until(until);
            }
            let Some((delivery, message)) = visit.queue.pop_front() else { return Blocked::Empty };
            visit.in_flight += 1;
            let (deliverer, endpoint) = (Arc::clone(self), Arc::clone(&visit.endpoint));
            running.push(Box::pin(async move {
                let attempt = match &message {
                    Ok(message) => exchange(&deliverer, &endpoint, message, now).await,
                    Err(why) => not_made(*why),
                };
                drop(place);
                Ended::Sent(Box::new((delivery, now, attempt)))
            }));
        }
    }

    /// Waits while nothing is in progress. Returns how the visit ends, if it does now.
    async fn wait(&self, visit: &mut Visit, blocked: &Blocked, woken: &mut watch::Receiver<i64>) -> Option<End> {
        let stops = self.engine.stop.is_cancelled();
        // If others may wait for this process, no webhook is kept for what may come.
        let lingers = self.lingers.load(Ordering::Relaxed) && !stops && !self.engine.is_full();
        let (left, not_before) = match blocked {
            Blocked::Full | Blocked::NoPlace => return None,
            Blocked::Empty if visit.may_have_more && !stops => return None,
            Blocked::Until(until) => (left(*until, self.engine.tenancy.now()), Some(*until)),
            Blocked::Empty => (LINGER, None),
        };
        if !lingers || left > LINGER {
            return Some(End::Return(not_before));
        }
        tokio::select! {
            () = changed(woken) => {
                visit.note(woken);
                None
            }
            () = tokio::time::sleep(left) => not_before.is_none().then_some(End::Return(None)),
            () = self.engine.stop.cancelled() => Some(End::Return(not_before)),
            () = self.engine.full() => Some(End::Return(not_before)),
        }
    }

    /// Resolves when a limit no longer holds, or when what was read is old.
    async fn until(&self, blocked: &Blocked) {
        let left = match blocked {
            Blocked::Until(until) => left(*until, self.engine.tenancy.now()).min(FRESH),
            Blocked::Empty | Blocked::Full | Blocked::NoPlace => FRESH,
        };
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = self.engine.stop.cancelled(), if matches!(blocked, Blocked::NoPlace) => {}
        }
    }

    /// Takes what ended: records an attempt, or forgets a delivery whose result is committed.
    async fn ended(self: &Arc<Self>, visit: &mut Visit, ended: Ended, running: &mut Running<'_>) -> Result<(), Error> {
        let (delivery, started, attempt) = match ended {
            Ended::Recorded(id, done) => {
                visit.in_hand.remove(&id);
                return done;
            }
            Ended::Sent(sent) => *sent,
        };
        visit.in_flight -= 1;
        let now = self.engine.tenancy.now();
        let outcome = judge(&mut visit.lane, &visit.policy, (&delivery, started, &attempt), now);
        self.engine.metrics.delivery_attempted(outcome.attempt.outcome.as_str());
        let warned = visit.lane.warned;
        let after = Duration::from_secs(3600 * u64::from(self.settings.disable_after_hours));
        if let Some(measure) = consequences::due(&mut visit.lane, outcome.attempt.outcome, now, after) {
            // Before the result: if this process is killed between the two, the attempt is made again.
            if let Err(error) = self.take_measure(visit, measure.clone()).await {
                // The next failure leads to it again.
                visit.lane.warned = warned;
                if matches!(measure, Measure::Disable(_)) {
                    visit.stopped_until = now.checked_add(UNTIL_AGAIN).ok();
                }
                let id = visit.lane.webhook_id.as_str();
                tracing::warn!(webhook_id = id, %error, ?measure, "could not warn of a webhook that fails, or disable it");
            }
        }
        let (deliverer, lane) = (Arc::clone(self), visit.lane.clone());
        running.push(Box::pin(async move {
            let id = outcome.delivery.delivery_id.clone();
            let done = deliverer.recorder.record(&deliverer.engine.tenancy, outcome, lane).await;
            Ended::Recorded(id, done)
        }));
        Ok(())
    }

    /// Warns of the webhook or disables it, and reads it again.
    async fn take_measure(&self, visit: &mut Visit, measure: Measure) -> Result<(), Error> {
        consequences::carry_out(&self.engine.tenancy, &visit.endpoint.webhook, measure).await?;
        visit.is_stale = true;
        // If it cannot be read, it is read before more is sent.
        if let Ok(Some(endpoint)) = self.engine.tenancy.store.endpoint(&visit.lane.webhook_id).await {
            visit.lane.seen_at = Some(endpoint.webhook.updated_at);
            visit.endpoint = Arc::new(endpoint);
        }
        Ok(())
    }
}

impl Visit {
    fn new(mut lane: Lane, endpoint: Endpoint, deliverer: &Deliverer) -> Self {
        lane.begin_again(endpoint.webhook.updated_at);
        let (now, webhook) = (deliverer.engine.tenancy.now(), &endpoint.webhook);
        Self {
            wakes: lane.wakes,
            lane,
            loaded_at: now,
            is_stale: false,
            party: Party::of(webhook),
            policy: RetryPolicy::of(&webhook.retry_policy),
            bucket: deliverer.bucket(webhook, now),
            limit: deliverer.places.of_webhook(webhook),
            endpoint: Arc::new(endpoint),
            queue: VecDeque::new(),
            read_at: now,
            in_hand: HashSet::new(),
            in_flight: 0,
            asked: None,
            granted: None,
            may_have_more: true,
            place: None,
            from_first_at: now,
            began_at: now,
            stopped_until: None,
        }
    }

    fn wants_to_read(&self, now: Timestamp) -> bool {
        self.wants_more() || self.is_stale || is_past(self.read_at, FRESH, now)
    }

    fn wants_more(&self) -> bool {
        self.may_have_more && self.queue.len() < self.limit && self.in_hand.len() < MAX_IN_HAND
    }

    /// Forgets deliveries that were read and not sent. They are read again.
    fn put_back(&mut self) {
        for (delivery, _) in self.queue.drain(..) {
            self.in_hand.remove(&delivery.delivery_id);
        }
        (self.may_have_more, self.place) = (true, None);
    }

    /// Takes the webhook as it is now. What is in the queue is sent to it.
    fn changed(&mut self, endpoint: Endpoint, now: Timestamp, deliverer: &Deliverer) {
        let webhook = &endpoint.webhook;
        self.lane.begin_again(webhook.updated_at);
        self.policy = RetryPolicy::of(&webhook.retry_policy);
        match (&mut self.bucket, webhook.max_per_second) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(|rate| Bucket::new(rate, now)),
        }
        self.limit = deliverer.places.of_webhook(webhook);
        self.endpoint = Arc::new(endpoint);
        (self.loaded_at, self.is_stale) = (now, false);
    }

    /// Notes that something became due, or that the webhook was changed.
    fn note(&mut self, woken: &mut watch::Receiver<i64>) {
        let wakes = *woken.borrow_and_update();
        self.is_stale |= wakes / CHANGE != self.wakes / CHANGE;
        self.wakes = wakes;
        self.may_have_more = true;
    }

    fn returned(&self, not_before: Option<Timestamp>) -> LaneReturn {
        let lease = (self.lane.webhook_id.clone(), self.lane.lease_epoch);
        LaneReturn { lease, wakes: self.wakes, not_before, is_idle: false }
    }
}

/// Whether a time is over, or lies in the future, after the clock was set back.
fn is_past(since: Timestamp, duration: Duration, now: Timestamp) -> bool {
    now.duration_since(since).unsigned_abs() >= duration
}

fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// Resolves when a place that was asked for is granted.
async fn granted(asked: &mut Option<oneshot::Receiver<Place>>) -> Option<Place> {
    match asked {
        Some(asked) => asked.await.ok(),
        None => std::future::pending().await,
    }
}

/// Resolves when the number of wakes changes.
async fn changed(woken: &mut watch::Receiver<i64>) {
    if woken.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
