//! Connection data of environments as responses show it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use utoipa::ToSchema;

/// How to connect to an environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Connection<'a> {
    /// Kind of the place: `sqlite`, `postgres_database` or `postgres_schema`.
    #[schema(value_type = String, example = "sqlite")]
    pub kind: Cow<'a, str>,
    /// What the connection may do: `full` or `read_only`. A SQLite file must be opened accordingly.
    #[schema(value_type = String, example = "read_only")]
    pub access: Cow<'a, str>,
    /// Path of the SQLite file on the machine of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file: Option<Cow<'a, str>>,
    /// Host of the PostgreSQL server: a name, an address, or the folder of a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub host: Option<Cow<'a, str>>,
    /// Port of the PostgreSQL server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Database of the PostgreSQL server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub database: Option<Cow<'a, str>>,
    /// Role that logs in. It was made for this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<Cow<'a, str>>,
    /// Password of the role. Only this answer contains it; a repeated request with the same Idempotency-Key does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Cow<'a, str>>,
    /// Time at which the role cannot log in any more, and its sessions end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}
