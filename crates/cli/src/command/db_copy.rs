//! `db copy`: copies a SQLite database to PostgreSQL.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{bad_config, of_database, reached};
use crate::program::command;
use crate::terminal::{remark, say};
use clap::Args;
use std::path::PathBuf;
use tenancy_server::{Config, Flags};
use tenancy_store::database::Database;

/// Arguments of `db copy`.
#[derive(Args, Debug)]
pub struct Copy {
    /// Database to copy: sqlite:PATH
    #[arg(long, value_name = "URL")]
    from: String,
    /// Empty database with all migrations: postgres://…. Default: the database of the configuration
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Configuration file of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Fails if a database cannot be used, or if the copy is not complete. The target then stays empty.
pub async fn run(given: Copy) -> Result<Exit, Failure> {
    let from = Database::parse(&given.from).map_err(|message| Failure::usage(format!("--from: {message}")))?;
    let flags = Flags { database: given.to, ..Flags::default() };
    let to = Config::load(given.config.as_deref(), flags).map_err(bad_config)?.database().map_err(bad_config)?;
    reached(&to).await?;
    let copied = from.copy_to(&to, |table| remark(&format!("copied {}", table.table))).await;
    let copied = copied.map_err(of_database)?;
    let widest = copied.iter().map(|table| table.table.len()).max().unwrap_or_default();
    for table in &copied {
        say(&format!("{:widest$}  {:>9}", table.table, table.rows))?;
    }
    remark("every table has the same number of rows in both databases");
    remark("its private data is encrypted with the keys of the SQLite database: serve it with the same --keys-dir");
    remark(&format!(
        "serve it with {}; with a role of its own, first run {}",
        command("serve --database postgres://… --keys-dir DIR"),
        command("db migrate --serve-role ROLE")
    ));
    Ok(Exit::Done)
}
