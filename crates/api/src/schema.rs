//! OpenAPI schemas of what other types hold as text or as JSON: enumerations, one component for each set of values, and
//! maps with known keys.

use crate::problem::CODES;
use crate::word::ClosedList;
use serde_json::{Map, Value};
use std::borrow::Cow;
use tenancy_core::gated_change::LAST_ADMIN_KEY;
use tenancy_core::quotas::{DATA_RESIDENCY, ENCRYPTION};
use tenancy_core::rules::gates::ALLOWED_BY_NAME;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Components, RefOr};
use utoipa::{OpenApi, PartialSchema, ToSchema};

fn text(words: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let object = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some(description))
        .enum_values(Some(words));
    RefOr::T(Schema::Object(object.build()))
}

fn words<T: ClosedList>() -> impl Iterator<Item = &'static str> {
    T::words().iter().map(|(word, _)| *word)
}

macro_rules! enumerations {
    ($($name:ident, $words:expr, $description:literal;)+) => {
        $(
            #[doc = $description]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    text($words, $description)
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+

        #[derive(OpenApi)]
        #[openapi(components(schemas($($name),+)))]
        struct Enumerations;
    };
}

enumerations! {
    State, words::<tenancy_core::tenant::State>(), "State of a tenant. Only jobs change it.";
    DesiredState, words::<tenancy_core::tenant::DesiredState>(), "State that a manifest asks for.";
    Profile, words::<tenancy_core::tenant::Profile>(),
        "Profile of a tenant: `mt-standard` has a shared placement, `st-dedicated` a dedicated placement.";
    PlaceKind, words::<tenancy_core::placement::PlacementKind>(),
        "Kind of the places of a placement: `sqlite`, a SQLite file for each environment; `postgres_database`, a database for each; \
         `postgres_schema`, a schema for each.";
    IsolationLevel, words::<tenancy_core::environment::IsolationLevel>(),
        "Isolation of an environment from other tenants.";
    JobState, words::<tenancy_core::job::JobState>(), "State of a job.";
    DeliveryState, words::<tenancy_core::delivery::DeliveryState>(), "State of a delivery.";
    AttemptOutcome, words::<tenancy_core::delivery::AttemptOutcome>(), "Result of an attempt to send a delivery.";
    StepState, words::<tenancy_core::job::StepState>(), "State of a step of a job.";
    Action, words::<tenancy_core::action::Action>(), "Lifecycle action that a job carries out.";
    EventType, words::<tenancy_core::event::EventType>(), "Type of an audit event.";
    LogFaultKind, words::<tenancy_core::log_fault::LogFaultKind>(), "Kind of a fault of the audit log.";
    AccessLevel, words::<tenancy_core::access::AccessLevel>(), "What a tenant may do.";
    Role, words::<tenancy_core::apikey::Role>(), "Role of an API key: the operations that it permits.";
    Outcome, words::<crate::applied::Outcome>(), "Result of a document.";
    Allow, ALLOWED_BY_NAME.into_iter().chain([LAST_ADMIN_KEY]),
        "Kind of a gated change: a change that can destroy data, remove a limit or look like a typing error.";
    ProblemCode, CODES, "Stable code of an error.";
    Order, ["asc", "desc"], "Order of a list of events: `asc` for oldest first, `desc` for newest first.";
    DocumentKind, ["Organization", "Tenant"], "Kind of a document.";
    DataResidency, DATA_RESIDENCY, "Regions that are allowed for the data of a tenant.";
    Encryption, ENCRYPTION, "Keys that encrypt the secrets of a tenant.";
    Backoff, words::<tenancy_core::webhook::Backoff>(), "How the time between two attempts grows.";
    WebhookFormat, words::<tenancy_core::webhook::Format>(), "Format of the requests that a webhook receives.";
}

/// Returns the components of all enumerations.
pub fn enumerations() -> Components {
    Enumerations::openapi().components.unwrap_or_default()
}

/// Policies of a tenant. Other keys are kept unchanged, with a warning.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is kept as it came")]
#[schema(rename_all = "camelCase", example = json!({"dataResidency": "in-region-only", "retentionDays": 365}))]
pub struct Policies {
    /// Regions that are allowed for the environments of the tenant.
    pub data_residency: Option<DataResidency>,
    /// Keys that encrypt the secrets of the tenant.
    pub encryption: Option<Encryption>,
    /// Number of days that the data is kept; maximum for the environments of the tenant.
    pub retention_days: Option<i64>,
    /// Number of days between the archiving and the purge of the tenant.
    pub purge_after_days: Option<i64>,
    /// Other keys.
    #[schema(ignore)]
    pub others: Map<String, Value>,
}

/// Billing references of a tenant. Other keys are kept unchanged, with a warning.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is kept as it came")]
#[schema(rename_all = "camelCase", example = json!({"plan": "pro", "costCenter": "4711"}))]
pub struct Billing {
    /// Plan that the customer pays for.
    pub plan: Option<String>,
    /// Cost center that pays for the tenant.
    pub cost_center: Option<String>,
    /// Other keys.
    #[schema(ignore)]
    pub others: Map<String, Value>,
}

/// Retry policy of a webhook.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is kept as it came")]
#[schema(example = json!({"backoff": "exponential", "max_retries": 8}))]
pub struct RetryPolicy {
    /// How the pauses grow. With `exponential`, the default, each pause is five times the pause before; with `fixed`, all
    /// pauses are `base_seconds`.
    pub backoff: Option<Backoff>,
    /// First pause, in seconds. Defaults to 5, with `fixed` to 300.
    pub base_seconds: Option<i64>,
    /// Maximum pause, in seconds. Defaults to 86400.
    pub max_seconds: Option<i64>,
    /// Maximum number of attempts after the first one. Defaults to 9.
    pub max_retries: Option<i64>,
    /// Share of a pause by which it varies at random. Defaults to 0.2.
    pub jitter: Option<f64>,
}
