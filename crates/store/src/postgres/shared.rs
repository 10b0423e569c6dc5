//! Connections that many use at once, their statements in one line each (pipelined): lists, single reads, upkeep. They
//! carry no session state.

use super::connection::Connection;
use super::fault::failed;
use super::target::Target;
use crate::rows::{Type, Value};
use crate::sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenancy_core::Error;
use tokio::sync::Mutex;

/// How many connections lists share. A slow list holds up who stands behind it on one of them.
const CONNECTIONS: usize = 3;

/// The shared connections; each is opened when it is needed.
pub struct Shared {
    target: Target,
    slots: [Slot; CONNECTIONS],
    next: AtomicUsize,
    /// Upkeep has one of its own: a heartbeat never waits behind a list.
    upkeep: Slot,
}

type Slot = Mutex<Option<Arc<Connection>>>;

impl Shared {
    /// Shared connections to a server.
    pub fn new(target: Target) -> Self {
        Self { target, slots: Default::default(), next: AtomicUsize::new(0), upkeep: Slot::default() }
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

    /// Closes the connections; what is asked for afterwards opens them anew.
    pub async fn close(&self) {
        for slot in self.slots.iter().chain([&self.upkeep]) {
            slot.lock().await.take();
        }
    }

    async fn run(&self, slot: &Slot, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        let connection = self.connection(slot).await?;
        connection.run(sql, types).await.map_err(|error| failed(&error))
    }

    async fn connection(&self, slot: &Slot) -> Result<Arc<Connection>, Error> {
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let opened = Connection::open(&self.target, &Target::shared_settings()).await;
        let connection = Arc::new(opened.map_err(|error| failed(&error))?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}
