//! One file for each table of the record. It has the table's columns, its kinds of write, its lists, its reads by key, and what
//! the judge reads of it. What all of them are made with is beside this folder: `rows/` (columns, values, statements that
//! write), `keyed.rs`, `list.rs`, `sql.rs` and `current_rows.rs`.

pub mod aliases;
pub mod api_keys;
pub mod audit;
pub mod audit_private;
pub mod environment_versions;
pub mod environments;
pub mod holds;
pub mod idempotency_records;
pub mod jobs;
pub mod log_batches;
pub mod organization_usage;
pub mod organizations;
pub mod tenant_versions;
pub mod tenants;
pub mod webhooks;

/// Every table: for the test that compares these descriptions with the catalogs of the databases, and for the model.
#[cfg(any(test, feature = "model"))]
pub const TABLES: &[&crate::rows::Table] = &[
    organizations::TABLE,
    organization_usage::TABLE,
    tenants::TABLE,
    tenant_versions::TABLE,
    environments::TABLE,
    environment_versions::TABLE,
    holds::TABLE,
    aliases::TABLE,
    webhooks::TABLE,
    jobs::TABLE,
    idempotency_records::TABLE,
    api_keys::TABLE,
    audit::TENANT_AUDIT,
    audit::PLATFORM_AUDIT,
    audit_private::TABLE,
    log_batches::TABLE,
];
