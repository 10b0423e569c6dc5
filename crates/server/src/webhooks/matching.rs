//! Which webhooks receive which events. A webhook receives what its owner may read in the audit log: the platform all
//! events, an organization those of its tenants, a tenant its own.

use std::collections::{BTreeSet, HashMap};
use tenancy_core::Timestamp;
use tenancy_core::delivery::{Delivery, DeliveryState, delivery_id};
use tenancy_core::event::EventType;
use tenancy_core::ids::{OrganizationId, TenantId, WebhookId};
use tenancy_core::webhook::{Webhook, WebhookOwner};
use tenancy_store::endpoints::Subscriber;
use tenancy_store::upkeep::{Dispatched, EventHead, Wake};

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
    let tenants = events.iter().filter_map(|event| event.tenant_id.clone()).collect();
    let organizations = events.iter().filter_map(|event| event.organization_id.clone()).collect();
    (tenants, organizations)
}

/// Returns what events become. A webhook receives the events after the one that says that it was added.
pub fn dispatched(events: &[EventHead], subscribers: &Subscribers, now: Timestamp) -> Dispatched {
    let mut made = Dispatched::default();
    let mut added: HashMap<WebhookId, i64> = HashMap::new();
    for event in events {
        if event.event_type == EventType::WebhookUpdated
            && let Some((id, change)) = event.webhook()
        {
            if change == ADDED {
                added.insert(id, event.position);
            } else {
                // It may be enabled again, or have another URL; or it is gone, and its deliveries with it.
                made.wakes.push(Wake { webhook_id: id, now: true });
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
