//! Applies members one after the other: the expected result of the judge.

use crate::history::Answer;
use std::collections::HashMap;
use tenancy_core::Error;
use tenancy_core::changes::ERASED;
use tenancy_core::changes::{Changes, Guard, Write};
use tenancy_core::ids::KeyId;
use tenancy_core::json::Object;
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Verdict, judge};
use tenancy_core::organization::Usage;
use tenancy_store::Receipt;

/// Current values of everything that guards can name.
#[derive(Debug, Default)]
pub struct Reference {
    found: CurrentRows,
    key_names: HashMap<KeyId, String>,
    last_position: i64,
    /// Number of written batches.
    pub batches: i64,
}

impl Reference {
    /// Applies a batch one member after the other, deferred members in the next round, and returns the expected
    /// answers. The judge's verdict on the batch must equal its verdicts on the single members.
    pub fn apply(&mut self, batch: &[Changes]) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = vec![None; batch.len()];
        let mut waiting: Vec<usize> = (0..batch.len()).collect();
        while !waiting.is_empty() {
            let members: Vec<_> = waiting.iter().map(|index| &batch[*index]).collect();
            let judgement = judge(&members, &self.found);
            let (mut later, mut purged, before) = (Vec::new(), Vec::new(), self.last_position);
            for (index, verdict) in waiting.iter().zip(&judgement.verdicts) {
                if *verdict == Verdict::Later {
                    later.push(*index);
                    continue;
                }
                let member = &batch[*index];
                let alone = judge(&[member], &self.found).verdicts.remove(0);
                assert_eq!(*verdict, alone, "in the batch, and alone: {member:#?}");
                answers[*index] = Some(match alone {
                    Verdict::In => {
                        self.write(member);
                        purged.extend(member.writes.iter().filter_map(|write| match write {
                            Write::EraseTenant(id, ..) => Some(id.clone()),
                            _ => None,
                        }));
                        let position = self.last_position + 1;
                        self.last_position += i64::try_from(member.events().len()).unwrap();
                        Ok(Receipt { position })
                    }
                    Verdict::Out(conflict) => Err(Error::Conflict(conflict)),
                    other => panic!("{other:?} for a single member"),
                });
            }
            // The members of a batch find the answers that were stored before it.
            for answer in self.found.answers.values_mut() {
                if answer.tenant_id.as_ref().is_some_and(|tenant| purged.contains(tenant)) {
                    (answer.status, answer.headers, answer.body) = (ERASED, Object::new(), String::new());
                }
            }
            self.batches += i64::from(self.last_position > before);
            for (id, (serial, usage)) in judgement.usages {
                let organization = self.found.organizations.get_mut(&id).unwrap();
                assert_eq!(organization.usage, usage, "{id}");
                assert_eq!(organization.usage_serial + 1, serial, "one row per batch");
                organization.usage_serial = serial;
            }
            assert!(later.len() < waiting.len(), "each round must settle a member");
            waiting = later;
        }
        answers.into_iter().map(Option::unwrap).collect()
    }

    fn write(&mut self, member: &Changes) {
        let found = &mut self.found;
        for guard in &member.guards {
            if let Guard::OrganizationRoom(id, change) = guard {
                found.organizations.get_mut(id).unwrap().usage.add(change);
            }
        }
        if let Some(answer) = &member.answer {
            found.answers.insert(answer.digest.clone(), answer.clone());
        }
        for write in &member.writes {
            match write {
                Write::InsertOrganization(row) => {
                    let organization = CurrentOrganization {
                        version: row.version,
                        counter: row.counter,
                        open: row.closed_at.is_none(),
                        caps: row.caps.clone(),
                        usage: Usage::default(),
                        usage_serial: 0,
                    };
                    found.organizations.insert(row.organization_id.clone(), organization);
                }
                Write::UpdateOrganizationManifest(row) => {
                    let organization = found.organizations.get_mut(&row.organization_id).unwrap();
                    organization.version = row.version;
                    organization.caps = row.caps.clone();
                }
                Write::UpdateOrganizationFacts(row) => {
                    let organization = found.organizations.get_mut(&row.organization_id).unwrap();
                    organization.counter = row.counter;
                    organization.open = row.closed_at.is_none();
                }
                Write::InsertTenant(row) => {
                    found.tenants.insert(row.tenant_id.clone(), (row.terms.version, row.facts.counter));
                }
                Write::UpdateTenantTerms(id, terms, _) => found.tenants.get_mut(id).unwrap().0 = terms.version,
                Write::UpdateTenantFacts(id, facts, _) => found.tenants.get_mut(id).unwrap().1 = facts.counter,
                Write::InsertAlias(alias, ..) => assert!(found.aliases.insert(alias.clone())),
                Write::DeleteAlias(alias) => assert!(found.aliases.remove(alias)),
                Write::InsertJob(row) => drop(found.jobs.insert(row.job_id.clone(), row.lease_epoch)),
                Write::FinishJob(row) | Write::CancelJob(row) => drop(found.jobs.remove(&row.job_id)),
                Write::InsertApiKey(row) => {
                    found.api_keys.insert(row.key_id.clone(), row.version);
                    found.api_key_names.insert(row.name.clone());
                    self.key_names.insert(row.key_id.clone(), row.name.clone());
                }
                Write::UpdateApiKey(row) => {
                    found.api_keys.insert(row.key_id.clone(), row.version);
                    found.api_key_names.remove(&self.key_names[&row.key_id]);
                }
                _ => {}
            }
        }
    }
}
