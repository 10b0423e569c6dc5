//! Sends events again, from a time on. The place is kept in the lane of the webhook, so a replay goes on after a restart; it
//! can be paused. The process that has the lease of the dispatcher makes the deliveries, a part at a time, under the number of
//! its lease. Replays take turns, and one that cannot go on does not keep others from their turn.

use super::matching::delivery;
use crate::tenancy::Tenancy;
use jiff::SignedDuration;
use tenancy_core::delivery::DeliveryState;
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::Lane;
use tenancy_core::webhook::{Webhook, WebhookOwner};
use tenancy_core::{Error, Timestamp};
use tenancy_store::upkeep::EventHead;

/// Number of replays that are read at a time.
const MAX_LANES: usize = 16;
/// Number of events of one part.
const MAX_EVENTS: usize = 500;
/// A replay waits while so many deliveries of its webhook wait.
const MAX_WAITING: usize = 2000;
/// How long replays rest during a busy time when none of those that were looked at could go on.
const RESTS_FOR: SignedDuration = SignedDuration::from_millis(100);

/// How much replays may do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// One part: new events wait meanwhile.
    Busy,
    /// Several parts: there are no new events.
    Idle,
}

impl Share {
    /// Maximum number of parts.
    fn parts(self) -> usize {
        match self {
            Self::Busy => 1,
            Self::Idle => 8,
        }
    }

    /// Maximum number of replays that are looked at.
    fn looks(self) -> usize {
        match self {
            Self::Busy => MAX_LANES,
            Self::Idle => 512,
        }
    }
}

/// Whose turn it is, and whether there is anything to do.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// Webhook that had the last turn.
    last: Option<WebhookId>,
    /// No replay is in progress, as far as this process has read the log under its lease.
    is_none: bool,
    /// Time before which none goes on during a busy time.
    rests_until: Option<Timestamp>,
}

impl Replays {
    /// A replay may be in progress: it began or goes on, or another process had the lease.
    pub(super) fn may_exist(&mut self) {
        (self.is_none, self.rests_until) = (false, None);
    }
}

/// Continues the replays if this process has the lease of the dispatcher. Returns the number of deliveries that are due again.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    match tenancy.dispatcher.epoch(tenancy).await {
        Some(epoch) => share(tenancy, epoch, Share::Idle).await,
        None => Ok(0),
    }
}

/// Continues the replays after a run of the dispatcher that made so many deliveries.
pub(super) async fn after_run(tenancy: &Tenancy, made: usize) -> Result<(), Error> {
    let Some(epoch) = tenancy.dispatcher.epoch(tenancy).await else { return Ok(()) };
    share(tenancy, epoch, if made == 0 { Share::Idle } else { Share::Busy }).await.map(drop)
}

/// Continues the replays in turn, under this lease, as far as their share allows. Returns the number of deliveries that are
/// due again.
pub(super) async fn share(tenancy: &Tenancy, epoch: i64, share: Share) -> Result<usize, Error> {
    let mut replays = tenancy.dispatcher.replays.lock().await;
    let rests = |until: Timestamp| {
        let left = until.duration_since(tenancy.now());
        left.is_positive() && left <= RESTS_FOR
    };
    if replays.is_none || share == Share::Busy && replays.rests_until.is_some_and(rests) {
        return Ok(0);
    }
    let (mut made, mut parts, mut looked) = (0, 0, 0);
    // A round ends with the last webhook; the first one may have begun in the middle.
    let (mut is_first, mut parts_before) = (replays.last.is_some(), 0);
    while parts < share.parts() && looked < share.looks() {
        let lanes = tenancy.store.replays(replays.last.as_ref(), MAX_LANES).await?;
        let ids: Vec<_> = lanes.iter().map(|lane| lane.webhook_id.clone()).collect();
        let webhooks = tenancy.store.webhooks_by_ids(&ids).await?;
        for lane in &lanes {
            replays.last = Some(lane.webhook_id.clone());
            looked += 1;
            let webhook = webhooks.iter().find(|webhook| webhook.webhook_id == lane.webhook_id && webhook.is_on());
            let Some(webhook) = webhook else { continue };
            if let Some(deliveries) = turn(tenancy, epoch, lane, webhook).await? {
                (made, parts) = (made + deliveries, parts + 1);
            }
            if parts == share.parts() {
                break;
            }
        }
        if lanes.len() < MAX_LANES && parts < share.parts() {
            replays.last = None;
            if !is_first && parts == parts_before {
                replays.is_none = looked == 0;
                break;
            }
            (is_first, parts_before) = (false, parts);
        }
    }
    if parts == 0 {
        replays.rests_until = tenancy.now().checked_add(RESTS_FOR).ok();
    }
    Ok(made)
}

/// Gives a replay its turn. Its error ends no other replay, unless the database cannot be reached.
async fn turn(tenancy: &Tenancy, epoch: i64, lane: &Lane, webhook: &Webhook) -> Result<Option<usize>, Error> {
    match part(tenancy, epoch, lane, webhook).await {
        Err(Error::Unavailable) => Err(Error::Unavailable),
        Err(error) => {
            tracing::warn!(webhook_id = %lane.webhook_id, %error, "the replay of a webhook cannot go on");
            Ok(None)
        }
        done => done,
    }
}

/// Does one part of a replay. Returns the number of deliveries; `None` if the replay cannot go on now.
async fn part(tenancy: &Tenancy, epoch: i64, lane: &Lane, webhook: &Webhook) -> Result<Option<usize>, Error> {
    let store = &tenancy.store;
    let (Some(position), Some(to)) = (lane.replay_position, lane.replay_to) else { return Ok(None) };
    let waiting = store.count_deliveries(&lane.webhook_id, DeliveryState::Waiting, MAX_WAITING).await?;
    if usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_WAITING) {
        return Ok(None);
    }
    let heads = store.event_heads(position, Some(to), webhook.owner.tenant_id(), MAX_EVENTS).await?;
    if let Some(event_type) = heads.unknown.as_ref().filter(|_| heads.last == position) {
        let webhook_id = &lane.webhook_id;
        tracing::warn!(%webhook_id, event_type, "a replay waits: this release does not know the type of the next event");
        return Ok(None);
    }
    let receives = |event: &&EventHead| {
        let reads = match &webhook.owner {
            WebhookOwner::Platform => true,
            WebhookOwner::Organization(id) => event.organization_id.as_ref() == Some(id),
            WebhookOwner::Tenant(id) => event.tenant_id.as_ref() == Some(id),
        };
        reads && webhook.subscribes(event.event_type.as_str())
    };
    let now = tenancy.now();
    let events = heads.events.iter().filter(receives);
    let deliveries: Vec<_> = events.map(|event| delivery(event, webhook, now)).collect();
    let next = (!heads.is_end && heads.last < to).then_some(heads.last);
    let is_moved = store.replay_part(epoch, lane, &deliveries, next).await?;
    Ok(is_moved.then_some(deliveries.len()))
}
