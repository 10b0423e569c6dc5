//! Sessions of a server, and how they end.

use super::server::fault;
use crate::Fault;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Time that a session is given to end, in milliseconds.
const END_LIMIT_MILLISECONDS: i64 = 5_000;
/// How often to look for sessions that are being opened, and the pause between two looks.
const LOOKS: usize = 250;
/// Number of looks after which a session that is still being opened is ended.
const PATIENCE: usize = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// Which sessions.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// All sessions of a database.
    Database(&'a str),
    /// All sessions of a role, in every database.
    Role(&'a str),
}

/// Ends sessions. New ones must already be refused.
pub async fn end(admin: &Client, of: Of<'_>) -> Result<(), Fault> {
    let found = find(admin, of).await?;
    // All of them get the signal before the first wait.
    for milliseconds in [0, END_LIMIT_MILLISECONDS] {
        for pid in &found {
            terminate(admin, *pid, milliseconds).await?;
        }
    }
    match find(admin, of).await?.len() {
        0 => Ok(()),
        left => Err(Fault::Unavailable(format!("{left} sessions to end that use the place"))),
    }
}

/// Waits for the sessions of a database that are being opened. Such a session may have passed the checks before a change of
/// rights, and is not listed yet. It holds a lock of the database until it is listed.
///
/// A program can stay in this state for half an hour, with the setting `post_auth_delay`, so those that take longer than usual
/// are ended. Nobody can see whose they are.
pub async fn settle(admin: &Client, database: &str) -> Result<(), Fault> {
    let text = "SELECT l.pid FROM pg_locks l WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass \
        AND l.objid = (SELECT oid FROM pg_database WHERE datname = $1) AND l.mode = 'RowExclusiveLock' AND l.granted \
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.datid IS NOT NULL)";
    let mut opening: Option<Vec<i32>> = None;
    for look in 0..LOOKS {
        let rows = admin.query(text, &[&database]).await.map_err(|error| fault(&error))?;
        let now: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        let before = opening.get_or_insert_with(|| now.clone());
        before.retain(|pid| now.contains(pid));
        if before.is_empty() {
            return Ok(());
        }
        if look >= PATIENCE {
            for pid in before.iter() {
                terminate(admin, *pid, 0).await?;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Fault::Unavailable("sessions to open that use the place, before they can be ended".to_owned()))
}

/// Processes of the server itself have no role and are not among them.
async fn find(admin: &Client, of: Of<'_>) -> Result<Vec<i32>, Fault> {
    let (column, name) = match of {
        Of::Database(name) => ("datname", name),
        Of::Role(name) => ("usename", name),
    };
    let text = format!(
        "SELECT pid FROM pg_stat_activity WHERE {column} = $1 AND usesysid IS NOT NULL AND pid <> pg_backend_pid()"
    );
    let rows = admin.query(&text, &[&name]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn terminate(admin: &Client, pid: i32, milliseconds: i64) -> Result<(), Fault> {
    // A time of 0 returns without waiting.
    match admin.execute("SELECT pg_terminate_backend($1, $2)", &[&pid, &milliseconds]).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            tracing::warn!(pid, "the administrator of the placement may not end a session that uses a place");
            Ok(())
        }
        Err(error) => Err(fault(&error)),
    }
}
