//! Changes of a manifest: a new version of the tenant, and of each environment whose entry differs.

use super::change_builder::ChangeBuilder;
use super::gates::gates;
use super::webhook_rows::Step;
use super::{Decision, protections, redaction, webhook_rows};
use crate::changes::{Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::environment::{Environment, EnvironmentVersion};
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::ids::TenantId;
use crate::json::{Difference, Pointer};
use crate::manifest::{EnvironmentManifest, Manifest};
use crate::organization::Usage;
use crate::quotas::counted_usage;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{State, TenantVersion};
use crate::violation::Violation;
use crate::webhook::WebhookOwner;
use serde_json::{Value, json};

/// Changes a tenant to `manifest`. Gated changes are refused unless `allow` names each kind.
///
/// # Errors
/// [`Error::Invalid`] for fields that cannot change, [`Error::Gated`], [`Error::NotNow`] for an archived or purged
/// tenant, [`Error::FieldsForbidden`] for a protection that the actor may not remove.
pub fn change(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    manifest: &Manifest,
    warnings: Vec<Violation>,
    allow: &[String],
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let before = Manifest::of(snapshot);
    // A manifest without a tenant id belongs to the tenant that it is applied to.
    let manifest = &Manifest { tenant_id: manifest.tenant_id.clone().or(before.tenant_id.clone()), ..manifest.clone() };
    let unchanged = |warnings| Ok(Decision { snapshot: snapshot.clone(), changes: None, warnings });
    // The documents need not be compared if the manifests are the same.
    if before == *manifest {
        return unchanged(warnings);
    }
    let differences = before.differences(manifest);
    if differences.is_empty() {
        return unchanged(warnings);
    }
    let fixed = immutable(&before, &manifest.document());
    if !fixed.is_empty() {
        return Err(Error::Invalid(fixed));
    }
    takes_manifest(snapshot)?;
    let moves = needs_move(snapshot, &before, manifest);
    if !moves.is_empty() {
        return Err(Error::Invalid(moves));
    }
    let mut warnings = warnings;
    warnings.extend(protections::fields(&before, manifest, context)?);
    let refused = gates(declared, &before, manifest, allow);
    if !refused.is_empty() {
        return Err(Error::Gated(refused));
    }
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    builder.cause = Some("manifest");
    tenant_row(&mut builder, manifest, &differences);
    usage(&mut builder, &before, manifest);
    environments(&mut builder, manifest);
    aliases(&mut builder, manifest);
    tenant_webhooks(&mut builder, manifest);
    let version = tenant_version(&builder.snapshot, builder.context);
    builder.writes.push(Write::InsertTenantVersion(version));
    builder.finish(warnings)
}

/// Checks that the tenant takes a manifest: it is neither archived nor purged.
///
/// # Errors
/// [`Error::NotNow`].
pub fn takes_manifest(snapshot: &TenantSnapshot) -> Result<(), Error> {
    let id = &snapshot.tenant.tenant_id;
    if snapshot.tenant.facts.purged_at.is_some() {
        return Err(Error::purged(id));
    }
    if snapshot.tenant.facts.state == State::Archived {
        return Err(Error::NotNow(format!("tenant {id} is Archived: undelete it before you change its manifest")));
    }
    Ok(())
}

/// Returns a violation for each field of a document that differs and can never change. Callers use it to report these
/// together with all other violations.
pub fn immutable(before: &Manifest, document: &Value) -> Vec<Violation> {
    let other = |name: &str, known: Option<&str>| {
        document.get(name).and_then(Value::as_str).is_some_and(|said| Some(said) != known)
    };
    let fixed = |name: &str, message: String| Violation::at(&Pointer::root().key(name), "immutable", message);
    let mut violations = Vec::new();
    if other("organization_id", Some(before.organization_id.as_str())) {
        let message = format!("cannot be changed: the tenant belongs to organization {}", before.organization_id);
        violations.push(fixed("organization_id", message));
    }
    if other("tenant_id", before.tenant_id.as_ref().map(TenantId::as_str)) {
        violations.push(fixed("tenant_id", "the id of a tenant cannot be changed".to_owned()));
    }
    violations
}

/// Returns a violation for each change that would move the data of an environment from the place where it is.
fn needs_move(snapshot: &TenantSnapshot, before: &Manifest, after: &Manifest) -> Vec<Violation> {
    let root = Pointer::root();
    let mut found = Vec::new();
    let mut moves = |at: Pointer, what: &str, name: &str| {
        let message =
            format!("the {what} cannot be changed while environment {name} has a place: its data would have to move");
        found.push(Violation::at(&at, "needs_move", message));
    };
    let placed = |environment: &&Environment| snapshot.placement(&environment.env_id).is_some();
    for known in snapshot.environments.iter().filter(placed) {
        let Some(entry) = after.environments.iter().find(|entry| entry.name == known.name) else { continue };
        let at = root.key("environments").key(&known.name);
        if entry.region != known.region {
            moves(at.key("region"), "region", &known.name);
        }
        if entry.isolation_level != known.isolation_level {
            moves(at.key("isolation_level"), "isolation level", &known.name);
        }
    }
    if after.profile != before.profile
        && let Some(known) = snapshot.environments.iter().find(placed)
    {
        moves(root.key("profile"), "profile", &known.name);
    }
    found
}

fn tenant_row(builder: &mut ChangeBuilder<'_>, manifest: &Manifest, differences: &[Difference]) {
    let now = builder.context.now;
    let tenant = &mut builder.snapshot.tenant;
    let had_own_key = tenant.terms.has_own_key();
    tenant.terms = manifest.terms(tenant.terms.version + 1);
    tenant.updated_at = now;
    let write = Write::UpdateTenantTerms(tenant.tenant_id.clone(), tenant.terms.clone(), now);
    let version = tenant.terms.version;
    // Environments and webhooks have their own events.
    let has_events = |d: &&Difference| matches!(d.pointer.split('/').nth(1), Some("environments" | "webhooks"));
    let own: Vec<_> = differences.iter().filter(|d| !has_events(d)).cloned().collect();
    let (changes, private) = redaction::changes(&builder.declared.quotas, &own);
    builder.event(EventType::TenancyUpdated, json!({"version": version, "changes": changes}), private);
    builder.writes.push(write);
    if had_own_key != builder.snapshot.tenant.terms.has_own_key() {
        builder.writes.push(Write::WrapDataKey(builder.snapshot.tenant.tenant_id.clone(), now));
    }
}

fn usage(builder: &mut ChangeBuilder<'_>, before: &Manifest, after: &Manifest) {
    let change = counted(before).until(&counted(after));
    if !change.is_nothing() {
        builder.guards.push(Guard::OrganizationRoom(after.organization_id.clone(), change));
    }
}

/// Returns what the quotas of a tenant count in the usage of its organization.
pub(super) fn counted(manifest: &Manifest) -> Usage {
    let environments = manifest.environments.iter().map(|entry| &entry.quotas);
    Usage { tenants: 0, quotas: counted_usage(&manifest.quotas, environments) }
}

fn environments(builder: &mut ChangeBuilder<'_>, manifest: &Manifest) {
    let before = std::mem::take(&mut builder.snapshot.environments);
    for gone in before.iter().filter(|e| !manifest.environments.iter().any(|entry| entry.name == e.name)) {
        builder.event(EventType::EnvironmentDeleted, json!({"env_id": gone.env_id, "name": gone.name}), Value::Null);
        builder.writes.push(Write::DeleteEnvironment(gone.env_id.clone()));
        let mut placements = builder.snapshot.placements.iter_mut();
        if let Some(placement) = placements.find(|placement| placement.env_id == gone.env_id) {
            placement.removed_at = Some(builder.context.now);
            builder.writes.push(Write::UpdateEnvironmentPlacement(placement.clone()));
        }
    }
    for entry in &manifest.environments {
        let environment = match before.iter().find(|e| e.name == entry.name) {
            Some(known) => changed_environment(builder, known, entry),
            None => added_environment(builder, entry),
        };
        builder.snapshot.environments.push(environment);
    }
}

fn added_environment(builder: &mut ChangeBuilder<'_>, entry: &EnvironmentManifest) -> Environment {
    let environment = new_environment(
        &builder.snapshot.tenant.tenant_id,
        builder.snapshot.tenant.terms.version,
        entry,
        builder.context,
    );
    let event = environment_created(builder.declared, &environment, builder.context);
    builder.events.push(event);
    builder.writes.push(Write::InsertEnvironment(environment.clone()));
    builder.writes.push(Write::InsertEnvironmentVersion(environment_version(&environment, builder.context)));
    environment
}

fn changed_environment(
    builder: &mut ChangeBuilder<'_>,
    known: &Environment,
    entry: &EnvironmentManifest,
) -> Environment {
    let differences = environment_entry(known).differences(entry);
    if differences.is_empty() {
        return known.clone();
    }
    let environment = Environment {
        region: entry.region.clone(),
        region_given: entry.region_given,
        isolation_level: entry.isolation_level,
        quotas: entry.quotas.clone(),
        retention_days: entry.retention_days,
        version: known.version + 1,
        updated_at: builder.context.now,
        ..known.clone()
    };
    let (changes, private) = redaction::changes(&builder.declared.quotas, &differences);
    let payload = json!({
        "env_id": environment.env_id,
        "name": environment.name,
        "version": environment.version,
        "changes": changes,
    });
    builder.event(EventType::EnvironmentUpdated, payload, private);
    builder.writes.push(Write::UpdateEnvironmentManifest(environment.clone()));
    builder.writes.push(Write::InsertEnvironmentVersion(environment_version(&environment, builder.context)));
    environment
}

fn aliases(builder: &mut ChangeBuilder<'_>, manifest: &Manifest) {
    let before = std::mem::replace(&mut builder.snapshot.aliases, manifest.aliases.iter().cloned().collect());
    for gone in before.iter().filter(|alias| !manifest.aliases.contains(alias)) {
        builder.writes.push(Write::DeleteAlias(gone.clone()));
    }
    for new in manifest.aliases.iter().filter(|alias| !before.contains(alias)) {
        builder.guards.push(Guard::AliasUnused(new.clone()));
        builder.writes.push(Write::InsertAlias(new.clone(), builder.tenant_id(), builder.context.now));
    }
}

fn tenant_webhooks(builder: &mut ChangeBuilder<'_>, manifest: &Manifest) {
    let before = std::mem::take(&mut builder.snapshot.webhooks);
    let owner = WebhookOwner::Tenant(builder.tenant_id());
    let (after, steps) = webhook_rows::matched(&owner, &before, &manifest.webhooks, builder.context);
    builder.snapshot.webhooks = after;
    for step in steps {
        let (webhook, change, write) = match step {
            Step::Removed(webhook) => {
                let write = Write::DeleteWebhook(webhook.webhook_id.clone());
                (webhook, "removed", write)
            }
            Step::Changed(webhook) => (webhook.clone(), "changed", Write::UpdateWebhook(webhook)),
            Step::Added(webhook) => (webhook.clone(), "added", Write::InsertWebhook(webhook)),
        };
        builder.events.push(webhook_rows::event(&webhook, change, builder.context));
        builder.writes.push(write);
    }
}

/// Returns the manifest entry of an environment.
pub fn environment_entry(environment: &Environment) -> EnvironmentManifest {
    EnvironmentManifest {
        name: environment.name.clone(),
        region: environment.region.clone(),
        region_given: environment.region_given,
        isolation_level: environment.isolation_level,
        quotas: environment.quotas.clone(),
        retention_days: environment.retention_days,
    }
}

/// Builds the version row of the tenant from its snapshot.
pub(super) fn tenant_version(snapshot: &TenantSnapshot, context: &DecisionContext) -> TenantVersion {
    TenantVersion {
        tenant_id: snapshot.tenant.tenant_id.clone(),
        version: snapshot.tenant.terms.version,
        manifest: Manifest::of(snapshot).into_document(),
        actor: context.actor.to_string(),
        correlation_id: context.correlation_id.clone(),
        created_at: context.now,
    }
}

/// Builds the version row of an environment.
pub(super) fn environment_version(environment: &Environment, context: &DecisionContext) -> EnvironmentVersion {
    EnvironmentVersion {
        tenant_id: environment.tenant_id.clone(),
        env_id: environment.env_id.clone(),
        version: environment.version,
        manifest: environment_entry(environment).document(),
        actor: context.actor.to_string(),
        created_at: context.now,
    }
}

/// Builds a new environment, which is not provisioned yet. Its versions start at the version of the tenant that adds
/// it. An environment that is removed and added again therefore starts above all versions of the earlier one, and the
/// two cannot be confused.
pub(super) fn new_environment(
    tenant_id: &TenantId,
    tenant_version: i64,
    entry: &EnvironmentManifest,
    context: &mut DecisionContext,
) -> Environment {
    Environment {
        env_id: context.environment_id(),
        tenant_id: tenant_id.clone(),
        name: entry.name.clone(),
        region: entry.region.clone(),
        region_given: entry.region_given,
        isolation_level: entry.isolation_level,
        quotas: entry.quotas.clone(),
        retention_days: entry.retention_days,
        version: tenant_version,
        state: State::Draft,
        provisioned_at: None,
        created_at: context.now,
        updated_at: context.now,
    }
}

/// Builds the event of a new environment.
pub(super) fn environment_created(
    declared: &Declared,
    environment: &Environment,
    context: &mut DecisionContext,
) -> Event {
    let (manifest, private) = redaction::environment(&declared.quotas, &environment_entry(environment));
    let payload = json!({
        "env_id": environment.env_id,
        "name": environment.name,
        "version": environment.version,
        "manifest": manifest,
    });
    Event::new(context, Some(&environment.tenant_id), EventType::EnvironmentCreated, payload)
        .with_private(context, private)
}
