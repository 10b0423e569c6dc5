//! Chooses the place of an environment that has none.

use super::placing::{Placing, wanted};
use super::{StepEnd, Work};
use jiff::SignedDuration;
use tenancy_core::environment::Environment;
use tenancy_core::json::sha256_hex;
use tenancy_core::placement::{Chosen, Intent, Placement};
use tenancy_core::rules::placements::{fitting, free_number, missing};
use tenancy_core::{Error, Timestamp};
use tenancy_placement::{Fault, Recorded};
use tenancy_store::Store;

/// How long a job waits for a placement before it looks again.
const WAIT: SignedDuration = SignedDuration::from_secs(10);

/// A choice, or what it waits for.
type Choice = Result<Chosen, String>;

impl Placing {
    /// Chooses the place of an environment, to be recorded before it is made.
    pub(super) async fn choose(&self, work: Work<'_>, environment: &Environment) -> Result<StepEnd, Fault> {
        let all = match self.uses_placements {
            true => work.store.all_placements().await.map_err(unread)?,
            false => Vec::new(),
        };
        let choice = match self.existing_place(work, environment, &all).await? {
            Some(found) => Ok(found),
            None if self.uses_placements => self.on_a_placement(work, environment, &all).await?,
            None => {
                let place = self.places.on_none().choose(&wanted(&work, environment)).await?;
                Ok(Chosen { placement: None, slot: None, place })
            }
        };
        Ok(match choice {
            Ok(chosen) => StepEnd::Announces(environment.env_id.clone(), Intent::Make(chosen)),
            Err(what) => StepEnd::Waits { what, until: work.now.checked_add(WAIT).unwrap_or(Timestamp::MAX) },
        })
    }

    /// Chooses a placement and the place on it. Fails with what is missing.
    async fn on_a_placement(
        &self,
        work: Work<'_>,
        environment: &Environment,
        all: &[Placement],
    ) -> Result<Choice, Fault> {
        let profile = work.snapshot.tenant.terms.profile;
        let mut reasons = Vec::new();
        for candidate in fitting(all, environment, profile) {
            let Placement { name, place_kind, .. } = candidate;
            let Some(provisioner) = self.places.configured(name, *place_kind) else {
                reasons.push(format!(
                    "{name} is not in the configuration of this server with places of kind {place_kind}"
                ));
                continue;
            };
            let Some(slot) = slot(work.store, candidate, environment).await? else {
                reasons.push(format!("{name} is full"));
                continue;
            };
            match provisioner.choose(&wanted(&work, environment)).await {
                Ok(place) => return Ok(Ok(Chosen { placement: Some(name.clone()), slot, place })),
                Err(fault) => reasons.push(format!("{name}: {fault}")),
            }
        }
        Ok(Err(missing(all, environment, profile, reasons)))
    }

    /// Returns the place that an environment has already, although the record does not know it: the record was restored from
    /// a backup that is older than the place. Such a place gets no slot, so its placement can have more places than its cap.
    async fn existing_place(
        &self,
        work: Work<'_>,
        environment: &Environment,
        all: &[Placement],
    ) -> Result<Option<Chosen>, Fault> {
        // The epoch is the time of the restore, in milliseconds; 1 if there was none.
        if environment.created_at.as_millisecond() >= work.fence.log_epoch {
            return Ok(None);
        }
        let named = self.places.named().filter(|(name, configured)| {
            let is_it = |placement: &&Placement| placement.name == **name && placement.place_kind == configured.kind;
            all.iter().find(is_it).is_some_and(|placement| placement.region == environment.region)
        });
        let named = named.map(|(name, configured)| (Some(name), &configured.provisioner));
        for (name, provisioner) in std::iter::once((None, self.places.on_none())).chain(named) {
            let Some(found) = provisioner.look(&environment.env_id).await? else { continue };
            // Several placements can share the ledger of a server. Only one of them has the data.
            let recorded = Recorded { env_id: environment.env_id.clone(), place: found.place.clone(), is_made: true };
            match provisioner.verify(&recorded).await {
                Ok(_) => return Ok(Some(Chosen { placement: name.cloned(), slot: None, place: found.place })),
                Err(Fault::Refused(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }
}

/// Returns the slot of an environment on a placement, if it has a cap. `None` if it has no room.
async fn slot(
    store: &Store,
    placement: &Placement,
    environment: &Environment,
) -> Result<Option<Option<String>>, Fault> {
    let (name, Some(most)) = (&placement.name, placement.max_environments) else { return Ok(Some(None)) };
    // A count is cheaper than the slots, which are read only if there is room.
    let counted = store.count_places(name, usize::try_from(most).unwrap_or_default()).await.map_err(unread)?;
    if i64::try_from(counted).unwrap_or(i64::MAX) >= most {
        return Ok(None);
    }
    let taken = store.taken(name).await.map_err(unread)?;
    Ok(free_number(&taken, most, pick(environment)).map(|number| Some(format!("{name}/{number}"))))
}

fn unread(_: Error) -> Fault {
    Fault::Unavailable("the database of the control plane".to_owned())
}

/// Returns a number that differs from environment to environment.
fn pick(environment: &Environment) -> u64 {
    let digest = sha256_hex(&[environment.env_id.as_str().as_bytes()]);
    u64::from_str_radix(&digest[..16], 16).unwrap_or_default()
}
