//! Authentication: resolves the token of a request to its caller.
//!
//! Only this module creates a [`Caller`]. Every read and every operation takes a caller as an argument. Anything
//! outside the caller's scope does not exist for the caller.

use crate::tenancy::Tenancy;
use crate::token::token_digest;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tenancy_api::viewpoint::{KeyName, Names, Viewpoint};
use tenancy_core::actor::Actor;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::authority::Authority;
use tenancy_core::changes::{Conflict, Guard};
use tenancy_core::ids::{KeyId, OrganizationId, TenantId};
use tenancy_core::permission::{Audience, Operation, UNSCOPED_ONLY, key_may, sees_urls};
use tenancy_core::rules::keys::Rights;
use tenancy_core::scope::Scope;
use tenancy_core::{Error, Timestamp};

/// The caller of an operation: the bearer of a key, or a part of the product.
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

/// State of a key during one request.
#[derive(Debug)]
struct KeyState {
    /// Digest of the request's token. After a rotation, the former token expires before the key.
    digest: String,
    /// Version of the key that the next commit depends on.
    version: AtomicI64,
    /// Whether a change was committed with this key, which proves that the key was valid then.
    committed: AtomicBool,
    /// Whether the outcome of a commit with this key is unknown.
    outcome_unknown: AtomicBool,
}

impl Caller {
    /// The bearer of a valid key.
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

    /// A part of the product that may do everything, such as a background loop or the server's command line.
    pub fn part(name: &str) -> Self {
        Self::internal(Actor::system(name))
    }

    /// The controller that runs jobs in this process.
    pub fn controller(name: &str) -> Self {
        Self::internal(Actor::controller(name))
    }

    fn internal(actor: Actor) -> Self {
        Self { identity: Identity::Part(actor), role: Role::Admin, scope: Scope::All }
    }

    /// Returns the caller's key, if it has one.
    pub fn key(&self) -> Option<&Arc<ApiKey>> {
        match &self.identity {
            Identity::Key(key, _) => Some(key),
            Identity::Part(_) => None,
        }
    }

    /// Returns the role of the caller's key.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the scope of the caller.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the audience of answers to this caller: staff or customer.
    pub fn audience(&self) -> Audience {
        self.scope.audience()
    }

    /// Returns whether the caller sees the whole URLs of webhooks.
    pub fn sees_urls(&self) -> bool {
        sees_urls(self.role, &self.scope)
    }

    /// Viewpoint of the answer to a write: it names no key but the caller's own. The answer is stored for its
    /// Idempotency-Key, and a name that is found only sometimes would make the repeated answer differ from the first.
    pub fn viewpoint_of_writes(&self) -> Viewpoint<'_> {
        Viewpoint { audience: self.audience(), reads_keys: self.reads_keys(), sees_urls: self.sees_urls(), names: self }
    }

    /// Returns the viewpoint from which answers to this caller are rendered.
    pub fn viewpoint<'t>(&self, tenancy: &'t Tenancy) -> Viewpoint<'t> {
        Viewpoint {
            audience: self.audience(),
            reads_keys: self.reads_keys(),
            sees_urls: self.sees_urls(),
            names: &tenancy.key_names,
        }
    }

    /// Returns whether answers to this caller may show ids and roles of keys.
    pub fn reads_keys(&self) -> bool {
        key_may(self.role, &self.scope, Operation::ReadKeys)
    }

    /// Returns the rights that the caller may give to other keys.
    pub fn rights(&self) -> Rights {
        let expires_at = self.key().and_then(|key| key.expires_at);
        Rights { role: self.role, scope: self.scope.clone(), expires_at }
    }

    /// Returns what the caller may do in a decision.
    pub fn authority(&self) -> Authority {
        match &self.identity {
            Identity::Key(..) => Authority::Key(self.role, self.scope.clone()),
            Identity::Part(_) => Authority::Everything,
        }
    }

    /// Returns the actor that the audit log records.
    pub fn actor(&self) -> Actor {
        match &self.identity {
            Identity::Key(key, _) => Actor::user(&key.key_id),
            Identity::Part(actor) => actor.clone(),
        }
    }

    /// Returns whether a tenant of this organization exists for the caller.
    pub fn reaches(&self, tenant: &TenantId, organization: &OrganizationId) -> bool {
        self.scope.reaches(tenant, organization)
    }

    /// Returns whether a tenant of an organization can exist for the caller.
    pub fn concerns(&self, organization: &OrganizationId) -> bool {
        // A scope of one tenant does not say which organization it belongs to.
        matches!(self.scope, Scope::Tenant(_)) || self.scope.reaches_organization(organization)
    }

    /// Returns whether an organization exists for the caller.
    pub fn reaches_organization(&self, organization: &OrganizationId) -> bool {
        self.scope.reaches_organization(organization)
    }

    /// Checks that the caller's role and scope allow the operation.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, operation: Operation) -> Result<(), Error> {
        allowed(self.role, &self.scope, operation)
    }

    /// Checks that the caller's scope allows the operation, whatever the role. A plan of the operation has the same
    /// check.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_scope(&self, operation: Operation) -> Result<(), Error> {
        if self.scope.is_all() || !UNSCOPED_ONLY.contains(&operation) {
            return Ok(());
        }
        Err(out_of_scope(&self.scope, operation))
    }

    /// Returns the guard that makes a commit fail if the caller's key has changed, for example because it was revoked.
    pub fn guard(&self) -> Option<Guard> {
        self.read_at().map(|(key_id, version)| Guard::CallerAt(key_id.clone(), version))
    }

    /// Returns the id of the caller's key, and the version at which the key was last read.
    pub fn read_at(&self) -> Option<(&KeyId, i64)> {
        match &self.identity {
            Identity::Key(key, state) => Some((&key.key_id, state.version.load(Ordering::Acquire))),
            Identity::Part(_) => None,
        }
    }

    /// Returns whether a conflict says that the caller's key has changed since it was read.
    pub fn has_moved(&self, conflict: &Conflict) -> bool {
        matches!((conflict, self.key()), (Conflict::ApiKeyMoved(id), Some(key)) if *id == key.key_id)
    }

    /// Reads the caller's key again after [`Caller::has_moved`]. A rotated key accepts its former token for a while.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if the key is revoked or expired, or no longer accepts the token.
    pub async fn reread(&self, tenancy: &Tenancy) -> Result<(), Error> {
        let Identity::Key(key, state) = &self.identity else { return Ok(()) };
        let current = tenancy.store.api_key_by_id(&key.key_id).await?;
        let current = current.filter(|key| key.takes(&state.digest, tenancy.now())).ok_or(Error::InvalidToken)?;
        state.version.store(current.version, Ordering::Release);
        Ok(())
    }

    /// Notes that a change was committed with the caller's key, which proves that the key was valid then.
    pub fn has_committed(&self) {
        if let Identity::Key(_, state) = &self.identity {
            state.committed.store(true, Ordering::Release);
        }
    }

    /// Returns whether a change was committed at the version of the caller's key that was read first.
    pub fn committed(&self) -> bool {
        let Identity::Key(key, state) = &self.identity else { return false };
        state.committed.load(Ordering::Acquire) && state.version.load(Ordering::Acquire) == key.version
    }

    /// Notes that the outcome of a commit with the caller's key is unknown.
    pub fn outcome_is_unknown(&self) {
        if let Identity::Key(_, state) = &self.identity {
            state.outcome_unknown.store(true, Ordering::Release);
        }
    }

    /// Returns whether [`Caller::outcome_is_unknown`] was called.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(&self.identity, Identity::Key(_, state) if state.outcome_unknown.load(Ordering::Acquire))
    }
}

impl Names for Caller {
    fn name(&self, key_id: &str) -> Option<Arc<KeyName>> {
        let own = self.key().filter(|key| key.key_id.as_str() == key_id)?;
        Some(Arc::new(KeyName { name: own.name.clone(), is_scoped: !own.scope.is_all() }))
    }
}

fn allowed(role: Role, scope: &Scope, operation: Operation) -> Result<(), Error> {
    match (key_may(role, scope, operation), key_may(role, &Scope::All, operation)) {
        (true, _) => Ok(()),
        (false, true) => Err(out_of_scope(scope, operation)),
        (false, false) => {
            Err(Error::Forbidden(format!("a key with role {role} may not {operation}: use a key whose role allows it")))
        }
    }
}

fn out_of_scope(scope: &Scope, operation: Operation) -> Error {
    Error::Forbidden(format!("a key with scope {scope} may not {operation}: use an unscoped key"))
}

/// Maximum number of tokens in the cache.
const MAX_KNOWN_TOKENS: usize = 10_000;

/// What a route requires of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Nothing. The route is open, and its answers contain nothing about any tenant.
    Nothing,
    /// A valid key.
    Key,
    /// A valid key that has this permission.
    Permission(Operation),
}

/// Why a caller is refused.
#[derive(Debug)]
pub struct Denied {
    /// The error.
    pub error: Error,
    /// Key that the token belongs to, even if the key is revoked or expired. The answer does not tell it; the audit log
    /// does.
    pub key_id: Option<KeyId>,
}

impl From<Error> for Denied {
    fn from(error: Error) -> Self {
        Self { error, key_id: None }
    }
}

/// Looks up tokens, and caches the keys of valid ones.
///
/// With a cached token, a request starts before its key is looked up again. Either the commit or the lookup before the
/// answer then finds out whether the key is still valid.
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
    /// Returns the digest of a token. Keys are looked up by this digest.
    pub fn digest(token: &str) -> String {
        token_digest(token)
    }

    /// Returns the caller of a cached token, if its key was valid at the last lookup and has the permission.
    pub fn known(&self, digest: &str, now: Timestamp, requirement: Requirement) -> Option<Caller> {
        let key = self.known.get(digest).filter(|key| admits(key, digest, now, requirement).is_ok())?;
        Some(Caller::of(key, digest))
    }

    /// Returns the key of a cached token, as of the last lookup.
    pub fn remembered(&self, digest: &str) -> Option<Arc<ApiKey>> {
        self.known.get(digest)
    }

    /// Caches the key of a token that was valid at the last lookup.
    pub fn remember(&self, digest: String, key: Arc<ApiKey>) {
        self.known.insert(digest, key);
    }

    /// Looks up a token and returns its caller, if the key is valid now and has the permission.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::Forbidden`], [`Error::Unavailable`].
    pub async fn look_up(&self, tenancy: &Tenancy, digest: &str, requirement: Requirement) -> Result<Caller, Denied> {
        let checked = self.check(tenancy, digest, requirement).await;
        match &checked {
            Ok(key) => self.remember(digest.to_owned(), Arc::clone(key)),
            Err(_) => drop(self.known.remove(digest)),
        }
        checked.map(|key| Caller::of(key, digest))
    }

    async fn check(&self, tenancy: &Tenancy, digest: &str, requirement: Requirement) -> Result<Arc<ApiKey>, Denied> {
        let store = &tenancy.store;
        let key = match store.api_key(digest).await? {
            Some(key) => key,
            None => store.api_key_by_previous_digest(digest).await?.ok_or(Error::InvalidToken)?,
        };
        let now = store.now();
        let denied = |error| Denied { error, key_id: Some(key.key_id.clone()) };
        admits(&key, digest, now, requirement).map_err(denied)?;
        tenancy.key_usage.used(&key, now);
        Ok(Arc::new(key))
    }
}

fn admits(key: &ApiKey, digest: &str, now: Timestamp, requirement: Requirement) -> Result<(), Error> {
    if !key.takes(digest, now) {
        return Err(Error::InvalidToken);
    }
    match requirement {
        Requirement::Permission(operation) => allowed(key.role, &key.scope, operation),
        Requirement::Nothing | Requirement::Key => Ok(()),
    }
}
