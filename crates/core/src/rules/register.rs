//! Registration: creates a tenant from a manifest, as a Draft with a queued `create` job.

use super::change_builder::{changes, new_job};
use super::{Decision, change, webhook_rows};
use crate::action::Action;
use crate::changes::{Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::manifest::{Manifest, aliases_document};
use crate::organization::Usage;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{Facts, Tenant};
use crate::violation::Violation;
use crate::webhook::WebhookOwner;
use serde_json::json;

/// Registers a tenant. It needs no rows: all its conditions are guards. The holds of the organization do not matter
/// here: the tenant is created in any case, and the end of the creation takes the holds into account.
///
/// # Errors
/// [`Error::TooLarge`] if an audit event exceeds its limit.
pub fn register(
    declared: &Declared,
    manifest: &Manifest,
    warnings: Vec<Violation>,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut snapshot = draft(manifest, context);
    let mut guards = vec![
        Guard::OrganizationRoom(manifest.organization_id.clone(), Usage { tenants: 1, ..change::counted(manifest) }),
        Guard::TenantUnused(snapshot.tenant.tenant_id.clone()),
    ];
    guards.extend(snapshot.aliases.iter().cloned().map(Guard::AliasUnused));
    let job = new_job(declared, Action::Create, &snapshot, context);
    let mut events = vec![registered(&snapshot, job.job_id.as_str(), context)];
    let mut writes = vec![Write::InsertTenant(snapshot.tenant.clone())];
    writes.push(Write::InsertTenantVersion(change::tenant_version(&snapshot, context)));
    for environment in &snapshot.environments {
        events.push(change::environment_created(declared, environment, context));
        writes.push(Write::InsertEnvironment(environment.clone()));
        writes.push(Write::InsertEnvironmentVersion(change::environment_version(environment, context)));
    }
    for alias in &snapshot.aliases {
        writes.push(Write::InsertAlias(alias.clone(), snapshot.tenant.tenant_id.clone(), context.now));
    }
    for webhook in &snapshot.webhooks {
        events.push(webhook_rows::event(webhook, "added", context));
        writes.push(Write::InsertWebhook(webhook.clone()));
    }
    writes.push(Write::InsertJob(job.clone()));
    snapshot.open_job = Some(job);
    let changes = changes(events, guards, writes)?;
    Ok(Decision { snapshot, changes, warnings })
}

fn registered(snapshot: &TenantSnapshot, job_id: &str, context: &mut DecisionContext) -> Event {
    let tenant = &snapshot.tenant;
    let payload = json!({
        "organization_id": tenant.organization_id,
        "profile": tenant.terms.profile,
        "region": tenant.terms.region,
        "version": tenant.terms.version,
        "job_id": job_id,
    });
    let mut private = serde_json::Map::new();
    if let Some(name) = &tenant.terms.display_name {
        private.insert("display_name".to_owned(), json!(name));
    }
    if !snapshot.aliases.is_empty() {
        private.insert("aliases".to_owned(), aliases_document(&snapshot.aliases));
    }
    Event::new(context, Some(&tenant.tenant_id), EventType::TenancyRegistered, payload)
        .with_private(context, private.into())
}

/// First version of a tenant and its environments.
const FIRST_VERSION: i64 = 1;

/// Builds the snapshot of a tenant that is registered now.
fn draft(manifest: &Manifest, context: &mut DecisionContext) -> TenantSnapshot {
    let tenant_id = manifest.tenant_id.clone().unwrap_or_else(|| context.tenant_id());
    let environments = manifest.environments.iter();
    let environments =
        environments.map(|entry| change::new_environment(&tenant_id, FIRST_VERSION, entry, context)).collect();
    let owner = WebhookOwner::Tenant(tenant_id.clone());
    let webhooks = manifest.webhooks.iter().map(|entry| webhook_rows::new(owner.clone(), entry, context)).collect();
    let now = context.now;
    let tenant = Tenant {
        tenant_id,
        organization_id: manifest.organization_id.clone(),
        created_at: now,
        updated_at: now,
        terms: manifest.terms(FIRST_VERSION),
        facts: Facts::draft(now),
    };
    TenantSnapshot {
        tenant,
        environments,
        placements: Vec::new(),
        aliases: manifest.aliases.iter().cloned().collect(),
        webhooks,
        holds: Vec::new(),
        organization_holds: Vec::new(),
        open_job: None,
    }
}
