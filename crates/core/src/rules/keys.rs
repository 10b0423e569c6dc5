//! API keys: made and revoked.

use super::change_builder::changes;
use crate::apikey::{ApiKey, Role};
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::json::Pointer;
use crate::violation::Violation;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Longest name of a key, in bytes.
pub const MAX_NAME_LENGTH_BYTES: usize = 64;

/// What a rule decided on a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDecision {
    /// The key afterwards.
    pub key: ApiKey,
    /// What to commit; `None` when nothing changes.
    pub changes: Option<Changes>,
}

/// Makes a key whose token has this digest.
///
/// # Errors
/// [`Error::Invalid`] for a name or an end that cannot be.
pub fn create(
    name: &str,
    role: Role,
    expires_at: Option<Timestamp>,
    token_digest: String,
    context: &mut DecisionContext,
) -> Result<KeyDecision, Error> {
    let mut violations = Vec::new();
    if name.is_empty() || name.len() > MAX_NAME_LENGTH_BYTES || name.chars().any(char::is_control) {
        let message = format!("must be 1 to {MAX_NAME_LENGTH_BYTES} bytes without control characters");
        violations.push(Violation::at(&Pointer::root().key("name"), "bad_name", message));
    }
    if expires_at.is_some_and(|at| at <= context.now) {
        violations.push(Violation::at(&Pointer::root().key("expires_at"), "out_of_range", "must be in the future"));
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let key = ApiKey {
        key_id: context.key_id(),
        name: name.to_owned(),
        role,
        token_digest,
        version: 1,
        created_at: context.now,
        expires_at: expires_at.map(crate::decision_context::cut),
        revoked_at: None,
    };
    let payload = json!({"key_id": key.key_id, "role": role});
    let event =
        Event::new(context, None, EventType::KeyCreated, payload).with_private(context, json!({"name": key.name}));
    let guards = vec![Guard::ApiKeyUnused(key.name.clone())];
    let changes = changes(vec![event], guards, vec![Write::InsertApiKey(key.clone())])?;
    Ok(KeyDecision { key, changes })
}

/// Revokes a key: refused from the commit on.
///
/// # Errors
/// None today.
pub fn revoke(before: &ApiKey, context: &mut DecisionContext) -> Result<KeyDecision, Error> {
    if before.revoked_at.is_some() {
        return Ok(KeyDecision { key: before.clone(), changes: None });
    }
    let key = ApiKey { revoked_at: Some(context.now), version: before.version + 1, ..before.clone() };
    let event = Event::new(context, None, EventType::KeyRevoked, json!({"key_id": key.key_id}))
        .with_private(context, Value::Null);
    let guards = vec![Guard::ApiKeyAt(key.key_id.clone(), before.version)];
    let changes = changes(vec![event], guards, vec![Write::UpdateApiKey(key.clone())])?;
    Ok(KeyDecision { key, changes })
}
