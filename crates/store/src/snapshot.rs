//! Snapshots of tenants: a tenant with everything stored beside its row, read from several tables at one point in time.

use crate::keyed::ByKey;
use crate::list::corrupt;
use crate::rows::{Corrupt, Field, Record, Value};
use crate::tables::aliases::AliasRow;
use crate::tables::{aliases, environment_placements, environments, holds, jobs, tenants, webhooks};
use crate::{Engine, Store};
use std::collections::HashMap;
use tenancy_core::Error;
use tenancy_core::environment::Environment;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::placement::EnvironmentPlacement;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::Tenant;
use tenancy_core::webhook::Webhook;

/// Part of a snapshot.
pub struct Part {
    /// Its rows, found by the tenant's id.
    pub by: ByKey,
    /// Adds a row to the snapshots.
    add: fn(&mut TenantSnapshots, Vec<Value>) -> Result<(), Corrupt>,
}

/// All parts of a snapshot.
pub const PARTS: &[Part] = &[
    Part {
        by: tenants::BY_ID,
        add: |snapshots, row| {
            let tenant = Tenant::from_values(row)?;
            snapshots.tenants.insert(tenant.tenant_id.clone(), tenant);
            Ok(())
        },
    },
    Part {
        by: environments::OF_TENANT,
        add: |snapshots, row| push(&mut snapshots.environments, row, |row: &Environment| row.tenant_id.clone()),
    },
    Part {
        by: environment_placements::OF_TENANT,
        add: |snapshots, row| push(&mut snapshots.placements, row, |row: &EnvironmentPlacement| row.tenant_id.clone()),
    },
    Part {
        by: aliases::OF_TENANT,
        add: |snapshots, row| push(&mut snapshots.aliases, row, |row: &AliasRow| row.tenant_id.clone()),
    },
    Part {
        by: webhooks::OF_TENANT,
        add: |snapshots, row| {
            let webhook = Webhook::from_values(row)?;
            let Some(id) = webhook.owner.tenant_id().cloned() else { return Ok(()) };
            snapshots.webhooks.entry(id).or_default().push(webhook);
            Ok(())
        },
    },
    Part { by: holds::OF_TENANT, add: TenantSnapshots::add_hold },
    Part { by: holds::OF_TENANTS_ORGANIZATION, add: TenantSnapshots::add_hold },
    Part {
        by: jobs::OPEN_OF_TENANT,
        add: |snapshots, row| {
            let job = Job::from_values(row)?;
            snapshots.jobs.insert(job.tenant_id.clone(), job);
            Ok(())
        },
    },
];

/// Returns the reads of [`PARTS`], in their order.
pub fn reads() -> impl Iterator<Item = &'static ByKey> + Clone {
    PARTS.iter().map(|part| &part.by)
}

/// Snapshots that are being assembled from their parts.
#[derive(Debug, Default)]
pub struct TenantSnapshots {
    tenants: HashMap<TenantId, Tenant>,
    environments: HashMap<TenantId, Vec<Environment>>,
    placements: HashMap<TenantId, Vec<EnvironmentPlacement>>,
    aliases: HashMap<TenantId, Vec<AliasRow>>,
    webhooks: HashMap<TenantId, Vec<Webhook>>,
    holds: HashMap<TenantId, Vec<Hold>>,
    organization_holds: HashMap<OrganizationId, Vec<Hold>>,
    jobs: HashMap<TenantId, Job>,
    /// Tenants and organizations with a row that cannot be read. The others that are read with them can be.
    broken: HashMap<String, Corrupt>,
}

impl TenantSnapshots {
    /// Adds a row of part `place` of [`PARTS`].
    pub fn add(&mut self, place: usize, row: Vec<Value>) {
        let Some(part) = PARTS.get(place) else { return };
        let key = part.by.key_of(&row).unwrap_or_default().to_owned();
        if let Err(error) = (part.add)(self, row) {
            self.broken.entry(key).or_insert(error);
        }
    }

    fn add_hold(&mut self, row: Vec<Value>) -> Result<(), Corrupt> {
        let hold = Hold::from_values(row)?;
        match &hold.held {
            Held::Tenant(id) => self.holds.entry(id.clone()).or_default().push(hold),
            Held::Organization(id) => self.organization_holds.entry(id.clone()).or_default().push(hold),
        }
        Ok(())
    }

    /// Returns a copy of a tenant's snapshot, if it exists; several callers may request the same one.
    ///
    /// # Errors
    /// [`Corrupt`] if one of its rows does not match its description.
    pub fn get(&self, id: &TenantId) -> Result<Option<TenantSnapshot>, Corrupt> {
        let broken = |id: &str| self.broken.get(id).cloned().map_or(Ok(()), Err);
        broken(id.as_str())?;
        let Some(tenant) = self.tenants.get(id).cloned() else { return Ok(None) };
        broken(tenant.organization_id.as_str())?;
        let mut environments = self.environments.get(id).cloned().unwrap_or_default();
        environments.sort_by(|a, b| a.name.cmp(&b.name));
        let mut placements = self.placements.get(id).cloned().unwrap_or_default();
        placements.sort_by(|a, b| a.env_id.cmp(&b.env_id));
        let mut aliases: Vec<_> = self.aliases.get(id).into_iter().flatten().map(|row| row.alias.clone()).collect();
        aliases.sort();
        let mut webhooks = self.webhooks.get(id).cloned().unwrap_or_default();
        webhooks.sort_by(|a, b| a.name.cmp(&b.name));
        let by_kind = |mut holds: Vec<Hold>| {
            holds.sort_by(|a, b| a.kind.cmp(&b.kind));
            holds
        };
        let organization_holds = self.organization_holds.get(&tenant.organization_id).cloned().unwrap_or_default();
        Ok(Some(TenantSnapshot {
            environments,
            placements,
            aliases,
            webhooks,
            holds: by_kind(self.holds.get(id).cloned().unwrap_or_default()),
            organization_holds: by_kind(organization_holds),
            open_job: self.jobs.get(id).cloned(),
            tenant,
        }))
    }
}

fn push<K: Eq + std::hash::Hash, R: Record>(
    into: &mut HashMap<K, Vec<R>>,
    row: Vec<Value>,
    key: impl Fn(&R) -> K,
) -> Result<(), Corrupt> {
    let record = R::from_values(row)?;
    into.entry(key(&record)).or_default().push(record);
    Ok(())
}

impl Store {
    /// Returns a tenant with everything stored beside its row, at one point in time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be reached. The same applies to every read.
    pub async fn snapshot(&self, id: &TenantId) -> Result<Option<TenantSnapshot>, Error> {
        self.count_read();
        let parts = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.snapshot(&id.put())?,
            // On PostgreSQL, snapshots that are requested at the same time are fetched together.
            Engine::Postgres(postgres) => return postgres.lookups.snapshot(id).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => {
                let read = |by: &ByKey| model.query(&by.sql(crate::rows::Dialect::Sqlite), &[id.put()]);
                reads().map(read).collect::<Result<_, _>>()?
            }
        };
        let mut snapshots = TenantSnapshots::default();
        for (place, rows) in parts.into_iter().enumerate() {
            rows.into_iter().for_each(|row| snapshots.add(place, row));
        }
        snapshots.get(id).map_err(corrupt)
    }
}
