//! API keys, as they are read: without their tokens, which nobody keeps.

use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::apikey::{ApiKey, Role};
use utoipa::ToSchema;

/// An API key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Key<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub key_id: Cow<'a, str>,
    /// For people.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// What it may.
    #[schema(schema_with = super::schema::role)]
    pub role: Word<Role>,
    /// What its bearer reaches: `all`, `organization:ID` or `tenant:ID`.
    #[schema(example = "organization:acme")]
    pub scope: String,
    /// The key that made it; left out for a key that was made on the command line of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub created_by: Option<Cow<'a, str>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Until when the token before the last rotation works.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_expires_at: Option<Timestamp>,
}

/// A key that was made just now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewKey<'a> {
    /// The key.
    #[serde(flatten)]
    pub key: Key<'a>,
    /// Its token: shown this once, and left out when the answer is one that was kept for an Idempotency-Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Cow<'a, str>>,
}

/// Whose credential this is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI<'a> {
    /// The key's id.
    #[schema(value_type = String)]
    pub key_id: Cow<'a, str>,
    /// The key's name.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// What it may.
    #[schema(schema_with = super::schema::role)]
    pub role: Word<Role>,
    /// What its bearer reaches: `all`, `organization:ID` or `tenant:ID`.
    #[schema(example = "all")]
    pub scope: String,
    /// When it stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl<'a> Key<'a> {
    /// Of a row.
    pub fn of(key: &'a ApiKey) -> Self {
        Self {
            key_id: key.key_id.as_str().into(),
            name: key.name.as_str().into(),
            role: key.role.into(),
            scope: key.scope.to_string(),
            created_by: key.created_by.as_ref().map(|id| id.as_str().into()),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            previous_expires_at: key.previous_expires_at,
        }
    }
}

impl<'a> NewKey<'a> {
    /// Of a row and its token.
    pub fn of(key: &'a ApiKey, token: Option<&'a str>) -> Self {
        Self { key: Key::of(key), token: token.map(Cow::Borrowed) }
    }
}

impl<'a> WhoAmI<'a> {
    /// Of the row of a caller's key.
    pub fn of(key: &'a ApiKey) -> Self {
        Self {
            key_id: key.key_id.as_str().into(),
            name: key.name.as_str().into(),
            role: key.role.into(),
            scope: key.scope.to_string(),
            expires_at: key.expires_at,
        }
    }
}
