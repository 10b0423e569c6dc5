//! The dispatcher turns events of the log into deliveries. One process at a time does it, under a lease. The position up to
//! which it has come is committed with the deliveries, so a crash loses no event, and what is done again makes nothing new.

use super::matching::{Subscribers, dispatched, owners};
use super::replay::{self, Replays};
use crate::background::{Loop, Run, Wake};
use crate::engine::holder;
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenancy_core::ids::WebhookId;
use tenancy_core::{Error, Timestamp};
use tenancy_store::Topic;
use tenancy_store::endpoints::{Subscribed, Subscriber};
use tenancy_store::upkeep::{Dispatched, EventHead, EventHeads, Move, Replay};
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
/// Replays get a part after this many parts of a backlog.
const REPLAYS_EVERY: usize = 8;
/// How long a process leaves the lease to others after an event whose type it does not know. Others look for the lease in
/// the interval [`EVERY`].
const LEAVES_FOR: Duration = Duration::from_secs(5);

/// The dispatcher of one process.
#[derive(Debug)]
pub struct Dispatcher {
    holder: String,
    state: Mutex<State>,
    /// Where the replays of this process are.
    pub(super) replays: Mutex<Replays>,
    unreadable: AtomicU64,
}

/// What a process remembers between runs.
#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Webhooks of the platform, as they were when the lease was taken or extended, or at the last change of one in the log.
    platform: Option<Platform>,
    /// Time before which the lease is left to others.
    not_before: Option<Timestamp>,
    /// Webhooks that cannot be read and of which the log says so.
    told: BTreeSet<String>,
}

/// Webhooks of the platform, also in the form in which most parts of the log need them.
#[derive(Debug)]
struct Platform {
    all: Vec<Subscriber>,
    alone: Subscribers,
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

impl State {
    /// Forgets the lease and everything that was read under it. The next lease says where to continue.
    fn forget(&mut self) {
        (self.held, self.platform) = (None, None);
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self {
            holder: holder("dispatcher"),
            state: Mutex::default(),
            replays: Mutex::default(),
            unreadable: AtomicU64::new(0),
        }
    }
}

impl Dispatcher {
    /// Makes deliveries of all events that are not yet. Returns the number of deliveries; 0 if another process has the
    /// lease. Events that are committed during the run may be left for the next one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn run_once(&self, tenancy: &Tenancy) -> Result<usize, Error> {
        let mut state = self.state.lock().await;
        let (mut made, mut parts) = (0, 0);
        while let Some(now) = self.hold(tenancy, &mut state).await? {
            let heads = tenancy.store.event_heads(now.position, None, None, MAX_EVENTS).await?;
            if heads.newest < now.position {
                tracing::warn!(
                    position = now.position,
                    newest = heads.newest,
                    "the log ends before the position of the dispatcher: the database was restored"
                );
                // The next run takes the position from the database.
                state.forget();
                break;
            }
            let (dispatched, last) = self.decide(tenancy, &mut state, &heads).await?;
            if !self.write(tenancy, &mut state, now, last, &dispatched).await? {
                break;
            }
            made += dispatched.deliveries.len();
            if last < heads.last {
                continue;
            }
            if let Some(event_type) = &heads.unknown {
                self.leave(tenancy, &mut state, last, event_type).await?;
                break;
            }
            if heads.is_end {
                break;
            }
            parts += 1;
            if parts % REPLAYS_EVERY == 0 {
                replay::share(tenancy, now.epoch, replay::Share::Busy).await?;
            }
        }
        Ok(made)
    }

    /// Gives the lease back, so that another process continues at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn release(&self, tenancy: &Tenancy) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let held = state.held;
        state.forget();
        match held {
            Some(held) => tenancy.store.release_dispatch(held.epoch).await,
            None => Ok(()),
        }
    }

    /// Returns how often a row of a webhook could not be read. Such a webhook receives nothing.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Returns the number of the lease, if this process has it.
    pub(super) async fn epoch(&self, tenancy: &Tenancy) -> Option<i64> {
        self.state.lock().await.held.filter(|held| tenancy.now() < held.until).map(|held| held.epoch)
    }

    /// Takes or extends the lease, if that is necessary. `None` while another process has it.
    async fn hold(&self, tenancy: &Tenancy, state: &mut State) -> Result<Option<Held>, Error> {
        let now = tenancy.now();
        // After a jump of the clock backwards, the times are in the future: the lease is extended, and not left any longer.
        let leaves = |until: Timestamp| now < until && until.duration_since(now) <= signed(LEAVES_FOR);
        if state.not_before.is_some_and(leaves) {
            return Ok(None);
        }
        let is_sure = |held: &Held| now < held.extend_at && held.until.duration_since(now) <= signed(LEASE);
        if let Some(held) = state.held.filter(is_sure) {
            return Ok(Some(held));
        }
        let former = state.held;
        state.forget();
        let Some(lease) = tenancy.store.lease_dispatch(&self.holder, LEASE).await? else { return Ok(None) };
        // After a crash of the database, the position can be one from before: what came after it is made again.
        let ours = former.filter(|held| (held.epoch, held.written) == (lease.epoch, lease.position));
        if ours.is_none() {
            self.replays.lock().await.may_exist();
        }
        let fresh = || Held {
            epoch: lease.epoch,
            extend_at: now,
            until: now,
            position: lease.position,
            written: lease.position,
            written_at: now,
        };
        let until = |part| now.checked_add(LEASE / part).unwrap_or(Timestamp::MAX);
        state.held = Some(Held { extend_at: until(2), until: until(1), ..ours.unwrap_or_else(fresh) });
        Ok(state.held)
    }

    /// Gives the lease back before an event that a newer release wrote: only such a release knows who receives it.
    async fn leave(&self, tenancy: &Tenancy, state: &mut State, last: i64, event_type: &str) -> Result<(), Error> {
        tracing::warn!(
            position = last + 1,
            event_type,
            "a newer release wrote an event of a type that this release does not know; the dispatcher of webhooks is left \
             to processes of that release"
        );
        state.not_before = tenancy.now().checked_add(LEAVES_FOR).ok();
        let held = state.held;
        state.forget();
        match held {
            Some(held) => tenancy.store.release_dispatch(held.epoch).await,
            None => Ok(()),
        }
    }

    /// Writes what a part of the log became, and moves on. Returns `false` if the lease is lost, or if the
    /// database has lost what was written last.
    async fn write(
        &self,
        tenancy: &Tenancy,
        state: &mut State,
        mut now: Held,
        last: i64,
        dispatched: &Dispatched,
    ) -> Result<bool, Error> {
        let is_late = tenancy.now().duration_since(now.written_at) >= WRITES_EVERY;
        let is_due = last > now.written && (is_late || last - now.written >= MAX_UNWRITTEN);
        if is_due || *dispatched != Dispatched::default() {
            // Without an answer, it may be committed: then the database knows the position.
            let former = state.held.take();
            let move_to = Move { epoch: now.epoch, from: now.written, to: last };
            if !tenancy.store.dispatch(move_to, dispatched).await? {
                state.forget();
                return Ok(false);
            }
            state.held = former;
            (now.written, now.written_at) = (last, tenancy.now());
        }
        if !dispatched.begun.is_empty() {
            // They now have the position from which they receive events.
            state.platform = None;
        }
        if !dispatched.replays.is_empty() {
            self.replays.lock().await.may_exist();
        }
        now.position = last;
        state.held = Some(now);
        Ok(true)
    }

    /// Decides what events become. Returns the position up to which it did.
    async fn decide(
        &self,
        tenancy: &Tenancy,
        state: &mut State,
        heads: &EventHeads,
    ) -> Result<(Dispatched, i64), Error> {
        let events = heads.events.as_slice();
        if events.is_empty() {
            return Ok((Dispatched::default(), heads.last));
        }
        // What was read before does not know of the change. What is read now does: the change is committed.
        if events.iter().any(|event| event.tenant_id.is_none() && event.webhook().is_some()) {
            state.platform = None;
        }
        let merged;
        let (tenants, organizations) = owners(events);
        let of_owners = if tenants.is_empty() && organizations.is_empty() {
            None
        } else {
            Some(tenancy.store.subscribers(&tenants, &organizations).await?)
        };
        let of_owners = of_owners.map(|found| self.readable(state, found));
        let platform = self.platform(tenancy, state).await?;
        let subscribers = match of_owners {
            None => &platform.alone,
            Some(mut all) => {
                all.extend_from_slice(&platform.all);
                merged = Subscribers::new(all);
                &merged
            }
        };
        let (mut some, mut last) = (events, heads.last);
        loop {
            let mut made = dispatched(some, subscribers, tenancy.now());
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

    /// Returns the webhooks of the platform, from memory if they are there.
    async fn platform<'a>(&self, tenancy: &Tenancy, state: &'a mut State) -> Result<&'a Platform, Error> {
        let platform = match state.platform.take() {
            Some(platform) => platform,
            None => {
                let all = self.readable(state, tenancy.store.platform_subscribers().await?);
                Platform { alone: Subscribers::new(all.clone()), all }
            }
        };
        Ok(state.platform.insert(platform))
    }

    /// Counts webhooks that cannot be read, and says so once for each.
    fn readable(&self, state: &mut State, found: Subscribed) -> Vec<Subscriber> {
        for webhook in found.unreadable {
            self.unreadable.fetch_add(1, Ordering::Relaxed);
            if state.told.insert(webhook.id.clone()) {
                tracing::warn!(
                    webhook_id = webhook.id,
                    place = webhook.place,
                    "the row of a webhook cannot be read: the webhook receives nothing"
                );
            }
        }
        found.subscribers
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
            replay::after_run(&tenancy, made).await
        }
        .boxed()
    };
    Loop { name: "webhook-dispatch", period: EVERY, wake: Wake::Topic(Topic::Log), run }
}
