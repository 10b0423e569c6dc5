//! API keys: create, read, rotate and revoke.

use super::{Command, Decided, Done, organizations, tenants};
use crate::authentication::Caller;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use crate::token::Token;
use serde_json::{Value, json};
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::changes::Guard;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::document;
use tenancy_core::ids::KeyId;
use tenancy_core::json::Pointer;
use tenancy_core::rules::keys::{
    DEFAULT_OVERLAP_SECONDS, MAX_CHILDREN, MAX_NAME_LENGTH_BYTES, MAX_OVERLAP_SECONDS, Rights, create, keep_admin,
    revoke, rotate,
};
use tenancy_core::scope::{SCOPE_RULE, Scope};
use tenancy_core::{Error, Timestamp, Violation};
use tenancy_store::page::{Listed, Page};

/// Maximum length of a scope in bytes: its kind and an id.
const MAX_SCOPE_LENGTH_BYTES: usize = 80;

/// A key with its new token, which is not stored.
#[derive(Debug)]
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// The token.
    pub token: Token,
}

/// Creates a key.
#[derive(Debug)]
pub struct Create {
    /// Name, role, scope and expiry of the key.
    pub document: Value,
}

impl Command for Create {
    type Outcome = NewKey;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<NewKey>, Error> {
        let (name, rights) = self.read(caller, context.now)?;
        let is_inside = is_inside(tenancy, caller, &rights.scope).await?;
        if !is_inside && caller.scope().is_all() {
            let at = Pointer::root().key("scope");
            let message = format!("{} does not exist", rights.scope);
            return Err(Error::Invalid(vec![Violation::at(&at, "not_found", message)]));
        }
        rights.check(&caller.rights(), is_inside)?;
        let token = Token::fresh()?;
        let maker = caller.key().map(|key| key.key_id.clone());
        let decision = create(&name, rights, maker, token.digest(), context)?;
        Ok(Decided { outcome: NewKey { key: decision.key, token }, changes: decision.changes })
    }
}

impl Create {
    /// Reads the document. Scope and expiry default to those of the caller.
    fn read(&self, caller: &Caller, now: Timestamp) -> Result<(String, Rights), Error> {
        let maker = caller.rights();
        document::read(&self.document, |fields, findings| {
            let name = fields.required_text("name", MAX_NAME_LENGTH_BYTES, findings);
            fields.required("role", "role is required: admin, operator, auditor, viewer or customer", findings);
            let role = fields.word("role", Role::WORDS, findings);
            let scope = match fields.text("scope", MAX_SCOPE_LENGTH_BYTES, findings) {
                None => Some(maker.scope),
                Some(text) => {
                    let scope = Scope::parse(&text);
                    if scope.is_none() {
                        findings.bad(&fields.at("scope"), "wrong_format", SCOPE_RULE);
                    }
                    scope
                }
            };
            let expires_at = fields.time("expires_at", findings);
            if expires_at.is_some_and(|at| at <= now) {
                findings.bad(&fields.at("expires_at"), "out_of_range", "must be in the future");
            }
            Some((name?, Rights { role: role?, scope: scope?, expires_at: expires_at.or(maker.expires_at) }))
        })
    }
}

/// Returns whether the scope refers to something that exists for the caller, and therefore lies within the caller's
/// scope.
async fn is_inside(tenancy: &Tenancy, caller: &Caller, scope: &Scope) -> Result<bool, Error> {
    match scope {
        Scope::All => Ok(caller.scope().is_all()),
        Scope::Organization(id) => Ok(organizations::by_id(tenancy, caller, id).await?.is_some()),
        Scope::Tenant(id) => Ok(tenants::by_id(tenancy, caller, id).await?.is_some()),
    }
}

/// Creates the first key of a database, which no other key can request. The actor is `part`, a part of the product.
///
/// # Errors
/// [`Error::Conflict`] if a valid key has this name.
pub async fn make_first(tenancy: &Tenancy, name: &str, role: Role, part: &str) -> Result<NewKey, Error> {
    let request = RequestContext::by_part(part, fresh_correlation_id());
    let create = Create { document: json!({"name": name, "role": role}) };
    match tenancy.decide_and_commit(&create, &request, None).await? {
        Done::Now(made) => Ok(made),
        Done::Before(_) => {
            Err(Error::Internal("received a stored answer although the request had no Idempotency-Key".to_owned()))
        }
    }
}

/// Gives a key a new token.
#[derive(Debug)]
pub struct Rotate {
    /// Id of the key.
    pub key: String,
    /// `overlap_seconds`: how long the former token stays valid.
    pub document: Value,
}

impl Command for Rotate {
    type Outcome = NewKey;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<NewKey>, Error> {
        let overlap = document::read(&self.document, |fields, findings| {
            Some(fields.integer("overlap_seconds", 0..=MAX_OVERLAP_SECONDS, findings))
        })?;
        let key = find(tenancy, caller, &self.key).await?;
        // The new token gives its holder the rights of the key.
        Rights::of(&key).check(&caller.rights(), true)?;
        let token = Token::fresh()?;
        let decision = rotate(&key, token.digest(), overlap.unwrap_or(DEFAULT_OVERLAP_SECONDS), context)?;
        Ok(Decided { outcome: NewKey { key: decision.key, token }, changes: decision.changes })
    }
}

/// Revokes a key.
#[derive(Debug)]
pub struct Revoke {
    /// Id of the key.
    pub key: String,
    /// `with_children`: whether to revoke also its descendants, the keys that were created with it or with its
    /// children.
    pub document: Value,
    /// Whether the last admin key may be revoked.
    pub allows_last_admin: bool,
}

impl Command for Revoke {
    type Outcome = ApiKey;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<ApiKey>, Error> {
        let with_children = document::read(&self.document, |fields, findings| {
            Some(fields.flag("with_children", findings).unwrap_or(false))
        })?;
        let key = find(tenancy, caller, &self.key).await?;
        let children = match with_children {
            true => tenancy.store.api_key_descendants(&key.key_id, MAX_CHILDREN + 1).await?,
            false => Vec::new(),
        };
        if children.len() > MAX_CHILDREN {
            let message = format!("the key has more than {MAX_CHILDREN} descendants; revoke some of them first");
            return Err(Error::TooLarge(message));
        }
        let decision = revoke(&key, &children, context)?;
        let mut changes = decision.changes;
        let revoked: Vec<_> = std::iter::once(&key).chain(&children).collect();
        let kept = self.keep_admin(tenancy, &revoked, context.now).await?;
        if let Some(changes) = &mut changes {
            changes.guards.extend(kept);
        }
        Ok(Decided { outcome: decision.key, changes })
    }
}

impl Revoke {
    /// Checks that an admin key remains. Returns the guard under which that holds.
    async fn keep_admin(&self, tenancy: &Tenancy, revoked: &[&ApiKey], now: Timestamp) -> Result<Option<Guard>, Error> {
        if !revoked.iter().any(|key| key.role == Role::Admin && key.scope.is_all()) {
            return Ok(None);
        }
        // One more than can be revoked together: if an admin key remains, it is among them.
        let admins = tenancy.store.admin_keys(MAX_CHILDREN + 2).await?;
        keep_admin(revoked, &admins, self.allows_last_admin, now)
    }
}

/// Returns the key with this id.
///
/// # Errors
/// [`Error::NotFound`] if the key does not exist for the caller, which requires that its scope lies within the
/// caller's.
pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &str) -> Result<ApiKey, Error> {
    let missing = || Error::not_found("key", id);
    let key = tenancy.store.api_key_by_id(&KeyId::known(id)).await?.ok_or_else(missing)?;
    let is_own = caller.key().is_some_and(|own| own.key_id == key.key_id);
    let reaches = caller.scope().is_all() || is_own || is_inside(tenancy, caller, &key.scope).await?;
    if reaches { Ok(key) } else { Err(missing()) }
}

/// Returns a page of the keys that exist for the caller, in order of their ids.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(tenancy: &Tenancy, caller: &Caller, page: &Page) -> Result<Listed<ApiKey>, Error> {
    tenancy.store.api_keys(caller.scope(), page).await
}
