//! What a place is told about its environment, in a table that programs can read.
//!
//! Comments of databases can be read by everybody on the server, and those of schemas by everybody in the database. So they
//! contain a random fingerprint, and nothing about a tenant.

use super::names::{owner, quoted, reader};
use super::server::{fault, run};
use crate::{Fault, Wanted};
use serde_json::json;
use tenancy_core::ids::EnvironmentId;
use tokio_postgres::Client;

/// Returns the settings of an environment as JSON.
pub fn settings(wanted: &Wanted) -> String {
    json!({
        "tenant_id": wanted.tenant_id,
        "profile": wanted.profile,
        "env_id": wanted.env_id,
        "environment": wanted.name,
        "region": wanted.region,
        "isolation_level": wanted.isolation_level,
        "quotas": wanted.quotas,
        "retention_days": wanted.retention_days,
        "policies": wanted.policies,
    })
    .to_string()
}

/// Creates the table in a schema of the administrator, where nobody else can replace it.
pub async fn create(inside: &Client, env_id: &EnvironmentId, schema: &str) -> Result<(), Fault> {
    let (table, owner, reader) = (table(schema), quoted(&owner(env_id)), quoted(&reader(env_id)));
    let text = format!(
        "CREATE TABLE IF NOT EXISTS {table} (env_id text PRIMARY KEY, settings jsonb NOT NULL); \
         GRANT SELECT ON {table} TO {owner}, {reader}"
    );
    run(inside, &text).await
}

/// Writes the settings.
pub async fn write(inside: &Client, env_id: &EnvironmentId, schema: &str, settings: &str) -> Result<(), Fault> {
    let text = format!(
        "INSERT INTO {} AS t (env_id, settings) VALUES ($1, $2::text::jsonb) \
         ON CONFLICT (env_id) DO UPDATE SET settings = excluded.settings WHERE t.settings <> excluded.settings",
        table(schema)
    );
    inside.execute(&text, &[&env_id.as_str(), &settings]).await.map(drop).map_err(|error| fault(&error))
}

/// Checks that the table can be read and belongs to the environment.
pub async fn check(inside: &Client, env_id: &EnvironmentId, schema: &str) -> Result<(), Fault> {
    let text = format!("SELECT FROM {} WHERE env_id = $1", table(schema));
    match inside.query_opt(&text, &[&env_id.as_str()]).await.map_err(|error| fault(&error))? {
        Some(_) => Ok(()),
        None => Err(Fault::Refused(format!(
            "the settings of environment {env_id} are gone from its place: restore it from a backup"
        ))),
    }
}

fn table(schema: &str) -> String {
    format!("{}.tenancy_environment", quoted(schema))
}
