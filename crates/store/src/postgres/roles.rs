//! Two roles: the owner, who migrates, and the one that `serve` runs as, whom the database itself keeps from changing
//! the log.

use super::connection::Connection;
use super::fault::failed;
use super::target::Target;
use tenancy_core::Error;

/// What may be read and appended, and nothing else.
const APPEND_ONLY: &str = "tenant_audit, platform_audit, log_batches";

/// What may be changed.
const CHANGEABLE: &str = "organizations, organization_usage, tenants, tenant_versions, environments, \
    environment_versions, holds, aliases, tenant_webhooks, tenant_jobs, audit_private, idempotency_records, api_keys, marks";

/// Gives a role the rights that `serve` needs. Saying it again changes nothing; it is said again after each migration.
pub async fn grant(target: &Target, role: &str) -> Result<(), Error> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let sql = format!(
        "GRANT SELECT ON schema_migrations TO {role}; \
         GRANT SELECT, INSERT ON {APPEND_ONLY} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {CHANGEABLE} TO {role}; \
         -- A lock on the head's row needs the right to update it; nobody does.\n\
         GRANT SELECT, UPDATE ON log_head TO {role}; \
         GRANT EXECUTE ON FUNCTION log_add_partition TO {role}"
    );
    let connection = Connection::open(target, &Target::shared_settings()).await.map_err(|error| failed(&error))?;
    connection.begin("").await.map_err(|error| failed(&error))?;
    connection.execute(&sql).await.map_err(|error| failed(&error))?;
    connection.execute("COMMIT").await.map_err(|error| failed(&error))
}
