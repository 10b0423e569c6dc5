//! `db rotate-keys`: wraps the data keys of tenants under a new shared key.

use crate::command::db::{Place, counted};
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
    let (name, count) = done.map_err(of_database)?;
    say(&format!("wrapped {} under the new shared key {name}", counted(count, "data key")))?;
    remark("backups from before need the former shared key; it stays in the key service");
    Ok(Exit::Done)
}

async fn rotate(store: &Store) -> Result<(String, usize), tenancy_core::Error> {
    let name = store.rotate_shared_key().await?;
    remark(&format!("the new shared key is {name}; other processes use it in a few seconds"));
    // Data keys that they create until then are wrapped again, too.
    tokio::time::sleep(SHARED_KEY_REFRESH * 2).await;
    let (mut after, mut count) = (None, 0);
    loop {
        let portion = store.rewrap_data_keys(after).await?;
        count += portion.rewrapped;
        after = portion.next;
        if after.is_none() {
            return Ok((name, count));
        }
    }
}
