//! Environments. Each change of an environment is a change of its tenant's manifest, but its precondition is the
//! version of the environment.
//!
//! If another environment of the same tenant changes at the same time, the version of the tenant changes too, and the
//! decision is made again. Only a changed version of this environment fails the caller's precondition.

use super::documents::desired::{How, with};
use super::documents::facts::{ENVIRONMENT, take_followed_region, take_version};
use super::documents::pointers::Entry;
use super::tenants::{self, other_id};
use super::{Command, Decided};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_api::environment::Environment as EnvironmentView;
use tenancy_api::viewpoint::Viewpoint;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::environment::Environment;
use tenancy_core::json::{Object, Pointer, merge_patch};
use tenancy_core::manifest::Manifest;
use tenancy_core::permission::Audience;
use tenancy_core::placement::EnvironmentPlacement;
use tenancy_core::rules::change::change;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Violation};
use tenancy_store::page::{Listed, Page};

/// Returns the environment with this name or id.
///
/// # Errors
/// [`Error::NotFound`], with the nearest name.
pub fn find<'a>(snapshot: &'a TenantSnapshot, name: &str) -> Result<&'a Environment, Error> {
    let found = snapshot.environments.iter().find(|e| e.name == name || e.env_id.as_str() == name);
    found.ok_or_else(|| Error::NotFound {
        kind: "environment",
        id: format!("{}/{name}", snapshot.tenant.tenant_id),
        nearest: tenancy_core::nearest::nearest(name, snapshot.environments.iter().map(|e| e.name.as_str()))
            .map(str::to_owned),
    })
}

/// Returns a page of the environments of a tenant, and the places of all its environments.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    page: &Page,
) -> Result<(Listed<Environment>, Vec<EnvironmentPlacement>), Error> {
    let tenant = tenants::reach(tenancy, caller, tenant).await?;
    let listed = tenancy.store.environments(&tenant.tenant_id, page).await?;
    Ok((listed, tenancy.store.places(&tenant.tenant_id).await?))
}

/// Returns an environment of a tenant, and the places of the tenant's environments.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    name: &str,
) -> Result<(Environment, Vec<EnvironmentPlacement>), Error> {
    let snapshot = tenants::find(tenancy, caller, tenant).await?;
    Ok((find(&snapshot, name)?.clone(), snapshot.placements))
}

/// Result of a write of an environment.
#[derive(Debug)]
pub struct Written {
    /// Environment after the write.
    pub environment: Environment,
    /// Places of the tenant's environments.
    pub placements: Vec<EnvironmentPlacement>,
    /// Whether the write created it.
    pub created: bool,
    /// Warnings about likely mistakes in the document.
    pub warnings: Vec<Violation>,
}

/// Changes an environment to what a document declares. Creates it if the precondition is `If-None-Match: *`.
#[derive(Debug)]
pub struct Change {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Name or id of the environment.
    pub environment: String,
    /// Document of the request.
    pub document: Value,
    /// How the document relates to the current entry.
    pub how: How,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
}

impl Command for Change {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let known = match find(&snapshot, &self.environment) {
            Ok(known) => Some(known),
            Err(_) if self.precondition == Precondition::Nothing && self.how == How::Replace => None,
            Err(missing) => return Err(missing),
        };
        let name = known.map_or(self.environment.as_str(), |known| known.name.as_str());
        let (entry, wrong) = self.entry(name, known, &snapshot.placements)?;
        let mut document = Manifest::of(&snapshot).document();
        let sent = Entry { name, index: put(&mut document, name, Some(entry)) };
        let before = Manifest::of(&snapshot);
        let parsed = Manifest::parse_change(&tenancy.declared, &document, &before).map_err(|error| sent.inside(error));
        let (manifest, warnings) = with(wrong, parsed)?;
        let decision = change(&tenancy.declared, &snapshot, &manifest, warnings, &self.allow, context)
            .map_err(|error| sent.inside(error))?;
        let environment = find(&decision.snapshot, name)?.clone();
        let (created, warnings) = (known.is_none(), sent.warnings(decision.warnings));
        let outcome = Written { environment, placements: decision.snapshot.placements, created, warnings };
        Ok(Decided { outcome, changes: decision.changes })
    }
}

impl Change {
    /// Returns the complete declared entry, and the violations in the document's other fields.
    fn entry(
        &self,
        name: &str,
        known: Option<&Environment>,
        placements: &[EnvironmentPlacement],
    ) -> Result<(Value, Vec<Violation>), Error> {
        let Value::Object(mut sent) = self.document.clone() else {
            let at = Pointer::root();
            return Err(Error::Invalid(vec![Violation::at(&at, "wrong_type", "must be an object")]));
        };
        let mut wrong = other_id("name", name, &self.document);
        if let Some(known) = known {
            self.precondition.check_document(&self.document, known.version)?;
            wrong.extend(take_facts(&mut sent, known, placements));
        }
        sent.insert("name".to_owned(), Value::String(name.to_owned()));
        let sent = Value::Object(sent);
        match (known, self.how) {
            (Some(known), How::Merge) => {
                let mut whole = tenancy_core::rules::change::environment_entry(known).document();
                merge_patch(&mut whole, &sent);
                Ok((whole, wrong))
            }
            _ => Ok((sent, wrong)),
        }
    }
}

fn take_facts(sent: &mut Object, known: &Environment, placements: &[EnvironmentPlacement]) -> Vec<Violation> {
    let mut violations: Vec<_> = take_version(sent).err().into_iter().collect();
    if ENVIRONMENT.any_in(sent) {
        // Only keys without a scope write environments.
        let view = EnvironmentView::of(Viewpoint::unnamed(Audience::Staff), known, placements);
        let current = serde_json::to_value(view).unwrap_or_default();
        // An environment has no counter: a job's changes show in `updated_at` instead.
        take_followed_region(sent, &[Some(&current["region"])]);
        let same_moment = sent.get("updated_at").is_none_or(|at| *at == current["updated_at"]);
        violations.extend(ENVIRONMENT.drop(sent, &current, same_moment, &Pointer::root()));
    }
    violations
}

/// Removes an environment. This is a gated change.
#[derive(Debug)]
pub struct Remove {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Name or id of the environment.
    pub environment: String,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
}

impl Command for Remove {
    type Outcome = ();

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<()>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let known = find(&snapshot, &self.environment)?;
        self.precondition.check(self.read_at, known.version)?;
        let before = Manifest::of(&snapshot);
        let mut document = before.document();
        let gone = Entry { name: &known.name, index: put(&mut document, &known.name, None) };
        let (manifest, warnings) = Manifest::parse_change(&tenancy.declared, &document, &before)?;
        let decision = change(&tenancy.declared, &snapshot, &manifest, warnings, &self.allow, context)
            .map_err(|error| gone.inside(error))?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}

/// Replaces the entry with this name, or appends it if there is none. Without an entry, removes the one with this name.
/// Returns the index.
fn put(document: &mut Value, name: &str, entry: Option<Value>) -> usize {
    if !document["environments"].is_array() {
        document["environments"] = Value::Array(Vec::new());
    }
    let Some(entries) = document["environments"].as_array_mut() else { return 0 };
    let at = entries.iter().position(|entry| entry["name"] == name);
    match (at, entry) {
        (Some(at), Some(entry)) => entries[at] = entry,
        (Some(at), None) => drop(entries.remove(at)),
        (None, Some(entry)) => entries.push(entry),
        (None, None) => {}
    }
    at.unwrap_or(entries.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_put_an_entry_in_its_place() {
        let mut document = json!({"environments": [{"name": "dev"}, {"name": "prod"}]});
        assert_eq!(put(&mut document, "prod", Some(json!({"name": "prod", "region": "x"}))), 1);
        assert_eq!(put(&mut document, "stage", Some(json!({"name": "stage"}))), 2);
        assert_eq!(put(&mut document, "dev", None), 0);
        assert_eq!(document, json!({"environments": [{"name": "prod", "region": "x"}, {"name": "stage"}]}));
        let mut none = json!({});
        assert_eq!(put(&mut none, "dev", Some(json!({"name": "dev"}))), 0);
    }
}
