//! One file for each table: columns, kinds of write, lists, reads by key, and what the judge reads of it. Shared parts
//! are beside this folder: `rows/` (columns, values, writing statements), `keyed.rs`, `list.rs`, `sql.rs` and
//! `current_rows.rs`.

pub mod aliases;
pub mod api_keys;
pub mod audit;
pub mod audit_private;
pub mod data_keys;
pub mod environment_placements;
pub mod environment_versions;
pub mod environments;
pub mod holds;
pub mod idempotency_records;
pub mod jobs;
pub mod log_batches;
pub mod log_epochs;
pub mod log_seals;
pub mod organization_usage;
pub mod organizations;
pub mod placements;
pub mod platform_webhooks;
pub mod tenant_labels;
pub mod tenant_versions;
pub mod tenants;
pub mod webhook_attempts;
pub mod webhook_deliveries;
pub mod webhook_dispatch;
pub mod webhook_lanes;
pub mod webhooks;

/// Every table, in an order in which their rows can be inserted: no row refers to a later table. For copies of a
/// database, for the model, and for the test that compares these descriptions with the catalogs of the databases.
pub const TABLES: &[&crate::rows::Table] = &[
    organizations::TABLE,
    organization_usage::TABLE,
    tenants::TABLE,
    data_keys::TABLE,
    tenant_labels::TABLE,
    tenant_versions::TABLE,
    environments::TABLE,
    environment_versions::TABLE,
    placements::TABLE,
    environment_placements::TABLE,
    holds::TABLE,
    aliases::TABLE,
    webhooks::TABLE,
    platform_webhooks::TABLE,
    jobs::TABLE,
    idempotency_records::TABLE,
    api_keys::TABLE,
    audit::TENANT_AUDIT,
    audit::PLATFORM_AUDIT,
    audit_private::TABLE,
    log_batches::TABLE,
    log_epochs::TABLE,
    log_seals::TABLE,
    webhook_dispatch::TABLE,
    webhook_deliveries::TABLE,
    webhook_lanes::TABLE,
    webhook_attempts::TABLE,
];
