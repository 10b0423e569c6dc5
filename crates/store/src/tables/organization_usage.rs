//! Usage of organizations: a list of sums, of which the newest counts.

use crate::current_rows::{Read, columns};
use crate::rows::{Field, Type, WriteShape, described};
use std::collections::BTreeMap;
use tenancy_core::ids::OrganizationId;
use tenancy_core::organization::Usage;

/// A row of `organization_usage`: the sums over an organization's tenants after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// One more than the row before; the newest counts.
    pub serial: i64,
    /// How many tenants.
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

/// The next row of an organization.
pub const APPEND: WriteShape = WriteShape::Append(TABLE);

/// The newest usage of organizations.
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
