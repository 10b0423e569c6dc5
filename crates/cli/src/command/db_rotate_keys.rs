//! `db rotate-keys`: wraps the data keys of tenants under a new shared key.

use crate::command::db::{Place, counted};
use crate::command::db_backup::named;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{bad_config, of_database, reached};
use crate::terminal::{remark, say};
use crate::vault;
use tenancy_store::Store;
use tenancy_vault::SHARED_KEY_REFRESH;

/// Runs the command. Servers can run meanwhile, on PostgreSQL.
///
/// # Errors
/// Fails if the database or the keys cannot be used. It can be run again.
pub async fn run(place: Place) -> Result<Exit, Failure> {
    let config = place.config()?;
    let database = config.database().map_err(bad_config)?;
    reached(&database).await?;
    let store = vault::open(&config, &database).await?;
    let done = rotate(&store).await;
    store.close().await;
    let (name, count, missing) = done.map_err(of_database)?;
    say(&format!("wrapped {} under the new shared key {name}", counted(count, "data key")))?;
    remark("backups from before need the former shared key; it stays in the key service");
    if !missing.is_empty() {
        return Err(Failure::refused(format!(
            "the data keys of {} were not wrapped again, because their wrapping keys are missing: {}",
            counted(missing.len(), "tenant"),
            named(&missing)
        ))
        .and("restore the backup of the keys, and run this again"));
    }
    Ok(Exit::Done)
}

async fn rotate(store: &Store) -> Result<(String, usize, Vec<String>), tenancy_core::Error> {
    let name = store.rotate_shared_key().await?;
    remark(&format!("the new shared key is {name}; other processes use it in a few seconds"));
    // Data keys that they create until then are wrapped again, too.
    tokio::time::sleep(SHARED_KEY_REFRESH * 2).await;
    let (mut after, mut count, mut missing) = (None, 0, Vec::new());
    loop {
        let portion = store.rewrap_data_keys(after).await?;
        count += portion.rewrapped;
        missing.extend(portion.missing);
        after = portion.next;
        if after.is_none() {
            return Ok((name, count, missing));
        }
    }
}
