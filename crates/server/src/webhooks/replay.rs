//! Sends events again, from a time on. The place is kept in the lane of the webhook, so a replay goes on after a restart; it
//! can be paused. The process that has the lease of the dispatcher makes the deliveries, a part at a time.

use super::matching::delivery;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::delivery::DeliveryState;
use tenancy_core::lane::Lane;
use tenancy_core::webhook::WebhookOwner;
use tenancy_store::upkeep::EventHead;

/// Number of replays that one run continues.
const MAX_LANES: usize = 16;
/// Number of events of one part.
const MAX_EVENTS: usize = 500;
/// A replay waits while so many deliveries of its webhook wait.
const MAX_WAITING: usize = 2000;

/// Continues the replays, each by one part. Returns the number of deliveries that are due again.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let mut made = 0;
    for lane in tenancy.store.replays(MAX_LANES).await? {
        made += one(tenancy, &lane).await?;
    }
    Ok(made)
}

async fn one(tenancy: &Tenancy, lane: &Lane) -> Result<usize, Error> {
    let store = &tenancy.store;
    let (Some(position), Some(to)) = (lane.replay_position, lane.replay_to) else { return Ok(0) };
    let waiting = store.count_deliveries(&lane.webhook_id, DeliveryState::Waiting, MAX_WAITING).await?;
    if usize::try_from(waiting).is_ok_and(|waiting| waiting >= MAX_WAITING) {
        return Ok(0);
    }
    let Some(endpoint) = store.endpoint(&lane.webhook_id).await? else { return Ok(0) };
    let webhook = &endpoint.webhook;
    if !webhook.is_on() {
        return Ok(0);
    }
    let (events, last) = store.event_heads(position, MAX_EVENTS).await?;
    let receives = |event: &&EventHead| {
        let reads = match &webhook.owner {
            WebhookOwner::Platform => true,
            WebhookOwner::Organization(id) => event.organization_id.as_ref() == Some(id),
            WebhookOwner::Tenant(id) => event.tenant_id.as_ref() == Some(id),
        };
        reads && event.position <= to && webhook.subscribes(event.event_type.as_str())
    };
    let now = tenancy.now();
    let deliveries: Vec<_> = events.iter().filter(receives).map(|event| delivery(event, webhook, now)).collect();
    let next = (last < to && last > position).then_some(last);
    store.replay_part(lane, &deliveries, next).await?;
    Ok(deliveries.len())
}
