//! Predicts the result of changes that are committed one after the other. Uses the judge of real commits on rows that
//! are read now.

use crate::tenancy::Tenancy;
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use tenancy_core::changes::{Changes, Guard, Write};
use tenancy_core::ids::{Alias, OrganizationId};
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Verdict, judge};
use tenancy_core::{Error, organization::Organization};

/// Current rows, as they would be after the changes so far.
#[derive(Default)]
pub struct Ledger {
    found: CurrentRows,
    organizations: BTreeSet<OrganizationId>,
    aliases: BTreeSet<Alias>,
}

impl Ledger {
    /// Judges the changes, and applies them to the rows as if they were committed. [`Ledger::load`] has read the rows.
    ///
    /// # Errors
    /// [`Error::Conflict`], as the commit would return it.
    pub fn admit(&mut self, changes: &Changes) -> Result<(), Error> {
        for guard in &changes.guards {
            // The decision has just read the tenant or the webhook, so the guard holds the current version.
            match guard {
                Guard::TenantAt(id, version, counter) => {
                    self.found.tenants.insert(id.clone(), (*version, *counter));
                }
                Guard::WebhookAt(id, version) => drop(self.found.webhooks.insert(id.clone(), *version)),
                Guard::PlacementAt(name, version) => drop(self.found.placements.insert(name.clone(), *version)),
                _ => {}
            }
        }
        let judgement = judge(&[changes], &self.found);
        if let Some(Verdict::Out(conflict)) = judgement.verdicts.into_iter().next() {
            return Err(conflict.into());
        }
        for (id, (serial, usage)) in judgement.usages {
            if let Some(organization) = self.found.organizations.get_mut(&id) {
                (organization.usage_serial, organization.usage) = (serial, usage);
            }
        }
        changes.writes.iter().for_each(|write| self.write(write));
        Ok(())
    }

    /// Reads the rows that the guards of several changes refer to, together and each once.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn load(&mut self, tenancy: &Tenancy, changes: impl IntoIterator<Item = &Changes>) -> Result<(), Error> {
        let (mut organizations, mut aliases) = (Vec::new(), Vec::new());
        for guard in changes.into_iter().flat_map(|changes| &changes.guards) {
            match guard {
                Guard::OrganizationUnused(id) | Guard::OrganizationAt(id, ..) | Guard::OrganizationRoom(id, _)
                    if self.organizations.insert(id.clone()) =>
                {
                    organizations.push(id.clone());
                }
                Guard::AliasUnused(alias) if self.aliases.insert(alias.clone()) => aliases.push(alias.clone()),
                _ => {}
            }
        }
        let read = organizations.iter().map(|id| tenancy.store.organization(id));
        for record in try_join_all(read).await?.into_iter().flatten() {
            let found = CurrentOrganization { usage: record.usage, ..found(&record.organization) };
            self.found.organizations.insert(record.organization.organization_id, found);
        }
        let read = try_join_all(aliases.iter().map(|alias| tenancy.store.aliased(alias))).await?;
        self.found.aliases.extend(aliases.into_iter().zip(read).filter_map(|(alias, taken)| taken.map(|_| alias)));
        Ok(())
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::InsertOrganization(organization) => {
                self.found.organizations.insert(organization.organization_id.clone(), found(organization));
            }
            Write::UpdateOrganizationManifest(organization) => {
                if let Some(known) = self.found.organizations.get_mut(&organization.organization_id) {
                    *known = CurrentOrganization { usage: std::mem::take(&mut known.usage), ..found(organization) };
                }
            }
            Write::InsertAlias(alias, ..) => {
                self.aliases.insert(alias.clone());
                self.found.aliases.insert(alias.clone());
            }
            Write::DeleteAlias(alias) => {
                self.aliases.insert(alias.clone());
                self.found.aliases.remove(alias);
            }
            _ => {}
        }
    }
}

fn found(organization: &Organization) -> CurrentOrganization {
    CurrentOrganization {
        version: organization.version,
        counter: organization.counter,
        open: organization.closed_at.is_none(),
        caps: organization.caps.clone(),
        usage: Default::default(),
        usage_serial: 0,
    }
}
