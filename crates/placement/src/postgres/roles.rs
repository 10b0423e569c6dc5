//! The roles of an environment that cannot log in, and what they may do.

use super::names::{owner, quoted, reader};
use super::server::{Server, fault, run};
use crate::Fault;
use tenancy_core::ids::EnvironmentId;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Creates owner and reader, if they do not exist. The administrator is a member of both: PostgreSQL lets it end their sessions
/// and grant what they own.
pub async fn create(admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
    for role in [owner(env_id), reader(env_id)] {
        create_role(admin, &role).await?;
    }
    Ok(())
}

/// Creates a role that cannot log in, if it does not exist.
pub async fn create_role(admin: &Client, role: &str) -> Result<(), Fault> {
    match admin.batch_execute(&format!("CREATE ROLE {} NOLOGIN ROLE CURRENT_USER", quoted(role))).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
        Err(error) => Err(fault(&error)),
    }
}

/// Returns those of owner and reader that exist.
pub async fn existing(admin: &Client, env_id: &EnvironmentId) -> Result<Vec<String>, Fault> {
    let text = "SELECT rolname FROM pg_roles WHERE rolname IN ($1, $2)";
    let rows = admin.query(text, &[&owner(env_id), &reader(env_id)]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Lets the reader read what the owner will make, and nobody run the owner's functions: a function can run with the rights of
/// its owner. This is for the current database.
pub async fn set_default_rights(inside: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
    let (owner, reader) = (quoted(&owner(env_id)), quoted(&reader(env_id)));
    let default = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner}");
    let text = format!(
        "{default} REVOKE EXECUTE ON ROUTINES FROM PUBLIC; \
         {default} GRANT USAGE ON SCHEMAS TO {reader}; \
         {default} GRANT SELECT ON TABLES TO {reader}; \
         {default} GRANT SELECT ON SEQUENCES TO {reader}"
    );
    run(inside, &text).await
}

/// Drops owner and reader, with what they own in any database.
pub async fn drop_both(server: &Server, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
    for role in [owner(env_id), reader(env_id)] {
        if !drop_role(server, admin, &role, None).await? {
            return Err(Fault::Unavailable(format!("the objects of role {role} to be removed")));
        }
    }
    Ok(())
}

/// Drops a role. What it owns in the database of the heir goes to the heir, and everything else that it owns is dropped: a role
/// can own large objects in each database that lets everybody connect. Returns `false` if it has something in a database that
/// refuses connections. Such a role stays.
pub async fn drop_role(server: &Server, admin: &Client, role: &str, heir: Option<(&str, &str)>) -> Result<bool, Fault> {
    let text = "SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid \
        JOIN pg_database d ON d.oid = s.dbid \
        WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = $1 AND d.datallowconn";
    let quoted_role = quoted(role);
    for row in admin.query(text, &[&role]).await.map_err(|error| fault(&error))? {
        let database: &str = row.get(0);
        let inside = server.connect(Some(database)).await?;
        if let Some((_, owner)) = heir.filter(|(of_heir, _)| *of_heir == database) {
            run(&inside, &format!("REASSIGN OWNED BY {quoted_role} TO {}", quoted(owner))).await?;
        }
        run(&inside, &format!("DROP OWNED BY {quoted_role} CASCADE")).await?;
    }
    let exists = admin.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).await;
    if exists.map_err(|error| fault(&error))?.is_none() {
        return Ok(true);
    }
    // Rights on databases are not in any database.
    run(admin, &format!("DROP OWNED BY {quoted_role}")).await?;
    match admin.batch_execute(&format!("DROP ROLE {quoted_role}")).await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => Ok(false),
        Err(error) => Err(fault(&error)),
    }
}
