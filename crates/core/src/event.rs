//! Audit events: a closed list of types, each with a version and the fields of its payload.

use crate::actor::{MAX_ACTOR_LENGTH_BYTES, fitting};
use crate::decision_context::DecisionContext;
use crate::ids::{AuditId, CorrelationId, TenantId};
use crate::json::{Object, canonical, sha256_hex};
use crate::words::words;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Maximum size of a payload, in bytes of canonical JSON.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

words!(
    /// Type of an audit event. Webhooks subscribe to the same names.
    EventType {
        /// An organization was created.
        OrganizationCreated = "ORGANIZATION_CREATED",
        /// The manifest of an organization changed.
        OrganizationUpdated = "ORGANIZATION_UPDATED",
        /// An organization was closed: it accepts no new tenants.
        OrganizationClosed = "ORGANIZATION_CLOSED",
        /// A hold was placed on all tenants of an organization.
        OrganizationHoldPlaced = "ORGANIZATION_HOLD_PLACED",
        /// A hold on all tenants of an organization was released.
        OrganizationHoldReleased = "ORGANIZATION_HOLD_RELEASED",
        /// A tenant was registered, which also requests its creation.
        TenancyRegistered = "TENANCY_REGISTERED",
        /// The creation of a tenant was requested again after a failure.
        CreationRequested = "TENANCY_CREATION_REQUESTED",
        /// The creation of a tenant succeeded.
        TenancyCreated = "TENANCY_CREATED",
        /// The manifest of a tenant changed.
        TenancyUpdated = "TENANCY_UPDATED",
        /// Provisioning of added environments was requested.
        TenancyUpdateRequested = "TENANCY_UPDATE_REQUESTED",
        /// All environments of the manifest are provisioned.
        TenancyProvisioned = "TENANCY_PROVISIONED",
        /// An environment was added to a manifest.
        EnvironmentCreated = "ENVIRONMENT_CREATED",
        /// A placement was created.
        PlacementCreated = "PLACEMENT_CREATED",
        /// The manifest of a placement changed.
        PlacementUpdated = "PLACEMENT_UPDATED",
        /// A placement was deleted.
        PlacementDeleted = "PLACEMENT_DELETED",
        /// A place was chosen for the data of an environment.
        EnvironmentPlaced = "ENVIRONMENT_PLACED",
        /// The place of a removed environment was closed. Its data stays until the tenant is purged.
        EnvironmentClosed = "ENVIRONMENT_CLOSED",
        /// A purge began to destroy the place of an environment with its data.
        EnvironmentDestructionStarted = "ENVIRONMENT_DESTRUCTION_STARTED",
        /// The place of an environment was given the environment's current quotas, retention and policies.
        EnvironmentSettingsApplied = "ENVIRONMENT_SETTINGS_APPLIED",
        /// A caller got the connection data of an environment.
        EnvironmentConnected = "ENVIRONMENT_CONNECTED",
        /// An environment was provisioned.
        EnvironmentProvisioned = "ENVIRONMENT_PROVISIONED",
        /// The manifest entry of an environment changed.
        EnvironmentUpdated = "ENVIRONMENT_UPDATED",
        /// An environment was removed.
        EnvironmentDeleted = "ENVIRONMENT_DELETED",
        /// A webhook was added, changed or removed.
        WebhookUpdated = "WEBHOOK_UPDATED",
        /// A webhook has failed for a large part of the time after which it is disabled.
        WebhookFailing = "WEBHOOK_FAILING",
        /// The server disabled a webhook.
        WebhookDisabled = "WEBHOOK_DISABLED",
        /// A caller asked for a delivery to be sent again. The server sends it when it reads this event.
        WebhookResend = "WEBHOOK_RESEND_REQUESTED",
        /// A caller asked for events to be sent again, or paused or continued that.
        WebhookReplay = "WEBHOOK_REPLAY_REQUESTED",
        /// A caller sent a test message to a webhook.
        WebhookTested = "WEBHOOK_TESTED",
        /// A hold was placed, or its reason or end changed.
        HoldPlaced = "TENANCY_HOLD_PLACED",
        /// A hold was released.
        HoldReleased = "TENANCY_HOLD_RELEASED",
        /// An activation was requested.
        ActivationRequested = "TENANCY_ACTIVATION_REQUESTED",
        /// The tenant is in service.
        Activated = "TENANCY_ACTIVATED",
        /// A suspension was requested.
        SuspensionRequested = "TENANCY_SUSPENSION_REQUESTED",
        /// The tenant is out of service.
        Suspended = "TENANCY_SUSPENDED",
        /// A deletion was requested.
        DeletionRequested = "TENANCY_DELETION_REQUESTED",
        /// The tenant is archived.
        Deleted = "TENANCY_DELETED",
        /// An undeletion was requested.
        UndeletionRequested = "TENANCY_UNDELETION_REQUESTED",
        /// The tenant is suspended again.
        Undeleted = "TENANCY_UNDELETED",
        /// A purge was requested.
        PurgeRequested = "TENANCY_PURGE_REQUESTED",
        /// The tenant is a tombstone.
        Purged = "TENANCY_PURGED",
        /// A job failed.
        JobFailed = "JOB_FAILED",
        /// A failed job is retried.
        JobRetried = "JOB_RETRIED",
        /// A job was cancelled, by a caller or by a hold that did not let it wait.
        JobCancelled = "JOB_CANCELLED",
        /// An API key was created.
        KeyCreated = "KEY_CREATED",
        /// An API key got a new token.
        KeyRotated = "KEY_ROTATED",
        /// An API key was revoked.
        KeyRevoked = "KEY_REVOKED",
        /// Calls were refused with 401 or 403. One event counts equal calls of some seconds.
        AccessRefused = "ACCESS_REFUSED",
        /// The removal of events of tenants before a time was started.
        LogExpired = "AUDIT_LOG_EXPIRED",
        /// The database was restored from a backup: events after it are lost.
        LogRestored = "AUDIT_LOG_RESTORED",
    }
);

/// Type of a field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// A list.
    List,
    /// An object.
    Object,
}

/// A field of a payload. A name that ends in `?` is optional.
pub type Field = (&'static str, FieldType);

impl EventType {
    /// Returns the version of the payload's schema. It increases by one when a field is removed or changes its meaning.
    pub fn version(self) -> i64 {
        1
    }

    /// Returns all fields of the payload.
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
            Self::EnvironmentCreated
            | Self::EnvironmentUpdated
            | Self::EnvironmentPlaced
            | Self::EnvironmentProvisioned
            | Self::EnvironmentClosed
            | Self::EnvironmentDestructionStarted
            | Self::EnvironmentSettingsApplied
            | Self::EnvironmentConnected
            | Self::EnvironmentDeleted => self.environment_fields(),
            Self::WebhookUpdated
            | Self::WebhookFailing
            | Self::WebhookDisabled
            | Self::WebhookResend
            | Self::WebhookReplay
            | Self::WebhookTested => self.webhook_fields(),
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
            Self::PlacementCreated | Self::PlacementUpdated | Self::PlacementDeleted => self.placement_fields(),
            Self::AccessRefused => REFUSED_CALLS,
            Self::LogExpired => &[("before", Text)],
            Self::LogRestored => &[("epoch", Integer), ("first_position", Integer)],
        }
    }

    /// Returns the fields of an event about a placement.
    fn placement_fields(self) -> &'static [Field] {
        use FieldType::{Integer, List, Object, Text};
        match self {
            Self::PlacementCreated => &[("placement", Text), ("version", Integer), ("manifest", Object)],
            Self::PlacementUpdated => &[("placement", Text), ("version", Integer), ("changes", List)],
            Self::PlacementDeleted => &[("placement", Text), ("version", Integer)],
            _ => &[],
        }
    }

    /// Returns the fields of an event about an environment.
    fn environment_fields(self) -> &'static [Field] {
        use FieldType::{Integer, List, Object, Text};
        match self {
            Self::EnvironmentCreated => {
                &[("env_id", Text), ("name", Text), ("version", Integer), ("manifest", Object), PRIVATE]
            }
            Self::EnvironmentUpdated => {
                &[("env_id", Text), ("name", Text), ("version", Integer), ("changes", List), PRIVATE]
            }
            Self::EnvironmentPlaced => {
                &[("env_id", Text), ("name", Text), ("kind", Text), ("placement?", Text), ("job_id", Text)]
            }
            Self::EnvironmentConnected => {
                &[("env_id", Text), ("name", Text), ("kind", Text), ("access", Text), ("expires_at?", Text), PRIVATE]
            }
            Self::EnvironmentProvisioned
            | Self::EnvironmentClosed
            | Self::EnvironmentDestructionStarted
            | Self::EnvironmentSettingsApplied => &[("env_id", Text), ("name", Text), ("job_id", Text)],
            Self::EnvironmentDeleted => &[("env_id", Text), ("name", Text)],
            _ => &[],
        }
    }

    /// Returns the fields of an event about a webhook.
    fn webhook_fields(self) -> &'static [Field] {
        use FieldType::{Integer, Text};
        match self {
            Self::WebhookUpdated => {
                &[("webhook_id", Text), ("name", Text), ("change", Text), ("organization_id?", Text)]
            }
            Self::WebhookResend => {
                &[("webhook_id", Text), ("name", Text), ("delivery_id", Text), ("organization_id?", Text)]
            }
            Self::WebhookReplay => &[
                ("webhook_id", Text),
                ("name", Text),
                ("change", Text),
                ("since?", Text),
                ("which?", Text),
                ("organization_id?", Text),
            ],
            Self::WebhookTested => &[
                ("webhook_id", Text),
                ("name", Text),
                ("outcome", Text),
                ("status?", Integer),
                ("error?", Text),
                ("organization_id?", Text),
            ],
            Self::WebhookFailing => {
                &[("webhook_id", Text), ("name", Text), ("percent", Integer), ("organization_id?", Text)]
            }
            Self::WebhookDisabled => {
                &[("webhook_id", Text), ("name", Text), ("cause", Text), ("organization_id?", Text)]
            }
            _ => &[],
        }
    }

    /// Whether the event describes API keys or their use: only callers that may read keys see its details.
    pub fn is_about_keys(self) -> bool {
        matches!(self, Self::KeyCreated | Self::KeyRotated | Self::KeyRevoked | Self::AccessRefused)
    }

    /// Whether `payload` has exactly the fields of [`EventType::fields`], with the right types.
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

/// Fields of [`EventType::AccessRefused`].
const REFUSED_CALLS: &[Field] = &[
    ("method", FieldType::Text),
    ("route", FieldType::Text),
    ("code", FieldType::Text),
    ("count", FieldType::Integer),
    ("first_at", FieldType::Text),
    ("last_at", FieldType::Text),
    ("key_id?", FieldType::Text),
    PRIVATE,
];

/// Digest of the private part.
const PRIVATE: Field = ("private_digest?", FieldType::Text);

/// Private part of an event: personal data, stored beside the log and erased by a purge.
#[derive(Debug, Clone, PartialEq)]
pub struct Private {
    /// Salt of the digest. A purge erases it with the content, so that the digest in the log then discloses nothing.
    pub salt: String,
    /// Names, aliases, reasons, notes, and values that are kept as the client sent them.
    pub content: Value,
}

impl Private {
    /// Returns the digest that the payload contains as `private_digest`. It proves that the private part belongs to the
    /// row.
    pub fn digest(&self) -> String {
        sha256_hex(&[self.salt.as_bytes(), canonical(&self.content).as_bytes()])
    }
}

/// A row of `tenant_audit`, or of `platform_audit` for events outside tenants. The commit assigns its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Id of the event. Its time is `occurred_at`.
    pub audit_id: AuditId,
    /// Tenant that the event belongs to; `None` for events outside tenants.
    pub tenant_id: Option<TenantId>,
    /// Type of the event.
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub event_version: i64,
    /// Actor that caused the event: `kind:subject`.
    pub actor: String,
    /// Subject on whose behalf the actor acted.
    pub on_behalf_of: Option<String>,
    /// Details, without personal or secret data.
    pub payload: Object,
    /// Correlation id of the request.
    pub correlation_id: CorrelationId,
    /// Time of the event.
    pub occurred_at: Timestamp,
    /// Private part.
    pub private: Option<Private>,
}

impl Event {
    /// Creates an event at the time of the context. `payload` must be an object.
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

    /// Adds the private part, and its salted digest to the payload. Does nothing if all values of `content` are `null`.
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

/// Whether `pattern`, an event type or a prefix followed by `*`, matches at least one event type.
pub fn is_pattern(pattern: &str) -> bool {
    EventType::WORDS.iter().any(|(word, _)| matches(pattern, word))
}

/// Whether `pattern` matches `event_type`.
pub fn matches(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => event_type.starts_with(beginning),
        None => pattern == event_type,
    }
}
