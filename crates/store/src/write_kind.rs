//! Kinds of write, in the order in which a batch writes them, and the rows that changes write.

use crate::rows::{Field, Part, Record, Value, WriteShape};
use crate::tables::aliases::AliasRow;
use crate::tables::platform_webhooks::PlatformWebhook;
use crate::tables::{
    aliases, api_keys, audit_private, data_keys, environment_placements, environment_versions, environments, holds,
    idempotency_records, jobs, organization_usage, organizations, placements, platform_webhooks, tenant_labels,
    tenant_versions, tenants, webhook_attempts, webhooks,
};
use jiff::Timestamp;
use tenancy_core::changes::{Changes, ERASED, Write};
use tenancy_core::ids::TenantId;
use tenancy_core::job::Step;
use tenancy_core::json::Object;
use tenancy_core::tenant::Terms;

/// Defines the enum and its list of shapes together, so that the number of a kind is its index in [`WRITES`].
macro_rules! write_kinds {
    ($($kind:ident: $shape:expr),+ $(,)?) => {
        /// Kind of write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum WriteKind {
            $($kind),+
        }

        /// Shape of each [`WriteKind`], in the order in which a batch writes them.
        pub const WRITES: &[WriteShape] = &[$($shape),+];
    };
}

// Referenced rows come first. Deletes come before inserts that may reuse the key.
write_kinds! {
    InsertOrganization: organizations::INSERT,
    UpdateOrganizationManifest: organizations::UPDATE_MANIFEST,
    UpdateOrganizationFacts: organizations::UPDATE_FACTS,
    AppendUsage: organization_usage::APPEND,
    InsertTenant: tenants::INSERT,
    UpdateTenantTerms: tenants::UPDATE_TERMS,
    UpdateTenantFacts: tenants::UPDATE_FACTS,
    DeleteLabels: tenant_labels::DELETE_OF_TENANT,
    InsertLabel: tenant_labels::INSERT,
    InsertTenantVersion: tenant_versions::INSERT,
    InsertDataKey: data_keys::INSERT,
    DeleteEnvironment: environments::DELETE,
    InsertEnvironment: environments::INSERT,
    UpdateEnvironmentManifest: environments::UPDATE_MANIFEST,
    UpdateEnvironmentState: environments::UPDATE_STATE,
    InsertEnvironmentVersion: environment_versions::INSERT,
    InsertPlacement: placements::INSERT,
    UpdatePlacement: placements::UPDATE,
    DeleteEnvironmentPlacement: environment_placements::DELETE,
    DeletePlacement: placements::DELETE,
    InsertEnvironmentPlacement: environment_placements::INSERT,
    UpdateEnvironmentPlacement: environment_placements::UPDATE,
    DeleteHold: holds::DELETE,
    InsertHold: holds::INSERT,
    UpdateHold: holds::UPDATE,
    DeleteAlias: aliases::DELETE,
    InsertAlias: aliases::INSERT,
    DeleteWebhook: webhooks::DELETE,
    InsertWebhook: webhooks::INSERT,
    UpdateWebhook: webhooks::UPDATE,
    UpdateWebhookState: webhooks::UPDATE_STATE,
    SetWebhookSecrets: webhooks::SET_SECRETS,
    DeletePlatformWebhook: platform_webhooks::DELETE,
    InsertPlatformWebhook: platform_webhooks::INSERT,
    UpdatePlatformWebhook: platform_webhooks::UPDATE,
    SetPlatformWebhookSecrets: platform_webhooks::SET_SECRETS,
    AdvanceJob: jobs::ADVANCE,
    FinishJob: jobs::FINISH,
    CancelJob: jobs::CANCEL,
    InsertJob: jobs::INSERT,
    InsertApiKey: api_keys::INSERT,
    UpdateApiKey: api_keys::UPDATE,
    InsertAnswer: idempotency_records::INSERT,
    InsertPrivate: audit_private::INSERT,
    // A purge clears data last, so that nothing from its own commit remains either.
    EmptyTenant: tenants::EMPTY,
    EmptyTenantVersions: tenant_versions::EMPTY_OF_TENANT,
    EmptyEnvironmentVersions: environment_versions::EMPTY_OF_TENANT,
    EmptyJobs: jobs::EMPTY_OF_TENANT,
    EraseAnswers: idempotency_records::ERASE_OF_TENANT,
    DeletePrivate: audit_private::DELETE_OF_TENANT,
    WrapDataKey: data_keys::DUE,
    EraseDataKey: data_keys::ERASE,
    DeleteAttempts: webhook_attempts::DELETE_OF_TENANT,
}

impl WriteKind {
    /// Index in [`WRITES`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Shape of the write.
    pub fn shape(self) -> WriteShape {
        WRITES[self.index()]
    }
}

/// Returns the rows that changes write, with their kinds: one for each write, except for terms, whose labels have rows of
/// their own, and for a purge, which clears several tables.
pub fn rows(changes: &Changes) -> Vec<(WriteKind, Vec<Value>)> {
    let of = changes.tenant_id.as_ref();
    let rows = |write: &Write| match write {
        Write::EraseTenant(id, _, at) => erased(id, *at, row(write, of)),
        Write::InsertTenant(tenant) => labelled(row(write, of), &tenant.tenant_id, &tenant.terms, false),
        Write::UpdateTenantTerms(id, terms, _) => labelled(row(write, of), id, terms, true),
        _ => vec![row(write, of)],
    };
    changes.writes.iter().flat_map(rows).collect()
}

/// Returns the row of a tenant with the rows of its labels, which replace those that are there.
fn labelled(
    row: (WriteKind, Vec<Value>),
    id: &TenantId,
    terms: &Terms,
    replaces: bool,
) -> Vec<(WriteKind, Vec<Value>)> {
    let mut rows = vec![row];
    rows.extend(replaces.then(|| (WriteKind::DeleteLabels, vec![id.put()])));
    rows.extend(tenant_labels::rows(id, &terms.labels).map(|label| (WriteKind::InsertLabel, label.values())));
    rows
}

fn erased(id: &TenantId, at: Timestamp, tenant: (WriteKind, Vec<Value>)) -> Vec<(WriteKind, Vec<Value>)> {
    let id = || id.put();
    let (manifest, steps) = (|| Object::new().put(), Vec::<Step>::new().put());
    vec![
        tenant,
        (WriteKind::DeleteLabels, vec![id()]),
        (WriteKind::EmptyTenantVersions, vec![id(), manifest()]),
        (WriteKind::EmptyEnvironmentVersions, vec![id(), manifest()]),
        (WriteKind::EmptyJobs, vec![id(), String::new().put(), steps, Value::Null, Value::Null]),
        (WriteKind::EraseAnswers, vec![id(), ERASED.put(), manifest(), String::new().put()]),
        (WriteKind::DeletePrivate, vec![id()]),
        (WriteKind::EraseDataKey, vec![id(), String::new().put(), at.put()]),
        (WriteKind::DeleteAttempts, vec![id()]),
    ]
}

/// Returns the row of a partial update of a tenant: its id, the columns, and the time of the change.
fn part(kind: WriteKind, id: &TenantId, part: &impl Part, at: Timestamp) -> (WriteKind, Vec<Value>) {
    (kind, [vec![id.put()], part.values(), vec![at.put()]].concat())
}

/// Returns the kind and the row of a write. `tenant` is the tenant of the changes, if any.
fn row(write: &Write, tenant: Option<&TenantId>) -> (WriteKind, Vec<Value>) {
    let deleted = |kind, key: Value| (kind, vec![key, tenant.cloned().put()]);
    fn of<R: Record>(kind: WriteKind, record: &R) -> (WriteKind, Vec<Value>) {
        (kind, kind.shape().pick(record.values()))
    }
    match write {
        Write::InsertOrganization(row) => of(WriteKind::InsertOrganization, row),
        Write::UpdateOrganizationManifest(row) => of(WriteKind::UpdateOrganizationManifest, row),
        Write::UpdateOrganizationFacts(row) => of(WriteKind::UpdateOrganizationFacts, row),
        Write::InsertTenant(row) => of(WriteKind::InsertTenant, row),
        Write::UpdateTenantTerms(id, terms, at) => part(WriteKind::UpdateTenantTerms, id, terms, *at),
        Write::UpdateTenantFacts(id, facts, at) => part(WriteKind::UpdateTenantFacts, id, facts, *at),
        Write::EraseTenant(id, terms, at) => part(WriteKind::EmptyTenant, id, terms, *at),
        Write::WrapDataKey(id, at) => (WriteKind::WrapDataKey, vec![id.put(), at.put()]),
        Write::InsertTenantVersion(row) => of(WriteKind::InsertTenantVersion, row),
        Write::InsertEnvironment(row) => of(WriteKind::InsertEnvironment, row),
        Write::UpdateEnvironmentManifest(row) => of(WriteKind::UpdateEnvironmentManifest, row),
        Write::UpdateEnvironmentState(row) => of(WriteKind::UpdateEnvironmentState, row),
        Write::DeleteEnvironment(id) => deleted(WriteKind::DeleteEnvironment, id.put()),
        Write::InsertEnvironmentVersion(row) => of(WriteKind::InsertEnvironmentVersion, row),
        Write::InsertEnvironmentPlacement(row) => of(WriteKind::InsertEnvironmentPlacement, row),
        Write::UpdateEnvironmentPlacement(row) => of(WriteKind::UpdateEnvironmentPlacement, row),
        Write::DeleteEnvironmentPlacement(id) => deleted(WriteKind::DeleteEnvironmentPlacement, id.put()),
        Write::InsertPlacement(row) => of(WriteKind::InsertPlacement, row),
        Write::UpdatePlacement(row) => of(WriteKind::UpdatePlacement, row),
        Write::DeletePlacement(name) => (WriteKind::DeletePlacement, vec![name.put()]),
        Write::InsertHold(row) => of(WriteKind::InsertHold, row),
        Write::UpdateHold(row) => of(WriteKind::UpdateHold, row),
        Write::DeleteHold(id) => deleted(WriteKind::DeleteHold, id.put()),
        Write::InsertAlias(alias, tenant_id, created_at) => {
            let row = AliasRow { alias: alias.clone(), tenant_id: tenant_id.clone(), created_at: *created_at };
            of(WriteKind::InsertAlias, &row)
        }
        Write::DeleteAlias(alias) => deleted(WriteKind::DeleteAlias, alias.put()),
        Write::InsertWebhook(row) => of(WriteKind::InsertWebhook, row),
        Write::UpdateWebhook(row) => of(WriteKind::UpdateWebhook, row),
        Write::UpdateWebhookState(row) => of(WriteKind::UpdateWebhookState, row),
        Write::DeleteWebhook(id) => deleted(WriteKind::DeleteWebhook, id.put()),
        Write::InsertPlatformWebhook(row) => of(WriteKind::InsertPlatformWebhook, &PlatformWebhook(row.clone())),
        Write::UpdatePlatformWebhook(row) => of(WriteKind::UpdatePlatformWebhook, &PlatformWebhook(row.clone())),
        Write::DeletePlatformWebhook(id) => (WriteKind::DeletePlatformWebhook, vec![id.put()]),
        Write::SetWebhookSecrets(owner, id, secrets) => match owner.tenant_id() {
            Some(tenant) => (WriteKind::SetWebhookSecrets, vec![id.put(), tenant.put(), secrets.put()]),
            None => (WriteKind::SetPlatformWebhookSecrets, vec![id.put(), secrets.put()]),
        },
        Write::InsertJob(row) => of(WriteKind::InsertJob, row),
        Write::AdvanceJob(row) => of(WriteKind::AdvanceJob, row),
        Write::FinishJob(row) => of(WriteKind::FinishJob, row),
        Write::CancelJob(row) => of(WriteKind::CancelJob, row),
        Write::InsertApiKey(row) => of(WriteKind::InsertApiKey, row),
        Write::UpdateApiKey(row) => of(WriteKind::UpdateApiKey, row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "tenant_id";

    #[test]
    fn a_change_of_a_tenants_row_must_name_the_tenant() {
        let changes = WRITES.iter().filter(|kind| !kind.inserts());
        let of_tenants = changes.filter(|kind| kind.table().columns.iter().any(|column| column.name == OWNER));
        let mut seen = 0;
        for kind in of_tenants {
            for text in [kind.sqlite(), kind.postgres()] {
                let condition = text.split_once(" WHERE ").map(|(_, condition)| condition);
                assert!(condition.is_some_and(|condition| condition.contains(OWNER)), "{text}");
            }
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }
}
