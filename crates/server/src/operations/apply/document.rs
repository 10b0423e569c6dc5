//! One document of a file: its kind and id, and what it would change.

use crate::authentication::Caller;
use crate::manifests::is_answer;
use crate::operations::documents::desired::{How, of_known, of_new};
use crate::operations::documents::facts::read_at;
use crate::operations::documents::pointers::in_sent;
use crate::operations::webhooks::urls;
use crate::operations::{Command, Decided, made, moved, organizations, placements, tenants};
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use tenancy_api::Viewpoint;
use tenancy_api::Word;
use tenancy_api::applied::{AppliedDocument, AppliedJob, Outcome};
use tenancy_core::changes::Conflict;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::document::{not_text, one_of};
use tenancy_core::error::NO_VERSION;
use tenancy_core::ids::{OrganizationId, PlacementName, TenantId};
use tenancy_core::json::{Pointer, differences};
use tenancy_core::manifest::Manifest;
use tenancy_core::organization::Organization;
use tenancy_core::permission::Operation;
use tenancy_core::rules::change::{change, takes_manifest};
use tenancy_core::rules::fields::mask_changed_urls;
use tenancy_core::rules::gates::ALLOWED_BY_NAME;
use tenancy_core::rules::organizations::OrganizationManifest;
use tenancy_core::rules::placement_manifest::PlacementManifest;
use tenancy_core::rules::register::register;
use tenancy_core::{Error, Violation};

/// Kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A placement, written before the tenants whose environments it takes.
    Placement,
    /// An organization, written before its tenants.
    Organization,
    /// A tenant, written after its organization.
    Tenant,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Placement => "Placement",
            Self::Organization => "Organization",
            Self::Tenant => "Tenant",
        }
    }

    fn id_field(self) -> &'static str {
        match self {
            Self::Placement => "name",
            Self::Organization => "organization_id",
            Self::Tenant => "tenant_id",
        }
    }
}

/// One document to apply.
#[derive(Debug)]
pub struct Document {
    /// Zero-based index in the file.
    pub index: usize,
    /// Kind of the document.
    pub kind: Kind,
    id: String,
    content: Value,
    allow: Vec<String>,
    /// Version that the document was first decided on; [`NO_VERSION`] if its resource did not exist. Somebody else has
    /// changed the resource if a later decision finds another version.
    decided_on: OnceLock<i64>,
}

/// Reads the kind and id of each document, and returns the documents in the order of writing. A file may contain each
/// resource once. Also returns the violations of documents without kind or id, and of duplicates.
pub fn documents(declared: &Declared, contents: Vec<Value>, allow: &[String]) -> (Vec<Document>, Vec<Violation>) {
    let (mut violations, mut documents, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, content) in contents.into_iter().enumerate() {
        let at = Pointer::root().index(index);
        match document(declared, index, content, &at) {
            Ok(mut document) => {
                if !seen.insert((document.kind, document.id.clone())) {
                    let message = format!(
                        "{} {} occurs twice in the file; remove one document",
                        document.kind.as_str(),
                        document.id
                    );
                    violations.push(Violation::at(&at.key(document.kind.id_field()), "duplicate", message));
                }
                document.allow = allow.to_vec();
                documents.push(document);
            }
            Err(found) => violations.extend(found),
        }
    }
    documents.sort_by_key(|document| (document.kind, document.index));
    (documents, violations)
}

fn document(declared: &Declared, index: usize, content: Value, at: &Pointer) -> Result<Document, Vec<Violation>> {
    let Value::Object(object) = &content else {
        return Err(vec![Violation::at(at, "wrong_type", "a document must be an object with a kind")]);
    };
    if is_answer(&content) {
        let message = "this is an answer of the server, not a manifest: use `tenancy export` to write manifests";
        return Err(vec![Violation::at(at, "not_a_manifest", message)]);
    }
    let kind = match object.get("kind").and_then(Value::as_str) {
        Some("Placement") => Kind::Placement,
        Some("Organization") => Kind::Organization,
        Some("Tenant") => Kind::Tenant,
        other => {
            let (code, message) = match (other, object.get("kind").filter(|kind| !kind.is_null())) {
                (Some(other), _) => ("unknown_word", one_of(other, &["Organization", "Placement", "Tenant"])),
                (None, Some(other)) => ("wrong_type", not_text(other)),
                (None, None) => ("required", "kind is required: Organization, Placement or Tenant".to_owned()),
            };
            return Err(vec![Violation::at(&at.key("kind"), code, message)]);
        }
    };
    let field = kind.id_field();
    let Some(id) = object.get(field).and_then(Value::as_str).map(str::to_owned) else {
        let (code, message) = match object.get(field).filter(|id| !id.is_null()) {
            Some(other) => ("wrong_type", not_text(other)),
            None => {
                let kind = kind.as_str();
                ("required", format!("{field} is required, so that applying the file again changes the same {kind}"))
            }
        };
        let mut violations = vec![Violation::at(&at.key(field), code, message)];
        violations.extend(else_wrong(declared, kind, &content, at));
        return Err(violations);
    };
    Ok(Document { index, kind, id, content, allow: Vec::new(), decided_on: OnceLock::new() })
}

/// Returns the other violations of a document without an id. Whether its resource exists is unknown, so checks that
/// depend on this are skipped.
fn else_wrong(declared: &Declared, kind: Kind, content: &Value, at: &Pointer) -> Vec<Violation> {
    let read = match kind {
        Kind::Placement => placements::desired(declared, None, content, How::Apply).map(drop),
        Kind::Organization => organizations::desired(
            declared,
            Viewpoint::unnamed(tenancy_core::permission::Audience::Staff),
            None,
            content,
            How::Apply,
        )
        .map(drop),
        Kind::Tenant => of_new(declared, content, &ALLOWED_BY_NAME.map(str::to_owned)).map(drop),
    };
    let Err(Error::Invalid(found)) = read else { return Vec::new() };
    let id = Pointer::root().key(kind.id_field()).to_string();
    let is_known = |v: &Violation| v.pointer != id && (v.code != "required" || v.pointer.matches('/').count() > 1);
    let inside = |v: Violation| Violation { pointer: format!("{at}{}", v.pointer), ..v };
    found.into_iter().filter(is_known).map(inside).collect()
}

impl Document {
    /// Returns the name of the document's part of an Idempotency-Key.
    pub fn name(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.id)
    }

    /// Returns the id, if this is an organization.
    pub fn organization_id(&self) -> Option<&str> {
        (self.kind == Kind::Organization).then_some(&*self.id)
    }

    /// Returns whether a result is about this document.
    pub fn is_of(&self, line: &Value) -> bool {
        line["kind"] == self.kind.as_str() && line["id"] == self.id
    }

    /// Returns an empty result for the document.
    pub fn blank(&self) -> AppliedDocument {
        AppliedDocument::unchanged(self.index, self.kind.as_str(), self.id.clone())
    }

    /// Decides as if every gated change were confirmed.
    ///
    /// # Errors
    /// The error of the rule.
    pub async fn decide_allowed(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<AppliedDocument>, Error> {
        let allow = ALLOWED_BY_NAME.map(str::to_owned);
        match self.kind {
            Kind::Placement => self.placement(tenancy, caller, context).await,
            Kind::Organization => self.organization(tenancy, caller, context).await,
            Kind::Tenant => self.tenant(tenancy, caller, &allow, context).await,
        }
    }

    /// Returns whether nobody else has changed the resource since the first decision.
    fn is_unmoved(&self, version: i64) -> bool {
        *self.decided_on.get_or_init(|| version) == version
    }

    async fn tenant(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        allow: &[String],
        context: &mut DecisionContext,
    ) -> Result<Decided<AppliedDocument>, Error> {
        let declared = &tenancy.declared;
        let known = match TenantId::parse(&self.id) {
            Ok(id) => tenants::by_id(tenancy, caller, &id).await?,
            // The check of the manifest reports the violation.
            Err(_) => None,
        };
        let found =
            known.as_ref().map(|known| (&known.tenant.tenant_id, known.tenant.terms.version, &known.tenant.facts));
        if !self.is_unmoved(found.map_or(NO_VERSION, |(_, version, _)| version))
            && let Some((id, version, facts)) = found
        {
            return Err(Conflict::TenantMoved { id: id.clone(), version, counter: facts.counter }.into());
        }
        let (decision, differences) = match &known {
            None => {
                caller.require_scope(Operation::RegisterTenants)?;
                let desired = of_new(declared, &self.content, allow)?;
                (register(declared, &desired.manifest, desired.warnings, context)?, Vec::new())
            }
            Some(snapshot) => {
                takes_manifest(snapshot)?;
                Precondition::Unsaid.check_if_said(read_at(&self.content), snapshot.tenant.terms.version)?;
                let desired = of_known(declared, caller.viewpoint(tenancy), snapshot, &self.content, How::Apply)?;
                let before = Manifest::of(snapshot);
                let mut differences = match before == desired.manifest {
                    true => Vec::new(),
                    false => before.differences(&desired.manifest),
                };
                if !caller.sees_urls() {
                    mask_changed_urls(&mut differences);
                }
                let decision = change(declared, snapshot, &desired.manifest, desired.warnings, allow, context);
                (decision.map_err(|error| in_sent(error, &self.content))?, differences)
            }
        };
        let after = &decision.snapshot;
        let outcome = AppliedDocument {
            result: result(known.is_none(), decision.changes.is_some()),
            changes: differences.into_iter().map(Into::into).collect(),
            version: Some(after.tenant.terms.version),
            state: Some(after.tenant.facts.state.into()),
            desired_state: after.tenant.terms.desired_state.map(Into::into),
            job: after
                .open_job
                .as_ref()
                .map(|job| AppliedJob { job_id: job.job_id.to_string(), action: job.action.into() }),
            waits_for: tenancy_core::lifecycle::waits_for(declared, after),
            warnings: decision.warnings.into_iter().map(Into::into).collect(),
            ..self.blank()
        };
        Ok(Decided { outcome, changes: decision.changes })
    }

    async fn placement(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<AppliedDocument>, Error> {
        use tenancy_core::rules::placements::{change, create};
        caller.require(Operation::WritePlacements)?;
        let declared = &tenancy.declared;
        let Some(known) = placements::by_name(tenancy, &self.id).await? else {
            if !self.is_unmoved(NO_VERSION) {
                return Err(Conflict::PlacementMoved(PlacementName::known(&self.id)).into());
            }
            let manifest = placements::desired(declared, None, &self.content, How::Apply)?;
            let others = tenancy.store.all_placements().await?.len();
            let decision = create(&manifest, others, context)?;
            let version = Some(decision.placement.version);
            let outcome = AppliedDocument { result: result(true, true), version, ..self.blank() };
            return Ok(Decided { outcome, changes: decision.changes });
        };
        if !self.is_unmoved(known.version) {
            return Err(Conflict::PlacementMoved(known.name).into());
        }
        Precondition::Unsaid.check_if_said(read_at(&self.content), known.version)?;
        let manifest = placements::desired(declared, Some(&known), &self.content, How::Apply)?;
        let differences = differences(&PlacementManifest::of(&known).document(), &manifest.document());
        let decision = change(&known, &manifest, context)?;
        let outcome = AppliedDocument {
            result: result(false, decision.changes.is_some()),
            changes: differences.into_iter().map(Into::into).collect(),
            version: Some(decision.placement.version),
            ..self.blank()
        };
        Ok(Decided { outcome, changes: decision.changes })
    }

    /// Decides on an organization. A caller with a scope may change its webhooks only.
    async fn organization(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<AppliedDocument>, Error> {
        use tenancy_core::rules::organizations::{change, create, takes_manifest};
        let known = match OrganizationId::parse(&self.id) {
            Ok(id) => organizations::by_id(tenancy, caller, &id).await?,
            Err(_) => None,
        };
        if let Some(Organization { organization_id, version, counter, .. }) =
            known.as_ref().map(|known| &known.organization)
            && !self.is_unmoved(*version)
        {
            let (version, counter) = (*version, *counter);
            return Err(Conflict::OrganizationMoved { id: organization_id.clone(), version, counter }.into());
        }
        if known.is_none() {
            caller.require_scope(Operation::WriteOrganizations)?;
            self.is_unmoved(NO_VERSION);
        }
        let desired = organizations::desired(
            &tenancy.declared,
            caller.viewpoint(tenancy),
            known.as_ref(),
            &self.content,
            How::Apply,
        )?;
        let (decision, differences) = match &known {
            None => (create(&desired.manifest, context)?, Vec::new()),
            Some(known) => {
                let before = &known.organization;
                takes_manifest(before)?;
                Precondition::Unsaid.check_if_said(read_at(&self.content), before.version)?;
                let current = OrganizationManifest::of(before, &known.webhooks).document();
                let mut differences = differences(&current, &desired.manifest.document());
                if !caller.sees_urls() {
                    mask_changed_urls(&mut differences);
                }
                (change(before, &known.webhooks, &known.usage, &desired.manifest, context)?, differences)
            }
        };
        let outcome = AppliedDocument {
            result: result(known.is_none(), decision.changes.is_some()),
            changes: differences.into_iter().map(Into::into).collect(),
            version: Some(decision.organization.version),
            warnings: desired.warnings.into_iter().chain(decision.warnings).map(Into::into).collect(),
            ..self.blank()
        };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

impl Command for Document {
    type Outcome = AppliedDocument;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<AppliedDocument>, Error> {
        let decided = match self.kind {
            Kind::Placement => self.placement(tenancy, caller, context).await?,
            Kind::Organization => self.organization(tenancy, caller, context).await?,
            Kind::Tenant => self.tenant(tenancy, caller, &self.allow, context).await?,
        };
        if let Some(changes) = &decided.changes {
            urls::check_manifest(tenancy, changes, &self.content)?;
        }
        Ok(decided)
    }

    /// What was created meanwhile has moved as well: the next decision refuses the document.
    fn moved<'a>(&self, conflict: &'a Conflict) -> Option<&'a str> {
        moved(conflict).or_else(|| made(conflict))
    }
}

fn result(created: bool, changed: bool) -> Word<Outcome> {
    let outcome = match (created, changed) {
        (true, _) => Outcome::Created,
        (false, true) => Outcome::Changed,
        (false, false) => Outcome::Unchanged,
    };
    outcome.into()
}
