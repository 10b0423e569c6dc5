//! Schemas of words: the closed lists of core, as OpenAPI says them.

use tenancy_core::action::Action;
use tenancy_core::apikey::Role;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::event::EventType;
use tenancy_core::job::{JobState, StepState};
use tenancy_core::tenant::{DesiredState, Profile, State};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

fn words<T>(words: &[(&'static str, T)]) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words.iter().map(|(word, _)| *word)))
        .build()
}

/// `tenants.state`.
pub fn state() -> Object {
    words(State::WORDS)
}

/// `tenants.desired_state`.
pub fn desired() -> Object {
    words(DesiredState::WORDS)
}

/// `tenants.profile`.
pub fn profile() -> Object {
    words(Profile::WORDS)
}

/// `environments.isolation_level`.
pub fn isolation_level() -> Object {
    words(IsolationLevel::WORDS)
}

/// `tenant_jobs.state`.
pub fn job_state() -> Object {
    words(JobState::WORDS)
}

/// `tenant_jobs.action`.
pub fn action() -> Object {
    words(Action::WORDS)
}

/// `tenant_audit.event_type`.
pub fn event_type() -> Object {
    words(EventType::WORDS)
}

/// `api_keys.role`.
pub fn role() -> Object {
    words(Role::WORDS)
}

/// How far a step is.
pub fn step_state() -> Object {
    words(StepState::WORDS)
}

/// What became of a document.
pub fn applied() -> Object {
    words(&[("created", ()), ("changed", ()), ("unchanged", ()), ("refused", ())])
}
