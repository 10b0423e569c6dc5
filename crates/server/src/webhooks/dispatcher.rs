//! The dispatcher turns events of the log into deliveries. One process at a time does it, under a lease. The position up to
//! which it has come is committed with the deliveries, so a crash loses no event, and what is done again makes nothing new.

use super::matching::{Subscribers, dispatched, owners};
use crate::background::{Loop, Run, Wake};
use crate::engine::holder;
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use jiff::SignedDuration;
use std::time::Duration;
use tenancy_core::ids::WebhookId;
use tenancy_core::{Error, Timestamp};
use tenancy_store::Topic;
use tenancy_store::upkeep::{Dispatched, EventHead, Replay};
use tokio::sync::Mutex;

/// Maximum number of events that become deliveries in one transaction.
const MAX_EVENTS: usize = 500;
/// Maximum number of deliveries in one transaction; beyond it, fewer events are taken.
const MAX_DELIVERIES: usize = 10_000;
/// Duration of the lease.
const LEASE: Duration = Duration::from_secs(20);
/// Interval at which the dispatcher looks for events if nothing notifies it.
const EVERY: Duration = Duration::from_secs(1);
/// A position without deliveries is written after this many events, or after [`WRITES_EVERY`]. Until then a process that
/// takes over reads those events again, which makes nothing new.
const MAX_UNWRITTEN: i64 = 10_000;
const WRITES_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// The dispatcher of one process.
#[derive(Debug)]
pub struct Dispatcher {
    holder: String,
    held: Mutex<Option<Held>>,
}

/// The lease, and how far the dispatcher has come.
#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: i64,
    /// Earliest time at which the lease is extended.
    extend_at: Timestamp,
    /// End of the lease.
    until: Timestamp,
    position: i64,
    written: i64,
    written_at: Timestamp,
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self { holder: holder("dispatcher"), held: Mutex::default() }
    }
}

impl Dispatcher {
    /// Makes deliveries of all events that are not yet. Returns the number of deliveries; 0 if another process has the
    /// lease.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(&self, tenancy: &Tenancy) -> Result<usize, Error> {
        let mut held = self.held.lock().await;
        let mut made = 0;
        while let Some(mut now) = self.hold(tenancy, *held).await? {
            *held = Some(now);
            let (events, last) = tenancy.store.event_heads(now.position, MAX_EVENTS).await?;
            if last == now.position {
                break;
            }
            let (dispatched, last) = self.decide(tenancy, &events, last).await?;
            made += dispatched.deliveries.len();
            let is_empty = dispatched == Dispatched::default();
            let is_late = tenancy.now().duration_since(now.written_at) >= WRITES_EVERY;
            if !is_empty || is_late || last - now.written >= MAX_UNWRITTEN {
                if !tenancy.store.dispatch(now.epoch, last, &dispatched).await? {
                    *held = None;
                    break;
                }
                (now.written, now.written_at) = (last, tenancy.now());
            }
            now.position = last;
            *held = Some(now);
        }
        Ok(made)
    }

    /// Gives the lease back, so that another process continues at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn release(&self, tenancy: &Tenancy) -> Result<(), Error> {
        match self.held.lock().await.take() {
            Some(held) => tenancy.store.release_dispatch(held.epoch).await,
            None => Ok(()),
        }
    }

    /// Takes or extends the lease, if that is necessary. `None` while another process has it.
    async fn hold(&self, tenancy: &Tenancy, held: Option<Held>) -> Result<Option<Held>, Error> {
        let now = tenancy.now();
        // After a jump of the clock backwards, the times are in the future and the lease is extended, too.
        let is_sure = |held: &Held| now < held.extend_at && held.until.duration_since(now) <= signed(LEASE);
        if let Some(held) = held.filter(is_sure) {
            return Ok(Some(held));
        }
        let Some(lease) = tenancy.store.lease_dispatch(&self.holder, LEASE).await? else { return Ok(None) };
        let ours = held.filter(|held| held.epoch == lease.epoch);
        let fresh = || Held {
            epoch: lease.epoch,
            extend_at: now,
            until: now,
            position: lease.position,
            written: lease.position,
            written_at: now,
        };
        let until = |part| now.checked_add(LEASE / part).unwrap_or(Timestamp::MAX);
        Ok(Some(Held { extend_at: until(2), until: until(1), ..ours.unwrap_or_else(fresh) }))
    }

    /// Decides what events become. Returns the position up to which it did.
    async fn decide(&self, tenancy: &Tenancy, events: &[EventHead], last: i64) -> Result<(Dispatched, i64), Error> {
        if events.is_empty() {
            return Ok((Dispatched::default(), last));
        }
        let (tenants, organizations) = owners(events);
        let subscribers = Subscribers::new(tenancy.store.subscribers(&tenants, &organizations).await?);
        let (mut some, mut last) = (events, last);
        loop {
            let mut made = dispatched(some, &subscribers, tenancy.now());
            for (id, replay) in &mut made.replays {
                if let Replay::Begin { after, to, .. } = replay {
                    *after = replayed_after(tenancy, some, id, *to).await?;
                }
            }
            if made.deliveries.len() <= MAX_DELIVERIES || some.len() == 1 {
                return Ok((made, last));
            }
            some = &some[..some.len() / 2];
            last = some.last().map_or(last, |event| event.position);
        }
    }
}

/// Returns the position after which the replay begins that the event at a position asks for.
async fn replayed_after(
    tenancy: &Tenancy,
    events: &[EventHead],
    webhook: &WebhookId,
    position: i64,
) -> Result<i64, Error> {
    let asks = |event: &&EventHead| event.position == position && event.webhook().as_ref() == Some(webhook);
    let since = events.iter().find(asks).and_then(|event| event.text("since")?.parse().ok());
    match since {
        Some(since) => tenancy.store.position_before(since).await,
        None => Ok(position),
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns the loop. It runs in every process: the lease lets one of them work.
pub fn as_loop() -> Loop {
    let run: Run = |tenancy, _| {
        async move {
            let made = tenancy.dispatcher.run_once(&tenancy).await?;
            if made == 0 {
                super::replay::run_once(&tenancy).await?;
            }
            Ok(())
        }
        .boxed()
    };
    Loop { name: "webhook-dispatch", period: EVERY, wake: Wake::Topic(Topic::Log), run }
}
