//! Renders the bodies of deliveries. No body is stored: it is rendered from the event when deliveries are read, as their owner
//! reads it in the audit log. What a purge has erased is therefore in no later attempt, except for a moment: an event is read
//! and rendered once for all webhooks that hear of it, and kept that long.

use super::attempts::NoMessage;
use super::sending::Message;
use crate::tenancy::Tenancy;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tenancy_api::event::AuditEvent;
use tenancy_api::viewpoint::Viewpoint;
use tenancy_core::delivery::Delivery;
use tenancy_core::ids::AuditId;
use tenancy_core::permission::Audience;
use tenancy_core::webhook::WebhookOwner;
use tenancy_core::{Error, Timestamp};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

/// Time for which an event that was rendered is kept for other webhooks.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Maximum size of all events that are kept, in bytes.
const MAX_KEPT: usize = 16 * 1024 * 1024;
/// Number of events that are read at a time.
const MAX_READ: usize = 256;

/// An event as an audience sees it.
type Which = (Audience, AuditId);

/// JSON of an event, or why there is none.
type Event = Result<Rendered, NoMessage>;

/// JSON of an event.
#[derive(Debug, Clone)]
struct Rendered {
    data: Bytes,
    occurred_at: Timestamp,
}

/// Events that were rendered a moment ago.
#[derive(Debug, Default)]
struct Recent {
    events: HashMap<Which, (Timestamp, Event)>,
    bytes: usize,
}

/// Renders the events of deliveries, those of all webhooks together: while events are read, the next ones gather.
#[derive(Debug, Default)]
pub struct Renderer {
    wanted: Mutex<HashSet<Which>>,
    recent: Mutex<Recent>,
    turn: AsyncMutex<()>,
}

impl Renderer {
    /// Returns the messages of deliveries, in their order.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn messages(
        &self,
        tenancy: &Tenancy,
        owner: &WebhookOwner,
        deliveries: &[Delivery],
    ) -> Result<Vec<Result<Message, NoMessage>>, Error> {
        let audience = audience(owner);
        let wanted: Vec<Which> = deliveries.iter().map(|delivery| (audience, delivery.audit_id.clone())).collect();
        let events = self.rendered(tenancy, &wanted).await?;
        let messages = deliveries.iter().zip(events).map(|(delivery, event)| {
            let Rendered { data, occurred_at } = event?;
            let source = match &delivery.tenant_id {
                Some(tenant) => format!("/v1/tenants/{tenant}"),
                None => "/v1".to_owned(),
            };
            let (id, event_type) = (delivery.delivery_id.to_string(), delivery.event_type.as_str().to_owned());
            Ok(Message { id, event_type, occurred_at, data, source })
        });
        Ok(messages.collect())
    }

    /// Drops what is not kept any longer.
    pub fn forget(&self, now: Timestamp) {
        self.recent().forget(now);
    }

    /// Returns events in the order in which they are wanted.
    async fn rendered(&self, tenancy: &Tenancy, wanted: &[Which]) -> Result<Vec<Event>, Error> {
        if let Some(kept) = self.recent().all(wanted, tenancy.now()) {
            return Ok(kept);
        }
        let own: HashSet<Which> = wanted.iter().cloned().collect();
        self.wanted().extend(own.iter().cloned());
        // Whoever gets its turn also reads for webhooks that wait for theirs. If a read takes long, because a key service does
        // not answer, the others stop waiting and read for themselves.
        let turn = timeout(KEPT_FOR, self.turn.lock()).await;
        let reads_for_others = turn.is_ok() && self.recent().all(wanted, tenancy.now()).is_none();
        let others = self.take_wanted(&own, if reads_for_others { MAX_READ } else { 0 });
        let all = own.iter().chain(&others).cloned().collect();
        let found = match self.found(tenancy, all).await {
            // The key of another webhook's event may be unavailable: that must not stop this webhook.
            Err(_) if !others.is_empty() => self.found(tenancy, own).await?,
            found => found?,
        };
        drop(turn);
        Ok(wanted.iter().map(|which| found.get(which).cloned().unwrap_or(Err(NoMessage::Expired))).collect())
    }

    /// Removes these events from the wanted ones, and up to `most` others, which are returned.
    fn take_wanted(&self, own: &HashSet<Which>, most: usize) -> Vec<Which> {
        let mut wanted = self.wanted();
        for which in own {
            wanted.remove(which);
        }
        let others: Vec<Which> = wanted.iter().take(most).cloned().collect();
        for which in &others {
            wanted.remove(which);
        }
        others
    }

    /// Returns these events, and reads those that are not kept.
    async fn found(&self, tenancy: &Tenancy, mut wanted: HashSet<Which>) -> Result<HashMap<Which, Event>, Error> {
        let mut found = HashMap::with_capacity(wanted.len());
        {
            let (recent, now) = (self.recent(), tenancy.now());
            wanted.retain(|which| {
                recent.get(which, now).map(|event| found.insert(which.clone(), event.clone())).is_none()
            });
        }
        let wanted: Vec<Which> = wanted.into_iter().collect();
        for part in wanted.chunks(MAX_READ) {
            let read = read(tenancy, part).await?;
            self.recent().keep(&read, tenancy.now());
            found.extend(read);
        }
        Ok(found)
    }

    // After a panic the maps are still valid: each operation changes one entry as a whole.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, HashSet<Which>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn get(&self, which: &Which, now: Timestamp) -> Option<&Event> {
        let (at, event) = self.events.get(which)?;
        is_recent(*at, now).then_some(event)
    }

    /// Returns these events, if all of them are kept.
    fn all(&self, wanted: &[Which], now: Timestamp) -> Option<Vec<Event>> {
        wanted.iter().map(|which| self.get(which, now).cloned()).collect()
    }

    /// Drops events that are old.
    fn forget(&mut self, now: Timestamp) {
        self.events.retain(|_, (at, _)| is_recent(*at, now));
        self.bytes = self.events.values().map(|(_, event)| size(event)).sum();
    }

    /// Keeps events, and drops those that are old; all of them if they are too large together.
    fn keep(&mut self, read: &[(Which, Event)], now: Timestamp) {
        self.forget(now);
        for (which, event) in read {
            self.bytes += size(event);
            if self.bytes > MAX_KEPT {
                (self.bytes, self.events) = (size(event), HashMap::new());
            }
            self.events.insert(which.clone(), (now, event.clone()));
        }
    }
}

/// Whether an event that was read at a time is kept. The clock of a computer may be set back.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).unsigned_abs() < KEPT_FOR
}

/// Estimated size of an event that is kept.
fn size(event: &Event) -> usize {
    event.as_ref().map_or(0, |event| event.data.len()) + 256
}

/// Reads and renders events.
async fn read(tenancy: &Tenancy, wanted: &[Which]) -> Result<Vec<(Which, Event)>, Error> {
    let ids: HashSet<_> = wanted.iter().map(|(_, id)| id).collect();
    let ids: Vec<_> = ids.into_iter().cloned().collect();
    let (events, unreadable) = tenancy.store.logged_events(&ids).await?;
    let unreadable: HashSet<_> = unreadable.iter().map(|event| event.row.id.as_str()).collect();
    tenancy.load_key_names(events.iter().map(|logged| logged.event.actor.as_str())).await?;
    let events: HashMap<_, _> = events.iter().map(|logged| (&logged.event.audit_id, logged)).collect();
    let render = |which: &Which| {
        let Some(logged) = events.get(&which.1) else {
            let is_there = unreadable.contains(which.1.as_str());
            return Ok((which.clone(), Err(if is_there { NoMessage::Unreadable } else { NoMessage::Expired })));
        };
        let shown = AuditEvent::of(viewpoint(tenancy, which.0), logged.position, &logged.event, logged.tampered);
        let data = serde_json::to_vec(&shown).map_err(|error| Error::Internal(error.to_string()))?;
        let occurred_at = logged.event.occurred_at;
        Ok((which.clone(), Ok(Rendered { data: Bytes::from(data), occurred_at })))
    };
    wanted.iter().map(render).collect()
}

/// A webhook of the platform sees what an unscoped viewer sees, every other what a scoped key sees.
fn audience(owner: &WebhookOwner) -> Audience {
    match owner {
        WebhookOwner::Platform => Audience::Staff,
        WebhookOwner::Organization(_) | WebhookOwner::Tenant(_) => Audience::Customer,
    }
}

/// Neither audience of webhooks sees keys.
fn viewpoint(tenancy: &Tenancy, audience: Audience) -> Viewpoint<'_> {
    Viewpoint { audience, reads_keys: false, sees_urls: false, names: &tenancy.key_names }
}
