//! Login roles that were given out, each to one person or tool.
//!
//! A login is made in one transaction with its memberships, its end and the comment that says whose it is. So a crash leaves
//! either nothing or a login that is found by its name. It has no rights of its own: they come from the owner or the reader.

use super::names::{LOGIN, literal, login, owner, quoted, reader};
use super::prepared;
use super::roles::drop_role;
use super::server::{Server, fault, run};
use super::sessions::{self, Of};
use super::site::Site;
use crate::random::random_hex;
use crate::{Fault, Password, PostgresLogin};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::Access;
use tokio_postgres::{Client, Row};

/// Number of sessions that one login may have.
const MAX_SESSIONS: u32 = 10;

/// A login of the server.
#[derive(Debug)]
pub struct Login {
    name: String,
    env_id: EnvironmentId,
    kind: String,
    database: String,
}

/// Makes a login. `access` must be what the place allows.
pub async fn give<S: Site>(
    site: &S,
    admin: &Client,
    env_id: &EnvironmentId,
    access: Access,
    until: Timestamp,
) -> Result<PostgresLogin, Fault> {
    let at = site.address(env_id);
    let user = login(env_id, &random_hex::<8>()?);
    let password = random_hex::<32>()?;
    // The server would write the password itself into its log.
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let role = quoted(&user);
    let here = format!("ALTER ROLE {role} IN DATABASE {}", quoted(&at.database));
    let (group, setting) = match access {
        Access::Full => (owner(env_id), format!("role = {}", literal(&owner(env_id)))),
        _ => (reader(env_id), "default_transaction_read_only = on".to_owned()),
    };
    let told = json!({"env_id": env_id, "kind": S::KIND, "database": at.database});
    let mut text = format!(
        "CREATE ROLE {role} LOGIN INHERIT CONNECTION LIMIT {MAX_SESSIONS} VALID UNTIL {} PASSWORD {} IN ROLE {} \
         ROLE CURRENT_USER; COMMENT ON ROLE {role} IS {}; {here} SET {setting}",
        literal(&until.to_string()),
        literal(&verifier),
        quoted(&group),
        literal(&told.to_string()),
    );
    if let Some(schema) = &at.schema {
        text += &format!("; {here} SET search_path = {}", quoted(schema));
    }
    run(admin, &text).await?;
    let (host, port) = site.server().address();
    Ok(PostgresLogin { host, port, database: at.database, user, password: Password::new(password) })
}

/// Ends the logins of a site that have expired, environment by environment, each while nobody else works on it.
/// Returns how many were dropped. What cannot be ended does not keep the others from their end.
pub async fn expire<S: Site>(site: &S, now: Timestamp) -> Result<u64, Fault> {
    let server = site.server();
    let ledger = server.connect_to_ledger().await?;
    let mut due = BTreeSet::new();
    for login in list(&ledger, Some(now)).await? {
        if login.kind == S::KIND.as_str() && site.shared_database().is_none_or(|shared| shared == login.database) {
            due.insert(login.env_id);
        }
    }
    let (mut ended, mut failed) = (0, None);
    for env_id in &due {
        match expire_environment(server, env_id, now).await {
            Ok(number) => ended += number,
            Err(fault) => failed = Some(fault),
        }
    }
    failed.map_or(Ok(ended), Err)
}

async fn expire_environment(server: &Server, env_id: &EnvironmentId, now: Timestamp) -> Result<u64, Fault> {
    let admin = super::ledger::lock(server, env_id).await?;
    let mut ended = 0;
    for login in list(&admin, Some(now)).await?.iter().filter(|login| login.env_id == *env_id) {
        shut(&admin, login).await?;
        ended += u64::from(remove(server, &admin, login).await?);
    }
    Ok(ended)
}

/// Ends all logins of an environment: none of them can log in afterwards. A login stays if it cannot be dropped, for example
/// because its database refuses connections. It is found again when logins expire, and when the place is removed.
pub async fn end_all(server: &Server, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
    let logins = of_environment(admin, env_id).await?;
    for login in &logins {
        shut(admin, login).await?;
    }
    for login in &logins {
        match remove(server, admin, login).await {
            Ok(true) => {}
            Ok(false) => tracing::info!(login = login.name, "a login stays, shut, until its database is open or gone"),
            Err(fault) => tracing::warn!(login = login.name, %fault, "a login stays, shut"),
        }
    }
    Ok(())
}

/// Drops all logins of an environment whose data is gone.
pub async fn drop_all(server: &Server, admin: &Client, env_id: &EnvironmentId) -> Result<(), Fault> {
    for login in of_environment(admin, env_id).await? {
        shut(admin, &login).await?;
        if !remove(server, admin, &login).await? {
            return Err(Fault::Unavailable(format!("the objects of role {} to be removed", login.name)));
        }
    }
    Ok(())
}

async fn of_environment(admin: &Client, env_id: &EnvironmentId) -> Result<Vec<Login>, Fault> {
    Ok(list(admin, None).await?.into_iter().filter(|login| login.env_id == *env_id).collect())
}

/// Takes everything from a login and ends its sessions.
async fn shut(admin: &Client, login: &Login) -> Result<(), Fault> {
    let role = quoted(&login.name);
    let text = "SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
        JOIN pg_roles l ON l.oid = m.member WHERE l.rolname = $1";
    let rows = admin.query(text, &[&login.name]).await.map_err(|error| fault(&error))?;
    let revoke = rows.iter().map(|row| format!("; REVOKE {} FROM {role}", quoted(row.get(0))));
    run(admin, &format!("ALTER ROLE {role} NOLOGIN{}", revoke.collect::<String>())).await?;
    sessions::settle(admin, &login.database).await?;
    sessions::end(admin, Of::Role(&login.name)).await
}

/// Drops a login that was shut.
async fn remove(server: &Server, admin: &Client, login: &Login) -> Result<bool, Fault> {
    let (database, owner) = (&login.database, owner(&login.env_id));
    // Without its role, nobody but a superuser could end such a transaction.
    let itself = [login.name.clone()];
    if prepared::exist(admin, database, &itself).await? {
        if !accepts_connections(admin, database).await? {
            return Ok(false);
        }
        prepared::roll_back(server, admin, database, &itself).await?;
    }
    drop_role(server, admin, &login.name, Some((database, &owner))).await
}

async fn accepts_connections(admin: &Client, database: &str) -> Result<bool, Fault> {
    let text = "SELECT FROM pg_database WHERE datname = $1 AND datallowconn";
    admin.query_opt(text, &[&database]).await.map(|row| row.is_some()).map_err(|error| fault(&error))
}

/// Returns the names of all roles of an environment.
pub async fn all_roles(admin: &Client, env_id: &EnvironmentId) -> Result<Vec<String>, Fault> {
    let logins = of_environment(admin, env_id).await?.into_iter().map(|login| login.name);
    Ok(logins.chain([owner(env_id), reader(env_id)]).collect())
}

/// Lists the logins of the server: all, or those that are shut or have expired.
async fn list(admin: &Client, now: Option<Timestamp>) -> Result<Vec<Login>, Fault> {
    let text = "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE starts_with(rolname, $1) \
        AND ($2::timestamptz IS NULL OR rolvaliduntil <= $2 OR NOT rolcanlogin) ORDER BY rolname";
    let rows = admin.query(text, &[&LOGIN, &now]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().filter_map(to_login).collect())
}

/// A role with another comment was not given out here.
fn to_login(row: &Row) -> Option<Login> {
    let told: Value = serde_json::from_str(row.get::<_, Option<&str>>(1)?).ok()?;
    let word = |key: &str| told[key].as_str().map(str::to_owned);
    let env_id = EnvironmentId::known(word("env_id")?);
    Some(Login { name: row.get(0), env_id, kind: word("kind")?, database: word("database")? })
}
