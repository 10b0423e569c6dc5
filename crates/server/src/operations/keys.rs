//! API keys: made, found, rotated, revoked.

use super::{Command, Decided, Done, organizations, tenants};
use crate::authentication::Caller;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use crate::token::Token;
use serde_json::{Value, json};
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::document;
use tenancy_core::ids::KeyId;
use tenancy_core::json::Pointer;
use tenancy_core::rules::keys::{
    DEFAULT_OVERLAP_SECONDS, MAX_CHILDREN, MAX_NAME_LENGTH_BYTES, MAX_OVERLAP_SECONDS, Rights, create, revoke, rotate,
};
use tenancy_core::scope::{SCOPE_RULE, Scope};
use tenancy_core::{Error, Timestamp, Violation};
use tenancy_store::page::{Listed, Page};

/// Longest scope, in bytes: its kind and an id.
const MAX_SCOPE_LENGTH_BYTES: usize = 80;

/// A key with a token that was made now, and that is not kept.
#[derive(Debug)]
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// The token.
    pub token: Token,
}

/// Makes a key.
#[derive(Debug)]
pub struct Create {
    /// Its name, role, scope and end.
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
    /// What the document says. A scope and an end that it leaves out are the maker's.
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

/// Whether what a scope names exists for the caller, and so lies within its own scope.
async fn is_inside(tenancy: &Tenancy, caller: &Caller, scope: &Scope) -> Result<bool, Error> {
    match scope {
        Scope::All => Ok(caller.scope().is_all()),
        Scope::Organization(id) => Ok(organizations::by_id(tenancy, caller, id).await?.is_some()),
        Scope::Tenant(id) => Ok(tenants::by_id(tenancy, caller, id).await?.is_some()),
    }
}

/// Makes the first key of a database, for which no other key can ask, in the name of a `part` of the product.
///
/// # Errors
/// [`Error::Conflict`] when a good key has this name.
pub async fn make_first(tenancy: &Tenancy, name: &str, role: Role, part: &str) -> Result<NewKey, Error> {
    let request = RequestContext::by_part(part, fresh_correlation_id());
    let create = Create { document: json!({"name": name, "role": role}) };
    match tenancy.decide_and_commit(&create, &request, None).await? {
        Done::Now(made) => Ok(made),
        Done::Before(_) => Err(Error::Internal("an answer without an Idempotency-Key".to_owned())),
    }
}

/// Gives a key a new token.
#[derive(Debug)]
pub struct Rotate {
    /// Its id.
    pub key: String,
    /// For how long the former token works.
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
        // Whoever gets the token may do what the key may.
        Rights::of(&key).check(&caller.rights(), true)?;
        let token = Token::fresh()?;
        let decision = rotate(&key, token.digest(), overlap.unwrap_or(DEFAULT_OVERLAP_SECONDS), context)?;
        Ok(Decided { outcome: NewKey { key: decision.key, token }, changes: decision.changes })
    }
}

/// Revokes a key.
#[derive(Debug)]
pub struct Revoke {
    /// Its id.
    pub key: String,
    /// `with_children`: also the keys that it made, and those that these made.
    pub document: Value,
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
            let message = format!("the key made more than {MAX_CHILDREN} keys: revoke some of these first");
            return Err(Error::TooLarge(message));
        }
        let decision = revoke(&key, &children, context)?;
        Ok(Decided { outcome: decision.key, changes: decision.changes })
    }
}

/// The key of that id.
///
/// # Errors
/// [`Error::NotFound`] when it does not exist for the caller: its scope must lie within the caller's.
pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &str) -> Result<ApiKey, Error> {
    let missing = || Error::not_found("key", id);
    let key = tenancy.store.api_key_by_id(&KeyId::known(id)).await?.ok_or_else(missing)?;
    let is_own = caller.key().is_some_and(|own| own.key_id == key.key_id);
    let reaches = caller.scope().is_all() || is_own || is_inside(tenancy, caller, &key.scope).await?;
    if reaches { Ok(key) } else { Err(missing()) }
}

/// A page of the keys that exist for the caller, in order of their ids.
///
/// # Errors
/// [`Error::Invalid`] for a cursor that is not one, [`Error::Unavailable`].
pub async fn list(tenancy: &Tenancy, caller: &Caller, page: &Page) -> Result<Listed<ApiKey>, Error> {
    tenancy.store.api_keys(caller.scope(), page).await
}
