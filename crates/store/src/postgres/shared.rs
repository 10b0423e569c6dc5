//! Connections that many callers share, with pipelined statements: lists, single reads, upkeep. They carry no session
//! state.

use super::connection::{Connection, answered};
use super::fault::{away, failed};
use super::target::Target;
use crate::rows::{Type, Value};
use crate::sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tenancy_core::{Error, Timestamp};
use tokio::sync::Mutex;

/// Number of connections for lists. A slow list delays the reads behind it on the same connection.
const CONNECTIONS: usize = 3;

/// Shared connections. Each is opened on first use.
pub struct Shared {
    target: Target,
    slots: [Slot; CONNECTIONS],
    next: AtomicUsize,
    /// Separate connection for upkeep, so that it never waits behind a list.
    upkeep: Slot,
    /// Separate connection for heartbeats and the clock, so that they never wait behind other upkeep, which may wait
    /// for a lock.
    heartbeats: Slot,
}

type Slot = Mutex<Option<Arc<Connection>>>;

impl Shared {
    /// Creates shared connections to a server.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            slots: Default::default(),
            next: AtomicUsize::new(0),
            upkeep: Slot::default(),
            heartbeats: Slot::default(),
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
        for slot in self.slots.iter().chain([&self.upkeep, &self.heartbeats]) {
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
