//! API keys: made, rotated and revoked.

use super::change_builder::changes;
use crate::apikey::{ApiKey, Role};
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::{DecisionContext, cut};
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::json::Pointer;
use crate::permission::{Operation, key_may};
use crate::scope::Scope;
use crate::violation::Violation;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Longest name of a key, in bytes.
pub const MAX_NAME_LENGTH_BYTES: usize = 64;

/// Longest time for which a rotated key takes its former token, in seconds: 30 days.
pub const MAX_OVERLAP_SECONDS: i64 = 30 * 24 * 60 * 60;

/// For how long a rotated key takes its former token when nothing is said, in seconds: one day.
pub const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 60 * 60;

/// Most keys that are revoked together with the key that made them.
pub const MAX_CHILDREN: usize = 1000;

/// What a key may do, on what, and until when. No key makes a key that exceeds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What it may do.
    pub role: Role,
    /// What it reaches.
    pub scope: Scope,
    /// When it stops working; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl Rights {
    /// The rights of a role without a scope and without an end.
    pub fn unlimited(role: Role) -> Self {
        Self { role, scope: Scope::All, expires_at: None }
    }

    /// The rights of a key.
    pub fn of(key: &ApiKey) -> Self {
        Self { role: key.role, scope: key.scope.clone(), expires_at: key.expires_at }
    }

    /// Why a key with these rights may not be given out by one with `maker`'s; `is_inside` says that this scope lies
    /// within the maker's.
    fn exceeds(&self, maker: &Self, is_inside: bool) -> Option<String> {
        let more = |operation: Operation| {
            key_may(self.role, &self.scope, operation) && !key_may(maker.role, &maker.scope, operation)
        };
        if let Some((_, operation)) = Operation::WORDS.iter().find(|(_, operation)| more(*operation)) {
            return Some(format!("a key of role {} cannot give out a key that may {operation}", maker.role));
        }
        if !is_inside {
            return Some(format!("a key of scope {} cannot give out a key of scope {}", maker.scope, self.scope));
        }
        let end = maker.expires_at?;
        let is_longer = self.expires_at.is_none_or(|at| at > end);
        is_longer.then(|| format!("a key that expires at {end} cannot give out a key that is valid for longer"))
    }

    /// Refuses rights that exceed those of the key that gives them out.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with what exceeds.
    pub fn check(&self, maker: &Self, is_inside: bool) -> Result<(), Error> {
        self.exceeds(maker, is_inside).map_or(Ok(()), |why| Err(Error::Forbidden(why)))
    }
}

/// What a rule decided on a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDecision {
    /// The key afterwards.
    pub key: ApiKey,
    /// What to commit; `None` when nothing changes.
    pub changes: Option<Changes>,
}

/// Makes a key whose token has this digest. What its maker may give out is checked by [`Rights::check`].
///
/// # Errors
/// [`Error::Invalid`] for a name, a scope or an end that cannot be.
pub fn create(
    name: &str,
    rights: Rights,
    created_by: Option<crate::ids::KeyId>,
    token_digest: String,
    context: &mut DecisionContext,
) -> Result<KeyDecision, Error> {
    let mut violations = Vec::new();
    let mut bad = |field: &str, code, message: String| {
        violations.push(Violation::at(&Pointer::root().key(field), code, message));
    };
    if name.is_empty() || name.len() > MAX_NAME_LENGTH_BYTES || name.chars().any(char::is_control) {
        let message = format!("must be 1 to {MAX_NAME_LENGTH_BYTES} bytes without control characters");
        bad("name", "bad_name", message);
    }
    if rights.expires_at.is_some_and(|at| at <= context.now) {
        bad("expires_at", "out_of_range", "must be in the future".to_owned());
    }
    if rights.role == Role::Customer && rights.scope.is_all() {
        let message = "a key of role customer needs a scope: organization:ID or tenant:ID";
        bad("scope", "required", message.to_owned());
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let key = ApiKey {
        key_id: context.key_id(),
        name: name.to_owned(),
        role: rights.role,
        scope: rights.scope,
        token_digest,
        previous_digest: None,
        previous_expires_at: None,
        version: 1,
        created_by,
        created_at: context.now,
        expires_at: rights.expires_at.map(cut),
        revoked_at: None,
        last_used_at: None,
    };
    let mut payload = json!({"key_id": key.key_id, "role": key.role, "scope": key.scope.to_string()});
    if let Some(maker) = &key.created_by {
        payload["created_by"] = json!(maker);
    }
    let event =
        Event::new(context, None, EventType::KeyCreated, payload).with_private(context, json!({"name": key.name}));
    let guards = vec![Guard::ApiKeyUnused(key.name.clone())];
    let changes = changes(vec![event], guards, vec![Write::InsertApiKey(key.clone())])?;
    Ok(KeyDecision { key, changes })
}

/// Gives a key a new token. The former one works for `overlap_seconds` more, and one that was replaced before does not.
///
/// # Errors
/// [`Error::NotNow`] for a key that is revoked or expired.
pub fn rotate(
    before: &ApiKey,
    token_digest: String,
    overlap_seconds: i64,
    context: &mut DecisionContext,
) -> Result<KeyDecision, Error> {
    if !before.is_good(context.now) {
        return Err(Error::NotNow(format!("key {} is revoked or expired: create a new one", before.name)));
    }
    let until = context.now.checked_add(jiff::SignedDuration::from_secs(overlap_seconds)).ok();
    let until = until.filter(|_| overlap_seconds > 0).map(cut);
    let key = ApiKey {
        token_digest,
        previous_digest: until.map(|_| before.token_digest.clone()),
        previous_expires_at: until,
        version: before.version + 1,
        ..before.clone()
    };
    let mut payload = json!({"key_id": key.key_id});
    if let Some(until) = until {
        payload["overlap_until"] = json!(until);
    }
    let event = Event::new(context, None, EventType::KeyRotated, payload).with_private(context, Value::Null);
    let guards = vec![Guard::ApiKeyAt(key.key_id.clone(), before.version)];
    let changes = changes(vec![event], guards, vec![Write::UpdateApiKey(key.clone())])?;
    Ok(KeyDecision { key, changes })
}

/// Revokes a key, and with it its `children` that are not revoked yet: refused from the commit on.
///
/// # Errors
/// None today.
pub fn revoke(before: &ApiKey, children: &[ApiKey], context: &mut DecisionContext) -> Result<KeyDecision, Error> {
    let (mut events, mut guards, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for key in std::iter::once(before).chain(children).filter(|key| key.revoked_at.is_none()) {
        let payload = json!({"key_id": key.key_id});
        events.push(Event::new(context, None, EventType::KeyRevoked, payload).with_private(context, Value::Null));
        guards.push(Guard::ApiKeyAt(key.key_id.clone(), key.version));
        writes.push(Write::UpdateApiKey(revoked(key, context.now)));
    }
    let key = if before.revoked_at.is_some() { before.clone() } else { revoked(before, context.now) };
    Ok(KeyDecision { key, changes: changes(events, guards, writes)? })
}

fn revoked(key: &ApiKey, now: Timestamp) -> ApiKey {
    ApiKey { revoked_at: Some(now), version: key.version + 1, ..key.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrganizationId;

    fn rights(role: Role, scope: &str, expires_at: Option<i64>) -> Rights {
        let expires_at = expires_at.map(|seconds| Timestamp::from_second(seconds).expect("a time"));
        Rights { role, scope: Scope::parse(scope).expect("a scope"), expires_at }
    }

    #[test]
    fn must_let_no_key_make_one_that_may_more_or_longer() {
        let admin = rights(Role::Admin, "all", Some(100));
        assert!(rights(Role::Admin, "all", Some(100)).check(&admin, true).is_ok());
        assert!(rights(Role::Viewer, "all", Some(1)).check(&admin, true).is_ok());
        assert!(rights(Role::Admin, "all", None).check(&admin, true).is_err(), "without an end");
        assert!(rights(Role::Viewer, "all", Some(101)).check(&admin, true).is_err(), "longer");
        let scoped = rights(Role::Admin, "organization:acme", None);
        assert!(rights(Role::Admin, "all", None).check(&scoped, false).is_err());
        assert!(rights(Role::Viewer, "organization:globex", None).check(&scoped, false).is_err());
        assert!(rights(Role::Customer, "organization:acme", None).check(&scoped, true).is_ok());
        assert!(rights(Role::Admin, "all", None).check(&rights(Role::Operator, "all", None), true).is_err());
        assert!(Scope::Organization(OrganizationId::known("acme")) == scoped.scope);
    }
}
