//! Registration: a manifest becomes a tenant, a Draft whose creation is queued.

use super::turn::{changes, new_job};
use super::{Decision, change};
use crate::changes::{Guard, Write};
use crate::declared::Declared;
use crate::error::{Error, Violation};
use crate::event::{Event, EventType};
use crate::lifecycle::Action;
use crate::manifest::{Manifest, aliases_document};
use crate::moment::Moment;
use crate::organization::Usage;
use crate::quotas::counted_values;
use crate::tenant::{Dossier, State, Tenant};
use serde_json::json;

/// Registers a tenant. Nothing has to be loaded: everything it depends on is a guard. Its organization's holds are not
/// among what is decided: creation comes first, whatever holds, and its end is decided on what holds then.
///
/// # Errors
/// [`Error::TooLarge`] when an audit event would be.
pub fn register(
    declared: &Declared,
    manifest: &Manifest,
    warnings: Vec<Violation>,
    moment: &mut Moment,
) -> Result<Decision, Error> {
    let mut dossier = draft(manifest, moment);
    let mut guards = vec![
        Guard::OrganizationRoom(
            manifest.organization_id.clone(),
            Usage { tenants: 1, quotas: counted_values(&manifest.quotas) },
        ),
        Guard::TenantUnused(dossier.tenant.tenant_id.clone()),
    ];
    guards.extend(dossier.aliases.iter().cloned().map(Guard::AliasUnused));
    let job = new_job(declared, Action::Create, &dossier, moment);
    let mut events = vec![registered(&dossier, job.job_id.as_str(), moment)];
    let mut writes = vec![Write::InsertTenant(dossier.tenant.clone())];
    writes.push(Write::InsertTenantVersion(change::tenant_version(&dossier, moment)));
    for environment in &dossier.environments {
        events.push(change::environment_created(declared, environment, moment));
        writes.push(Write::InsertEnvironment(environment.clone()));
        writes.push(Write::InsertEnvironmentVersion(change::environment_version(environment, moment)));
    }
    for alias in &dossier.aliases {
        writes.push(Write::InsertAlias(alias.clone(), dossier.tenant.tenant_id.clone(), moment.now));
    }
    writes.extend(dossier.webhooks.iter().cloned().map(Write::InsertWebhook));
    writes.push(Write::InsertJob(job.clone()));
    dossier.open_job = Some(job);
    let changes = changes(events, guards, writes)?;
    Ok(Decision { dossier, changes, warnings })
}

fn registered(dossier: &Dossier, job_id: &str, moment: &mut Moment) -> Event {
    let tenant = &dossier.tenant;
    let payload = json!({
        "organization_id": tenant.organization_id,
        "profile": tenant.profile,
        "region": tenant.region,
        "version": tenant.version,
        "job_id": job_id,
    });
    let mut private = serde_json::Map::new();
    if let Some(name) = &tenant.display_name {
        private.insert("display_name".to_owned(), json!(name));
    }
    if !dossier.aliases.is_empty() {
        private.insert("aliases".to_owned(), aliases_document(&dossier.aliases));
    }
    Event::new(moment, Some(&tenant.tenant_id), EventType::TenancyRegistered, payload)
        .with_private(moment, private.into())
}

/// The version that a tenant and its environments begin at.
const FIRST_VERSION: i64 = 1;

/// The dossier of a tenant that is registered now.
fn draft(manifest: &Manifest, moment: &mut Moment) -> Dossier {
    let tenant_id = manifest.tenant_id.clone().unwrap_or_else(|| moment.tenant_id());
    let environments = manifest.environments.iter();
    let environments =
        environments.map(|entry| change::new_environment(&tenant_id, FIRST_VERSION, entry, moment)).collect();
    let webhooks = manifest.webhooks.iter().map(|entry| change::new_webhook(&tenant_id, entry, moment)).collect();
    let now = moment.now;
    let tenant = Tenant {
        tenant_id,
        organization_id: manifest.organization_id.clone(),
        display_name: manifest.display_name.clone(),
        profile: manifest.profile,
        state: State::Draft,
        desired_state: manifest.desired_state,
        region: manifest.region.clone(),
        labels: manifest.labels.clone(),
        quotas: manifest.quotas.clone(),
        policies: manifest.policies.clone(),
        billing: manifest.billing.clone(),
        deletion_protection: manifest.deletion_protection,
        version: FIRST_VERSION,
        counter: 1,
        created_at: now,
        updated_at: now,
        state_since: now,
        provisioned_at: None,
        archived_at: None,
        purge_after: None,
        purged_at: None,
    };
    Dossier {
        tenant,
        environments,
        aliases: manifest.aliases.iter().cloned().collect(),
        webhooks,
        holds: Vec::new(),
        organization_holds: Vec::new(),
        open_job: None,
    }
}
