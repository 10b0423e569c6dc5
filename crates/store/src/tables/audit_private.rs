//! What stands beside the log: what may be personal, until a purge removes it.

use crate::rows::{WriteShape, described};
use serde_json::Value as Json;
use tenancy_core::event::Event;
use tenancy_core::ids::{AuditId, TenantId};

/// A row of `audit_private`.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivateRow {
    /// The tenant of the event; empty for an event of the platform.
    pub tenant_id: String,
    /// The event.
    pub audit_id: AuditId,
    /// The salt of the digest in the log.
    pub salt: String,
    /// What may be personal.
    pub content: Json,
}

described!(
    /// What stands beside the log.
    PrivateRow as TABLE "audit_private" [tenant_id, audit_id] {
        tenant_id: String,
        audit_id: AuditId,
        salt: String,
        content: Json,
    }
);

/// New rows.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// All rows of a tenant that is purged.
pub const DELETE_OF_TENANT: WriteShape = WriteShape::DeleteAll { table: TABLE, by: "tenant_id" };

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
