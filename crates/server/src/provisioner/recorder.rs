//! The provisioner that creates nothing.

use super::{Provisioner, StepEnd, StepFuture, Work};
use jiff::SignedDuration;
use tenancy_core::Timestamp;
use tenancy_core::job::Target;
use tenancy_core::placement::EnvironmentPlacement;

/// How long a step waits for a process that can work on its place. Meanwhile no process claims the job.
const WAIT: SignedDuration = SignedDuration::from_secs(5);

/// Logs what a provisioner would do, and creates nothing. It does not touch environments that have a place.
#[derive(Debug, Default)]
pub struct Recorder;

impl Provisioner for Recorder {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        let end = placement(&work).map_or_else(|| StepEnd::done(work.step, line(&work)), |place| waits(&work, place));
        Box::pin(std::future::ready(Ok(end)))
    }
}

fn placement<'a>(work: &Work<'a>) -> Option<&'a EnvironmentPlacement> {
    match &work.step.target {
        Target::Removed(env_id) => work.snapshot.placement(env_id),
        Target::Environment(_) | Target::Tenant => work.snapshot.placement(&work.environment()?.env_id),
    }
}

/// The data is there: a job that only recorded its suspension or removal would say what is not so.
fn waits(work: &Work<'_>, placement: &EnvironmentPlacement) -> StepEnd {
    let (name, kind) = (&placement.name, placement.kind);
    StepEnd::Waits {
        what: format!(
            "a process that makes places (jobs.provisioner), because environment {name} is in a place of kind {kind}"
        ),
        until: work.now.checked_add(WAIT).unwrap_or(Timestamp::MAX),
    }
}

fn line(work: &Work<'_>) -> String {
    match work.environment() {
        Some(environment) => format!(
            "would {} of {} ({}, {}, {})",
            work.step,
            work.tenant_id(),
            work.snapshot.tenant.terms.profile,
            environment.region,
            environment.isolation_level
        ),
        None => format!("would {} of {}", work.step, work.tenant_id()),
    }
}
