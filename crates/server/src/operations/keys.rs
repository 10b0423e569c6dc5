//! API keys: made, found, revoked.

use super::{Command, Decided, Done};
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use crate::token::Token;
use serde_json::{Value, json};
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::document;
use tenancy_core::ids::KeyId;
use tenancy_core::permission::{Operation, may};
use tenancy_core::rules::keys::{MAX_NAME_LENGTH_BYTES, create, revoke};
use tenancy_core::{Error, Timestamp};

/// A key that was made, and its token, which nobody keeps.
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
    /// Its name, what it may, and until when.
    pub document: Value,
    /// What the maker may: no key makes a key that may more than itself.
    pub maker: Role,
}

impl Command for Create {
    type Outcome = NewKey;

    async fn decide(&self, _: &Tenancy, context: &mut DecisionContext) -> Result<Decided<NewKey>, Error> {
        let (name, role, expires_at) = read(&self.document, context.now)?;
        let exceeds = |operation: &Operation| may(role, *operation) && !may(self.maker, *operation);
        if let Some((_, operation)) = Operation::WORDS.iter().find(|(_, operation)| exceeds(operation)) {
            return Err(Error::Forbidden(format!("a key of role {} cannot make one that may {operation}", self.maker)));
        }
        let token = Token::fresh()?;
        let decision = create(&name, role, expires_at, token.digest(), context)?;
        Ok(Decided { outcome: NewKey { key: decision.key, token }, changes: decision.changes })
    }
}

fn read(document: &Value, now: Timestamp) -> Result<(String, Role, Option<Timestamp>), Error> {
    document::read(document, |fields, findings| {
        let name = fields.required_text("name", MAX_NAME_LENGTH_BYTES, findings);
        fields.required("role", "role is required: admin, operator or viewer", findings);
        let role = fields.word("role", Role::WORDS, findings);
        let expires_at = fields.time("expires_at", findings);
        if expires_at.is_some_and(|at| at <= now) {
            findings.bad(&fields.at("expires_at"), "out_of_range", "must be in the future");
        }
        Some((name?, role?, expires_at))
    })
}

/// Makes a key at nobody's request, but for a `part` of the system: the first one of a database, which no other key can
/// ask for.
///
/// # Errors
/// [`Error::Conflict`] when a good key has this name.
pub async fn make_first(tenancy: &Tenancy, name: &str, role: Role, part: &str) -> Result<NewKey, Error> {
    let request = RequestContext::by_system(part, fresh_correlation_id());
    let create = Create { document: json!({"name": name, "role": role}), maker: Role::Admin };
    match tenancy.decide_and_commit(&create, &request, None).await? {
        Done::Now(made) => Ok(made),
        Done::Before(_) => Err(Error::Internal("an answer without an Idempotency-Key".to_owned())),
    }
}

/// Revokes a key.
#[derive(Debug)]
pub struct Revoke {
    /// Its id.
    pub key: String,
}

impl Command for Revoke {
    type Outcome = ApiKey;

    async fn decide(&self, tenancy: &Tenancy, context: &mut DecisionContext) -> Result<Decided<ApiKey>, Error> {
        let decision = revoke(&find(tenancy, &self.key).await?, context)?;
        Ok(Decided { outcome: decision.key, changes: decision.changes })
    }
}

/// The key of that id.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tenancy: &Tenancy, id: &str) -> Result<ApiKey, Error> {
    let found = tenancy.store.api_key_by_id(&KeyId::known(id)).await?;
    found.ok_or_else(|| Error::not_found("key", id))
}
