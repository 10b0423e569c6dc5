//! Authentication: from the token of a request to its caller.
//!
//! A [`Caller`] is made here and nowhere else, and is an argument of every read and every operation. What lies outside
//! its scope does not exist for it.

use crate::tenancy::Tenancy;
use crate::token::token_digest;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tenancy_api::Viewpoint;
use tenancy_core::actor::Actor;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::changes::{Conflict, Guard};
use tenancy_core::ids::{KeyId, OrganizationId, TenantId};
use tenancy_core::permission::{Audience, Operation, UNSCOPED_ONLY, key_may};
use tenancy_core::rules::keys::Rights;
use tenancy_core::scope::Scope;
use tenancy_core::{Error, Timestamp};

/// Who calls: the bearer of a key, or a part of the product.
#[derive(Debug, Clone)]
pub struct Caller {
    identity: Identity,
    role: Role,
    scope: Scope,
}

#[derive(Debug, Clone)]
enum Identity {
    Key(Arc<ApiKey>, Arc<KeyState>),
    Part(Actor),
}

/// What became of a key while a request runs in its name.
#[derive(Debug)]
struct KeyState {
    /// The digest of the token that was shown: a rotation makes it invalid sooner than the key.
    digest: String,
    /// The version that the next commit depends on.
    version: AtomicI64,
    /// A change in its name was committed: the key was good then.
    committed: AtomicBool,
    /// It is not known whether a change in its name was committed.
    outcome_unknown: AtomicBool,
}

impl Caller {
    /// The bearer of a key that was found good.
    fn of(key: Arc<ApiKey>, digest: &str) -> Self {
        let state = KeyState {
            digest: digest.to_owned(),
            version: AtomicI64::new(key.version),
            committed: AtomicBool::new(false),
            outcome_unknown: AtomicBool::new(false),
        };
        let (role, scope) = (key.role, key.scope.clone());
        Self { identity: Identity::Key(key, Arc::new(state)), role, scope }
    }

    /// A part of the product, which may do everything: a loop, the command line of the server.
    pub fn part(name: &str) -> Self {
        Self::internal(Actor::system(name))
    }

    /// The controller that works jobs in this process.
    pub fn controller(name: &str) -> Self {
        Self::internal(Actor::controller(name))
    }

    fn internal(actor: Actor) -> Self {
        Self { identity: Identity::Part(actor), role: Role::Admin, scope: Scope::All }
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&Arc<ApiKey>> {
        match &self.identity {
            Identity::Key(key, _) => Some(key),
            Identity::Part(_) => None,
        }
    }

    /// The role of its key.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it reaches.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// For whom answers to it are written.
    pub fn audience(&self) -> Audience {
        self.scope.audience()
    }

    /// From where it sees what is answered to it.
    pub fn viewpoint<'t>(&self, tenancy: &'t Tenancy) -> Viewpoint<'t> {
        Viewpoint { audience: self.audience(), names: &tenancy.key_names }
    }

    /// What it may give out to other keys.
    pub fn rights(&self) -> Rights {
        let expires_at = self.key().and_then(|key| key.expires_at);
        Rights { role: self.role, scope: self.scope.clone(), expires_at }
    }

    /// Who acted, for the audit log.
    pub fn actor(&self) -> Actor {
        match &self.identity {
            Identity::Key(key, _) => Actor::user(&key.key_id),
            Identity::Part(actor) => actor.clone(),
        }
    }

    /// Whether a tenant of an organization exists for it.
    pub fn reaches(&self, tenant: &TenantId, organization: &OrganizationId) -> bool {
        self.scope.reaches(tenant, organization)
    }

    /// Whether an organization exists for it.
    pub fn reaches_organization(&self, organization: &OrganizationId) -> bool {
        self.scope.reaches_organization(organization)
    }

    /// Refuses what its role or its scope does not allow.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, operation: Operation) -> Result<(), Error> {
        allowed(self.role, &self.scope, operation)
    }

    /// Refuses what its scope does not allow, whatever its role: a plan of it is refused as the thing itself is.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_scope(&self, operation: Operation) -> Result<(), Error> {
        if self.scope.is_all() || !UNSCOPED_ONLY.contains(&operation) {
            return Ok(());
        }
        Err(out_of_scope(&self.scope, operation))
    }

    /// What a change in its name depends on: that its key is still good.
    pub fn guard(&self) -> Option<Guard> {
        self.read_at().map(|(key_id, version)| Guard::CallerAt(key_id.clone(), version))
    }

    /// Its key's id, and the version at which the key was last read.
    pub fn read_at(&self) -> Option<(&KeyId, i64)> {
        match &self.identity {
            Identity::Key(key, state) => Some((&key.key_id, state.version.load(Ordering::Acquire))),
            Identity::Part(_) => None,
        }
    }

    /// Whether a conflict says that its key has changed since it was read.
    pub fn has_moved(&self, conflict: &Conflict) -> bool {
        matches!((conflict, self.key()), (Conflict::ApiKeyMoved(id), Some(key)) if *id == key.key_id)
    }

    /// Reads its key again after [`Caller::has_moved`]: a key that was rotated still takes its former token for a while.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the key is revoked or expired, or does not take the token any more.
    pub async fn reread(&self, tenancy: &Tenancy) -> Result<(), Error> {
        let Identity::Key(key, state) = &self.identity else { return Ok(()) };
        let current = tenancy.store.api_key_by_id(&key.key_id).await?;
        let current = current.filter(|key| key.takes(&state.digest, tenancy.now())).ok_or(Error::Unauthenticated)?;
        state.version.store(current.version, Ordering::Release);
        Ok(())
    }

    /// A change in its name was committed, so its key was good then.
    pub fn has_committed(&self) {
        if let Identity::Key(_, state) = &self.identity {
            state.committed.store(true, Ordering::Release);
        }
    }

    /// Whether a change in its name was committed at the version of its key that was read first.
    pub fn committed(&self) -> bool {
        let Identity::Key(key, state) = &self.identity else { return false };
        state.committed.load(Ordering::Acquire) && state.version.load(Ordering::Acquire) == key.version
    }

    /// It is not known whether a change in its name was committed.
    pub fn outcome_is_unknown(&self) {
        if let Identity::Key(_, state) = &self.identity {
            state.outcome_unknown.store(true, Ordering::Release);
        }
    }

    /// Whether [`Caller::outcome_is_unknown`] was said.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(&self.identity, Identity::Key(_, state) if state.outcome_unknown.load(Ordering::Acquire))
    }
}

fn allowed(role: Role, scope: &Scope, operation: Operation) -> Result<(), Error> {
    match (key_may(role, scope, operation), key_may(role, &Scope::All, operation)) {
        (true, _) => Ok(()),
        (false, true) => Err(out_of_scope(scope, operation)),
        (false, false) => Err(Error::Forbidden(format!("a key of role {role} may not {operation}"))),
    }
}

fn out_of_scope(scope: &Scope, operation: Operation) -> Error {
    Error::Forbidden(format!("a key of scope {scope} may not {operation}: a key without a scope may"))
}

/// Most tokens that are remembered.
const MAX_KNOWN_TOKENS: usize = 10_000;

/// What a request needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing: the route is open, and tells nothing about any tenant.
    Nothing,
    /// A good key.
    Key,
    /// A good key that may do this.
    Permission(Operation),
}

/// Looks tokens up, and remembers those that were good.
///
/// A remembered token lets a request begin before its key is looked up again; the commit, or the look-up before the
/// answer, finds out whether the key still is good.
#[derive(Debug)]
pub struct Authentication {
    known: Cache<String, Arc<ApiKey>>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self { known: Cache::new(MAX_KNOWN_TOKENS) }
    }
}

impl Authentication {
    /// The digest of a token, by which its key is looked up.
    pub fn digest(token: &str) -> String {
        token_digest(token)
    }

    /// The caller of a token that was good when it was last looked up, and may do this.
    pub fn known(&self, digest: &str, now: Timestamp, requirement: Requirement) -> Option<Caller> {
        let key = self.known.get(digest).filter(|key| admits(key, digest, now, requirement).is_ok())?;
        Some(Caller::of(key, digest))
    }

    /// The key of a token that was good when it was last looked up.
    pub fn remembered(&self, digest: &str) -> Option<Arc<ApiKey>> {
        self.known.get(digest)
    }

    /// Remembers the key of a token as one that was good when it was last looked up.
    pub fn remember(&self, digest: String, key: Arc<ApiKey>) {
        self.known.insert(digest, key);
    }

    /// Looks a token up: its caller, if the key is good now and may do this.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn look_up(&self, tenancy: &Tenancy, digest: &str, requirement: Requirement) -> Result<Caller, Error> {
        let checked = self.check(tenancy, digest, requirement).await;
        match &checked {
            Ok(key) => self.remember(digest.to_owned(), Arc::clone(key)),
            Err(_) => drop(self.known.remove(digest)),
        }
        checked.map(|key| Caller::of(key, digest))
    }

    async fn check(&self, tenancy: &Tenancy, digest: &str, requirement: Requirement) -> Result<Arc<ApiKey>, Error> {
        let store = &tenancy.store;
        let key = match store.api_key(digest).await? {
            Some(key) => key,
            None => store.api_key_by_previous_digest(digest).await?.ok_or(Error::Unauthenticated)?,
        };
        let now = store.now();
        admits(&key, digest, now, requirement)?;
        tenancy.key_usage.used(&key, now);
        Ok(Arc::new(key))
    }
}

fn admits(key: &ApiKey, digest: &str, now: Timestamp, requirement: Requirement) -> Result<(), Error> {
    if !key.takes(digest, now) {
        return Err(Error::Unauthenticated);
    }
    match requirement {
        Requirement::Permission(operation) => allowed(key.role, &key.scope, operation),
        Requirement::Nothing | Requirement::Key => Ok(()),
    }
}
