//! Reads by key. Waiting reads are fetched together, on one connection, in one statement.

use super::connection::{Connection, Sent, texts, together};
use super::fault::{away, failed};
use super::one_read::{OneRead, placed};
use super::silence::answered;
use super::target::Target;
use crate::keyed::{KeyedRead, ROWS};
use crate::list::corrupt;
use crate::rows::{Dialect, Value};
use crate::snapshot::{self, TenantSnapshots};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::snapshot::TenantSnapshot;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

/// Maximum number of waiting reads. Beyond it a read fails with [`Error::Busy`].
const MAX_WAITING: usize = 4096;
/// Maximum number of reads that are fetched together.
const MAX_TOGETHER: usize = 512;

enum Ask {
    Row {
        read: KeyedRead,
        key: String,
        answer: oneshot::Sender<Result<Option<Vec<Value>>, Error>>,
    },
    TenantSnapshot {
        id: TenantId,
        answer: oneshot::Sender<Result<Option<TenantSnapshot>, Error>>,
    },
    /// A test makes the task panic.
    #[cfg(feature = "model")]
    Panic {
        _answer: oneshot::Sender<()>,
    },
}

/// Sender of reads to the fetching task.
#[derive(Clone)]
pub struct Lookups(mpsc::Sender<Ask>);

impl Lookups {
    /// Returns the sender and the task. The task fetches, and ends when every sender is dropped.
    pub fn new(target: Target) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, asks) = mpsc::channel(MAX_WAITING);
        let fetcher = Fetcher {
            target,
            connection: None,
            statements: ROWS.iter().chain(snapshot::reads()).map(|read| read.sql(Dialect::Postgres)).collect(),
        };
        (Self(sender), fetcher.run(asks))
    }

    /// Returns the row with this key, if it exists.
    pub async fn row(&self, read: KeyedRead, key: &str) -> Result<Option<Vec<Value>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Row { read, key: key.to_owned(), answer })?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Returns the snapshot of a tenant, if it exists.
    pub async fn snapshot(&self, id: &TenantId) -> Result<Option<TenantSnapshot>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::TenantSnapshot { id: id.clone(), answer })?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Makes the fetching task panic, and waits for it.
    #[cfg(feature = "model")]
    pub async fn panic(&self) {
        let (answer, answered) = oneshot::channel();
        let _ = self.ask(Ask::Panic { _answer: answer });
        let _ = answered.await;
    }

    fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.0.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })
    }
}

/// Result of one fetch.
#[derive(Default)]
struct Fetched {
    rows: HashMap<(usize, String), Vec<Value>>,
    snapshots: TenantSnapshots,
}

struct Fetcher {
    target: Target,
    connection: Option<Connection>,
    /// Statements of [`ROWS`], then those of the [parts of a snapshot](snapshot::PARTS).
    statements: Vec<String>,
}

impl Fetcher {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut waiting = Vec::new();
        while asks.recv_many(&mut waiting, MAX_TOGETHER).await > 0 {
            // Reads that arrive meanwhile wait for the next fetch, which then answers more of them at once.
            let fetched = self.fetch(&waiting).await;
            waiting.drain(..).for_each(|ask| answer(ask, &fetched));
        }
    }

    /// A read has no side effect, so it runs once more on a new connection when the connection breaks. If connecting
    /// fails, it is not tried again.
    async fn fetch(&mut self, asks: &[Ask]) -> Result<Fetched, Error> {
        self.connect().await?;
        match self.fetch_once(asks).await {
            Err(Error::Unavailable) => {
                self.connect().await?;
                self.fetch_once(asks).await
            }
            done => done,
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            let opened = Connection::open_soon(&self.target, &Target::keyed_settings()).await;
            self.connection = Some(opened.ok_or(Error::Unavailable)?.map_err(|error| away(&error, &self.target))?);
        }
        Ok(())
    }

    async fn fetch_once(&mut self, asks: &[Ask]) -> Result<Fetched, Error> {
        let Some(connection) = &self.connection else { return Err(Error::Unavailable) };
        let fetched = answered(self.fetch_on(connection, asks)).await.unwrap_or(Err(Error::Unavailable));
        if fetched.is_err() {
            // A connection on which a read failed may still be in the failed transaction.
            self.connection = None;
        }
        fetched
    }

    /// Fetches everything with one statement, so that all reads see the same snapshot.
    async fn fetch_on(&self, connection: &Connection, asks: &[Ask]) -> Result<Fetched, Error> {
        let mut keys = vec![BTreeSet::new(); ROWS.len()];
        let mut ids = BTreeSet::new();
        for ask in asks {
            match ask {
                Ask::Row { read, key, .. } => drop(keys[read.index()].insert(key.as_str())),
                Ask::TenantSnapshot { id, .. } => drop(ids.insert(id.as_str())),
                #[cfg(feature = "model")]
                #[expect(clippy::panic, reason = "a test asks for it")]
                Ask::Panic { .. } => std::panic::panic_any("a test has asked for it"),
            }
        }
        let mut one = OneRead::default();
        let keys = keys.iter().chain(std::iter::repeat(&ids));
        for ((place, statement), keys) in self.statements.iter().enumerate().zip(keys) {
            if !keys.is_empty() {
                one.and(place, statement, vec![texts(keys.iter().copied())]);
            }
        }
        connection.prepare([one.sql.as_str()]).await.map_err(|error| failed(&error))?;
        let read = connection.query(&one.sql, &one.params);
        let mut sent: Vec<Sent<'_, Vec<Row>>> = vec![Box::pin(read)];
        if connection.is_pooled() {
            // Behind a pooler, settings are made in a transaction.
            sent.insert(0, Box::pin(async { connection.begin(" READ ONLY").await.map(|()| Vec::new()) }));
            sent.push(Box::pin(async { connection.execute("COMMIT").await.map(|()| Vec::new()) }));
        }
        let mut fetched = Fetched::default();
        for answer in together(sent).await {
            for row in answer.map_err(|error| failed(&error))? {
                let (place, row) = placed(&row).map_err(|error| failed(&error))?;
                fetched.add(place, row);
            }
        }
        Ok(fetched)
    }
}

impl Fetched {
    fn add(&mut self, place: usize, row: Vec<Value>) {
        if place >= ROWS.len() {
            self.snapshots.add(place - ROWS.len(), row);
        } else if let Some(key) = ROWS[place].key_of(&row) {
            self.rows.insert((place, key.to_owned()), row);
        }
    }
}

/// Answers one read. A caller that has gone away needs no answer.
fn answer(ask: Ask, fetched: &Result<Fetched, Error>) {
    match (ask, fetched) {
        (Ask::Row { read, key, answer }, Ok(fetched)) => {
            let _ = answer.send(Ok(fetched.rows.get(&(read.index(), key)).cloned()));
        }
        (Ask::TenantSnapshot { id, answer }, Ok(fetched)) => {
            let _ = answer.send(fetched.snapshots.get(&id).map_err(corrupt));
        }
        (Ask::Row { answer, .. }, Err(error)) => {
            let _ = answer.send(Err(error.clone()));
        }
        (Ask::TenantSnapshot { answer, .. }, Err(error)) => {
            let _ = answer.send(Err(error.clone()));
        }
        #[cfg(feature = "model")]
        (Ask::Panic { .. }, _) => {}
    }
}
