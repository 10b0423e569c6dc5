//! Private data of audit events: data that may be personal, kept until the tenant is purged.

use crate::rows::{WriteShape, described};
use serde_json::Value as Json;
use tenancy_core::event::Event;
use tenancy_core::ids::{AuditId, TenantId};

/// Row of `audit_private`.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivateRow {
    /// Tenant of the event; empty for an event of the platform.
    pub tenant_id: String,
    /// Id of the event.
    pub audit_id: AuditId,
    /// Salt of the digest in the log.
    pub salt: String,
    /// Data that may be personal.
    pub content: Json,
}

described!(
    /// Private data of audit events.
    PrivateRow as TABLE "audit_private" [tenant_id, audit_id] {
        tenant_id: String,
        audit_id: AuditId,
        salt: String,
        content: Json,
    }
);

/// Inserts rows.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Deletes all rows of a tenant that is purged.
pub const DELETE_OF_TENANT: WriteShape = WriteShape::DeleteAll { table: TABLE, by: "tenant_id" };

impl PrivateRow {
    /// Returns the private data of an event, if it has any.
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
