//! Labels of tenants, one row each, by which lists find tenants. They follow from the labels in the tenant's row and are
//! written in the same commit.

use crate::rows::{WriteShape, described};
use tenancy_core::ids::TenantId;
use tenancy_core::tenant::Labels;

/// Row of `tenant_labels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRow {
    /// Tenant that has the label.
    pub tenant_id: TenantId,
    /// Key of the label.
    pub label_key: String,
    /// Value of the label.
    pub label_value: String,
}

described!(
    /// Labels of tenants.
    LabelRow as TABLE "tenant_labels" [tenant_id, label_key] {
        tenant_id: TenantId,
        label_key: String,
        label_value: String,
    }
);

/// Inserts labels.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Deletes all labels of tenants. A change of a tenant's terms deletes and inserts: rows that an earlier release has left
/// out are then there.
pub const DELETE_OF_TENANT: WriteShape = WriteShape::DeleteAll { table: TABLE, by: "tenant_id" };

/// Returns the rows for the labels of a tenant.
pub fn rows(tenant_id: &TenantId, labels: &Labels) -> impl Iterator<Item = LabelRow> {
    labels.iter().map(|(key, value)| LabelRow {
        tenant_id: tenant_id.clone(),
        label_key: key.clone(),
        label_value: value.clone(),
    })
}
