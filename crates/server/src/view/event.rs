//! Audit events, as they are read.

use serde::Serialize;
use serde_json::Value;
use tenancy_core::Timestamp;
use tenancy_core::event::EventType;
use tenancy_core::ids::{AuditId, CorrelationId, TenantId};
use tenancy_core::json::Object;
use tenancy_store::page::LoggedEvent;
use utoipa::ToSchema;

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct EventView<'a> {
    /// Its place in the one order of all events.
    pub position: i64,
    /// Its id.
    #[schema(value_type = String)]
    pub audit_id: &'a AuditId,
    /// Whose; left out for what is no tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<&'a TenantId>,
    /// What happened.
    #[schema(schema_with = super::schema::event_type)]
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub event_version: i64,
    /// `kind:subject`.
    pub actor: &'a str,
    /// For whom the actor acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<&'a str>,
    /// The particulars.
    #[schema(value_type = Object)]
    pub payload: &'a Object,
    /// Names, aliases, reasons: what stands beside the log until a purge empties it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub private: Option<&'a Value>,
    /// In which request.
    #[schema(value_type = String)]
    pub correlation_id: &'a CorrelationId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
}

impl<'a> EventView<'a> {
    /// Of an event of the log.
    pub fn of(logged: &'a LoggedEvent) -> Self {
        let event = &logged.event;
        Self {
            position: logged.position,
            audit_id: &event.audit_id,
            tenant_id: event.tenant_id.as_ref(),
            event_type: event.event_type,
            event_version: event.event_version,
            actor: &event.actor,
            on_behalf_of: event.on_behalf_of.as_deref(),
            payload: &event.payload,
            private: event.private.as_ref().map(|private| &private.content),
            correlation_id: &event.correlation_id,
            occurred_at: event.occurred_at,
        }
    }
}
