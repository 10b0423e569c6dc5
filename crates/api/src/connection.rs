//! Connection data of environments as responses show it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// How to connect to an environment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Connection<'a> {
    /// Kind of the place: `sqlite`.
    #[schema(value_type = String, example = "sqlite")]
    pub kind: Cow<'a, str>,
    /// What the connection may do: `full` or `read_only`. A SQLite file must be opened accordingly.
    #[schema(value_type = String, example = "read_only")]
    pub access: Cow<'a, str>,
    /// Path of the SQLite file on the machine of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file: Option<Cow<'a, str>>,
}
