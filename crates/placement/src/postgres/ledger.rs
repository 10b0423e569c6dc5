//! The ledger of a server: one row for each environment, with the fence of its last change. It has a database of its own, to
//! which nobody but the administrator can connect.

use super::server::{LEDGER, Server, fault};
use crate::Fault;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// The first release in which only the owner of a database can create something in its schema `public`.
const OLDEST_RELEASE: i32 = 150_000;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS public.places (
    env_id text COLLATE \"C\" PRIMARY KEY,
    log_epoch bigint NOT NULL,
    counter bigint NOT NULL,
    lease_epoch bigint NOT NULL,
    fingerprint text,
    settings text,
    access text NOT NULL,
    is_removed boolean NOT NULL
)";

/// What the ledger knows of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Fingerprint of the place; `None` until it is made.
    pub fingerprint: Option<String>,
    /// What the place is told about its environment, as JSON. A place that is closed is told when it is opened.
    pub settings: Option<String>,
    /// Access.
    pub access: Access,
    /// Whether the place was destroyed.
    pub is_removed: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self { fingerprint: None, settings: None, access: Access::Blocked, is_removed: false }
    }
}

/// Creates the ledger, if it does not exist.
pub async fn create(server: &Server) -> Result<(), Fault> {
    let admin = server.connect(None).await?;
    let release = admin.query_one("SELECT current_setting('server_version_num')::int", &[]).await;
    if release.map_err(|error| fault(&error))?.get::<_, i32>(0) < OLDEST_RELEASE {
        return Err(Fault::Refused("the server of the placement must be PostgreSQL 15 or later".to_owned()));
    }
    create_database(&admin, LEDGER).await?;
    let ledger = server.connect_to_ledger().await?;
    // Processes that start at the same time would disturb each other.
    let text = format!("SELECT pg_advisory_xact_lock(0); REVOKE ALL ON DATABASE {LEDGER} FROM PUBLIC; {SCHEMA}");
    ledger.batch_execute(&text).await.map_err(|error| fault(&error))
}

/// Creates a database, if it does not exist. Nobody can connect to the template, so nobody can keep it busy.
pub async fn create_database(admin: &Client, quoted_name: &str) -> Result<(), Fault> {
    match admin.batch_execute(&format!("CREATE DATABASE {quoted_name} TEMPLATE template0")).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => Ok(()),
        // Two processes create it at the same time.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(()),
        Err(error) => Err(fault(&error)),
    }
}

/// Returns the entry of an environment.
pub async fn entry(ledger: &Client, env_id: &EnvironmentId) -> Result<Option<Entry>, Fault> {
    read(ledger, env_id).await.map(|row| row.map(|(_, entry)| entry))
}

/// An environment on which only this session works.
///
/// A session-level lock of the ledger's database keeps others away, and the same session makes the changes: a worker that
/// lost the lock lost the means to change something, and a statement of a worker that was killed holds the lock until it has
/// ended. A lock of a row would end with the worker, while its last statement still runs in another session.
pub struct Held {
    /// Session of the administrator that holds the lock.
    pub session: Client,
    env_id: EnvironmentId,
    fence: Fence,
    /// What the ledger knows.
    pub entry: Entry,
}

impl Held {
    /// Waits until nobody else works on the environment, and commits the fence.
    pub async fn begin(server: &Server, env_id: &EnvironmentId, fence: Fence) -> Result<Self, Fault> {
        let session = lock(server, env_id).await?;
        let raise = "INSERT INTO public.places AS p (env_id, log_epoch, counter, lease_epoch, access, is_removed) \
            VALUES ($1, $2, $3, $4, 'blocked', false) ON CONFLICT (env_id) DO UPDATE SET log_epoch = excluded.log_epoch, \
            counter = excluded.counter, lease_epoch = excluded.lease_epoch \
            WHERE (p.log_epoch, p.counter, p.lease_epoch) <= (excluded.log_epoch, excluded.counter, excluded.lease_epoch)";
        let values: [&(dyn ToSql + Sync); 4] = [&env_id.as_str(), &fence.log_epoch, &fence.counter, &fence.lease_epoch];
        if session.execute(raise, &values).await.map_err(|error| fault(&error))? == 0 {
            return Err(Fault::Late);
        }
        let (_, entry) = read(&session, env_id).await?.ok_or(Fault::Late)?;
        Ok(Self { session, env_id: env_id.clone(), fence, entry })
    }

    /// Waits until nobody else works on the environment, and leaves the fence as it is. `None` if the ledger has no such
    /// environment.
    pub async fn current(server: &Server, env_id: &EnvironmentId) -> Result<Option<Self>, Fault> {
        let session = lock(server, env_id).await?;
        let row = read(&session, env_id).await?;
        Ok(row.map(|(fence, entry)| Self { session, env_id: env_id.clone(), fence, entry }))
    }

    /// Returns the environment.
    pub fn env_id(&self) -> &EnvironmentId {
        &self.env_id
    }

    /// Writes the entry.
    pub async fn save(&self) -> Result<(), Fault> {
        let Entry { fingerprint, settings, access, is_removed } = &self.entry;
        let text = "UPDATE public.places SET fingerprint = $2, settings = $3, access = $4, is_removed = $5 \
            WHERE env_id = $1 AND (log_epoch, counter, lease_epoch) = ($6, $7, $8)";
        let Fence { log_epoch, counter, lease_epoch } = &self.fence;
        let values: [&(dyn ToSql + Sync); 8] = [
            &self.env_id.as_str(),
            fingerprint,
            settings,
            &access.as_str(),
            is_removed,
            log_epoch,
            counter,
            lease_epoch,
        ];
        match self.session.execute(text, &values).await.map_err(|error| fault(&error))? {
            0 => Err(Fault::Late),
            _ => Ok(()),
        }
    }
}

/// Opens a session that keeps others away from an environment until it ends.
pub async fn lock(server: &Server, env_id: &EnvironmentId) -> Result<Client, Fault> {
    let session = server.connect_to_ledger().await?;
    let text = "SELECT pg_advisory_lock(hashtextextended($1, 0))";
    match session.execute(text, &[&env_id.as_str()]).await {
        Ok(_) => Ok(session),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(Fault::Unavailable(format!("another change of environment {env_id} to end")))
        }
        Err(error) => Err(fault(&error)),
    }
}

async fn read(ledger: &Client, env_id: &EnvironmentId) -> Result<Option<(Fence, Entry)>, Fault> {
    let text = "SELECT log_epoch, counter, lease_epoch, fingerprint, settings, access, is_removed \
        FROM public.places WHERE env_id = $1";
    let row = ledger.query_opt(text, &[&env_id.as_str()]).await.map_err(|error| fault(&error))?;
    row.as_ref().map(to_entry).transpose()
}

fn to_entry(row: &Row) -> Result<(Fence, Entry), Fault> {
    let access: &str = row.get(5);
    let unknown = || Fault::Refused(format!("the ledger has an access that this release does not know: {access}"));
    let access = Access::parse(access).ok_or_else(unknown)?;
    let fence = Fence { log_epoch: row.get(0), counter: row.get(1), lease_epoch: row.get(2) };
    Ok((fence, Entry { fingerprint: row.get(3), settings: row.get(4), access, is_removed: row.get(6) }))
}
