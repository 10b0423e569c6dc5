//! Jobs on tenants. Their leases are written by upkeep.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::ByKey;
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Field, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::ids::{CorrelationId, JobId, TenantId};
use tenancy_core::job::{Job, JobState, Step};
use tenancy_core::scope::Scope;

described!(
    /// Jobs.
    Job as TABLE "tenant_jobs" [job_id] {
        job_id: JobId,
        tenant_id: TenantId,
        action: Action,
        state: JobState,
        progress: f64,
        logs: String,
        steps: Vec<Step>,
        waiting_for: Option<String>,
        due_at: Timestamp,
        attempt: i64,
        lease_holder: Option<String>,
        lease_epoch: i64,
        error_code: Option<String>,
        error: Option<String>,
        correlation_id: CorrelationId,
        requested_by: String,
        created_at: Timestamp,
        updated_at: Timestamp,
        finished_at: Option<Timestamp>,
    }
);

/// Inserts jobs.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates the progress of running jobs together with the result of a step.
pub const ADVANCE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["progress", "steps", "logs", "updated_at"],
    check: Check::Same("lease_epoch"),
};
/// Updates jobs that end.
pub const FINISH: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["state", "progress", "steps", "waiting_for", "due_at", "error_code", "error", "updated_at", "finished_at"],
    check: Check::Same("lease_epoch"),
};
/// Updates jobs that are cancelled; their progress is kept.
pub const CANCEL: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["state", "waiting_for", "due_at", "error_code", "error", "updated_at", "finished_at"],
    check: Check::Same("lease_epoch"),
};
/// Empties the texts in all jobs of a tenant that is purged.
pub const EMPTY_OF_TENANT: WriteShape =
    WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["logs", "steps", "waiting_for", "error"] };

/// Finds the open job of a tenant.
pub const OPEN_OF_TENANT: ByKey =
    ByKey { table: TABLE, condition: "tenant_id = {} AND state IN ('queued', 'running')" };

/// Reads the lease epochs of open jobs.
pub const CURRENT: Read = Read {
    // Not `AND state IN (…)`: while the table is small the planner would use the index of all open jobs.
    columns: "job_id, lease_epoch, state",
    table: "tenant_jobs",
    key: "job_id",
    and: "",
    lock: true,
    types: &[Type::Text, Type::Int, Type::Text],
    keys: |needs| &needs.jobs,
    put: |found, row| {
        let [id, epoch, state] = columns(row)?;
        if matches!(JobState::take(state)?, JobState::Queued | JobState::Running) {
            found.jobs.insert(JobId::take(id)?, i64::take(epoch)?);
        }
        Ok(())
    },
};

/// Filter of jobs. Jobs are listed newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only jobs in one of these states; empty for all states.
    pub states: Vec<JobState>,
}

impl Store {
    /// Lists the jobs of tenants within a scope, newest first.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn jobs(&self, scope: &Scope, filter: &JobFilter, page: &Page) -> Result<Listed<Job>, Error> {
        let mut sql = self.select::<Job>();
        sql.tenant_within("tenant_id", scope)
            .and("tenant_id = {}", filter.tenant_id.clone())
            .one_of("state", &filter.states)
            .and("job_id < {}", place("jobs", page)?)
            .order("job_id DESC", limit(page) + 1);
        self.list("jobs", sql, page, "job_id").await
    }

    /// Returns a job of a tenant.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn job(&self, tenant: &TenantId, id: &JobId) -> Result<Option<Job>, Error> {
        let mut sql = self.select::<Job>();
        sql.and("job_id = {}", Some(id.clone())).and("tenant_id = {}", Some(tenant.clone()));
        self.one(sql).await
    }
}
