//! Which webhooks receive which events. A webhook receives what its owner may read in the audit log: the platform all
//! events, an organization those of its tenants, a tenant its own.

use std::collections::{BTreeSet, HashMap};
use tenancy_core::Timestamp;
use tenancy_core::delivery::{Delivery, DeliveryState, delivery_id};
use tenancy_core::event::EventType;
use tenancy_core::ids::{DeliveryId, OrganizationId, TenantId, WebhookId};
use tenancy_core::rules::webhook_requests::{ReplayChange, Which};
use tenancy_core::webhook::{Webhook, WebhookOwner};
use tenancy_store::endpoints::Subscriber;
use tenancy_store::upkeep::{Dispatched, EventHead, Replay, Wake};

/// Word of a change that adds a webhook.
const ADDED: &str = "added";

/// Webhooks by owner.
#[derive(Debug, Default)]
pub struct Subscribers {
    by_owner: HashMap<WebhookOwner, Vec<Subscriber>>,
}

impl Subscribers {
    /// Sorts webhooks by owner. Those that are off receive nothing.
    pub fn new(all: Vec<Subscriber>) -> Self {
        let mut by_owner: HashMap<_, Vec<_>> = HashMap::new();
        for subscriber in all.into_iter().filter(|subscriber| subscriber.webhook.is_on()) {
            by_owner.entry(subscriber.webhook.owner.clone()).or_default().push(subscriber);
        }
        Self { by_owner }
    }

    /// Returns the webhooks whose owners may read the event.
    fn readers<'a>(&'a self, event: &EventHead) -> impl Iterator<Item = &'a Subscriber> {
        let owners = [
            Some(WebhookOwner::Platform),
            event.organization_id.clone().map(WebhookOwner::Organization),
            event.tenant_id.clone().map(WebhookOwner::Tenant),
        ];
        owners.into_iter().flatten().filter_map(|owner| self.by_owner.get(&owner)).flatten()
    }
}

/// Returns the owners whose webhooks may receive these events.
pub fn owners(events: &[EventHead]) -> (BTreeSet<TenantId>, BTreeSet<OrganizationId>) {
    let own = events.iter().filter(|event| event.tenant_has_webhooks);
    let tenants = own.filter_map(|event| event.tenant_id.clone()).collect();
    let organizations = events.iter().filter_map(|event| event.organization_id.clone()).collect();
    (tenants, organizations)
}

/// Returns what events become. A webhook receives the events after the one that says that it was added.
pub fn dispatched(events: &[EventHead], subscribers: &Subscribers, now: Timestamp) -> Dispatched {
    let mut made = Dispatched::default();
    let mut added: HashMap<WebhookId, i64> = HashMap::new();
    for event in events {
        if let Some(id) = event.webhook() {
            if event.event_type == EventType::WebhookUpdated && event.text("change") == Some(ADDED) {
                added.insert(id, event.position);
            } else {
                about(event, id, &mut made);
            }
        }
        for subscriber in subscribers.readers(event) {
            let webhook = &subscriber.webhook;
            let from = subscriber.from_position.or_else(|| added.get(&webhook.webhook_id).copied());
            if from.is_some_and(|from| event.position > from) && webhook.subscribes(event.event_type.as_str()) {
                made.deliveries.push(delivery(event, webhook, now));
            }
        }
    }
    let mut woken: Vec<_> = made.deliveries.iter().map(|delivery| delivery.webhook_id.clone()).collect();
    woken.sort();
    woken.dedup();
    made.wakes.extend(woken.into_iter().map(|webhook_id| Wake { webhook_id, now: false }));
    made.begun = added.into_iter().collect();
    made
}

/// Does what an event about a webhook asks for.
fn about(event: &EventHead, id: WebhookId, made: &mut Dispatched) {
    let wake = Wake { webhook_id: id.clone(), now: true };
    match event.event_type {
        // It may be enabled again, or have another URL; or it is gone, and its deliveries with it.
        EventType::WebhookUpdated => made.wakes.push(wake),
        EventType::WebhookResend => {
            if let Some(delivery) = event.text("delivery_id") {
                made.resends.push((id, DeliveryId::known(delivery)));
                made.wakes.push(wake);
            }
        }
        EventType::WebhookReplay => {
            let replay = match event.text("change").and_then(ReplayChange::parse) {
                Some(ReplayChange::Paused) => Replay::Pause,
                Some(ReplayChange::Continued) => Replay::Continue,
                Some(ReplayChange::Begun) => Replay::Begin {
                    // The dispatcher looks the position up.
                    after: event.position,
                    to: event.position,
                    only_undelivered: event.text("which") == Some(Which::Undelivered.as_str()),
                },
                None => return,
            };
            // The lane must exist.
            made.wakes.push(Wake { now: false, ..wake });
            made.replays.push((id, replay));
        }
        _ => {}
    }
}

/// Returns a new delivery, due now.
pub fn delivery(event: &EventHead, webhook: &Webhook, now: Timestamp) -> Delivery {
    Delivery {
        delivery_id: delivery_id(&event.audit_id, &webhook.webhook_id),
        webhook_id: webhook.webhook_id.clone(),
        tenant_id: event.tenant_id.clone(),
        audit_id: event.audit_id.clone(),
        position: event.position,
        event_type: event.event_type,
        state: DeliveryState::Waiting,
        attempts: 0,
        tries: 0,
        due_at: now,
        last_status: None,
        last_error: None,
        last_attempt_at: None,
        created_at: now,
    }
}
