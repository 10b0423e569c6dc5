//! Interface to the code that creates a tenant's real resources: databases, schemas, buckets, clusters.

mod placing;
mod recorder;

pub use placing::Placing;
pub use recorder::Recorder;

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use tenancy_core::action::Action;
use tenancy_core::environment::Environment;
use tenancy_core::ids::{EnvironmentId, JobId, TenantId};
use tenancy_core::job::{FailureCode, Step};
use tenancy_core::placement::{EnvironmentPlacement, Fence, Intent};
use tenancy_core::rules::step::Achieved;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Timestamp};
use tenancy_placement::Connection;
use tenancy_placement::sqlite::SqliteFiles;

/// Folder of the data directory with the SQLite files of environments.
const ENVIRONMENTS: &str = "environments";

/// One step of a job for a provisioner.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Job that the step belongs to.
    pub job_id: &'a JobId,
    /// Action of the job.
    pub action: Action,
    /// Step to do, such as `provision dev`.
    pub step: &'a Step,
    /// Number of times the job was started. If it is greater than 1, the step may be partly done.
    pub attempt: i64,
    /// Tenant as it was when the step started.
    pub snapshot: &'a TenantSnapshot,
    /// Order of this work among all work on the tenant. Whatever the step changes refuses a lower one.
    pub fence: Fence,
    /// Current time.
    pub now: Timestamp,
}

impl Work<'_> {
    /// Returns the id of the tenant.
    pub fn tenant_id(&self) -> &TenantId {
        &self.snapshot.tenant.tenant_id
    }

    /// Returns the environment of the step, if the step concerns one.
    pub fn environment(&self) -> Option<&Environment> {
        self.step.environment(&self.snapshot.environments)
    }
}

/// State of a step after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// The step is done.
    Done {
        /// Line for the job's log.
        line: String,
        /// Result to store, committed together with the end of the step.
        achieved: Achieved,
    },
    /// The provisioner is about to make or to destroy the place of this environment. That is recorded, and the step is called
    /// again to do it.
    Announces(EnvironmentId, Intent),
    /// A later job or lease has worked on the same place: this process has lost the job, and changes nothing more.
    Late,
    /// The step waits for something outside the provisioner. The job is queued, and the step is called again at
    /// `until`. A job that still waits `jobs.give_up_hours` after its request fails.
    Waits {
        /// Condition that the step waits for, for people: `a certificate of db.example`.
        what: String,
        /// Time of the next call.
        until: Timestamp,
    },
}

impl StepEnd {
    /// The step is done, with the usual result of its verb.
    pub fn done(step: &Step, line: impl Into<String>) -> Self {
        Self::Done { line: line.into(), achieved: Achieved::of(step) }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepFailed {
    /// Stable code.
    pub code: FailureCode,
    /// Message for people, which says what to do.
    pub message: String,
}

/// Result of a call: the state of the step, or why it failed.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<StepEnd, StepFailed>> + Send + 'a>>;

/// Does the steps of jobs. A step must be idempotent: if the process fails before it can store the result, the step is
/// called again after it was done, and must have the same result.
pub trait Provisioner: Send + Sync + 'static {
    /// Does a step.
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a>;

    /// Returns how to connect to a place; `None` if this provisioner does not make such places.
    fn connection(&self, _placement: &EnvironmentPlacement) -> Option<Connection> {
        None
    }
}

/// Kinds of provisioners: `jobs.provisioner` in the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisionerKind {
    /// [`Recorder`].
    #[default]
    Record,
    /// [`Placing`] with a SQLite file for each environment, in the folder `environments` of the data directory.
    Sqlite,
}

impl ProvisionerKind {
    /// Returns the word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Sqlite => "sqlite",
        }
    }

    /// Returns the provisioner of this kind.
    ///
    /// # Errors
    /// [`Error::Internal`] if the folder of the SQLite files cannot be used.
    pub fn provisioner(self, data_dir: &Path) -> Result<Arc<dyn Provisioner>, Error> {
        match self {
            Self::Record => Ok(Arc::new(Recorder)),
            Self::Sqlite => {
                let files = SqliteFiles::open(&data_dir.join(ENVIRONMENTS));
                files
                    .map(|files| Arc::new(Placing::new(files)) as _)
                    .map_err(|fault| Error::Internal(fault.to_string()))
            }
        }
    }
}
