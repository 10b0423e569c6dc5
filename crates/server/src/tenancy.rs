//! Shared state of all operations: the store and the declared names.

use crate::authentication::Caller;
use crate::contention::Contention;
use crate::feed::Feed;
use crate::key_names::KeyNames;
use crate::key_usage::KeyUsage;
use crate::metrics::Commits;
use crate::operations::apply::one_at_a_time::OneAtATime;
use crate::provisioner::Provisioner;
use crate::refusals::Refusals;
use crate::undeclared::Undeclared;
use crate::webhooks::dispatcher::Dispatcher;
use crate::webhooks::sending::Policy;
use std::sync::{Arc, OnceLock};
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
    /// The store.
    pub store: Store,
    /// Names that manifests may use.
    pub declared: Declared,
    /// Notified when a job of this process ends. Requests that wait for a job then read it again.
    pub job_ended: Notify,
    /// Notified when an organization's holds change in this process, so that its tenants follow sooner.
    pub holds_changed: Notify,
    /// Cache of the names of keys, for actors.
    pub key_names: KeyNames,
    /// Last uses of keys that are not written yet.
    pub key_usage: KeyUsage,
    /// Refused calls that are not recorded yet.
    pub refusals: Refusals,
    /// Counter of commits by outcome.
    pub commits: Commits,
    /// Queues for operations that repeatedly lose to concurrent changes.
    pub contention: Contention,
    /// Keys whose file is being applied.
    pub applies: OneAtATime,
    /// Names in use that are not declared.
    pub undeclared: Undeclared,
    /// Makes deliveries of events.
    pub dispatcher: Dispatcher,
    /// For how many days deliveries are kept. Unset in tools: nothing is removed then.
    pub delivery_retention_days: OnceLock<u32>,
    /// Where environments live. Unset in tools: they give out no connection data.
    pub provisioner: OnceLock<Arc<dyn Provisioner>>,
    /// Addresses that webhooks may have. Unset in tools that send nothing: URLs are then checked for their form only.
    pub url_policy: OnceLock<Policy>,
    /// The event feed.
    pub feed: Arc<Feed>,
    writes: TaskTracker,
}

/// Caller and correlation id of a request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Caller of the operation.
    pub caller: Caller,
    /// Correlation id of the request.
    pub correlation_id: CorrelationId,
}

impl RequestContext {
    /// Creates the context of a request by a part of the product.
    pub fn by_part(part: &str, correlation_id: CorrelationId) -> Self {
        Self { caller: Caller::part(part), correlation_id }
    }
}

impl Tenancy {
    /// Creates the state on an open store.
    pub fn new(store: Store, declared: Declared) -> Arc<Self> {
        Arc::new(Self {
            feed: Feed::new(store.clone()),
            store,
            declared,
            job_ended: Notify::new(),
            holds_changed: Notify::new(),
            key_names: KeyNames::default(),
            key_usage: KeyUsage::default(),
            refusals: Refusals::default(),
            commits: Commits::default(),
            contention: Contention::default(),
            applies: OneAtATime::default(),
            undeclared: Undeclared::default(),
            dispatcher: Dispatcher::default(),
            delivery_retention_days: OnceLock::new(),
            provisioner: OnceLock::new(),
            url_policy: OnceLock::new(),
            writes: TaskTracker::new(),
        })
    }

    /// Returns the database's time.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Fails in the hour after a jump of the clock. What destroys data because its time is over depends on it.
    ///
    /// # Errors
    /// [`Error::NotNow`].
    pub fn clock_is_certain(&self) -> Result<(), Error> {
        self.store.clock_jump().map_or(Ok(()), |jump| Err(Error::NotNow(jump.to_string())))
    }

    /// Creates the context of a decision, with fresh randomness.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system's random number generator fails.
    pub fn context(&self, request: &RequestContext) -> Result<DecisionContext, Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Internal(format!("the system's random number generator failed: {error}")))?;
        let (caller, correlation_id) = (&request.caller, request.correlation_id.clone());
        let context = DecisionContext::new(self.store.now(), random, caller.actor(), correlation_id);
        Ok(context.with_authority(caller.authority()))
    }

    /// Runs `work` to completion, even if the caller is cancelled. When a client disconnects, its handler's future is
    /// dropped, which must not interrupt a write.
    ///
    /// # Errors
    /// The error of `work`; [`Error::Internal`] if it panics.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.writes
            .spawn(work)
            .await
            .unwrap_or_else(|error| Err(Error::Internal(format!("a write was aborted: {error}"))))
    }

    /// Waits for writes in progress. The caller must start no new writes.
    pub async fn drain(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}

/// Creates a correlation id for work that has none.
pub fn fresh_correlation_id() -> CorrelationId {
    let mut random = [0; 16];
    // Without randomness no decision is possible; the fixed id then only marks the failure.
    let _ = getrandom::fill(&mut random);
    CorrelationId::known(hex(&random))
}
