//! Audit events: one closed list of types, each with a version and the fields of its payload.

use crate::actor::{MAX_ACTOR_LENGTH_BYTES, fitting};
use crate::decision_context::DecisionContext;
use crate::ids::{AuditId, CorrelationId, TenantId};
use crate::json::{Object, canonical, sha256_hex};
use crate::words::words;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Largest payload, in bytes of canonical JSON.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

words!(
    /// What happened. A webhook subscribes to the same names.
    EventType {
        /// An organization was made.
        OrganizationCreated = "ORGANIZATION_CREATED",
        /// Its manifest changed.
        OrganizationUpdated = "ORGANIZATION_UPDATED",
        /// It takes no new tenants.
        OrganizationClosed = "ORGANIZATION_CLOSED",
        /// A hold was placed on all its tenants.
        OrganizationHoldPlaced = "ORGANIZATION_HOLD_PLACED",
        /// A hold on all its tenants was released.
        OrganizationHoldReleased = "ORGANIZATION_HOLD_RELEASED",
        /// A tenant was registered: its creation is asked for.
        TenancyRegistered = "TENANCY_REGISTERED",
        /// Its creation is asked for again, after it failed.
        CreationRequested = "TENANCY_CREATION_REQUESTED",
        /// Its creation ended well.
        TenancyCreated = "TENANCY_CREATED",
        /// Its manifest changed.
        TenancyUpdated = "TENANCY_UPDATED",
        /// An update of what is provisioned is asked for.
        TenancyUpdateRequested = "TENANCY_UPDATE_REQUESTED",
        /// What is provisioned is as the manifest says.
        TenancyProvisioned = "TENANCY_PROVISIONED",
        /// An environment was added to a manifest.
        EnvironmentCreated = "ENVIRONMENT_CREATED",
        /// An environment was provisioned.
        EnvironmentProvisioned = "ENVIRONMENT_PROVISIONED",
        /// An environment's entry changed.
        EnvironmentUpdated = "ENVIRONMENT_UPDATED",
        /// An environment was removed.
        EnvironmentDeleted = "ENVIRONMENT_DELETED",
        /// A webhook was added, changed or removed.
        WebhookUpdated = "WEBHOOK_UPDATED",
        /// A hold was placed, or its reason or end changed.
        HoldPlaced = "TENANCY_HOLD_PLACED",
        /// A hold was released.
        HoldReleased = "TENANCY_HOLD_RELEASED",
        /// An activation is asked for.
        ActivationRequested = "TENANCY_ACTIVATION_REQUESTED",
        /// The tenant is in service.
        Activated = "TENANCY_ACTIVATED",
        /// A suspension is asked for.
        SuspensionRequested = "TENANCY_SUSPENSION_REQUESTED",
        /// The tenant is out of service.
        Suspended = "TENANCY_SUSPENDED",
        /// A deletion is asked for.
        DeletionRequested = "TENANCY_DELETION_REQUESTED",
        /// The tenant is archived.
        Deleted = "TENANCY_DELETED",
        /// An undeletion is asked for.
        UndeletionRequested = "TENANCY_UNDELETION_REQUESTED",
        /// The tenant is suspended again.
        Undeleted = "TENANCY_UNDELETED",
        /// A purge is asked for.
        PurgeRequested = "TENANCY_PURGE_REQUESTED",
        /// The tenant is a tombstone.
        Purged = "TENANCY_PURGED",
        /// A job failed.
        JobFailed = "JOB_FAILED",
        /// A failed job is tried again.
        JobRetried = "JOB_RETRIED",
        /// A job was cancelled: somebody did not want it any more, or a hold did not let it wait.
        JobCancelled = "JOB_CANCELLED",
        /// An API key was made.
        KeyCreated = "KEY_CREATED",
        /// An API key got a new token.
        KeyRotated = "KEY_ROTATED",
        /// An API key was revoked.
        KeyRevoked = "KEY_REVOKED",
        /// The removal of tenants' events of before a time was begun.
        LogExpired = "AUDIT_LOG_EXPIRED",
    }
);

/// Type of a payload's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A list.
    List,
    /// An object.
    Object,
}

/// A field of a payload; a name that ends in `?` may be missing.
pub type Field = (&'static str, FieldType);

impl EventType {
    /// Version of the payload's schema: up by one when a field changes its meaning or goes.
    pub fn version(self) -> i64 {
        1
    }

    /// The fields of the payload, all of them.
    pub fn fields(self) -> &'static [Field] {
        use FieldType::{Integer, List, Object, Text};
        match self {
            Self::OrganizationCreated => &[("organization_id", Text), ("version", Integer), ("caps", Object), PRIVATE],
            Self::OrganizationUpdated => &[("organization_id", Text), ("version", Integer), ("changes", List), PRIVATE],
            Self::OrganizationClosed => &[("organization_id", Text), ("version", Integer)],
            Self::OrganizationHoldPlaced => &[("organization_id", Text), ("hold", Text), ("until?", Text), PRIVATE],
            Self::OrganizationHoldReleased => &[("organization_id", Text), ("hold", Text)],
            Self::HoldPlaced => &[("hold", Text), ("until?", Text), PRIVATE],
            Self::HoldReleased => &[("hold", Text)],
            Self::TenancyRegistered => &[
                ("organization_id", Text),
                ("profile", Text),
                ("region", Text),
                ("version", Integer),
                ("job_id", Text),
                PRIVATE,
            ],
            Self::TenancyUpdated => &[("version", Integer), ("changes", List), PRIVATE],
            Self::EnvironmentCreated => {
                &[("env_id", Text), ("name", Text), ("version", Integer), ("manifest", Object), PRIVATE]
            }
            Self::EnvironmentUpdated => {
                &[("env_id", Text), ("name", Text), ("version", Integer), ("changes", List), PRIVATE]
            }
            Self::EnvironmentProvisioned => &[("env_id", Text), ("name", Text), ("job_id", Text)],
            Self::EnvironmentDeleted => &[("env_id", Text), ("name", Text)],
            Self::WebhookUpdated => &[("webhook_id", Text), ("name", Text), ("change", Text)],
            Self::CreationRequested
            | Self::ActivationRequested
            | Self::SuspensionRequested
            | Self::DeletionRequested
            | Self::UndeletionRequested
            | Self::PurgeRequested
            | Self::TenancyUpdateRequested => &[("job_id", Text), ("cause", Text)],
            Self::TenancyCreated
            | Self::TenancyProvisioned
            | Self::Activated
            | Self::Suspended
            | Self::Deleted
            | Self::Undeleted
            | Self::Purged => &[("job_id", Text), ("from", Text), ("to", Text)],
            Self::JobFailed => {
                &[("job_id", Text), ("action", Text), ("code", Text), ("step?", Text), ("attempt", Integer)]
            }
            Self::JobRetried => &[("job_id", Text), ("action", Text)],
            Self::JobCancelled => &[("job_id", Text), ("action", Text), PRIVATE],
            Self::KeyCreated => &[("key_id", Text), ("role", Text), ("scope?", Text), ("created_by?", Text), PRIVATE],
            Self::KeyRotated => &[("key_id", Text), ("overlap_until?", Text)],
            Self::KeyRevoked => &[("key_id", Text)],
            Self::LogExpired => &[("before", Text)],
        }
    }

    /// Whether `payload` has the fields of [`EventType::fields`], each of its type, and no others.
    pub fn accepts(self, payload: &Object) -> bool {
        let name = |field: &Field| field.0.trim_end_matches('?');
        let known = payload.keys().all(|key| self.fields().iter().any(|field| name(field) == key));
        known
            && self.fields().iter().all(|field| match payload.get(name(field)) {
                None => field.0.ends_with('?'),
                Some(value) => match field.1 {
                    FieldType::Text => value.is_string(),
                    FieldType::Integer => value.is_i64() || value.is_u64(),
                    FieldType::List => value.is_array(),
                    FieldType::Object => value.is_object(),
                },
            })
    }
}

/// The digest of what stands beside the row.
const PRIVATE: Field = ("private_digest?", FieldType::Text);

/// What an event says that may be personal: it stands beside the log, where a purge empties it.
#[derive(Debug, Clone, PartialEq)]
pub struct Private {
    /// Goes with the content when it is purged, so that the digest in the log then says nothing.
    pub salt: String,
    /// Names, aliases, reasons, notes, and what is kept as it came from the client.
    pub content: Value,
}

impl Private {
    /// What stands in the payload as `private_digest`: whoever holds the row and this can tell that they belong together.
    pub fn digest(&self) -> String {
        sha256_hex(&[self.salt.as_bytes(), canonical(&self.content).as_bytes()])
    }
}

/// A row of `tenant_audit`, or of `platform_audit` when it is no tenant's; its position is given by the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id; its time is `occurred_at`.
    pub audit_id: AuditId,
    /// Whose; `None` for what is no tenant's.
    pub tenant_id: Option<TenantId>,
    /// What happened.
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub event_version: i64,
    /// `kind:subject`.
    pub actor: String,
    /// For whom the actor acted.
    pub on_behalf_of: Option<String>,
    /// The particulars, none of them personal or secret.
    pub payload: Object,
    /// In which request.
    pub correlation_id: CorrelationId,
    /// When.
    pub occurred_at: Timestamp,
    /// What stands beside the row.
    pub private: Option<Private>,
}

impl Event {
    /// An event that happens now. `payload` must be an object.
    pub fn new(
        context: &mut DecisionContext,
        tenant_id: Option<&TenantId>,
        event_type: EventType,
        payload: Value,
    ) -> Self {
        let payload = match payload {
            Value::Object(object) => object,
            _ => Object::new(),
        };
        Self {
            audit_id: context.audit_id(),
            tenant_id: tenant_id.cloned(),
            event_type,
            event_version: event_type.version(),
            actor: context.actor.to_string(),
            on_behalf_of: context.actor.on_behalf_of.as_deref().map(|who| fitting(who, MAX_ACTOR_LENGTH_BYTES).into()),
            payload,
            correlation_id: context.correlation_id.clone(),
            occurred_at: context.now,
            private: None,
        }
    }

    /// Adds what may be personal: it goes beside the row, its salted digest into the payload. Nothing for an empty
    /// object.
    #[must_use]
    pub fn with_private(mut self, context: &mut DecisionContext, content: Value) -> Self {
        if content.as_object().is_some_and(|object| !object.values().all(Value::is_null)) {
            let private = Private { salt: context.salt(), content };
            self.payload.insert("private_digest".to_owned(), json!(private.digest()));
            self.private = Some(private);
        }
        self
    }
}

/// Whether `pattern` (an event type, or a beginning of some with `*` behind) names at least one event type.
pub fn is_pattern(pattern: &str) -> bool {
    EventType::WORDS.iter().any(|(word, _)| matches(pattern, word))
}

/// Whether `pattern` names `event_type`.
pub fn matches(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => event_type.starts_with(beginning),
        None => pattern == event_type,
    }
}
