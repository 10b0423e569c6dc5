//! Connections that many use at once, their statements in one line each (pipelined): lists, single reads, upkeep. They
//! carry no session state.

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

/// How many connections lists share. A slow list holds up who stands behind it on one of them.
const CONNECTIONS: usize = 3;

/// The shared connections; each is opened when it is needed.
pub struct Shared {
    target: Target,
    slots: [Slot; CONNECTIONS],
    next: AtomicUsize,
    /// Upkeep has one of its own: it never waits behind a list.
    upkeep: Slot,
    /// Heartbeats have one of their own, with the clock: they never wait behind other upkeep, which may wait for a lock.
    heartbeats: Slot,
}

type Slot = Mutex<Option<Arc<Connection>>>;

impl Shared {
    /// Shared connections to a server.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            slots: Default::default(),
            next: AtomicUsize::new(0),
            upkeep: Slot::default(),
            heartbeats: Slot::default(),
        }
    }

    /// Runs a query that only reads; once more on a new connection if the one it had is lost.
    pub async fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        match self.run(slot, sql, types).await {
            Err(Error::Unavailable) => self.run(slot, sql, types).await,
            done => done,
        }
    }

    /// Runs a statement of upkeep, once: who does upkeep comes again.
    pub async fn write(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.run(&self.upkeep, sql, types).await
    }

    /// Runs a heartbeat, once. One without an answer `within` that time is given up, and its connection with it: a lease
    /// is over before a connection is given up otherwise.
    pub async fn beat(&self, sql: &Sql, types: &[Type], within: Duration) -> Result<Vec<Vec<Value>>, Error> {
        let Ok(done) = tokio::time::timeout(within, self.run(&self.heartbeats, sql, types)).await else {
            self.heartbeats.lock().await.take();
            return Err(Error::Unavailable);
        };
        done
    }

    /// Runs a query by which time is taken, once, on the connection that has the least to do, which is open by then; with when it
    /// was sent, and when its answer came.
    pub async fn timed(&self, sql: &Sql, types: &[Type]) -> Result<(Vec<Vec<Value>>, Timestamp, Timestamp), Error> {
        drop(self.connection(&self.heartbeats).await?);
        let sent = Timestamp::now();
        let rows = self.run(&self.heartbeats, sql, types).await?;
        Ok((rows, sent, Timestamp::now()))
    }

    /// Closes the connections; what is asked for afterwards opens them anew.
    pub async fn close(&self) {
        for slot in self.slots.iter().chain([&self.upkeep, &self.heartbeats]) {
            slot.lock().await.take();
        }
    }

    async fn run(&self, slot: &Slot, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let connection = self.connection(slot).await?;
        let Some(done) = answered(connection.run_limited(sql, types)).await else {
            // Who comes next connects anew, unless somebody has already.
            let mut slot = slot.lock().await;
            if slot.as_ref().is_some_and(|now| Arc::ptr_eq(now, &connection)) {
                *slot = None;
            }
            return Err(Error::Unavailable);
        };
        done.map_err(|error| failed(&error))
    }

    async fn connection(&self, slot: &Slot) -> Result<Arc<Connection>, Error> {
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let opened = Connection::open_soon(&self.target, &Target::shared_settings()).await;
        let connection = Arc::new(opened.ok_or(Error::Unavailable)?.map_err(|error| away(&error))?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}
