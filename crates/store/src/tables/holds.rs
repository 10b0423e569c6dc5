//! Holds, on tenants and on organizations.

use crate::keyed::ByKey;
use crate::rows::{Check, Corrupt, Record, Table, Value, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{HoldId, OrganizationId, TenantId};

/// Row of a hold, on a tenant or on an organization.
struct HoldRow {
    hold_id: HoldId,
    tenant_id: Option<TenantId>,
    organization_id: Option<OrganizationId>,
    kind: String,
    reason: Option<String>,
    placed_by: String,
    until: Option<Timestamp>,
    created_at: Timestamp,
}

described!(
    /// Holds.
    HoldRow as TABLE "holds" [hold_id] {
        hold_id: HoldId,
        tenant_id: Option<TenantId>,
        organization_id: Option<OrganizationId>,
        kind: String,
        reason: Option<String>,
        placed_by: String,
        until: Option<Timestamp>,
        created_at: Timestamp,
    }
);

/// Inserts holds.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates holds that are placed again.
pub const UPDATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["reason", "placed_by", "until"], check: Check::None };
/// Deletes holds that are released.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Finds the holds on a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };
/// Finds the holds on a tenant's organization.
pub const OF_TENANTS_ORGANIZATION: ByKey =
    ByKey { table: TABLE, condition: "organization_id IN (SELECT organization_id FROM tenants WHERE tenant_id = {})" };

impl Record for Hold {
    const TABLE: &'static Table = TABLE;

    fn values(&self) -> Vec<Value> {
        let (tenant_id, organization_id) = match &self.held {
            Held::Tenant(id) => (Some(id.clone()), None),
            Held::Organization(id) => (None, Some(id.clone())),
        };
        let row = HoldRow {
            hold_id: self.hold_id.clone(),
            tenant_id,
            organization_id,
            kind: self.kind.clone(),
            reason: self.reason.clone(),
            placed_by: self.placed_by.clone(),
            until: self.until,
            created_at: self.created_at,
        };
        row.values()
    }

    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt> {
        let row = HoldRow::from_values(values)?;
        let held = match (row.tenant_id, row.organization_id) {
            (Some(id), None) => Held::Tenant(id),
            (None, Some(id)) => Held::Organization(id),
            _ => return Err(Corrupt("a hold must be on a tenant or on an organization".to_owned())),
        };
        Ok(Self {
            hold_id: row.hold_id,
            held,
            kind: row.kind,
            reason: row.reason,
            placed_by: row.placed_by,
            until: row.until,
            created_at: row.created_at,
        })
    }
}
