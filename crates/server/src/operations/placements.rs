//! Placements: read, create, change and delete.

use super::documents::desired::{How, with};
use super::documents::facts::{PLACEMENT, take_kind, take_version};
use super::tenants::other_id;
use super::{Command, Decided, made, moved};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_api::placement::Placement as PlacementView;
use tenancy_core::Error;
use tenancy_core::changes::Conflict;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::PlacementName;
use tenancy_core::json::Pointer;
use tenancy_core::placement::{MAX_ENVIRONMENTS, Placement};
use tenancy_core::rules::placement_manifest::PlacementManifest;
use tenancy_core::rules::placements::{change, create, delete, immutable};
use tenancy_store::page::{Listed, Page};

/// Number up to which the environments of a placement are counted.
const MAX_COUNTED: usize = MAX_ENVIRONMENTS.unsigned_abs() as usize;

/// Result of a write of a placement.
#[derive(Debug)]
pub struct Written {
    /// Placement after the write.
    pub placement: Placement,
    /// Number of environments on it.
    pub environments: usize,
    /// Whether the write created it.
    pub created: bool,
}

/// Returns the placement with this name.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tenancy: &Tenancy, name: &str) -> Result<Placement, Error> {
    by_name(tenancy, name).await?.ok_or_else(|| Error::not_found("placement", name))
}

/// Returns the placement with this name, if it exists.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn by_name(tenancy: &Tenancy, name: &str) -> Result<Option<Placement>, Error> {
    match PlacementName::parse(name) {
        Ok(name) => tenancy.store.placement(&name).await,
        Err(_) => Ok(None),
    }
}

/// Returns how many environments have a place on a placement, counted up to [`MAX_ENVIRONMENTS`].
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn count(tenancy: &Tenancy, placement: &Placement) -> Result<usize, Error> {
    tenancy.store.count_places(&placement.name, MAX_COUNTED).await
}

/// Returns a page of the placements.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(tenancy: &Tenancy, page: &Page) -> Result<Listed<Placement>, Error> {
    tenancy.store.placements(page).await
}

/// Creates a placement.
#[derive(Debug)]
pub struct Create {
    /// Manifest of the placement.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Create {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        self.precondition.check_new()?;
        created(tenancy, &desired(&tenancy.declared, None, &self.document, How::Replace)?, context).await
    }
}

/// Changes a placement to what a document declares. Creates it if the precondition is `If-None-Match: *`.
#[derive(Debug)]
pub struct Change {
    /// Name of the placement.
    pub placement: String,
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
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let mut document = self.document.clone();
        if let (Value::Object(object), How::Replace) = (&mut document, self.how) {
            object.entry("name").or_insert_with(|| Value::String(self.placement.clone()));
        }
        let known = match find(tenancy, &self.placement).await {
            Ok(known) => known,
            Err(Error::NotFound { .. }) if self.creates() => {
                let other = other_id("name", &self.placement, &document);
                let manifest = with(other, desired(&tenancy.declared, None, &document, self.how))?;
                return created(tenancy, &manifest, context).await;
            }
            Err(error) => return Err(error),
        };
        self.precondition.check_document(&document, known.version)?;
        let manifest = desired(&tenancy.declared, Some(&known), &document, self.how)?;
        let decision = change(&known, &manifest, context)?;
        let environments = count(tenancy, &known).await?;
        let outcome = Written { placement: decision.placement, environments, created: false };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

/// Deletes a placement on which there is nothing.
#[derive(Debug)]
pub struct Remove {
    /// Name of the placement.
    pub placement: String,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
}

impl Command for Remove {
    type Outcome = ();

    async fn decide(&self, tenancy: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let known = find(tenancy, &self.placement).await?;
        self.precondition.check(self.read_at, known.version)?;
        let decision = delete(&known, count(tenancy, &known).await?, context)?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}

async fn created(
    tenancy: &Tenancy,
    manifest: &PlacementManifest,
    context: &mut DecisionContext,
) -> Result<Decided<Written>, Error> {
    let others = tenancy.store.all_placements().await?.len();
    let decision = create(manifest, others, context)?;
    let outcome = Written { placement: decision.placement, environments: 0, created: true };
    Ok(Decided { outcome, changes: decision.changes })
}

/// Returns the manifest that `document` declares for a placement, existing or new.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub fn desired(
    declared: &Declared,
    known: Option<&Placement>,
    document: &Value,
    how: How,
) -> Result<PlacementManifest, Error> {
    let Value::Object(mut said) = document.clone() else { return PlacementManifest::parse(declared, document, known) };
    let mut violations = Vec::new();
    violations.extend(take_kind(&mut said, "Placement").err());
    violations.extend(take_version(&mut said).err());
    let Some(known) = known else {
        return with(violations, PlacementManifest::parse(declared, &Value::Object(said), None));
    };
    if PLACEMENT.any_in(&said) {
        let current = serde_json::to_value(PlacementView::of(known, None)).unwrap_or_default();
        violations.extend(PLACEMENT.drop(&mut said, &current, true, &Pointer::root()));
    }
    let whole = super::documents::desired::whole(|| PlacementManifest::of(known).document(), said, how);
    violations.extend(immutable(known, &whole));
    with(violations, PlacementManifest::parse(declared, &whole, Some(known)))
}
