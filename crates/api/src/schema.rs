//! OpenAPI schemas of the enumerations of the core.

use crate::applied::Outcome;
use crate::word::ClosedList;
use tenancy_core::action::Action;
use tenancy_core::apikey::Role;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::event::EventType;
use tenancy_core::job::{JobState, StepState};
use tenancy_core::log_fault::LogFaultKind;
use tenancy_core::tenant::{DesiredState, Profile, State};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

fn words<T: ClosedList>() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(T::words().iter().map(|(word, _)| *word)))
        .build()
}

/// `tenants.state`.
pub fn state() -> Object {
    words::<State>()
}

/// `tenants.desired_state`.
pub fn desired() -> Object {
    words::<DesiredState>()
}

/// `tenants.profile`.
pub fn profile() -> Object {
    words::<Profile>()
}

/// `environments.isolation_level`.
pub fn isolation_level() -> Object {
    words::<IsolationLevel>()
}

/// `tenant_jobs.state`.
pub fn job_state() -> Object {
    words::<JobState>()
}

/// `tenant_jobs.action`.
pub fn action() -> Object {
    words::<Action>()
}

/// `tenant_audit.event_type`.
pub fn event_type() -> Object {
    words::<EventType>()
}

/// Kind of a fault of the log.
pub fn log_fault_kind() -> Object {
    words::<LogFaultKind>()
}

/// `api_keys.role`.
pub fn role() -> Object {
    words::<Role>()
}

/// State of a step.
pub fn step_state() -> Object {
    words::<StepState>()
}

/// Result of a document in `apply`.
pub fn applied() -> Object {
    words::<Outcome>()
}
