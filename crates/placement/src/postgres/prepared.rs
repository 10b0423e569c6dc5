//! Transactions that programs have prepared for a commit in two phases. They outlive their sessions, and they keep a database
//! or a table from being dropped.

use super::names::{literal, quoted};
use super::server::{Server, fault, run};
use crate::Fault;
use tokio_postgres::Client;

/// Whether a database has transactions that these roles have prepared.
pub async fn exist(admin: &Client, database: &str, roles: &[String]) -> Result<bool, Fault> {
    list(admin, database, roles).await.map(|found| !found.is_empty())
}

/// Rolls back what these roles have prepared in a database. The database must accept connections.
pub async fn roll_back(server: &Server, admin: &Client, database: &str, roles: &[String]) -> Result<(), Fault> {
    let found = list(admin, database, roles).await?;
    if found.is_empty() {
        return Ok(());
    }
    let inside = server.connect(Some(database)).await?;
    for (transaction, role) in found {
        // Only its own role may end a transaction.
        run(&inside, &format!("SET ROLE {}", quoted(&role))).await?;
        run(&inside, &format!("ROLLBACK PREPARED {}", literal(&transaction))).await?;
        run(&inside, "RESET ROLE").await?;
    }
    Ok(())
}

async fn list(admin: &Client, database: &str, roles: &[String]) -> Result<Vec<(String, String)>, Fault> {
    let text = "SELECT gid, owner::text FROM pg_prepared_xacts WHERE database = $1 AND owner = ANY ($2)";
    let rows = admin.query(text, &[&database, &roles]).await.map_err(|error| fault(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
