//! Two PostgreSQL roles: the owner, which migrates, and the role that `serve` runs as. The database prevents the second
//! role from changing the log.

use super::connection::Connection;
use super::fault::failed;
use super::partition;
use super::target::Target;
use crate::rows::{Dialect, Field, Type, Value};
use crate::sql::Sql;
use tenancy_core::Error;
use tenancy_core::delivery::SLOTS;

/// Tables that `serve` can only read and append to.
const APPEND_ONLY: &str = "tenant_audit, platform_audit, log_batches, log_seals";

/// Tables that `serve` can change.
const CHANGEABLE: &str = "organizations, organization_usage, tenants, tenant_labels, tenant_versions, \
    environments, environment_versions, placements, environment_placements, holds, aliases, tenant_webhooks, platform_webhooks, \
    tenant_jobs, audit_private, \
    idempotency_records, api_keys, marks, data_keys, webhook_dispatch, webhook_deliveries, webhook_lanes, webhook_attempts";

/// Tables that only the owner writes, and functions that run as the owner.
const OWNERS: &str = "schema_migrations, schema_lock, log_head, log_floor, log_epochs";
const FUNCTIONS: &str = "log_add_partition, log_drop_partition";

/// Roles with a given name.
const NAMED: &str = "SELECT rolname::text FROM pg_roles";

/// Input of [`WHY_NOT`]: the role and all roles that it is a member of, because a member can act as that role; the
/// schema of the log, its tables and functions, and their owners.
const AROUND: &str = "WITH me AS (SELECT oid, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = {}), \
    became AS (SELECT r.oid, CASE r.oid WHEN me.oid THEN 'it' ELSE 'as a member of ' || r.rolname || ' it' END AS it \
        FROM me JOIN pg_roles r ON pg_has_role(me.oid, r.oid, 'MEMBER')), \
    home AS (SELECT n.oid, nspname, nspowner, relowner FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
        WHERE c.oid = 'tenant_audit'::regclass), \
    logs AS (SELECT c.oid, relname, c.relowner FROM home JOIN pg_class c ON relnamespace = home.oid \
        WHERE relname IN ('tenant_audit', 'platform_audit', 'log_batches', 'log_seals', 'log_floor', 'log_epochs') \
        OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass)), \
    made AS (SELECT p.oid, proname, proowner FROM home JOIN pg_proc p ON pronamespace = home.oid \
        WHERE proname IN ('log_add_partition', 'log_drop_partition', 'log_partition_month', 'log_least_id', \
            'log_refuse_change', 'log_floor_refuse')), \
    owned AS (SELECT relowner AS oid, relname::text AS what FROM logs UNION ALL SELECT proowner, proname::text FROM made \
        UNION ALL SELECT nspowner, 'the schema ' || nspname FROM home)";

/// Reasons why a role could still change the log, the simplest first. A trigger runs with the rights of the next writer
/// to its table, and an object in the log's schema can be called by the log's functions by mistake. Both could run as
/// the owner.
const WHY_NOT: &str = "SELECT why FROM ( \
    SELECT 1 AS place, 'it is a superuser' AS why FROM me WHERE rolsuper \
    UNION ALL SELECT 2, it || ' owns ' || what FROM became JOIN owned USING (oid) \
    UNION ALL SELECT 3, 'it can create roles (CREATEROLE), including owners of the log' FROM me WHERE rolcreaterole \
    UNION ALL SELECT 4, it || ' can change ' || relname FROM became, logs \
        WHERE has_any_column_privilege(became.oid, logs.oid, 'UPDATE') \
        OR has_table_privilege(became.oid, logs.oid, 'DELETE, TRUNCATE') \
    UNION ALL SELECT 5, it || ' can create triggers on ' || relname FROM became, home JOIN pg_class c USING (relowner) \
        WHERE relnamespace = home.oid AND relkind IN ('r', 'p') AND has_table_privilege(became.oid, c.oid, 'TRIGGER') \
    UNION ALL SELECT 6, it || ' can call ' || proname FROM became, made \
        WHERE proname = 'log_drop_partition' AND has_function_privilege(became.oid, made.oid, 'EXECUTE') \
    UNION ALL SELECT 7, it || ' can create tables and functions in the schema ' || nspname FROM became, home \
        WHERE has_schema_privilege(became.oid, home.oid, 'CREATE')) AS reasons \
    ORDER BY place, why LIMIT 1";

/// Grants a role the rights that `serve` needs, and revokes all other rights on these tables. Repeating it changes
/// nothing; run it again after each migration.
///
/// # Errors
/// [`Error::NotNow`] with the reason if the role does not exist, or could still change the log.
pub async fn grant(target: &Target, role: &str) -> Result<(), Error> {
    let connection = Connection::open(target, &Target::shared_settings()).await.map_err(|error| failed(&error))?;
    connection.begin("").await.map_err(|error| failed(&error))?;
    let done = try_to_grant(&connection, role).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(end).await.map_err(|error| failed(&error));
    done.and(ended)
}

async fn try_to_grant(connection: &Connection, role: &str) -> Result<(), Error> {
    let mut named = Sql::new(Dialect::Postgres, NAMED);
    named.and("rolname = {}", Some(role.to_owned()));
    if first(connection, &named).await?.is_none() {
        return Err(Error::NotNow(format!("no role {role} exists: create it with CREATE ROLE {role} LOGIN")));
    }
    let rights = rights(role, &partition::names(connection).await?);
    connection.execute(&rights).await.map_err(|error| failed(&error))?;
    match why_not(connection, role).await? {
        None => Ok(()),
        Some(why) => Err(Error::NotNow(format!(
            "{role} could change the audit log, which the role of `serve` must not be able to: {why}; nothing was \
             granted, remove that right or use another role"
        ))),
    }
}

/// Returns the simplest reason why a role could change the log.
async fn why_not(connection: &Connection, role: &str) -> Result<Option<String>, Error> {
    let mut why = Sql::new(Dialect::Postgres, "");
    let parameter = why.bind(Type::Text, Value::Text(role.to_owned()));
    why.text = format!("{} {WHY_NOT}", AROUND.replace("{}", &parameter));
    first(connection, &why).await
}

/// Fails if the current role lacks a right that `serve` needs.
///
/// # Errors
/// [`Error::NotNow`] with the command that grants it.
pub async fn check(connection: &Connection) -> Result<(), Error> {
    let needs = [
        ("SELECT", "schema_migrations, log_epochs"),
        ("SELECT", APPEND_ONLY),
        ("INSERT", APPEND_ONLY),
        ("SELECT", CHANGEABLE),
        ("INSERT", CHANGEABLE),
        ("UPDATE", CHANGEABLE),
        ("DELETE", CHANGEABLE),
        ("UPDATE", "log_head"),
    ];
    let rows: Vec<_> = needs
        .iter()
        .flat_map(|(right, tables)| tables.split(", ").map(move |table| format!("('{right}', '{table}')")))
        .collect();
    let lacking = format!(
        "SELECT lacking FROM (SELECT needed || ' on ' || name AS lacking \
         FROM (VALUES {}) AS needs (needed, name) WHERE NOT has_table_privilege(to_regclass(name), needed) LIMIT 1) AS l",
        rows.join(", ")
    );
    let Some(lacking) = first(connection, &Sql::new(Dialect::Postgres, &lacking)).await? else { return Ok(()) };
    let role = current(connection).await?;
    Err(Error::NotNow(format!(
        "the role {role} lacks a right that the server needs ({lacking}): run tenancy db migrate --serve-role {role} as the \
         owner of the tables"
    )))
}

async fn current(connection: &Connection) -> Result<String, Error> {
    Ok(first(connection, &Sql::new(Dialect::Postgres, "SELECT current_user::text")).await?.unwrap_or_default())
}

/// A table of ours that Citus has distributed. (The catalog exists only where Citus is installed.)
const CITUS: &str = "SELECT to_regclass('pg_catalog.pg_dist_partition')::text";
const DISTRIBUTED: &str = "SELECT min(logicalrel::text) FROM pg_catalog.pg_dist_partition \
    WHERE logicalrel IN (SELECT oid FROM pg_class WHERE relnamespace = \
        (SELECT relnamespace FROM pg_class WHERE oid = 'tenant_audit'::regclass))";

/// Returns what an administrator should change: the role could change the log, or Citus has distributed a table.
pub async fn warnings(target: &Target) -> Result<Vec<String>, Error> {
    let connection = Connection::open(target, &Target::shared_settings()).await.map_err(|error| failed(&error))?;
    let role = current(&connection).await?;
    let mut warnings = Vec::new();
    if let Some(why) = why_not(&connection, &role).await? {
        warnings.push(format!(
            "the role {role} could change the audit log: {why}. Serve with a role of its own: run tenancy db migrate \
             --serve-role ROLE as the owner of the tables"
        ));
    }
    if first(&connection, &Sql::new(Dialect::Postgres, CITUS)).await?.is_some()
        && let Some(table) = first(&connection, &Sql::new(Dialect::Postgres, DISTRIBUTED)).await?
    {
        warnings.push(format!(
            "Citus has distributed the table {table}, which makes commits many times slower: run SELECT \
             undistribute_table('{table}'), and likewise for all tables of this database"
        ));
    }
    Ok(warnings)
}

/// Returns the GRANT statements. They first revoke all previous rights, including rights that the role has granted to
/// others.
fn rights(role: &str, partitions: &[String]) -> String {
    let role = quoted(role);
    let parts: Vec<_> = (0..SLOTS).map(|slot| format!("webhook_attempts_{slot:02}")).collect();
    let parts = parts.join(", ");
    let partitions: String = partitions.iter().map(|name| format!(", {}", quoted(name))).collect();
    format!(
        "REVOKE ALL ON {APPEND_ONLY}, {CHANGEABLE}, {OWNERS}, {parts}{partitions} FROM {role} CASCADE; \
         REVOKE ALL ON FUNCTION {FUNCTIONS} FROM {role} CASCADE; \
         GRANT SELECT ON schema_migrations, log_floor, log_epochs TO {role}; \
         GRANT SELECT, INSERT ON {APPEND_ONLY} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {CHANGEABLE} TO {role}; \
         -- Locking the row of the head needs the right to update it. No statement updates it.\n\
         GRANT SELECT, UPDATE ON log_head TO {role}; \
         GRANT SELECT, TRUNCATE ON {parts} TO {role}; \
         GRANT EXECUTE ON FUNCTION log_add_partition TO {role}"
    )
}

/// Quotes a name as a SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the text that a query finds, if any.
async fn first(connection: &Connection, sql: &Sql) -> Result<Option<String>, Error> {
    let rows = connection.run(sql, &[Type::Text]).await.map_err(|error| failed(&error))?;
    let text = rows.into_iter().flatten().next().map(<Option<String> as Field>::take).transpose();
    text.map(Option::flatten).map_err(|error| Error::Internal(error.0))
}
