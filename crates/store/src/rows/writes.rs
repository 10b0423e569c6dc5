//! The kinds of write, in the order in which a batch writes them, and the row that each write is.

use super::log::AUDIT_PRIVATE;
use super::record::{
    ALIASES, API_KEYS, AliasRow, ENVIRONMENT_VERSIONS, ENVIRONMENTS, HOLDS, IDEMPOTENCY_RECORDS, ORGANIZATION_USAGE,
    ORGANIZATIONS, TENANT_JOBS, TENANT_VERSIONS, TENANT_WEBHOOKS, TENANTS,
};
use super::{Check, Field, Record, Value, WriteShape};
use tenancy_core::changes::{Changes, Write};
use tenancy_core::ids::TenantId;
use tenancy_core::job::Step;
use tenancy_core::json::Object;

/// Place of a kind in [`WRITES`].
pub type KindIndex = usize;

const fn update(table: &'static super::Table, set: &'static [&'static str], check: Check) -> WriteShape {
    WriteShape::Update { table, set, check }
}

const fn of_tenant(table: &'static super::Table, set: &'static [&'static str]) -> WriteShape {
    WriteShape::UpdateAll { table, by: "tenant_id", set }
}

/// Every kind of write. What others refer to comes first; what is removed goes before what may take its place.
pub const WRITES: &[WriteShape] = &[
    WriteShape::Insert(ORGANIZATIONS),
    update(ORGANIZATIONS, &["display_name", "labels", "caps", "version", "updated_at"], Check::OneLess("version")),
    update(ORGANIZATIONS, &["counter", "closed_at", "updated_at"], Check::OneLess("counter")),
    WriteShape::Append(ORGANIZATION_USAGE),
    WriteShape::Insert(TENANTS),
    update(
        TENANTS,
        &[
            "display_name",
            "profile",
            "desired_state",
            "region",
            "labels",
            "quotas",
            "policies",
            "billing",
            "deletion_protection",
            "version",
            "updated_at",
        ],
        Check::OneLess("version"),
    ),
    update(
        TENANTS,
        &["state", "counter", "state_since", "provisioned_at", "archived_at", "purge_after", "purged_at", "updated_at"],
        Check::OneLess("counter"),
    ),
    WriteShape::Insert(TENANT_VERSIONS),
    WriteShape::Delete(ENVIRONMENTS),
    WriteShape::Insert(ENVIRONMENTS),
    update(
        ENVIRONMENTS,
        &["region", "isolation_level", "quotas", "retention_days", "version", "updated_at"],
        Check::OneLess("version"),
    ),
    update(ENVIRONMENTS, &["state", "provisioned_at", "updated_at"], Check::None),
    WriteShape::Insert(ENVIRONMENT_VERSIONS),
    WriteShape::Delete(HOLDS),
    WriteShape::Insert(HOLDS),
    update(HOLDS, &["reason", "placed_by", "until"], Check::None),
    WriteShape::Delete(ALIASES),
    WriteShape::Insert(ALIASES),
    WriteShape::Delete(TENANT_WEBHOOKS),
    WriteShape::Insert(TENANT_WEBHOOKS),
    update(TENANT_WEBHOOKS, &["url", "events", "retry_policy", "updated_at"], Check::None),
    update(
        TENANT_JOBS,
        &["state", "progress", "steps", "waiting_for", "due_at", "error_code", "error", "updated_at", "finished_at"],
        Check::Same("lease_epoch"),
    ),
    update(
        TENANT_JOBS,
        &["state", "waiting_for", "due_at", "error_code", "error", "updated_at", "finished_at"],
        Check::Same("lease_epoch"),
    ),
    WriteShape::Insert(TENANT_JOBS),
    WriteShape::Insert(API_KEYS),
    update(API_KEYS, &["version", "revoked_at"], Check::OneLess("version")),
    WriteShape::Insert(IDEMPOTENCY_RECORDS),
    WriteShape::Insert(AUDIT_PRIVATE),
    // A purge empties last, so that nothing of its own commit stays either. It leaves idempotency records alone: they
    // may hold answers with the tenant in them, belong to the key that asked, and are gone within their 24 hours.
    update(TENANTS, &["display_name", "labels", "quotas", "policies", "billing"], Check::None),
    of_tenant(TENANT_VERSIONS, &["manifest"]),
    of_tenant(ENVIRONMENT_VERSIONS, &["manifest"]),
    of_tenant(TENANT_JOBS, &["logs", "steps", "waiting_for", "error"]),
    WriteShape::DeleteAll { table: AUDIT_PRIVATE, by: "tenant_id" },
];

const INSERT_ORGANIZATION: KindIndex = 0;
const ORGANIZATION_MANIFEST: KindIndex = 1;
const ORGANIZATION_FACTS: KindIndex = 2;
/// New usage of organizations.
pub const INSERT_USAGE: KindIndex = 3;
const INSERT_TENANT: KindIndex = 4;
const TENANT_MANIFEST: KindIndex = 5;
const TENANT_FACTS: KindIndex = 6;
const INSERT_TENANT_VERSION: KindIndex = 7;
const DELETE_ENVIRONMENT: KindIndex = 8;
const INSERT_ENVIRONMENT: KindIndex = 9;
const ENVIRONMENT_MANIFEST: KindIndex = 10;
const ENVIRONMENT_STATE: KindIndex = 11;
const INSERT_ENVIRONMENT_VERSION: KindIndex = 12;
const DELETE_HOLD: KindIndex = 13;
const INSERT_HOLD: KindIndex = 14;
const UPDATE_HOLD: KindIndex = 15;
const DELETE_ALIAS: KindIndex = 16;
const INSERT_ALIAS: KindIndex = 17;
const DELETE_WEBHOOK: KindIndex = 18;
const INSERT_WEBHOOK: KindIndex = 19;
const UPDATE_WEBHOOK: KindIndex = 20;
const FINISH_JOB: KindIndex = 21;
const CANCEL_JOB: KindIndex = 22;
const INSERT_JOB: KindIndex = 23;
const INSERT_API_KEY: KindIndex = 24;
const UPDATE_API_KEY: KindIndex = 25;
/// Stored answers.
pub const INSERT_ANSWER: KindIndex = 26;
/// What stands beside the log.
pub const INSERT_PRIVATE: KindIndex = 27;
const EMPTY_TENANT: KindIndex = 28;
const EMPTY_TENANT_VERSIONS: KindIndex = 29;
const EMPTY_ENVIRONMENT_VERSIONS: KindIndex = 30;
const EMPTY_JOBS: KindIndex = 31;
const DELETE_PRIVATE: KindIndex = 32;

/// The rows that changes write, with their kinds: one for each write, but for what empties a whole tenant.
pub fn rows(changes: &Changes) -> Vec<(KindIndex, Vec<Value>)> {
    let of = changes.tenant_id.as_ref();
    let rows = |write: &Write| match write {
        Write::EraseTenant(tenant) => erased(&tenant.tenant_id, row(write, of)),
        _ => vec![row(write, of)],
    };
    changes.writes.iter().flat_map(rows).collect()
}

fn erased(id: &TenantId, tenant: (KindIndex, Vec<Value>)) -> Vec<(KindIndex, Vec<Value>)> {
    let id = || id.put();
    let (manifest, steps) = (|| Object::new().put(), Vec::<Step>::new().put());
    vec![
        tenant,
        (EMPTY_TENANT_VERSIONS, vec![id(), manifest()]),
        (EMPTY_ENVIRONMENT_VERSIONS, vec![id(), manifest()]),
        (EMPTY_JOBS, vec![id(), String::new().put(), steps, Value::Null, Value::Null]),
        (DELETE_PRIVATE, vec![id()]),
    ]
}

/// The kind of a write of this tenant's, or of nobody's, and its row.
fn row(write: &Write, tenant: Option<&TenantId>) -> (KindIndex, Vec<Value>) {
    let deleted = |kind, key: Value| (kind, vec![key, tenant.cloned().put()]);
    fn of<R: Record>(kind: KindIndex, record: &R) -> (KindIndex, Vec<Value>) {
        (kind, WRITES[kind].pick(record.values()))
    }
    match write {
        Write::InsertOrganization(row) => of(INSERT_ORGANIZATION, row),
        Write::UpdateOrganizationManifest(row) => of(ORGANIZATION_MANIFEST, row),
        Write::UpdateOrganizationFacts(row) => of(ORGANIZATION_FACTS, row),
        Write::InsertTenant(row) => of(INSERT_TENANT, row),
        Write::UpdateTenantManifest(row) => of(TENANT_MANIFEST, row),
        Write::UpdateTenantFacts(row) => of(TENANT_FACTS, row),
        Write::EraseTenant(row) => of(EMPTY_TENANT, row),
        Write::InsertTenantVersion(row) => of(INSERT_TENANT_VERSION, row),
        Write::InsertEnvironment(row) => of(INSERT_ENVIRONMENT, row),
        Write::UpdateEnvironmentManifest(row) => of(ENVIRONMENT_MANIFEST, row),
        Write::UpdateEnvironmentState(row) => of(ENVIRONMENT_STATE, row),
        Write::DeleteEnvironment(id) => deleted(DELETE_ENVIRONMENT, id.put()),
        Write::InsertEnvironmentVersion(row) => of(INSERT_ENVIRONMENT_VERSION, row),
        Write::InsertHold(row) => of(INSERT_HOLD, row),
        Write::UpdateHold(row) => of(UPDATE_HOLD, row),
        Write::DeleteHold(id) => deleted(DELETE_HOLD, id.put()),
        Write::InsertAlias(alias, tenant_id, created_at) => {
            let row = AliasRow { alias: alias.clone(), tenant_id: tenant_id.clone(), created_at: *created_at };
            of(INSERT_ALIAS, &row)
        }
        Write::DeleteAlias(alias) => deleted(DELETE_ALIAS, alias.put()),
        Write::InsertWebhook(row) => of(INSERT_WEBHOOK, row),
        Write::UpdateWebhook(row) => of(UPDATE_WEBHOOK, row),
        Write::DeleteWebhook(id) => deleted(DELETE_WEBHOOK, id.put()),
        Write::InsertJob(row) => of(INSERT_JOB, row),
        Write::FinishJob(row) => of(FINISH_JOB, row),
        Write::CancelJob(row) => of(CANCEL_JOB, row),
        Write::InsertApiKey(row) => of(INSERT_API_KEY, row),
        Write::UpdateApiKey(row) => of(UPDATE_API_KEY, row),
    }
}
