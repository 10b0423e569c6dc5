//! API keys: made, found, revoked.

use super::{Command, Decided, Done};
use crate::tenancy::{Asked, Tenancy, fresh_correlation_id};
use crate::token::Token;
use tenancy_core::Error;
use tenancy_core::Timestamp;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::ids::KeyId;
use tenancy_core::moment::Moment;
use tenancy_core::permission::{Operation, may};
use tenancy_core::rules::keys::{create, revoke};

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
    /// For people.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// What the maker may: no key makes a key that may more than itself.
    pub maker: Role,
}

impl Command for Create {
    type Outcome = NewKey;

    async fn decide(&self, _: &Tenancy, moment: &mut Moment) -> Result<Decided<NewKey>, Error> {
        let exceeds = |operation: &Operation| may(self.role, *operation) && !may(self.maker, *operation);
        if let Some((_, operation)) = Operation::WORDS.iter().find(|(_, operation)| exceeds(operation)) {
            return Err(Error::Forbidden(format!("a key of role {} cannot make one that may {operation}", self.maker)));
        }
        let token = Token::fresh()?;
        let decision = create(&self.name, self.role, self.expires_at, token.digest(), moment)?;
        Ok(Decided { outcome: NewKey { key: decision.key, token }, changes: decision.changes })
    }
}

/// Makes a key at nobody's request: the first one of a database, which no other key can ask for.
///
/// # Errors
/// [`Error::Conflict`] when a good key has this name.
pub async fn make_first(tenancy: &Tenancy, name: &str, role: Role) -> Result<NewKey, Error> {
    let asked = Asked::by_system("first-key", fresh_correlation_id());
    let create = Create { name: name.to_owned(), role, expires_at: None, maker: Role::Admin };
    match tenancy.decide_and_commit(&create, &asked, None).await? {
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

    async fn decide(&self, tenancy: &Tenancy, moment: &mut Moment) -> Result<Decided<ApiKey>, Error> {
        let decision = revoke(&find(tenancy, &self.key).await?, moment)?;
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
