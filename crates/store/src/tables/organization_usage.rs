//! Usage of organizations: a list of sums per organization, of which the newest is valid.

use crate::current_rows::{Read, columns};
use crate::rows::{Field, Type, WriteShape, described};
use std::collections::BTreeMap;
use tenancy_core::ids::OrganizationId;
use tenancy_core::organization::Usage;

/// Row of `organization_usage`: the sums over an organization's tenants after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Organization of the sums.
    pub organization_id: OrganizationId,
    /// One more than in the previous row. The row with the highest number is valid.
    pub serial: i64,
    /// Number of tenants.
    pub tenants: i64,
    /// Sums of quotas.
    pub quotas: BTreeMap<String, i64>,
}

described!(
    /// Usage of organizations.
    UsageRow as TABLE "organization_usage" [organization_id, serial] {
        organization_id: OrganizationId,
        serial: i64,
        tenants: i64,
        quotas: BTreeMap<String, i64>,
    }
);

/// Appends the next row of an organization.
pub const APPEND: WriteShape = WriteShape::Append(TABLE);

/// Reads the newest usage of organizations.
pub const CURRENT: Read = Read {
    columns: "organization_id, serial, tenants, quotas",
    table: "organization_usage",
    key: "organization_id",
    and: "",
    lock: false,
    types: &[Type::Text, Type::Int, Type::Int, Type::Json],
    keys: |needs| &needs.organizations,
    put: |found, row| {
        let [id, serial, tenants, quotas] = columns(row)?;
        if let Some(organization) = found.organizations.get_mut(&OrganizationId::take(id)?) {
            organization.usage_serial = i64::take(serial)?;
            organization.usage = Usage { tenants: i64::take(tenants)?, quotas: Field::take(quotas)? };
        }
        Ok(())
    },
};
