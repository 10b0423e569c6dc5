//! `db backup` and `db after-restore`.

use crate::command::db::{Place, counted};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{of_database, reached};
use crate::program::{command, quoted};
use crate::terminal::{remark, say};
use crate::vault;
use clap::Args;
use std::path::{Path, PathBuf};
use tenancy_core::ids::TenantId;
use tenancy_server::operations::log::KeysAfterRestore;
use tenancy_server::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use tenancy_store::database::Database;
use tenancy_store::upkeep::{Epoch, Restored};

/// Arguments of `db backup`.
#[derive(Args, Debug)]
pub struct Backup {
    #[command(flatten)]
    place: Place,
    /// File to create
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `db after-restore`.
#[derive(Args, Debug)]
pub struct AfterRestore {
    #[command(flatten)]
    place: Place,
    /// File with the ids of tenants that were purged after the backup, one on each line: their keys are destroyed again
    #[arg(long, value_name = "FILE")]
    purged: Option<PathBuf>,
}

/// Runs `db backup`.
///
/// # Errors
/// Fails if the file cannot be written, or if the copy is damaged.
pub async fn backup(given: Backup) -> Result<Exit, Failure> {
    let database = given.place.find()?;
    let file = given.file;
    if matches!(database, Database::Postgres(_)) {
        say(&for_postgres(&file))?;
        let message = "no backup was made: PostgreSQL has its own tools for this";
        return Err(Failure::refused(message).and("run the commands above"));
    }
    let to = file.clone();
    let done = tokio::task::spawn_blocking(move || database.backup(&to)).await;
    let done = done.map_err(|error| Failure::refused(format!("the backup stopped: {error}")))?.map_err(of_database)?;
    let kib = done.bytes.div_ceil(1024);
    say(&format!("{}: {kib} KiB, checked, up to log position {}", file.display(), done.last_position))?;
    remark(&format!(
        "to restore it, stop the server, move tenancy.db, tenancy.db-wal and tenancy.db-shm in its data directory away, \
         copy this file to tenancy.db, and run {}",
        command("db after-restore")
    ));
    remark(
        "the keys that encrypt private data are not in this file: back up their directory separately, and keep it apart \
         from this file",
    );
    Ok(Exit::Done)
}

/// Returns the commands for PostgreSQL. The URL is not printed because it can contain a password.
fn for_postgres(file: &Path) -> String {
    let name = file.to_string_lossy();
    let (file, directory) = (quoted(&name), format!("{name}.d"));
    let directory = quoted(&directory);
    let after = command("db after-restore --database \"$NEW_DATABASE\"");
    format!(
        "# One database, while servers use it. $TENANCY_DATABASE is its URL, without parameters of tenancy.\n\
         pg_dump --format=custom --file={file} \"$TENANCY_DATABASE\"\n\
         # Restore into a new, empty database, as the owner. $NEW_DATABASE is its URL.\n\
         pg_restore --exit-on-error --single-transaction --no-owner --dbname=\"$NEW_DATABASE\" {file}\n\
         {after}\n\
         \n\
         # The whole cluster, for restoring to any point in time together with archived write-ahead log.\n\
         pg_basebackup --pgdata={directory} --checkpoint=fast --wal-method=stream --dbname=\"$TENANCY_DATABASE\"\n\
         pg_verifybackup {directory}\n\
         \n\
         # None of these contains the keys that encrypt private data: back up their directory separately."
    )
}

/// Runs `db after-restore`.
///
/// # Errors
/// Fails if the database reports an error, for example because a server uses it.
pub async fn after_restore(given: AfterRestore) -> Result<Exit, Failure> {
    let purged = given.purged.as_deref().map(tenants_in).transpose()?.unwrap_or_default();
    let config = given.place.config()?;
    let database = config.database().map_err(crate::hosting::bad_config)?;
    if let Database::Sqlite(path) = &database
        && !path.exists()
    {
        return Err(Failure::refused(format!("there is no database {}: restore the backup first", path.display())));
    }
    reached(&database).await?;
    let store = vault::open(&config, &database).await?;
    let tenancy = Tenancy::new(store.clone(), config.declared);
    let request = RequestContext::by_part("db", fresh_correlation_id());
    let done = tenancy.after_restore(&purged, &request).await;
    store.close().await;
    let (epoch, restored, keys) = done.map_err(of_database)?;
    for line in report(&epoch, &restored).into_iter().chain(of_keys(&keys)) {
        say(&line)?;
    }
    Ok(Exit::Done)
}

/// Reads the ids of tenants in a file.
fn tenants_in(file: &Path) -> Result<Vec<TenantId>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("--purged: cannot read {shown}: {error}")))?;
    let ids = text.lines().map(str::trim).filter(|line| !line.is_empty());
    ids.map(|id| {
        TenantId::parse(id).map_err(|_| Failure::usage(format!("--purged: {id:?} in {shown} is no tenant id")))
    })
    .collect()
}

/// Maximum number of tenants that are named.
const TENANTS_NAMED: usize = 20;

/// Names the first of some tenants.
pub fn named(tenants: &[String]) -> String {
    let first: Vec<_> = tenants.iter().take(TENANTS_NAMED).map(String::as_str).collect();
    match tenants.len().saturating_sub(TENANTS_NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Describes what became of the keys that encrypt private data.
fn of_keys(keys: &KeysAfterRestore) -> Vec<String> {
    let mut lines = Vec::new();
    if keys.erased > 0 {
        lines.push(format!(
            "- erased {}: the private data of these tenants cannot be read any more; request their purge again",
            counted(keys.erased, "data key")
        ));
    }
    if !keys.missing.is_empty() {
        lines.push(format!(
            "- the wrapping keys of {} are missing, and their private data cannot be read or changed ({}): if they were \
             purged after the backup, run this again with their ids in --purged, and request their purge again; otherwise \
             restore the backup of the keys",
            counted(keys.missing.len(), "tenant"),
            named(&keys.missing)
        ));
    }
    lines.push(
        "- other tenants that were purged after the backup are readable again, because they share a key: name them with \
         --purged, and request their purge again"
            .to_owned(),
    );
    lines
}

/// Describes what was done and what to look at.
fn report(epoch: &Epoch, restored: &Restored) -> Vec<String> {
    let count = |count: i64, what: &str| counted(usize::try_from(count).unwrap_or_default(), what);
    let at = restored.newest_at.map_or_else(String::new, |at| format!(" of {at}"));
    let position = restored.newest_position;
    vec![
        format!("epoch {} of the audit log begins: cursors behind position {position} are refused", epoch.epoch),
        format!("ended {}: their jobs run again", counted(restored.ended_leases, "lease")),
        String::new(),
        "Look at these before you serve:".to_owned(),
        format!(
            "- changes after position {position}{at} are missing: apply the manifests again, and repeat what was asked for"
        ),
        format!(
            "- {}, {} of them waiting: what they did after the backup is done again",
            count(restored.open_jobs, "open job"),
            restored.waiting_jobs
        ),
        format!(
            "- {}: keys that were created or rotated after the backup are missing, and keys that were revoked are valid \
             again (tenancy key list)",
            count(restored.keys, "key")
        ),
        format!(
            "- {}, {} of them past their end: holds that were placed after the backup are missing, and holds that were \
             released are back",
            count(restored.holds, "hold"),
            restored.ended_holds
        ),
        format!(
            "- {}: the data of those that were purged after the backup is gone, and their purge must be requested again",
            count(restored.archived_tenants, "archived tenant")
        ),
        format!(
            "- {}, {} of them expired: requests after the backup have no stored answer, so sending them again has an effect",
            count(restored.answers, "stored answer"),
            restored.expired_answers
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_print_commands_for_postgres_that_a_shell_can_run() {
        let text = for_postgres(Path::new("/backups/my file.dump"));
        assert!(text.contains("--file='/backups/my file.dump' \"$TENANCY_DATABASE\""), "{text}");
        assert!(text.contains("--pgdata='/backups/my file.dump.d'"), "{text}");
        assert!(text.contains("db after-restore --database \"$NEW_DATABASE\""), "{text}");
    }
}
