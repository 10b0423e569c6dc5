//! Interface to the code that creates a tenant's real resources: databases, schemas, buckets, clusters.

mod choosing;
mod places;
mod placing;
mod recorder;

pub use places::Places;
pub use placing::Placing;
pub use recorder::Recorder;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use tenancy_core::action::Action;
use tenancy_core::environment::Environment;
use tenancy_core::ids::{EnvironmentId, JobId, TenantId};
use tenancy_core::job::{FailureCode, Step};
use tenancy_core::placement::{Access, EnvironmentPlacement, Fence, Intent, PlacementKind};
use tenancy_core::rules::step::Achieved;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Timestamp};
use tenancy_placement::{Connection, Fault};
use tenancy_store::Store;

/// One step of a job for a provisioner.
#[derive(Clone, Copy)]
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
    /// The record, for what a step has to know besides its tenant: the placements.
    pub store: &'a Store,
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

    /// Gives out how to connect to a place with this access until this time; `None` if this provisioner does not make such
    /// places.
    fn connect<'a>(
        &'a self,
        _placement: &'a EnvironmentPlacement,
        _access: Access,
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Connection>, Fault>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Ends what was given out and has expired by `now`.
    fn expire(&self, _now: Timestamp) -> BoxFuture<'_, Result<u64, Fault>> {
        Box::pin(std::future::ready(Ok(0)))
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
    /// [`Placing`] on the placements that are declared with documents.
    Placements,
}

/// How this process reaches a placement: `placements.NAME` in the configuration. Either a folder, or a file with a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSettings {
    /// Folder of the SQLite files of a placement whose places are SQLite files.
    pub folder: PathBuf,
    /// File with the `postgres://` URL of an administrator, who may create databases and roles.
    pub url_file: PathBuf,
    /// Database in which each environment gets a schema. Empty: each environment gets a database.
    pub database: String,
}

impl PlacementSettings {
    /// Returns the kind of the placement's places.
    pub fn kind(&self) -> PlacementKind {
        match (self.url_file.as_os_str().is_empty(), self.database.is_empty()) {
            (true, _) => PlacementKind::Sqlite,
            (false, true) => PlacementKind::PostgresDatabase,
            (false, false) => PlacementKind::PostgresSchema,
        }
    }
}

impl ProvisionerKind {
    /// Returns the word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Sqlite => "sqlite",
            Self::Placements => "placements",
        }
    }

    /// Returns the provisioner of this kind, with the placements of the configuration.
    ///
    /// # Errors
    /// [`Error::Internal`] if a folder of SQLite files cannot be used.
    pub fn provisioner(
        self,
        data_dir: &Path,
        placements: &BTreeMap<String, PlacementSettings>,
    ) -> Result<Arc<dyn Provisioner>, Error> {
        Ok(match self {
            Self::Record => Arc::new(Recorder),
            Self::Sqlite => Arc::new(Placing::among(Places::open(data_dir, placements)?)),
            Self::Placements => Arc::new(Placing::on_placements(Places::open(data_dir, placements)?)),
        })
    }
}
