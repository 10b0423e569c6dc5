//! Renders the bodies of deliveries. No body is stored: it is rendered from the event for each attempt, as its owner reads it
//! in the audit log. What a purge has erased is therefore in no later attempt.

use super::sending::Message;
use crate::tenancy::Tenancy;
use bytes::Bytes;
use std::collections::HashMap;
use tenancy_api::event::AuditEvent;
use tenancy_api::viewpoint::Viewpoint;
use tenancy_core::Error;
use tenancy_core::delivery::Delivery;
use tenancy_core::ids::DeliveryId;
use tenancy_core::permission::Audience;
use tenancy_core::webhook::WebhookOwner;

/// Returns the messages of deliveries. Deliveries of events that have expired are missing.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn messages(
    tenancy: &Tenancy,
    owner: &WebhookOwner,
    deliveries: &[Delivery],
) -> Result<HashMap<DeliveryId, Message>, Error> {
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.audit_id.clone()).collect();
    let events = tenancy.store.logged_events(&ids).await?;
    tenancy.load_key_names(events.iter().map(|logged| logged.event.actor.as_str())).await?;
    let viewpoint = viewpoint(tenancy, owner);
    let mut messages = HashMap::new();
    for delivery in deliveries {
        let Some(logged) = events.iter().find(|logged| logged.event.audit_id == delivery.audit_id) else { continue };
        let shown = AuditEvent::of(viewpoint, logged.position, &logged.event, logged.tampered);
        let data = serde_json::to_vec(&shown).map_err(|error| Error::Internal(error.to_string()))?;
        let source = match &delivery.tenant_id {
            Some(tenant) => format!("/v1/tenants/{tenant}"),
            None => "/v1".to_owned(),
        };
        let message = Message {
            id: delivery.delivery_id.to_string(),
            event_type: delivery.event_type.as_str().to_owned(),
            occurred_at: logged.event.occurred_at,
            data: Bytes::from(data),
            source,
        };
        messages.insert(delivery.delivery_id.clone(), message);
    }
    Ok(messages)
}

/// A webhook of the platform sees what an unscoped viewer sees, every other what a scoped key sees. Neither sees keys.
fn viewpoint<'t>(tenancy: &'t Tenancy, owner: &WebhookOwner) -> Viewpoint<'t> {
    let audience = match owner {
        WebhookOwner::Platform => Audience::Staff,
        WebhookOwner::Organization(_) | WebhookOwner::Tenant(_) => Audience::Customer,
    };
    Viewpoint { audience, reads_keys: false, sees_urls: false, names: &tenancy.key_names }
}
