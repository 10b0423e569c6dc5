//! What every operation stands on: the record, and what is declared.

use crate::authentication::Caller;
use crate::contention::Contention;
use crate::key_names::KeyNames;
use crate::key_usage::KeyUsage;
use crate::metrics::Commits;
use std::sync::Arc;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::CorrelationId;
use tenancy_core::json::hex;
use tenancy_core::{Error, Timestamp};
use tenancy_store::Store;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

/// One running process of the product, without its interfaces.
pub struct Tenancy {
    /// The record.
    pub store: Store,
    /// What manifests may name.
    pub declared: Declared,
    /// Told whenever a job of this process ended: who waits for one looks again.
    pub job_ended: Notify,
    /// Told whenever an organization's holds changed in this process: its tenants follow sooner.
    pub holds_changed: Notify,
    /// Names of keys that acted.
    pub key_names: KeyNames,
    /// When keys were last used, as far as it is not written yet.
    pub key_usage: KeyUsage,
    /// How commits ended.
    pub commits: Commits,
    /// Where those wait that lose to others again and again.
    pub contention: Contention,
    writes: TaskTracker,
}

/// Who asks for an operation, and in which request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Who.
    pub caller: Caller,
    /// In which request.
    pub correlation_id: CorrelationId,
}

impl RequestContext {
    /// A part of the product asks.
    pub fn by_part(part: &str, correlation_id: CorrelationId) -> Self {
        Self { caller: Caller::part(part), correlation_id }
    }
}

impl Tenancy {
    /// On a store that is open.
    pub fn new(store: Store, declared: Declared) -> Arc<Self> {
        Arc::new(Self {
            store,
            declared,
            job_ended: Notify::new(),
            holds_changed: Notify::new(),
            key_names: KeyNames::default(),
            key_usage: KeyUsage::default(),
            commits: Commits::default(),
            contention: Contention::default(),
            writes: TaskTracker::new(),
        })
    }

    /// The database's time.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// The context of a decision, with fresh randomness.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no randomness.
    pub fn context(&self, request: &RequestContext) -> Result<DecisionContext, Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
        Ok(DecisionContext::new(self.store.now(), random, request.caller.actor(), request.correlation_id.clone()))
    }

    /// Does `work` to its end, also when whoever waits for it goes away: a client that hangs up drops its handler's
    /// future, and a write must not stop halfway for that.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Internal`] when it panics.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.writes.spawn(work).await.unwrap_or_else(|error| Err(Error::Internal(format!("a write stopped: {error}"))))
    }

    /// Waits for the writes that are under way. No new ones may be asked for.
    pub async fn drain(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}

/// A correlation id for what has none.
pub fn fresh_correlation_id() -> CorrelationId {
    let mut random = [0; 16];
    // Without randomness nothing can be decided; the id then only says so.
    let _ = getrandom::fill(&mut random);
    CorrelationId::known(hex(&random))
}
