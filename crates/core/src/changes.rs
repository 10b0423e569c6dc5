//! Transactions as data: the result of a rule, committed completely or not at all.

use crate::apikey::ApiKey;
use crate::environment::{Environment, EnvironmentVersion};
use crate::event::Event;
use crate::hold::Hold;
use crate::ids::{
    Alias, AuditId, EnvironmentId, HoldId, JobId, KeyId, OrganizationId, PlacementName, TenantId, WebhookId,
};
use crate::job::Job;
use crate::json::Pointer;
use crate::organization::{CapExceeded, Organization, Usage};
use crate::placement::{EnvironmentPlacement, Placement};
use crate::tenant::{Facts, Tenant, TenantVersion, Terms};
use crate::violation::Violation;
use crate::webhook::{Webhook, WebhookOwner};
use jiff::Timestamp;

/// A row that a decision depends on, and the condition that must hold at the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// No response is stored under this idempotency digest.
    IdempotencyKeyUnused(String),
    /// The organization does not exist.
    OrganizationUnused(OrganizationId),
    /// The organization has this version and counter.
    OrganizationAt(OrganizationId, i64, i64),
    /// The change of usage does not exceed the caps of the organization. If it adds a tenant, the organization is open.
    OrganizationRoom(OrganizationId, Usage),
    /// Neither the tenant nor a tombstone of it exists.
    TenantUnused(TenantId),
    /// The tenant has this version and counter.
    TenantAt(TenantId, i64, i64),
    /// The alias belongs to no tenant.
    AliasUnused(Alias),
    /// The lease of the job has this epoch, and the job is open.
    Lease(JobId, i64),
    /// No active API key has this name.
    ApiKeyUnused(String),
    /// The API key has this version.
    ApiKeyAt(KeyId, i64),
    /// No webhook of an organization or of the platform has this full name.
    WebhookUnused(String),
    /// The webhook of an organization or of the platform has this version.
    WebhookAt(WebhookId, i64),
    /// No placement has this name.
    PlacementUnused(PlacementName),
    /// The placement has this version.
    PlacementAt(PlacementName, i64),
    /// The placement exists. Several members of a batch can depend on the same placement.
    PlacementThere(PlacementName),
    /// No place has this [slot](EnvironmentPlacement::slot).
    SlotUnused(String),
    /// The API key of the caller has this version. Several members of a batch can depend on the same key.
    CallerAt(KeyId, i64),
}

/// A row to write. Columns of the manifest and all other columns have separate kinds of write. For tenants they also
/// have separate types, so that no value contains both.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Inserts the row.
    InsertOrganization(Organization),
    /// Writes the columns of the manifest.
    UpdateOrganizationManifest(Organization),
    /// Writes the columns outside the manifest: counter and time of closing.
    UpdateOrganizationFacts(Organization),
    /// Inserts the row.
    InsertTenant(Tenant),
    /// Writes the terms and the time of the change.
    UpdateTenantTerms(TenantId, Terms, Timestamp),
    /// Writes the facts and the time of the change.
    UpdateTenantFacts(TenantId, Facts, Timestamp),
    /// Asks for the tenant's data key to be wrapped as its changed policy says.
    WrapDataKey(TenantId, Timestamp),
    /// Erases the personal data of a tenant that is purged. It writes the terms, which no longer contain personal data;
    /// empties the manifests in the versions of the tenant and of its environments, and the steps, logs and errors of
    /// its jobs; deletes the private parts of its events; and erases its data key. Rows that guards or other writes name
    /// have their own deletes.
    EraseTenant(TenantId, Terms, Timestamp),
    /// Inserts the row.
    InsertTenantVersion(TenantVersion),
    /// Inserts the row.
    InsertEnvironment(Environment),
    /// Writes the columns of the manifest.
    UpdateEnvironmentManifest(Environment),
    /// Writes the state.
    UpdateEnvironmentState(Environment),
    /// Deletes the row.
    DeleteEnvironment(EnvironmentId),
    /// Inserts the row.
    InsertEnvironmentPlacement(EnvironmentPlacement),
    /// Writes the digest of the settings that the place was given, and the times: made, environment removed, closed, destruction begun.
    UpdateEnvironmentPlacement(EnvironmentPlacement),
    /// Deletes the row.
    DeleteEnvironmentPlacement(EnvironmentId),
    /// Inserts the row.
    InsertEnvironmentVersion(EnvironmentVersion),
    /// Inserts the row.
    InsertHold(Hold),
    /// Writes reason, actor and end.
    UpdateHold(Hold),
    /// Deletes the row.
    DeleteHold(HoldId),
    /// Inserts the row.
    InsertAlias(Alias, TenantId, Timestamp),
    /// Deletes the row.
    DeleteAlias(Alias),
    /// Inserts the row of a tenant's webhook, without secrets.
    InsertWebhook(Webhook),
    /// Writes the columns of the manifest, except for the name.
    UpdateWebhook(Webhook),
    /// Writes when and why the server disabled a tenant's webhook.
    UpdateWebhookState(Webhook),
    /// Deletes the row.
    DeleteWebhook(WebhookId),
    /// Inserts the row of a webhook of an organization or of the platform, without secrets.
    InsertPlatformWebhook(Webhook),
    /// Writes all columns except id, owner, name and secrets.
    UpdatePlatformWebhook(Webhook),
    /// Deletes the row.
    DeletePlatformWebhook(WebhookId),
    /// Inserts the row.
    InsertPlacement(Placement),
    /// Writes all columns except the name, the kind and the region.
    UpdatePlacement(Placement),
    /// Deletes the row.
    DeletePlacement(PlacementName),
    /// Writes the encrypted secrets of a webhook.
    SetWebhookSecrets(WebhookOwner, WebhookId, String),
    /// Inserts the row.
    InsertJob(Job),
    /// Writes steps, progress and log of a running job.
    AdvanceJob(Job),
    /// Writes the outcome of a job.
    FinishJob(Job),
    /// Writes the outcome of a job. Progress and steps stay as the worker has written them.
    CancelJob(Job),
    /// Inserts the row.
    InsertApiKey(ApiKey),
    /// Writes version and revocation.
    UpdateApiKey(ApiKey),
}

/// First response to a request with an Idempotency-Key: a row of `idempotency_records`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Digest of the API key and the Idempotency-Key.
    pub digest: String,
    /// Digest of the request: method, path and body.
    pub request_digest: String,
    /// HTTP status of the response.
    pub status: i64,
    /// Headers of the response (`ETag`, `Location`), as a JSON object.
    pub headers: crate::json::Object,
    /// Body of the response.
    pub body: String,
    /// Time at which the record was stored.
    pub created_at: Timestamp,
    /// Time at which the record expires.
    pub expires_at: Timestamp,
    /// Tenant that the response is about, if any. A purge of the tenant erases the response.
    pub tenant_id: Option<TenantId>,
}

/// Status of a record whose response a purge has erased.
pub const ERASED: i64 = 410;

impl IdempotencyRecord {
    /// Whether the record is valid. An expired record counts as absent, even if it is not removed yet.
    pub fn answers(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// Changes that a rule decided. They cannot be built without an audit event.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Tenant that the changes belong to; `None` for changes outside tenants.
    pub tenant_id: Option<TenantId>,
    /// Conditions that must hold at the commit.
    pub guards: Vec<Guard>,
    /// Rows to write.
    pub writes: Vec<Write>,
    /// Response to store under the Idempotency-Key.
    pub answer: Option<IdempotencyRecord>,
    events: Vec<Event>,
}

impl Changes {
    /// Creates changes of the tenant of `event`, or of no tenant. The id of `event` is their receipt.
    pub fn new(event: Event) -> Self {
        Self {
            tenant_id: event.tenant_id.clone(),
            guards: Vec::new(),
            writes: Vec::new(),
            answer: None,
            events: vec![event],
        }
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) {
        debug_assert_eq!(event.tenant_id, self.tenant_id, "a Changes names one tenant");
        self.events.push(event);
    }

    /// Adds a guard.
    pub fn guard(&mut self, guard: Guard) {
        self.guards.push(guard);
    }

    /// Adds a write.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Stores the response under its Idempotency-Key, which must be unused.
    pub fn store_answer(&mut self, mut answer: IdempotencyRecord) {
        answer.tenant_id = self.tenant_id.clone().or(answer.tenant_id);
        // First of all guards: if the same request was committed before, the other guards fail, too.
        self.guards.insert(0, Guard::IdempotencyKeyUnused(answer.digest.clone()));
        self.answer = Some(answer);
    }

    /// Returns the events in order; at least one.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Returns the id of the first event. If the log contains it, the changes are committed.
    pub fn receipt(&self) -> &AuditId {
        &self.events[0].audit_id
    }

    /// Returns the job that the changes queue.
    pub fn queued_job(&self) -> Option<&Job> {
        self.writes.iter().find_map(|write| match write {
            Write::InsertJob(job) => Some(job),
            Write::FinishJob(job) if job.is_open() => Some(job),
            _ => None,
        })
    }

    /// Returns the job that the changes end.
    pub fn finished_job(&self) -> Option<&Job> {
        self.writes.iter().find_map(|write| match write {
            Write::FinishJob(job) | Write::CancelJob(job) if !job.is_open() => Some(job),
            _ => None,
        })
    }
}

/// Guard that failed at the commit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Conflict {
    /// A response is stored under the Idempotency-Key.
    #[error("this Idempotency-Key was used before")]
    IdempotencyKeyUsed(Box<IdempotencyRecord>),
    /// The organization does not exist.
    #[error("there is no organization {0}: create it first")]
    OrganizationMissing(OrganizationId),
    /// The organization is closed.
    #[error("organization {0} is closed: it accepts no new tenants")]
    OrganizationClosed(OrganizationId),
    /// The organization exists already.
    #[error("organization {0} exists already")]
    OrganizationExists(OrganizationId),
    /// The organization has changed since the decision.
    #[error("organization {id} has changed, its version is {version}: read it again")]
    OrganizationMoved {
        /// Id of the organization.
        id: OrganizationId,
        /// Current version.
        version: i64,
        /// Current counter.
        counter: i64,
    },
    /// The change exceeds a cap of the organization.
    #[error("organization {id} would exceed its {}", .exceeded.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    CapsExceeded {
        /// Id of the organization.
        id: OrganizationId,
        /// All caps that the change exceeds.
        exceeded: Vec<CapExceeded>,
    },
    /// The tenant exists, or a tombstone of it does.
    #[error("tenant id {0} is taken: choose another; ids are never reused, even after a purge")]
    TenantExists(TenantId),
    /// The tenant does not exist.
    #[error("there is no tenant {0:?}")]
    TenantMissing(TenantId),
    /// The tenant has changed since the decision.
    #[error("tenant {id} has changed, its version is {version}: read it again")]
    TenantMoved {
        /// Id of the tenant.
        id: TenantId,
        /// Current version.
        version: i64,
        /// Current counter.
        counter: i64,
    },
    /// The alias belongs to another tenant.
    #[error("the alias {:?} belongs to another tenant", .0.as_str())]
    AliasTaken(Alias),
    /// Another process has the lease of the job, or the job has ended.
    #[error("the lease of job {0} was lost")]
    LeaseLost(JobId),
    /// An active key has this name.
    #[error("an active key named {0:?} exists already: choose another name, or revoke that key")]
    ApiKeyExists(String),
    /// The key has changed since the decision.
    #[error("key {0} has changed: read it again")]
    ApiKeyMoved(KeyId),
    /// The owner has a webhook of this name.
    #[error("a webhook named {0:?} exists already: choose another name, or change that webhook")]
    WebhookExists(String),
    /// The webhook has changed since the decision, or was deleted.
    #[error("webhook {0} has changed: read it again")]
    WebhookMoved(WebhookId),
    /// A placement has this name.
    #[error("placement {0} exists already: change it, or choose another name")]
    PlacementExists(PlacementName),
    /// The placement has changed since the decision, or was deleted.
    #[error("placement {0} has changed: read it again")]
    PlacementMoved(PlacementName),
    /// The placement does not exist.
    #[error("there is no placement {0}")]
    PlacementMissing(PlacementName),
    /// Another place has this slot.
    #[error("the slot {0} is taken")]
    SlotTaken(String),
    /// Several conflicts with fields of the document. None of them is [`Conflict::Several`] itself.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Conflict>),
}

impl Conflict {
    /// Returns the stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::IdempotencyKeyUsed(_) => "idempotency_key_used",
            Self::OrganizationMissing(_) => "organization_missing",
            Self::OrganizationClosed(_) => "organization_closed",
            Self::OrganizationExists(_) => "organization_exists",
            Self::OrganizationMoved { .. } | Self::TenantMoved { .. } => "stale_version",
            Self::CapsExceeded { .. } => "organization_cap_exceeded",
            Self::TenantExists(_) => "tenant_exists",
            Self::TenantMissing(_) => "not_found",
            Self::AliasTaken(_) => "alias_taken",
            Self::LeaseLost(_) => "lease_lost",
            Self::ApiKeyExists(_) => "key_exists",
            Self::ApiKeyMoved(_) => "key_moved",
            Self::WebhookExists(_) => "webhook_exists",
            Self::WebhookMoved(_) => "webhook_moved",
            Self::PlacementExists(_) => "placement_exists",
            Self::PlacementMoved(_) => "placement_moved",
            Self::PlacementMissing(_) => "placement_missing",
            Self::SlotTaken(_) => "slot_taken",
            Self::Several(conflicts) => conflicts.first().map_or("conflict", Self::code),
        }
    }

    /// Selects from all conflicts of a change, in the order of its guards, those that the caller is told: the first,
    /// and if it concerns fields of the document, all others that do.
    pub(crate) fn of(mut all: Vec<Self>) -> Option<Self> {
        if all.first().is_some_and(|first| !first.fields().is_empty()) {
            all.retain(|conflict| !conflict.fields().is_empty());
        } else {
            all.truncate(1);
        }
        if all.len() > 1 { Some(Self::Several(all)) } else { all.pop() }
    }

    /// Returns the fields of the document that cause the conflict.
    pub fn fields(&self) -> Vec<Violation> {
        let at = |field: &str| Pointer::root().key(field);
        let this = |pointer: Pointer| vec![Violation::at(&pointer, self.code(), self.to_string())];
        match self {
            Self::OrganizationMissing(_) | Self::OrganizationClosed(_) | Self::OrganizationExists(_) => {
                this(at("organization_id"))
            }
            Self::CapsExceeded { exceeded, .. } => exceeded.iter().map(CapExceeded::field).collect(),
            Self::TenantExists(_) => this(at("tenant_id")),
            Self::AliasTaken(alias) => this(at("aliases").key(alias.kind())),
            Self::ApiKeyExists(_) | Self::WebhookExists(_) => this(at("name")),
            Self::Several(conflicts) => conflicts.iter().flat_map(Self::fields).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the HTTP status of the code.
    pub fn status(&self) -> u16 {
        match self {
            Self::OrganizationMissing(_) => 422,
            Self::TenantMissing(_) => 404,
            Self::OrganizationMoved { .. } | Self::TenantMoved { .. } => 412,
            Self::Several(conflicts) => conflicts.first().map_or(409, Self::status),
            _ => 409,
        }
    }
}
