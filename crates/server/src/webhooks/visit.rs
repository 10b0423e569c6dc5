//! One visit to a webhook, from the claim until it is returned: begins what is due in order, within the webhook's limits.

use super::consequences::{self, Measure};
use super::deliverer::Deliverer;
use super::rendering::messages;
use super::sending::{self, Attempt, Exchange, Message, Target};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenancy_core::delivery::{Answered, AttemptOutcome, Delivery, DeliveryAttempt, slot};
use tenancy_core::ids::DeliveryId;
use tenancy_core::lane::{Bucket, Consequence, Gate, Lane};
use tenancy_core::rules::webhook_failures::{FAILED_FOR_LONG, GONE};
use tenancy_core::webhook::{RetryPolicy, Secret};
use tenancy_core::{Error, Timestamp};
use tenancy_store::endpoints::Endpoint;
use tenancy_store::upkeep::{LaneReturn, MAX_REMOVED, Outcome};
use tokio::sync::watch;

/// Number of deliveries that are read at a time.
const READ_AHEAD: usize = 64;
/// How long a webhook is kept without due deliveries: the next event then finds it at once.
const LINGER: Duration = Duration::from_secs(2);
/// Code of an attempt that was not made because the event is no longer in the log.
const EXPIRED: &str = "event_expired";

/// What ended.
enum Ended {
    /// An attempt.
    Sent(Box<(Delivery, Timestamp, Attempt)>),
    /// A result is committed, or could not be.
    Recorded(DeliveryId, Result<(), Error>),
}

/// State of a visit.
struct Visit {
    lane: Lane,
    endpoint: Endpoint,
    policy: RetryPolicy,
    bucket: Option<Bucket>,
    /// Deliveries to send next.
    queue: VecDeque<(Delivery, Option<Message>)>,
    /// Deliveries that were read, until their results are committed.
    in_hand: HashSet<DeliveryId>,
    in_flight: usize,
    /// Whether more deliveries may be due than were read.
    may_have_more: bool,
    wakes: i64,
}

/// Why nothing can be sent now.
enum Blocked {
    /// Nothing is due.
    Empty,
    /// A limit, until this time.
    Until(Timestamp),
    /// Requests in flight must end first.
    Full,
}

impl Deliverer {
    /// Sends what is due. Returns how the webhook is returned; `None` if it is gone.
    pub(super) async fn visit(self: &Arc<Self>, lane: Lane) -> Result<Option<LaneReturn>, Error> {
        let mut woken = self.watch_wakes(&lane);
        let Some(mut visit) = self.begin(lane).await? else { return Ok(None) };
        let mut running: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        while visit.endpoint.webhook.is_on() {
            if visit.queue.len() < visit.limit() && visit.may_have_more && !self.engine.stop.is_cancelled() {
                self.read(&mut visit).await?;
            }
            let blocked = self.start(&mut visit, &mut running);
            if running.is_empty() {
                match self.wait(&mut visit, blocked, &mut woken).await? {
                    Some(not_before) => return Ok(Some(visit.returned(not_before))),
                    None => continue,
                }
            }
            tokio::select! {
                Some(ended) = running.next() => self.ended(&mut visit, ended, &mut running).await?,
                () = changed(&mut woken) => visit.note(&mut woken),
                () = self.until(&blocked) => {}
            }
        }
        // What was sent is recorded, also if the webhook was disabled meanwhile.
        while let Some(ended) = running.next().await {
            self.ended(&mut visit, ended, &mut running).await?;
        }
        Ok(Some(LaneReturn { is_idle: true, ..visit.returned(None) }))
    }

    /// Loads the webhook. Removes the deliveries of one that no longer exists.
    async fn begin(&self, mut lane: Lane) -> Result<Option<Visit>, Error> {
        let store = &self.engine.tenancy.store;
        let Some(endpoint) = store.endpoint(&lane.webhook_id).await? else {
            let lease = (lane.webhook_id.clone(), lane.lease_epoch);
            let all = usize::try_from(MAX_REMOVED).unwrap_or(usize::MAX);
            while store.remove_deliveries(&lease).await? == all {}
            return Ok(None);
        };
        lane.begin_again(endpoint.webhook.updated_at);
        let now = store.now();
        Ok(Some(Visit {
            wakes: lane.wakes,
            lane,
            policy: RetryPolicy::of(&endpoint.webhook.retry_policy),
            bucket: endpoint.webhook.max_per_second.map(|rate| Bucket::new(rate, now)),
            endpoint,
            queue: VecDeque::new(),
            in_hand: HashSet::new(),
            in_flight: 0,
            may_have_more: true,
        }))
    }

    /// Reads due deliveries that are not in hand, with their messages.
    async fn read(&self, visit: &mut Visit) -> Result<(), Error> {
        let limit = visit.in_hand.len() + READ_AHEAD;
        let due = self.engine.tenancy.store.due_deliveries(&visit.lane.webhook_id, limit).await?;
        visit.may_have_more = due.len() == limit;
        let new: Vec<_> = due.into_iter().filter(|one| !visit.in_hand.contains(&one.delivery_id)).collect();
        let mut messages = messages(&self.engine.tenancy, &visit.endpoint.webhook.owner, &new).await?;
        for delivery in new {
            let message = messages.remove(&delivery.delivery_id);
            visit.in_hand.insert(delivery.delivery_id.clone());
            visit.queue.push_back((delivery, message));
        }
        Ok(())
    }

    /// Starts as many attempts as the limits allow, and returns why no more.
    fn start<'a>(self: &Arc<Self>, visit: &mut Visit, running: &mut FuturesUnordered<BoxFuture<'a, Ended>>) -> Blocked {
        loop {
            let now = self.engine.tenancy.now();
            if visit.queue.is_empty() || self.engine.stop.is_cancelled() {
                return Blocked::Empty;
            }
            let allowed = match visit.lane.gate(now) {
                Gate::Open(until) => return Blocked::Until(until),
                Gate::HalfOpen => 1,
                Gate::Closed => visit.limit(),
            };
            if visit.in_flight >= allowed {
                return Blocked::Full;
            }
            if let Some(Err(until)) = visit.bucket.as_mut().map(|bucket| bucket.take(now)) {
                return Blocked::Until(until);
            }
            let Some((delivery, message)) = visit.queue.pop_front() else { return Blocked::Empty };
            visit.in_flight += 1;
            let (deliverer, endpoint) = (Arc::clone(self), visit.endpoint.clone());
            running.push(Box::pin(async move {
                let (started, attempt) = deliverer.attempt(&endpoint, message.as_ref()).await;
                Ended::Sent(Box::new((delivery, started, attempt)))
            }));
        }
    }

    /// Sends a message once. Returns when it was sent.
    async fn attempt(&self, endpoint: &Endpoint, message: Option<&Message>) -> (Timestamp, Attempt) {
        let _permit = self.requests.acquire().await;
        let now = self.engine.tenancy.now();
        let Some(message) = message else { return (now, expired()) };
        (now, exchange(self, endpoint, message, now).await)
    }

    /// Waits while nothing is in progress. Returns when the webhook is returned, if it is now, and the time before which
    /// nothing may be sent.
    async fn wait(
        &self,
        visit: &mut Visit,
        blocked: Blocked,
        woken: &mut watch::Receiver<i64>,
    ) -> Result<Option<Option<Timestamp>>, Error> {
        let lingers = self.lingers.load(Ordering::Relaxed) && !self.engine.stop.is_cancelled();
        match blocked {
            Blocked::Full => Ok(None),
            Blocked::Empty if visit.may_have_more && !self.engine.stop.is_cancelled() => Ok(None),
            Blocked::Until(until) => {
                let left = Duration::try_from(until.duration_since(self.engine.tenancy.now())).unwrap_or_default();
                if !lingers || left > LINGER {
                    return Ok(Some(Some(until)));
                }
                tokio::time::sleep(left).await;
                Ok(None)
            }
            Blocked::Empty if !lingers => Ok(Some(None)),
            Blocked::Empty => {
                let up = tokio::select! {
                    () = changed(woken) => false,
                    () = self.engine.stop.cancelled() => true,
                    () = tokio::time::sleep(LINGER) => true,
                };
                if up {
                    return Ok(Some(None));
                }
                visit.note(woken);
                // It may have been changed, disabled or deleted.
                let Some(endpoint) = self.engine.tenancy.store.endpoint(&visit.lane.webhook_id).await? else {
                    return Ok(Some(None));
                };
                visit.changed(endpoint, self.engine.tenancy.now());
                Ok(None)
            }
        }
    }

    async fn until(&self, blocked: &Blocked) {
        match blocked {
            Blocked::Until(until) => {
                let left = until.duration_since(self.engine.tenancy.now());
                tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
            }
            Blocked::Empty | Blocked::Full => std::future::pending().await,
        }
    }

    /// Takes what ended: records an attempt, or forgets a delivery whose result is committed.
    async fn ended<'a>(
        self: &Arc<Self>,
        visit: &mut Visit,
        ended: Ended,
        running: &mut FuturesUnordered<BoxFuture<'a, Ended>>,
    ) -> Result<(), Error> {
        let (delivery, started, attempt) = match ended {
            Ended::Recorded(id, done) => {
                visit.in_hand.remove(&id);
                return done;
            }
            Ended::Sent(sent) => *sent,
        };
        visit.in_flight -= 1;
        let outcome = visit.judge(&delivery, started, &attempt, self.engine.tenancy.now());
        let name = outcome.attempt.outcome.as_str();
        self.engine.metrics.delivery_attempted(name);
        let measure = match outcome.attempt.outcome {
            AttemptOutcome::Gone => Some(Measure::Disable(GONE)),
            AttemptOutcome::Failed => {
                let after = Duration::from_secs(3600 * u64::from(self.settings.disable_after_hours));
                visit.lane.consequence(self.engine.tenancy.now(), after).map(|what| match what {
                    Consequence::Warn(percent) => Measure::Warn(percent),
                    Consequence::Disable => Measure::Disable(FAILED_FOR_LONG),
                })
            }
            AttemptOutcome::Delivered => None,
        };
        if let Some(measure) = measure {
            // Before the result: if this process is killed between the two, the attempt is made again.
            consequences::carry_out(&self.engine.tenancy, &visit.endpoint.webhook, measure).await?;
            if let Some(endpoint) = self.engine.tenancy.store.endpoint(&visit.lane.webhook_id).await? {
                visit.endpoint = endpoint;
                visit.lane.seen_at = Some(visit.endpoint.webhook.updated_at);
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
}

impl Visit {
    fn limit(&self) -> usize {
        usize::try_from(self.endpoint.webhook.in_flight()).unwrap_or(1).max(1)
    }

    /// Counts an attempt, and returns its result.
    fn judge(&mut self, before: &Delivery, started_at: Timestamp, attempt: &Attempt, now: Timestamp) -> Outcome {
        let outcome = match attempt.outcome {
            sending::Outcome::Delivered => AttemptOutcome::Delivered,
            sending::Outcome::Failed => AttemptOutcome::Failed,
            sending::Outcome::Gone => AttemptOutcome::Gone,
        };
        let answered = Answered {
            outcome,
            status: attempt.status.map(i64::from),
            error: attempt.error.map(str::to_owned),
            retry_after: attempt.retry_after,
        };
        let is_expired = attempt.error == Some(EXPIRED);
        let policy =
            if is_expired { RetryPolicy { max_retries: 0, ..self.policy.clone() } } else { self.policy.clone() };
        let delivery = before.after(&answered, &policy, now, random());
        match outcome {
            AttemptOutcome::Delivered => self.lane.succeeded(now),
            _ if is_expired => {}
            _ => {
                let status = attempt.status.map(|status| status.to_string());
                let what = status.or_else(|| answered.error.clone()).unwrap_or_default();
                self.lane.failed(
                    now,
                    what,
                    attempt.retry_after.map(|asked| asked.min(tenancy_core::delivery::MAX_RETRY_AFTER)),
                );
            }
        }
        let next_at = (delivery.state == tenancy_core::delivery::DeliveryState::Waiting).then_some(delivery.due_at);
        let attempt = DeliveryAttempt {
            delivery_id: delivery.delivery_id.clone(),
            attempt: delivery.attempts,
            slot: slot(started_at),
            webhook_id: delivery.webhook_id.clone(),
            tenant_id: delivery.tenant_id.clone(),
            started_at,
            outcome,
            status: answered.status,
            connect_ms: attempt.connect_ms.map(i64::from),
            total_ms: attempt.total_ms.into(),
            answer_start: attempt.answer_start.clone(),
            error: answered.error,
            detail: attempt.detail.clone(),
            next_at,
        };
        Outcome { lease_epoch: self.lane.lease_epoch, delivery, attempt }
    }

    /// Takes the webhook after a change.
    fn changed(&mut self, endpoint: Endpoint, now: Timestamp) {
        self.lane.begin_again(endpoint.webhook.updated_at);
        self.policy = RetryPolicy::of(&endpoint.webhook.retry_policy);
        match (&mut self.bucket, endpoint.webhook.max_per_second) {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate),
            (bucket, rate) => *bucket = rate.map(|rate| Bucket::new(rate, now)),
        }
        self.endpoint = endpoint;
    }

    /// Notes that something became due.
    fn note(&mut self, woken: &mut watch::Receiver<i64>) {
        self.wakes = *woken.borrow_and_update();
        self.may_have_more = true;
    }

    fn returned(&self, not_before: Option<Timestamp>) -> LaneReturn {
        let lease = (self.lane.webhook_id.clone(), self.lane.lease_epoch);
        LaneReturn { lease, wakes: self.wakes, not_before, is_idle: false }
    }
}

/// Resolves when the number of wakes changes.
async fn changed(woken: &mut watch::Receiver<i64>) {
    if woken.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Sends a message to a webhook once.
pub(crate) async fn exchange(deliverer: &Deliverer, endpoint: &Endpoint, message: &Message, now: Timestamp) -> Attempt {
    let webhook = &endpoint.webhook;
    let secrets: Vec<Secret> = endpoint.secrets.live(now).cloned().collect();
    let target = Target {
        url: &webhook.url,
        is_platform: webhook.owner == tenancy_core::webhook::WebhookOwner::Platform,
        timeout: Duration::from_secs(u64::try_from(webhook.timeout()).unwrap_or(1)),
        secrets: &secrets,
        format: webhook.format,
    };
    deliverer.transport.send(target, message, now).await
}

/// The result for an event that is no longer in the log.
fn expired() -> Attempt {
    Attempt {
        outcome: sending::Outcome::Failed,
        status: None,
        connect_ms: None,
        total_ms: 0,
        answer_start: String::new(),
        retry_after: None,
        error: Some(EXPIRED),
        detail: Some("the event has expired from the audit log, so that nothing was sent".to_owned()),
        request: Exchange::default(),
    }
}

/// Returns a random number from 0 to 1.
fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}
