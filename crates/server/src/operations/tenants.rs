//! Tenants: read, register and change.

use super::documents::desired::{How, of_known, of_new, with};
use super::documents::pointers::in_sent;
use super::{Command, Decided, made, moved};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::changes::Conflict;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::{Alias, OrganizationId, TenantId};
use tenancy_core::permission::{Audience, INTERNAL_LABELS, Operation};
use tenancy_core::rules::Decision;
use tenancy_core::rules::change::change;
use tenancy_core::rules::register::register;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::Tenant;
use tenancy_core::{Error, Violation};
use tenancy_store::page::{Listed, Page, TenantFilter};
use tenancy_store::read::Stamp;

/// Result of a write of a tenant.
#[derive(Debug)]
pub struct Written {
    /// Snapshot of the tenant after the write.
    pub snapshot: TenantSnapshot,
    /// Whether the write created it.
    pub created: bool,
    /// Warnings about likely mistakes.
    pub warnings: Vec<Violation>,
}

/// The only function that decides whether a tenant exists for a caller. Returns what was found under `name`, if the
/// caller reaches it.
///
/// # Errors
/// [`Error::NotFound`], which is the same for a missing tenant and for one outside the caller's scope.
fn visible<T>(
    caller: &Caller,
    name: &str,
    found: Option<T>,
    ids: impl Fn(&T) -> (&TenantId, &OrganizationId),
) -> Result<T, Error> {
    let reached = found.filter(|found| {
        let (tenant, organization) = ids(found);
        caller.reaches(tenant, organization)
    });
    reached.ok_or_else(|| Error::not_found("tenant", name))
}

/// Returns the tenant id for `name`, which is an id or an alias `kind:value`. Does not check that a tenant with this id
/// exists.
async fn resolve(tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<TenantId, Error> {
    let missing = || Error::not_found("tenant", name);
    if name.contains(':') {
        let alias = Alias::parse(name).map_err(|_| missing())?;
        let target = tenancy.store.aliased(&alias).await?;
        let target = visible(caller, name, target, |target| (&target.tenant_id, &target.organization_id))?;
        return Ok(target.tenant_id);
    }
    TenantId::parse(name).map_err(|_| missing())
}

/// Returns the stamp of the tenant with this id or alias, which is enough to read its related rows.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
pub async fn reach(tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<Stamp, Error> {
    let id = resolve(tenancy, caller, name).await?;
    let stamp = tenancy.store.stamp(&id).await?;
    visible(caller, name, stamp, |stamp| (&stamp.tenant_id, &stamp.organization_id))
}

/// Returns the snapshot of the tenant with this id or alias.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
pub async fn find(tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<TenantSnapshot, Error> {
    let id = resolve(tenancy, caller, name).await?;
    by_id(tenancy, caller, &id).await?.ok_or_else(|| Error::not_found("tenant", name))
}

/// Returns the snapshot of a tenant, if it exists for the caller.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn by_id(tenancy: &Tenancy, caller: &Caller, id: &TenantId) -> Result<Option<TenantSnapshot>, Error> {
    let found = tenancy.store.snapshot(id).await?;
    let visible = visible(caller, id.as_str(), found, |found| (&found.tenant.tenant_id, &found.tenant.organization_id));
    match visible {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns a page of the tenants that exist for the caller.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &TenantFilter,
    page: &Page,
) -> Result<Listed<Tenant>, Error> {
    // For this caller, no tenant has a label that the caller cannot see.
    let is_hidden = |key: &str| caller.audience() == Audience::Customer && key.starts_with(INTERNAL_LABELS);
    if filter.labels.iter().any(|(key, _)| is_hidden(key)) {
        return Ok(Listed { items: Vec::new(), unreadable: Vec::new(), next: None });
    }
    tenancy.store.tenants(caller.scope(), filter, page).await
}

/// Registers a tenant.
#[derive(Debug)]
pub struct Register {
    /// Manifest of the tenant.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
}

impl Command for Register {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        self.precondition.check_new()?;
        caller.require(Operation::RegisterTenants)?;
        let desired = of_new(&tenancy.declared, &self.document, &self.allow)?;
        Ok(created(register(&tenancy.declared, &desired.manifest, desired.warnings, context)?))
    }
}

/// Changes a tenant to what a document declares. Registers it if the precondition is `If-None-Match: *`.
#[derive(Debug)]
pub struct Change {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Document of the request.
    pub document: Value,
    /// How the document relates to the current manifest.
    pub how: How,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
}

impl Command for Change {
    type Outcome = Written;

    fn moved<'a>(&self, conflict: &'a Conflict) -> Option<&'a str> {
        moved(conflict).or_else(|| made(conflict).filter(|_| self.creates()))
    }

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = match find(tenancy, caller, &self.tenant).await {
            Ok(snapshot) => snapshot,
            Err(Error::NotFound { .. }) if self.creates() => {
                caller.require(Operation::RegisterTenants)?;
                return self.create(tenancy, context);
            }
            Err(error) => return Err(error),
        };
        self.precondition.check_document(&self.document, snapshot.tenant.terms.version)?;
        let desired = of_known(&tenancy.declared, caller.viewpoint(tenancy), &snapshot, &self.document, self.how)?;
        let (declared, manifest) = (&tenancy.declared, &desired.manifest);
        let decided = change(declared, &snapshot, manifest, desired.warnings, &self.allow, context);
        Ok(changed(decided.map_err(|error| in_sent(error, &self.document))?))
    }
}

impl Change {
    fn creates(&self) -> bool {
        self.precondition == Precondition::Nothing && self.how == How::Replace
    }

    fn create(&self, tenancy: &Tenancy, context: &mut DecisionContext) -> Result<Decided<Written>, Error> {
        let id = TenantId::parse(&self.tenant).map_err(|_| Error::not_found("tenant", &self.tenant))?;
        let mut document = self.document.clone();
        if let Value::Object(object) = &mut document {
            object.entry("tenant_id").or_insert_with(|| Value::String(id.to_string()));
        }
        let new = of_new(&tenancy.declared, &document, &self.allow);
        let desired = with(other_id("tenant_id", id.as_str(), &document), new)?;
        Ok(created(register(&tenancy.declared, &desired.manifest, desired.warnings, context)?))
    }
}

/// Returns a violation if the document has another id than the path.
pub(super) fn other_id(field: &str, id: &str, document: &Value) -> Vec<Violation> {
    let at = tenancy_core::json::Pointer::root().key(field);
    let other = document.get(field).filter(|said| *said != id);
    other.map(|_| Violation::at(&at, "immutable", format!("must be {id}, the id in the path"))).into_iter().collect()
}

pub(super) fn created(decision: Decision) -> Decided<Written> {
    let Decision { snapshot, changes, warnings } = decision;
    Decided { outcome: Written { snapshot, created: true, warnings }, changes }
}

pub(super) fn changed(decision: Decision) -> Decided<Written> {
    let Decision { snapshot, changes, warnings } = decision;
    Decided { outcome: Written { snapshot, created: false, warnings }, changes }
}
