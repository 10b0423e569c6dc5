//! Connections that many callers share, with pipelined statements: single reads and upkeep; and connections for lists.
//! They carry no session state.

use super::connection::Connection;
use super::fault::{away, failed};
use super::silence::answered;
use super::target::Target;
use crate::MAX_LISTS_AT_ONCE;
use crate::rows::{Type, Value};
use crate::sql::Sql;
use crate::upkeep::Durability;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::{Error, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

/// Number of connections for single reads. They never wait behind a list.
const CONNECTIONS: usize = 2;

/// Shared connections. Each is opened on first use.
pub struct Shared {
    target: Target,
    slots: [Slot; CONNECTIONS],
    next: AtomicUsize,
    /// Connections for lists. Each runs one list at a time, because a slow list delays what is sent behind it.
    lists: [Slot; MAX_LISTS_AT_ONCE],
    /// Indexes of the connections that run no list.
    free: Mutex<Vec<usize>>,
    turns: Semaphore,
    /// Separate connection for upkeep, so that it never waits behind a list.
    upkeep: Slot,
    /// Separate connection for heartbeats and the clock, so that they never wait behind other upkeep, which may wait
    /// for a lock.
    heartbeats: Slot,
    /// Separate connection for upkeep in transactions of several statements.
    transactions: Slot,
}

type Slot = AsyncMutex<Option<Arc<Connection>>>;

/// A connection for lists that is in use. Dropping it makes the connection free, also if the list is cancelled.
struct Taken<'a> {
    index: usize,
    free: &'a Mutex<Vec<usize>>,
}

impl<'a> Taken<'a> {
    fn of(free: &'a Mutex<Vec<usize>>) -> Option<Self> {
        let index = free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Self { index, free })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

impl Shared {
    /// Creates shared connections to a server.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            slots: Default::default(),
            next: AtomicUsize::new(0),
            lists: Default::default(),
            free: Mutex::new((0..MAX_LISTS_AT_ONCE).collect()),
            turns: Semaphore::new(MAX_LISTS_AT_ONCE),
            upkeep: Slot::default(),
            heartbeats: Slot::default(),
            transactions: Slot::default(),
        }
    }

    /// Runs a list on a connection that no other list uses. If the connection is lost, runs it once more on a new one.
    pub async fn list(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::Unavailable)?;
        // There are as many connections as permits. The one that was used last comes first, so that few are opened.
        let taken = Taken::of(&self.free).ok_or(Error::Busy)?;
        let slot = &self.lists[taken.index];
        match self.run(slot, sql, types).await {
            Err(Error::Unavailable) => self.run(slot, sql, types).await,
            done => done,
        }
    }

    /// Runs a read-only query. If its connection is lost, runs it once more on a new connection.
    pub async fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        match self.run(slot, sql, types).await {
            Err(Error::Unavailable) => self.run(slot, sql, types).await,
            done => done,
        }
    }

    /// Runs an upkeep statement once. Upkeep is repeated periodically, so it is not retried here.
    pub async fn write(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.run(&self.upkeep, sql, types).await
    }

    /// Runs upkeep statements in one transaction, which travel together. Each returns numbers.
    pub async fn write_all(&self, statements: &[Sql], durability: Durability) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        let connection = self.connection(&self.transactions).await?;
        let mode = match durability {
            Durability::Synced => " READ WRITE",
            Durability::Unsynced => " READ WRITE; SET LOCAL synchronous_commit = off",
        };
        let done = answered(connection.run_all(mode, statements)).await;
        match done {
            Some(Ok(rows)) if !connection.is_unconfirmed() => Ok(rows),
            failure => {
                // The connection may be in a transaction that has failed.
                let mut slot = self.transactions.lock().await;
                if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, &connection)) {
                    *slot = None;
                }
                Err(failure.and_then(Result::err).map_or(Error::Unavailable, |error| failed(&error)))
            }
        }
    }

    /// Runs a heartbeat once. Without an answer `within` this time, it gives the heartbeat and its connection up. The
    /// general limit for a connection is longer than a lease.
    pub async fn beat(&self, sql: &Sql, types: &[Type], within: Duration) -> Result<Vec<Vec<Value>>, Error> {
        let Ok(done) = tokio::time::timeout(within, self.run(&self.heartbeats, sql, types)).await else {
            self.heartbeats.lock().await.take();
            return Err(Error::Unavailable);
        };
        done
    }

    /// Runs a query that measures time, once, on the least busy connection, which is already open. Returns its rows,
    /// when it was sent and when its answer arrived.
    pub async fn timed(&self, sql: &Sql, types: &[Type]) -> Result<(Vec<Vec<Value>>, Timestamp, Timestamp), Error> {
        drop(self.connection(&self.heartbeats).await?);
        let sent = Timestamp::now();
        let rows = self.run(&self.heartbeats, sql, types).await?;
        Ok((rows, sent, Timestamp::now()))
    }

    /// Closes the connections. Later queries open them again.
    pub async fn close(&self) {
        for slot in self.slots.iter().chain(&self.lists).chain([&self.upkeep, &self.heartbeats, &self.transactions]) {
            slot.lock().await.take();
        }
    }

    async fn run(&self, slot: &Slot, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let connection = self.connection(slot).await?;
        let Some(done) = answered(connection.run_limited(sql, types)).await else {
            // The next caller reconnects, unless another caller already has.
            let mut slot = slot.lock().await;
            if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, &connection)) {
                *slot = None;
            }
            return Err(Error::Unavailable);
        };
        // What a standby has not confirmed may be lost, although the statement has succeeded.
        if connection.is_unconfirmed() { Err(Error::Unavailable) } else { done.map_err(|error| failed(&error)) }
    }

    async fn connection(&self, slot: &Slot) -> Result<Arc<Connection>, Error> {
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let opened = Connection::open_soon(&self.target, &Target::shared_settings()).await;
        let connection = Arc::new(opened.ok_or(Error::Unavailable)?.map_err(|error| away(&error, &self.target))?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}
