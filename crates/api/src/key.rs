//! API keys as responses show them. Tokens are not stored and not shown.

use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::apikey::{ApiKey, Role};
use utoipa::ToSchema;

/// An API key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Key<'a> {
    /// Id of the key.
    #[schema(value_type = String)]
    pub key_id: Cow<'a, str>,
    /// Name of the key, unique among keys that are not revoked.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// Role of the key: the operations that it permits.
    #[schema(value_type = crate::schema::Role)]
    pub role: Word<Role>,
    /// Scope of the key: `all`, `organization:ID` or `tenant:ID`.
    #[schema(example = "organization:acme")]
    pub scope: String,
    /// Id of the key that created this key. Omitted if the key was created on the command line of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub created_by: Option<Cow<'a, str>>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time from which the key is refused. Omitted if the key does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Time at which the key was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Time of the last use, accurate to about one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// Time until which the token from before the last rotation is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_expires_at: Option<Timestamp>,
}

/// A new or rotated API key, with its token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewKey<'a> {
    /// The key.
    #[serde(flatten)]
    pub key: Key<'a>,
    /// Token of the key. It is shown only once: a response that is repeated for an Idempotency-Key omits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<Cow<'a, str>>,
}

/// The API key that made the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI<'a> {
    /// Id of the key.
    #[schema(value_type = String)]
    pub key_id: Cow<'a, str>,
    /// Name of the key.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// Role of the key: the operations that it permits.
    #[schema(value_type = crate::schema::Role)]
    pub role: Word<Role>,
    /// Scope of the key: `all`, `organization:ID` or `tenant:ID`.
    #[schema(example = "all")]
    pub scope: String,
    /// Time from which the key is refused. Omitted if the key does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl<'a> Key<'a> {
    /// Builds the response from a row.
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
    /// Builds the response from a row and a token.
    pub fn of(key: &'a ApiKey, token: Option<&'a str>) -> Self {
        Self { key: Key::of(key), token: token.map(Cow::Borrowed) }
    }
}

impl<'a> WhoAmI<'a> {
    /// Builds the response from the row of the caller's key.
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
