//! Organizations: read, create, change and close.

use super::documents::desired::{How, drop_webhook_facts, has_webhook_facts, permitted, whole, with};
use super::documents::facts::{ORGANIZATION, take_kind, take_version};
use super::tenants::other_id;
use super::webhooks::urls;
use super::{Command, Decided, made, moved};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_api::Viewpoint;
use tenancy_api::organization::Organization as OrganizationView;
use tenancy_core::changes::Conflict;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::hold::Hold;
use tenancy_core::ids::OrganizationId;
use tenancy_core::json::{Object, Pointer, differences};
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::rules::fields;
use tenancy_core::rules::organizations::{OrganizationManifest, change, close, create, immutable};
use tenancy_core::webhook::Webhook;
use tenancy_core::{Error, Violation};
use tenancy_store::page::{Listed, OrganizationFilter, Page};
use tenancy_store::read::OrganizationRecord;

/// Result of a write of an organization.
#[derive(Debug)]
pub struct Written {
    /// Organization after the write.
    pub organization: Organization,
    /// Sums of its tenants.
    pub usage: Usage,
    /// Its holds, by kind.
    pub holds: Vec<Hold>,
    /// Its webhooks, by name.
    pub webhooks: Vec<Webhook>,
    /// Whether the write created it.
    pub created: bool,
    /// Values that were accepted but look like mistakes.
    pub warnings: Vec<Violation>,
}

/// Returns the organization with this id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &str) -> Result<OrganizationRecord, Error> {
    let missing = || Error::not_found("organization", id);
    let id = OrganizationId::parse(id).map_err(|_| missing())?;
    by_id(tenancy, caller, &id).await?.ok_or_else(missing)
}

/// Returns an organization, if it exists for the caller.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn by_id(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &OrganizationId,
) -> Result<Option<OrganizationRecord>, Error> {
    if !caller.reaches_organization(id) {
        return Ok(None);
    }
    tenancy.store.organization(id).await
}

/// Returns a page of the organizations that exist for the caller.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &OrganizationFilter,
    page: &Page,
) -> Result<Listed<Organization>, Error> {
    tenancy.store.organizations(caller.scope(), filter, page).await
}

/// Creates an organization.
#[derive(Debug)]
pub struct Create {
    /// Manifest of the organization.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Create {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        self.precondition.check_new()?;
        let desired = desired(&tenancy.declared, caller.viewpoint(tenancy), None, &self.document, How::Replace)?;
        created(tenancy, desired, &self.document, context)
    }
}

/// Changes an organization to what a document declares. Creates it if the precondition is `If-None-Match: *`.
#[derive(Debug)]
pub struct Change {
    /// Id of the organization.
    pub organization: String,
    /// Document of the request.
    pub document: Value,
    /// How the document relates to the current manifest.
    pub how: How,
    /// Precondition of the change.
    pub precondition: Precondition,
}

impl Change {
    fn creates(&self) -> bool {
        self.precondition == Precondition::Nothing && self.how == How::Replace
    }
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
        let mut document = self.document.clone();
        if let (Value::Object(object), How::Replace) = (&mut document, self.how) {
            object.entry("organization_id").or_insert_with(|| Value::String(self.organization.clone()));
        }
        let known = match find(tenancy, caller, &self.organization).await {
            Ok(known) => known,
            Err(Error::NotFound { .. }) if self.creates() => {
                let other = other_id("organization_id", &self.organization, &document);
                let desired =
                    with(other, desired(&tenancy.declared, caller.viewpoint(tenancy), None, &document, self.how))?;
                return created(tenancy, desired, &document, context);
            }
            Err(error) => return Err(error),
        };
        self.precondition.check_document(&document, known.organization.version)?;
        let desired = desired(&tenancy.declared, caller.viewpoint(tenancy), Some(&known), &document, self.how)?;
        let decision = change(&known.organization, &known.webhooks, &known.usage, &desired.manifest, context)?;
        if let Some(changes) = &decision.changes {
            urls::check_manifest(tenancy, changes, &document)?;
        }
        let warnings = desired.warnings.into_iter().chain(decision.warnings).collect();
        let (organization, usage, holds) = (decision.organization, known.usage, known.holds);
        let outcome = Written { organization, usage, holds, webhooks: decision.webhooks, created: false, warnings };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

/// Closes an organization. Its tenants remain; new ones are refused.
#[derive(Debug)]
pub struct Close {
    /// Id of the organization.
    pub organization: String,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
}

impl Command for Close {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let known = find(tenancy, caller, &self.organization).await?;
        let (version, counter) = (known.organization.version, known.organization.counter);
        self.precondition.check_whole_required(self.read_at, version, counter)?;
        let decision = close(&known.organization, &known.webhooks, context)?;
        let (organization, usage, holds) = (decision.organization, known.usage, known.holds);
        let (webhooks, warnings) = (decision.webhooks, Vec::new());
        let outcome = Written { organization, usage, holds, webhooks, created: false, warnings };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

fn created(
    tenancy: &Tenancy,
    desired: Desired,
    document: &Value,
    context: &mut DecisionContext,
) -> Result<Decided<Written>, Error> {
    let decision = create(&desired.manifest, context)?;
    if let Some(changes) = &decision.changes {
        urls::check_manifest(tenancy, changes, document)?;
    }
    let (organization, usage, warnings) = (decision.organization, Usage::default(), desired.warnings);
    let outcome =
        Written { organization, usage, holds: Vec::new(), webhooks: decision.webhooks, created: true, warnings };
    Ok(Decided { outcome, changes: decision.changes })
}

/// Desired state of an organization, from a document.
#[derive(Debug, PartialEq)]
pub struct Desired {
    /// The complete manifest.
    pub manifest: OrganizationManifest,
    /// Warnings about likely mistakes.
    pub warnings: Vec<Violation>,
}

/// Returns the manifest that `document` declares for an organization, existing or new.
///
/// # Errors
/// [`Error::Invalid`] with all violations, [`Error::FieldsForbidden`] for fields that the caller may not write.
pub fn desired(
    declared: &Declared,
    viewpoint: Viewpoint<'_>,
    known: Option<&OrganizationRecord>,
    document: &Value,
    how: How,
) -> Result<Desired, Error> {
    let (mut violations, mut forbidden) = (Vec::new(), Vec::new());
    let mut document = document.clone();
    if let Value::Object(object) = &mut document {
        forbidden.extend(fields::take_internal(viewpoint.audience, object));
        violations.extend(take_kind(object, "Organization").err());
    }
    let before = known.map(|known| OrganizationManifest::of(&known.organization, &known.webhooks).document());
    if let (Some(known), Some(before)) = (known, &before) {
        if let Value::Object(object) = &mut document {
            violations.extend(take_version(object).err());
            violations.extend(drop_facts(viewpoint, known, object));
            document = whole(|| before.clone(), std::mem::take(object), how);
        }
        fields::keep_hidden(viewpoint.audience, before, &mut document);
        violations.extend(immutable(&known.organization, &document));
    }
    let read = match known {
        Some(known) => OrganizationManifest::parse_change(declared, &document, &known.organization),
        None => OrganizationManifest::parse(declared, &document),
    };
    let changed = |manifest: &OrganizationManifest| match &before {
        Some(before) => fields::changed_of_organization(viewpoint.audience, &differences(before, &manifest.document())),
        None => Vec::new(),
    };
    let (manifest, warnings) = permitted(with(violations, read), forbidden, |(manifest, _)| changed(manifest))?;
    Ok(Desired { manifest, warnings })
}

/// Removes the facts from an organization's document and from the entries of its webhooks.
fn drop_facts(viewpoint: Viewpoint<'_>, known: &OrganizationRecord, document: &mut Object) -> Vec<Violation> {
    if !ORGANIZATION.any_in(document) && !has_webhook_facts(document) {
        return Vec::new();
    }
    let OrganizationRecord { organization, usage, holds, webhooks } = known;
    let view = OrganizationView::whole(viewpoint, organization, usage, holds, webhooks);
    let current = serde_json::to_value(view).unwrap_or_default();
    let same_moment = document.get("counter").is_none_or(|counter| *counter == organization.counter);
    let mut violations = ORGANIZATION.drop(document, &current, same_moment, &Pointer::root());
    // The counter of the organization stays when the server disables a webhook.
    let same_webhook =
        |entry: &Object, known: &Value| entry.get("updated_at").is_none_or(|at| *at == known["updated_at"]);
    violations.extend(drop_webhook_facts(document, &current, |entry, known| same_moment && same_webhook(entry, known)));
    violations
}
