//! Creates, rotates and revokes API keys.

use super::change_builder::changes;
use crate::apikey::{ApiKey, Role};
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::{DecisionContext, cut};
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::gated_change::{GatedChange, LAST_ADMIN_KEY};
use crate::json::Pointer;
use crate::permission::{Operation, key_may};
use crate::scope::Scope;
use crate::violation::Violation;
use crate::visible::{HIDDEN, is_hidden, is_single_script};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Maximum length of the name of a key, in bytes.
pub const MAX_NAME_LENGTH_BYTES: usize = 64;

/// Maximum time during which the previous token of a rotated key remains valid, in seconds: 30 days.
pub const MAX_OVERLAP_SECONDS: i64 = 30 * 24 * 60 * 60;

/// Default time during which the previous token of a rotated key remains valid, in seconds: one day.
pub const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 60 * 60;

/// Maximum number of keys that are revoked together with the key that created them.
pub const MAX_CHILDREN: usize = 1000;

/// Rights of a key: role, scope and expiry. No key can create a key with more rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Role: the operations that the key permits.
    pub role: Role,
    /// Scope: the organizations and tenants that the key can access.
    pub scope: Scope,
    /// Time of expiry; `None` if the key does not expire.
    pub expires_at: Option<Timestamp>,
}

impl Rights {
    /// Returns the rights of a role without scope and expiry.
    pub fn unlimited(role: Role) -> Self {
        Self { role, scope: Scope::All, expires_at: None }
    }

    /// Returns the rights of a key.
    pub fn of(key: &ApiKey) -> Self {
        Self { role: key.role, scope: key.scope.clone(), expires_at: key.expires_at }
    }

    /// Returns the reason why a key with the rights of `maker` must not create a key with these rights. `is_inside`
    /// says whether this scope lies within the scope of `maker`.
    fn exceeds(&self, maker: &Self, is_inside: bool) -> Option<String> {
        let more = |operation: Operation| {
            key_may(self.role, &self.scope, operation) && !key_may(maker.role, &maker.scope, operation)
        };
        if !is_inside {
            return Some(format!("a key with scope {} cannot create a key with scope {}", maker.scope, self.scope));
        }
        if let Some((_, operation)) = Operation::WORDS.iter().find(|(_, operation)| more(*operation)) {
            return Some(format!("a key with role {} cannot create a key that may {operation}", maker.role));
        }
        let end = maker.expires_at?;
        let is_longer = self.expires_at.is_none_or(|at| at > end);
        is_longer.then(|| format!("a key that expires at {end} cannot create a key that expires later"))
    }

    /// Refuses rights that exceed the rights of the key that creates or rotates the key.
    ///
    /// # Errors
    /// [`Error::Forbidden`] with the right that exceeds.
    pub fn check(&self, maker: &Self, is_inside: bool) -> Result<(), Error> {
        self.exceeds(maker, is_inside).map_or(Ok(()), |why| Err(Error::Forbidden(why)))
    }
}

/// Decision on a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDecision {
    /// The key after the change.
    pub key: ApiKey,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
}

/// Creates a key whose token has this digest. [`Rights::check`] checks the rights against those of the creating key.
///
/// # Errors
/// [`Error::Invalid`] for an invalid name, scope or expiry.
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
    if name.is_empty() || name.len() > MAX_NAME_LENGTH_BYTES || name.chars().any(is_hidden) {
        let message = format!("must be 1 to {MAX_NAME_LENGTH_BYTES} bytes without {HIDDEN}");
        bad("name", "bad_name", message);
    }
    if !is_single_script(name) {
        let message = "must not mix scripts, because letters of different scripts look alike: use one alphabet";
        bad("name", "bad_name", message.to_owned());
    }
    if rights.expires_at.is_some_and(|at| at <= context.now) {
        bad("expires_at", "out_of_range", "must be in the future".to_owned());
    }
    if rights.role == Role::Customer && rights.scope.is_all() {
        let message = "a key with role customer requires a scope: organization:ID or tenant:ID";
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

/// Replaces the token of a key. The previous token remains valid for `overlap_seconds`; older tokens become invalid.
///
/// # Errors
/// [`Error::NotNow`] if the key is revoked or expired.
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

/// Revokes a key and its active `children`. The server refuses them from the commit on.
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

/// Minimum time for which an admin key must remain valid to count as a replacement of one that is valid longer, in
/// seconds: one day.
const MIN_REPLACEMENT_SECONDS: i64 = 24 * 60 * 60;

/// Whether a key can administer everything now.
fn is_admin(key: &ApiKey, now: Timestamp) -> bool {
    key.role == Role::Admin && key.scope.is_all() && key.is_good(now)
}

/// Checks that an admin key remains when `revoked` are revoked. `admins` are admin keys, those that are valid longest
/// first. Returns the guard under which this holds: two requests must not each rely on the key that the other revokes.
///
/// # Errors
/// [`Error::Gated`] if no admin key remains and `is_confirmed` is false.
pub fn keep_admin(
    revoked: &[&ApiKey],
    admins: &[ApiKey],
    is_confirmed: bool,
    now: Timestamp,
) -> Result<Option<Guard>, Error> {
    let lost: Vec<_> = revoked.iter().filter(|key| is_admin(key, now)).collect();
    let Some(first) = lost.first() else { return Ok(None) };
    // The time until which an administrator would have access without the revocation; `None` if it has no end.
    let end = lost.iter().map(|key| key.expires_at).reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b))).flatten();
    let soon = now.checked_add(jiff::SignedDuration::from_secs(MIN_REPLACEMENT_SECONDS)).ok();
    let replaces = |key: &&ApiKey| {
        let lasts = key.expires_at.is_none_or(|at| Some(at) >= soon || end.is_some_and(|end| at >= end));
        is_admin(key, now) && lasts && !revoked.iter().any(|gone| gone.key_id == key.key_id)
    };
    match admins.iter().find(replaces) {
        Some(kept) => Ok(Some(Guard::ApiKeyAt(kept.key_id.clone(), kept.version))),
        None if is_confirmed => Ok(None),
        None => {
            let message = format!(
                "no other admin key without a scope would be valid for another day: create one before you revoke {}; \
                 if you revoke it nevertheless, only `tenancy db key NAME` on the machine of the server creates \
                 another",
                first.name
            );
            let gate = GatedChange { allow: LAST_ADMIN_KEY, pointer: Pointer::root().to_string(), message };
            Err(Error::Gated(vec![gate]))
        }
    }
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
    fn must_let_no_key_create_one_with_more_rights_or_a_later_expiry() {
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

    #[test]
    fn must_keep_an_admin_key_that_lasts_unless_it_is_confirmed() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let mut context = DecisionContext::new(
            now,
            [1; 32],
            crate::actor::Actor::system("test"),
            crate::ids::CorrelationId::known("c"),
        );
        let mut key = |role, scope: &str, seconds: Option<i64>| {
            let rights = rights(role, scope, seconds.map(|seconds| 1_000_000 + seconds));
            create("k", rights, None, "digest".to_owned(), &mut context).expect("created").key
        };
        let (first, second, day) = (
            key(Role::Admin, "all", None),
            key(Role::Admin, "all", None),
            key(Role::Admin, "all", Some(MIN_REPLACEMENT_SECONDS)),
        );
        let (short, shorter) = (key(Role::Admin, "all", Some(10)), key(Role::Admin, "all", Some(2)));
        let others = [key(Role::Operator, "all", None), key(Role::Admin, "organization:acme", None)];
        let gone = ApiKey { revoked_at: Some(now), ..second.clone() };
        let kept = |revoked: &[&ApiKey], admins: &[&ApiKey]| {
            let admins: Vec<_> = admins.iter().map(|key| (*key).clone()).collect();
            let kept = keep_admin(revoked, &admins, false, now);
            assert!(keep_admin(revoked, &admins, true, now).is_ok());
            kept.ok()
        };
        assert_eq!(kept(&[&first], &[&first, &others[0], &others[1], &gone]), None);
        assert_eq!(kept(&[&first], &[&first, &shorter]), None, "it expires in two seconds");
        assert_eq!(kept(&[&first, &second], &[&first, &second]), None, "its child is revoked, too");
        for (revoked, replacement) in [(&first, &second), (&first, &day), (&short, &day), (&shorter, &short)] {
            let guard = Guard::ApiKeyAt(replacement.key_id.clone(), 1);
            assert_eq!(kept(&[revoked], &[revoked, replacement]), Some(Some(guard)));
        }
        assert_eq!(kept(&[&others[0]], &[&first]), Some(None), "it is no admin key");
        assert_eq!(kept(&[&gone], &[&gone]), Some(None), "it is revoked already");
    }
}
