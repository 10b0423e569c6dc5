//! Transactions are data: what a rule decided, to be committed whole or not at all.

use crate::apikey::ApiKey;
use crate::environment::{Environment, EnvironmentVersion};
use crate::event::Event;
use crate::hold::Hold;
use crate::ids::{Alias, AuditId, EnvironmentId, HoldId, JobId, KeyId, OrganizationId, TenantId, WebhookId};
use crate::job::Job;
use crate::json::Pointer;
use crate::organization::{CapExceeded, Organization, Usage};
use crate::tenant::{Facts, Tenant, TenantVersion, Terms};
use crate::violation::Violation;
use crate::webhook::Webhook;
use jiff::Timestamp;

/// A row that a decision stands on, and what must hold of it at the moment of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// No answer is stored under this idempotency digest.
    IdempotencyKeyUnused(String),
    /// There is no such organization.
    OrganizationUnused(OrganizationId),
    /// The organization is at this version and counter.
    OrganizationAt(OrganizationId, i64, i64),
    /// The organization is open, if the change adds a tenant, and has room for what the change raises.
    OrganizationRoom(OrganizationId, Usage),
    /// There is no such tenant, nor a tombstone of it.
    TenantUnused(TenantId),
    /// The tenant is at this version and counter.
    TenantAt(TenantId, i64, i64),
    /// The alias leads nowhere.
    AliasUnused(Alias),
    /// The job's lease is of this epoch, and the job is open.
    Lease(JobId, i64),
    /// No good API key has this name.
    ApiKeyUnused(String),
    /// The API key is at this version.
    ApiKeyAt(KeyId, i64),
    /// The API key in whose name the change is made is at this version. Many members of a batch may stand on one.
    CallerAt(KeyId, i64),
}

/// A row to write. What a manifest says and what it does not say are written by different kinds of write; of a tenant they have
/// different types, so that no value names both.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Inserts the row.
    InsertOrganization(Organization),
    /// Writes the manifest's columns.
    UpdateOrganizationManifest(Organization),
    /// Writes the facts' columns: its counter, and when it was closed.
    UpdateOrganizationFacts(Organization),
    /// Inserts the row.
    InsertTenant(Tenant),
    /// Writes the terms, and when the row changed.
    UpdateTenantTerms(TenantId, Terms, Timestamp),
    /// Writes the facts, and when the row changed.
    UpdateTenantFacts(TenantId, Facts, Timestamp),
    /// Empties what may be personal of a tenant that is purged. Writes its terms, from which that has been removed; empties
    /// the manifests in its kept versions and its environments', and steps, logs and errors in its jobs; deletes all that
    /// stands beside its events.
    /// What guards or other writes name is deleted by writes of its own.
    EraseTenant(TenantId, Terms, Timestamp),
    /// Inserts the row.
    InsertTenantVersion(TenantVersion),
    /// Inserts the row.
    InsertEnvironment(Environment),
    /// Writes the manifest's columns.
    UpdateEnvironmentManifest(Environment),
    /// Writes the state.
    UpdateEnvironmentState(Environment),
    /// Deletes the row.
    DeleteEnvironment(EnvironmentId),
    /// Inserts the row.
    InsertEnvironmentVersion(EnvironmentVersion),
    /// Inserts the row.
    InsertHold(Hold),
    /// Writes reason, who and until.
    UpdateHold(Hold),
    /// Deletes the row.
    DeleteHold(HoldId),
    /// Inserts the row.
    InsertAlias(Alias, TenantId, Timestamp),
    /// Deletes the row.
    DeleteAlias(Alias),
    /// Inserts the row.
    InsertWebhook(Webhook),
    /// Writes everything but id and name.
    UpdateWebhook(Webhook),
    /// Deletes the row.
    DeleteWebhook(WebhookId),
    /// Inserts the row.
    InsertJob(Job),
    /// Writes how far a running job is: steps, progress and log.
    AdvanceJob(Job),
    /// Writes a job's outcome.
    FinishJob(Job),
    /// Writes a job's outcome; its progress and steps stay as whoever works on it has written them.
    CancelJob(Job),
    /// Inserts the row.
    InsertApiKey(ApiKey),
    /// Writes version and revocation.
    UpdateApiKey(ApiKey),
}

/// The first answer to a request with an Idempotency-Key; a row of `idempotency_records`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Digest of the API key and the Idempotency-Key.
    pub digest: String,
    /// Digest of the request it answers: method, path, body.
    pub request_digest: String,
    /// HTTP status.
    pub status: i64,
    /// Headers that belong to the answer (`ETag`, `Location`), as a JSON object.
    pub headers: crate::json::Object,
    /// The body.
    pub body: String,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Until when it answers.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// Whether it answers now. One that does not is as good as absent, though it may not be removed yet.
    pub fn answers(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// What a rule decided. It cannot be built without an audit event.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The one tenant it touches.
    pub tenant_id: Option<TenantId>,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is written.
    pub writes: Vec<Write>,
    /// The stored answer.
    pub answer: Option<IdempotencyRecord>,
    events: Vec<Event>,
}

impl Changes {
    /// Changes of one tenant, or of none, with the event that is their receipt.
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

    /// Stores the answer under its idempotency key, which must be unused.
    pub fn store_answer(&mut self, answer: IdempotencyRecord) {
        // Before all others: what the same request did already would make them fail.
        self.guards.insert(0, Guard::IdempotencyKeyUnused(answer.digest.clone()));
        self.answer = Some(answer);
    }

    /// What happened, in order; at least one.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The id of the first event: found in the log, the changes are committed.
    pub fn receipt(&self) -> &AuditId {
        &self.events[0].audit_id
    }

    /// The job that it queues, if any.
    pub fn queued_job(&self) -> Option<&Job> {
        self.writes.iter().find_map(|write| match write {
            Write::InsertJob(job) => Some(job),
            Write::FinishJob(job) if job.is_open() => Some(job),
            _ => None,
        })
    }

    /// The job that it ends, if any.
    pub fn finished_job(&self) -> Option<&Job> {
        self.writes.iter().find_map(|write| match write {
            Write::FinishJob(job) | Write::CancelJob(job) if !job.is_open() => Some(job),
            _ => None,
        })
    }
}

/// Which guard failed, when the commit held the locks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Conflict {
    /// The Idempotency-Key has an answer.
    #[error("this Idempotency-Key has an answer already")]
    IdempotencyKeyUsed(Box<IdempotencyRecord>),
    /// There is no such organization.
    #[error("there is no organization {0}: create it first")]
    OrganizationMissing(OrganizationId),
    /// The organization takes no new tenants.
    #[error("organization {0} is closed: it takes no new tenants")]
    OrganizationClosed(OrganizationId),
    /// The organization's id is taken.
    #[error("there is an organization {0} already")]
    OrganizationExists(OrganizationId),
    /// The organization moved since the decision.
    #[error("organization {id} moved to version {version}: read it again")]
    OrganizationMoved {
        /// Which.
        id: OrganizationId,
        /// Its version now.
        version: i64,
        /// Its counter now.
        counter: i64,
    },
    /// The organization has no room.
    #[error("organization {id} has no room: {}", .exceeded.iter().map(|c| format!("{} {} used of {}, {} more asked", c.cap, c.used, c.limit, c.asked)).collect::<Vec<_>>().join("; "))]
    CapsExceeded {
        /// Which.
        id: OrganizationId,
        /// Every cap that would be passed.
        exceeded: Vec<CapExceeded>,
    },
    /// The tenant's id is taken, maybe by a tombstone.
    #[error("there is a tenant {0} already, or there was one: ids are never used twice")]
    TenantExists(TenantId),
    /// There is no such tenant.
    #[error("there is no tenant {0:?}")]
    TenantMissing(TenantId),
    /// The tenant moved since the decision.
    #[error("tenant {id} moved to version {version}: read it again")]
    TenantMoved {
        /// Which.
        id: TenantId,
        /// Its version now.
        version: i64,
        /// Its counter now.
        counter: i64,
    },
    /// The alias leads to another tenant.
    #[error("the alias {:?} is taken by another tenant", .0.as_str())]
    AliasTaken(Alias),
    /// The job is another's now, or ended.
    #[error("the lease of job {0} is lost")]
    LeaseLost(JobId),
    /// A good key has this name.
    #[error("there is a key named {0:?} already")]
    ApiKeyExists(String),
    /// The key moved since the decision.
    #[error("key {0} moved: read it again")]
    ApiKeyMoved(KeyId),
    /// More than one thing that the document asks for is not to be had; none of them is [`Conflict::Several`] itself.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Conflict>),
}

impl Conflict {
    /// The stable code.
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
            Self::Several(conflicts) => conflicts.first().map_or("conflict", Self::code),
        }
    }

    /// Of all that stands in the way of a change, in the order of its guards: what the caller has to know of it. That is
    /// the first, and with it whatever else its document asks for that is not to be had.
    pub(crate) fn of(mut all: Vec<Self>) -> Option<Self> {
        if all.first().is_some_and(|first| !first.fields().is_empty()) {
            all.retain(|conflict| !conflict.fields().is_empty());
        } else {
            all.truncate(1);
        }
        if all.len() > 1 { Some(Self::Several(all)) } else { all.pop() }
    }

    /// The fields of the document that ask for what is not to be had.
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
            Self::ApiKeyExists(_) => this(at("name")),
            Self::Several(conflicts) => conflicts.iter().flat_map(Self::fields).collect(),
            _ => Vec::new(),
        }
    }

    /// The HTTP status that goes with the code.
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
