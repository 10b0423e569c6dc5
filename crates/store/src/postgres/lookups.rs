//! Reads by key: those that wait together are fetched together, on one connection, one statement per kind.

use super::connection::{Connection, Sent, answered, texts, together, values};
use super::fault::failed;
use super::target::Target;
use crate::batch::Callers;
use crate::keyed::{DOSSIER, Dossiers, ROWS, Statement, statements};
use crate::list::corrupt;
use crate::rows::{Dialect, Value};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::tenant::Dossier;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

/// Most reads that wait; beyond is [`Error::Busy`].
const MAX_WAITING: usize = 4096;
/// Most reads that are fetched together.
const MAX_TOGETHER: usize = 512;

enum Ask {
    Row { index: usize, key: String, answer: oneshot::Sender<Result<Option<Vec<Value>>, Error>> },
    Dossier { id: TenantId, answer: oneshot::Sender<Result<Option<Dossier>, Error>> },
}

/// The way to the reads.
#[derive(Clone)]
pub struct Lookups(mpsc::Sender<Ask>);

impl Lookups {
    /// The way, and the work at its end: it fetches, and ends when every way to it is dropped.
    pub fn new(target: Target) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, asks) = mpsc::channel(MAX_WAITING);
        let fetcher = Fetcher {
            target,
            connection: None,
            callers: Callers::here(),
            rows: statements(&ROWS, Dialect::Postgres),
            dossier: statements(&DOSSIER, Dialect::Postgres),
        };
        (Self(sender), fetcher.run(asks))
    }

    /// The row of [`ROWS`]'s kind `index` that a key finds, if it is there.
    pub async fn row(&self, index: usize, key: &str) -> Result<Option<Vec<Value>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Row { index, key: key.to_owned(), answer })?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    /// A tenant's dossier, if it is there.
    pub async fn dossier(&self, id: &TenantId) -> Result<Option<Dossier>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Dossier { id: id.clone(), answer })?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.0.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })
    }
}

/// What was fetched together.
#[derive(Default)]
struct Fetched {
    rows: HashMap<(usize, String), Vec<Value>>,
    dossiers: Dossiers,
}

struct Fetcher {
    target: Target,
    connection: Option<Connection>,
    callers: Callers,
    rows: Vec<Statement>,
    dossier: Vec<Statement>,
}

impl Fetcher {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut waiting = Vec::new();
        while asks.recv_many(&mut waiting, MAX_TOGETHER).await > 0 {
            // What arrives meanwhile waits for the next round, which is the more to fetch together.
            let fetched = self.fetch(&waiting).await;
            let asks = std::mem::take(&mut waiting);
            self.callers.told(move || asks.into_iter().for_each(|ask| answer(ask, &fetched)));
        }
    }

    /// Nothing of a read can be half done: when a connection breaks, once more on a new one. A server that cannot be
    /// connected to is not asked twice.
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
            self.connection = Some(opened.ok_or(Error::Unavailable)?.map_err(|error| failed(&error))?);
        }
        Ok(())
    }

    async fn fetch_once(&mut self, asks: &[Ask]) -> Result<Fetched, Error> {
        let Some(connection) = &self.connection else { return Err(Error::Unavailable) };
        let fetched = answered(self.fetch_on(connection, asks)).await.unwrap_or(Err(Error::Unavailable));
        if fetched.is_err() {
            // A connection on which a read failed may stand in a transaction that failed with it.
            self.connection = None;
        }
        fetched
    }

    /// Single rows each by a statement of its own; dossiers from one snapshot.
    async fn fetch_on(&self, connection: &Connection, asks: &[Ask]) -> Result<Fetched, Error> {
        let mut keys = vec![BTreeSet::new(); ROWS.len()];
        let mut ids = BTreeSet::new();
        for ask in asks {
            match ask {
                Ask::Row { index, key, .. } => drop(keys[*index].insert(key.as_str())),
                Ask::Dossier { id, .. } => drop(ids.insert(id.as_str())),
            }
        }
        let rows = keys.iter().enumerate().filter(|(_, keys)| !keys.is_empty());
        let mut planned: Vec<_> =
            rows.map(|(index, keys)| (self.rows[index].sql.as_str(), [texts(keys.iter().copied())], index)).collect();
        if !ids.is_empty() {
            for (index, statement) in self.dossier.iter().enumerate() {
                planned.push((statement.sql.as_str(), [texts(ids.iter().copied())], ROWS.len() + index));
            }
        }
        connection.prepare(planned.iter().map(|(sql, ..)| *sql)).await.map_err(|error| failed(&error))?;
        let mut sent: Vec<Sent<'_, Vec<Row>>> = Vec::new();
        for (sql, params, place) in &planned {
            if *place == ROWS.len() {
                sent.push(Box::pin(nothing(connection.begin(" ISOLATION LEVEL REPEATABLE READ READ ONLY"))));
            }
            sent.push(Box::pin(connection.query(sql, params)));
        }
        if !ids.is_empty() {
            sent.push(Box::pin(nothing(connection.execute("COMMIT"))));
        }
        let mut fetched = Fetched::default();
        let mut answers = together(sent).await.into_iter();
        for (_, _, place) in &planned {
            if *place == ROWS.len() {
                answers.next().transpose().map_err(|error| failed(&error))?;
            }
            let rows = answers.next().transpose().map_err(|error| failed(&error))?.unwrap_or_default();
            fetched.add(*place, &rows)?;
        }
        answers.next().transpose().map_err(|error| failed(&error))?;
        Ok(fetched)
    }
}

impl Fetched {
    fn add(&mut self, place: usize, rows: &[Row]) -> Result<(), Error> {
        let by = if place < ROWS.len() { &ROWS[place] } else { &DOSSIER[place - ROWS.len()] };
        let types = by.types();
        let rows = rows.iter().map(|row| values(row, &types)).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| failed(&error))?;
        if place >= ROWS.len() {
            return self.dossiers.add(place - ROWS.len(), rows).map_err(corrupt);
        }
        for row in rows {
            if let Some(key) = by.key_of(&row) {
                self.rows.insert((place, key.to_owned()), row);
            }
        }
        Ok(())
    }
}

async fn nothing(
    sent: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    sent.await.map(|()| Vec::new())
}

/// Answers one who asked; who is gone needs no answer.
fn answer(ask: Ask, fetched: &Result<Fetched, Error>) {
    match (ask, fetched) {
        (Ask::Row { index, key, answer }, Ok(fetched)) => {
            let _ = answer.send(Ok(fetched.rows.get(&(index, key)).cloned()));
        }
        (Ask::Dossier { id, answer }, Ok(fetched)) => {
            let _ = answer.send(Ok(fetched.dossiers.get(&id)));
        }
        (Ask::Row { answer, .. }, Err(error)) => {
            let _ = answer.send(Err(error.clone()));
        }
        (Ask::Dossier { answer, .. }, Err(error)) => {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
