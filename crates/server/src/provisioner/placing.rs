//! The provisioner that makes, opens, closes and removes the places of environments.

use super::{Places, Provisioner, StepEnd, StepFailed, StepFuture, Work};
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use tenancy_core::Timestamp;
use tenancy_core::environment::Environment;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::job::{FailureCode, Target, Verb};
use tenancy_core::placement::{Access, EnvironmentPlacement, Intent, settings};
use tenancy_core::rules::step::Achieved;
use tenancy_core::tenant::State;
use tenancy_placement::{Connection, Fault, Recorded, Wanted};

/// Pause before a step is called again for a place that cannot be reached. It doubles with each start of the job.
const FIRST_PAUSE_SECONDS: i64 = 1;
/// The longest pause.
const LONGEST_PAUSE_SECONDS: i64 = 300;

/// Does the steps of jobs with real places.
#[derive(Debug)]
pub struct Placing {
    pub(super) places: Places,
    /// Whether new environments are put on placements.
    pub(super) uses_placements: bool,
}

impl Placing {
    /// Makes places that are on no placement.
    pub fn new(own: impl tenancy_placement::Provisioner) -> Self {
        Self::among(Places::own(own))
    }

    /// Puts new environments on no placement. Environments that are on one are worked on, too.
    pub fn among(places: Places) -> Self {
        Self { places, uses_placements: false }
    }

    /// Puts new environments on placements.
    pub fn on_placements(places: Places) -> Self {
        Self { places, uses_placements: true }
    }

    async fn done(&self, work: Work<'_>) -> Result<StepEnd, StepFailed> {
        let came = match &work.step.target {
            Target::Removed(env_id) => self.removed(work, env_id).await,
            Target::Environment(_) | Target::Tenant => match work.environment() {
                Some(environment) => self.environment(work, environment).await,
                None => Ok(StepEnd::done(work.step, "was removed meanwhile")),
            },
        };
        match came {
            Ok(end) => Ok(end),
            Err(Fault::Late) => Ok(StepEnd::Late),
            Err(Fault::Unavailable(what)) => Ok(StepEnd::Waits { what, until: next_call(&work) }),
            Err(Fault::Refused(message)) => Err(StepFailed { code: FailureCode::ProvisionerFailed, message }),
        }
    }

    async fn environment(&self, work: Work<'_>, environment: &Environment) -> Result<StepEnd, Fault> {
        let (env_id, fence) = (&environment.env_id, work.fence);
        let Some(placement) = work.snapshot.placement(env_id) else {
            if work.step.verb == Verb::Provision {
                return self.choose(work, environment).await;
            }
            let why = match environment.provisioned_at {
                Some(_) => "has no place: its provisioning was only recorded",
                None => "has no place: it is not provisioned yet",
            };
            return Ok(StepEnd::done(work.step, why));
        };
        let (recorded, places) = (recorded(placement), self.places.of(placement)?);
        match work.step.verb {
            Verb::Provision | Verb::Update => return self.give(work, environment, placement).await,
            Verb::Open => places.set_access(&recorded, Access::Full, fence).await?,
            Verb::Close | Verb::Detach => places.set_access(&recorded, Access::Blocked, fence).await?,
            Verb::Attach => places.verify(&recorded).await.map(drop)?,
            Verb::Destroy => return self.destroy(work, placement).await,
            Verb::Record => {}
        }
        Ok(StepEnd::done(work.step, line(work.step.verb, placement)))
    }

    /// Makes a place, or gives it everything again.
    async fn give(
        &self,
        work: Work<'_>,
        environment: &Environment,
        placement: &EnvironmentPlacement,
    ) -> Result<StepEnd, Fault> {
        let (recorded, wanted, access) = (recorded(placement), wanted(&work, environment), access(&work));
        let places = self.places.of(placement)?;
        let settings = settings(environment, &work.snapshot.tenant.terms);
        let achieved = match work.step.verb {
            Verb::Provision => {
                places.make(&wanted, &recorded.place, access, work.fence).await?;
                places.verify(&recorded).await?;
                Achieved::Provisioned(Some(settings))
            }
            _ => {
                // First, because it also closes what cannot be told anything.
                places.set_access(&recorded, access, work.fence).await?;
                places.update(&wanted, work.fence).await?;
                Achieved::Updated(settings)
            }
        };
        Ok(StepEnd::Done { line: line(work.step.verb, placement), achieved })
    }

    /// Closes or destroys the place of an environment that is not in the manifest any more.
    async fn removed(&self, work: Work<'_>, env_id: &EnvironmentId) -> Result<StepEnd, Fault> {
        let Some(placement) = work.snapshot.placement(env_id) else {
            return Ok(StepEnd::done(work.step, "has no place"));
        };
        if work.step.verb == Verb::Destroy {
            return self.destroy(work, placement).await;
        }
        let places = self.places.of(placement)?;
        places.set_access(&recorded(placement), Access::Blocked, work.fence).await?;
        Ok(StepEnd::done(work.step, line(work.step.verb, placement)))
    }

    async fn destroy(&self, work: Work<'_>, placement: &EnvironmentPlacement) -> Result<StepEnd, Fault> {
        let places = self.places.of(placement)?;
        if placement.destroying_at.is_none() {
            // What cannot be reached is not being destroyed.
            places.look(&placement.env_id).await?;
            return Ok(StepEnd::Announces(placement.env_id.clone(), Intent::Destroy));
        }
        places.remove(&recorded(placement), work.fence).await?;
        Ok(StepEnd::done(work.step, line(work.step.verb, placement)))
    }
}

impl Provisioner for Placing {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        Box::pin(self.done(work))
    }

    fn connect<'a>(
        &'a self,
        placement: &'a EnvironmentPlacement,
        access: Access,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Connection>, Fault>> {
        Box::pin(async move {
            let places = self.places.of(placement)?;
            places.connect(&recorded(placement), access, until).await.map(Some)
        })
    }

    fn expire(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let (mut ended, mut failed) = (0, Vec::new());
            for (name, configured) in self.places.named() {
                match configured.provisioner.expire(now).await {
                    Ok(number) => ended += number,
                    Err(fault) => failed.push(format!("placement {name}: {fault}")),
                }
            }
            if failed.is_empty() { Ok(ended) } else { Err(Fault::Unavailable(failed.join("; "))) }
        })
    }
}

/// What programs may do in the current state of the tenant.
fn access(work: &Work<'_>) -> Access {
    if work.snapshot.tenant.facts.state == State::Active { Access::Full } else { Access::Blocked }
}

fn recorded(placement: &EnvironmentPlacement) -> Recorded {
    let (env_id, place) = (placement.env_id.clone(), placement.place());
    Recorded { env_id, place, is_made: placement.made_at.is_some() }
}

pub(super) fn wanted(work: &Work<'_>, environment: &Environment) -> Wanted {
    let terms = &work.snapshot.tenant.terms;
    Wanted {
        tenant_id: environment.tenant_id.clone(),
        profile: terms.profile,
        env_id: environment.env_id.clone(),
        name: environment.name.clone(),
        region: environment.region.clone(),
        isolation_level: environment.isolation_level,
        quotas: environment.quotas.clone(),
        retention_days: environment.retention_days,
        policies: terms.policies.clone(),
    }
}

fn line(verb: Verb, placement: &EnvironmentPlacement) -> String {
    let done = match verb {
        Verb::Provision => "made",
        Verb::Update => "given the current quotas, retention and policies",
        Verb::Open => "opened",
        Verb::Close => "closed",
        Verb::Detach => "closed; the data is kept",
        Verb::Attach => "found as it was recorded",
        Verb::Destroy => "destroyed with its data",
        Verb::Record => "recorded",
    };
    // Customers read it: which server of the platform it is, is shown by `describe` to those who may know.
    format!("{}: {done}", placement.kind)
}

fn next_call(work: &Work<'_>) -> Timestamp {
    work.now.checked_add(SignedDuration::from_secs(pause_seconds(work.attempt))).unwrap_or(Timestamp::MAX)
}

/// Returns the pause after the start of this number of a job.
fn pause_seconds(attempt: i64) -> i64 {
    let doublings = attempt.clamp(1, 16) - 1;
    (FIRST_PAUSE_SECONDS << doublings).min(LONGEST_PAUSE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_wait_twice_as_long_with_each_start_up_to_five_minutes() {
        assert_eq!([0, 1, 2, 3, 9, 10, i64::MAX].map(pause_seconds), [1, 1, 2, 4, 256, 300, 300]);
    }
}
