//! What every operation stands on: the record, and what is declared.

use crate::contention::Contention;
use crate::metrics::Commits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenancy_core::Error;
use tenancy_core::actor::Actor;
use tenancy_core::apikey::ApiKey;
use tenancy_core::changes::{Conflict, Guard};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::{CorrelationId, KeyId};
use tenancy_core::json::hex;
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
    pub actor: Actor,
    /// In which request.
    pub correlation_id: CorrelationId,
    /// In the name of which API key, if of any.
    pub key: Option<AskingKey>,
}

impl RequestContext {
    /// RequestContext by a part of Tenancy itself.
    pub fn by_system(part: &str, correlation_id: CorrelationId) -> Self {
        Self { actor: Actor::system(part), correlation_id, key: None }
    }

    /// RequestContext by whoever holds an API key.
    pub fn by_user(key: AskingKey, correlation_id: CorrelationId) -> Self {
        Self { actor: Actor::user(&key.key_id), correlation_id, key: Some(key) }
    }
}

/// The API key in whose name something is asked for: no change is decided to be written once its key is seen to be revoked.
#[derive(Debug, Clone)]
pub struct AskingKey {
    key_id: KeyId,
    version: i64,
    held: Arc<AtomicBool>,
    is_unknown: Arc<AtomicBool>,
}

impl AskingKey {
    /// A key as it was read.
    pub fn of(key: &ApiKey) -> Self {
        Self { key_id: key.key_id.clone(), version: key.version, held: Arc::default(), is_unknown: Arc::default() }
    }

    /// What a change in its name depends on.
    pub fn guard(&self) -> Guard {
        Guard::CallerAt(self.key_id.clone(), self.version)
    }

    /// Its id, and the version at which it was read.
    pub fn read_at(&self) -> (&KeyId, i64) {
        (&self.key_id, self.version)
    }

    /// Whether it is this key that moved since it was read: that is, it was revoked.
    pub fn is_gone(&self, conflict: &Conflict) -> bool {
        matches!(conflict, Conflict::ApiKeyMoved(key_id) if *key_id == self.key_id)
    }

    /// A change in its name was committed: it was good then.
    pub fn has_held(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// Whether a change in its name was committed.
    pub fn held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Nobody knows whether a change in its name was committed.
    pub fn outcome_is_unknown(&self) {
        self.is_unknown.store(true, Ordering::Release);
    }

    /// Whether that is so of any.
    pub fn is_outcome_unknown(&self) -> bool {
        self.is_unknown.load(Ordering::Acquire)
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
            commits: Commits::default(),
            contention: Contention::default(),
            writes: TaskTracker::new(),
        })
    }

    /// The moment of a decision, with fresh randomness.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no randomness.
    pub fn context(&self, request: &RequestContext) -> Result<DecisionContext, Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
        Ok(DecisionContext::new(self.store.now(), random, request.actor.clone(), request.correlation_id.clone()))
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
