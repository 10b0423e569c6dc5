//! The tables of the log.

use super::{Column, Table, Type, described};
use jiff::Timestamp;
use serde_json::Value as Json;
use tenancy_core::event::{Event, EventType};
use tenancy_core::ids::{AuditId, CorrelationId, TenantId};
use tenancy_core::json::Object;

/// A row of `tenant_audit`. That of `platform_audit` is the same without a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Its id.
    pub audit_id: AuditId,
    /// Whose; `None` only in `platform_audit`.
    pub tenant_id: Option<TenantId>,
    /// What happened.
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub event_version: i64,
    /// `kind:subject`.
    pub actor: String,
    /// For whom the actor acted.
    pub on_behalf_of: Option<String>,
    /// The particulars.
    pub payload: Object,
    /// In which request.
    pub correlation_id: CorrelationId,
    /// When.
    pub occurred_at: Timestamp,
    /// The place in the log. In a statement that writes: the place within the batch, from 1.
    pub position: i64,
}

described!(
    /// The log of tenants.
    AuditRow as TENANT_AUDIT "tenant_audit" [audit_id] {
        audit_id: AuditId,
        tenant_id: Option<TenantId>,
        event_type: EventType,
        event_version: i64,
        actor: String,
        on_behalf_of: Option<String>,
        payload: Object,
        correlation_id: CorrelationId,
        occurred_at: Timestamp,
        position: i64,
    }
);

/// The log of what is no tenant's: the same columns without `tenant_id`.
pub const PLATFORM_AUDIT: &Table = &Table {
    name: "platform_audit",
    key: &["audit_id"],
    columns: &[
        Column { name: "audit_id", ty: Type::Text },
        Column { name: "event_type", ty: Type::Text },
        Column { name: "event_version", ty: Type::Int },
        Column { name: "actor", ty: Type::Text },
        Column { name: "on_behalf_of", ty: Type::Text },
        Column { name: "payload", ty: Type::Json },
        Column { name: "correlation_id", ty: Type::Text },
        Column { name: "occurred_at", ty: Type::Time },
        Column { name: "position", ty: Type::Int },
    ],
};

/// A row of `audit_private`.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivateRow {
    /// Whose; empty for what is no tenant's.
    pub tenant_id: String,
    /// Beside which event.
    pub audit_id: AuditId,
    /// What the digest in the log is salted with.
    pub salt: String,
    /// What may be personal.
    pub content: Json,
}

described!(
    /// What stands beside the log.
    PrivateRow as AUDIT_PRIVATE "audit_private" [tenant_id, audit_id] {
        tenant_id: String,
        audit_id: AuditId,
        salt: String,
        content: Json,
    }
);

/// The list of what was committed, which gives positions their order.
pub const LOG_BATCHES: &Table = &Table {
    name: "log_batches",
    key: &["last_position"],
    columns: &[
        Column { name: "last_position", ty: Type::Int },
        Column { name: "first_position", ty: Type::Int },
        Column { name: "committed_at", ty: Type::Time },
    ],
};

impl AuditRow {
    /// The row of an event at a place.
    pub fn of(event: &Event, position: i64) -> Self {
        Self {
            audit_id: event.audit_id.clone(),
            tenant_id: event.tenant_id.clone(),
            event_type: event.event_type,
            event_version: event.event_version,
            actor: event.actor.clone(),
            on_behalf_of: event.on_behalf_of.clone(),
            payload: event.payload.clone(),
            correlation_id: event.correlation_id.clone(),
            occurred_at: event.occurred_at,
            position,
        }
    }

    /// The event, without what stands beside it.
    pub fn into_event(self) -> Event {
        Event {
            audit_id: self.audit_id,
            tenant_id: self.tenant_id,
            event_type: self.event_type,
            event_version: self.event_version,
            actor: self.actor,
            on_behalf_of: self.on_behalf_of,
            payload: self.payload,
            correlation_id: self.correlation_id,
            occurred_at: self.occurred_at,
            private: None,
        }
    }
}

impl PrivateRow {
    /// What stands beside an event, if anything does.
    pub fn of(event: &Event) -> Option<Self> {
        let private = event.private.as_ref()?;
        Some(Self {
            audit_id: event.audit_id.clone(),
            tenant_id: event.tenant_id.as_ref().map(TenantId::to_string).unwrap_or_default(),
            salt: private.salt.clone(),
            content: private.content.clone(),
        })
    }
}
