//! Connections that wait for the next message to the same receiver.

use super::Limits;
use super::connector::Connection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// Time that a connection may take to be ready after its last answer.
const READY: Duration = Duration::from_millis(5);

/// What must be equal to use a connection again. Endpoints of tenants never use a connection of the platform, which may
/// lead to an address that they must not reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Receiver {
    is_platform: bool,
    origin: String,
}

impl Receiver {
    pub(super) fn of(url: &Url, is_platform: bool) -> Self {
        Self { is_platform, origin: url.origin().ascii_serialization() }
    }
}

/// Connections without a request, by receiver.
pub(super) struct Pool {
    limits: Limits,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The oldest connection of a receiver is the first one.
    connections: HashMap<Receiver, Vec<(Instant, Connection)>>,
    count: usize,
    /// Whether a task is running that closes connections in time.
    is_swept: bool,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, idle: Mutex::default() })
    }

    /// Takes the connection that was used last.
    pub(super) async fn take(&self, receiver: &Receiver) -> Option<Connection> {
        while let Some(mut connection) = self.pop(receiver) {
            if matches!(tokio::time::timeout(READY, connection.sender.ready()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
        None
    }

    fn pop(&self, receiver: &Receiver) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.connections.get_mut(receiver)?;
        let (since, connection) = connections.pop()?;
        if connections.is_empty() {
            idle.connections.remove(receiver);
        }
        idle.count -= 1;
        (since.elapsed() < self.limits.idle).then_some(connection)
    }

    /// Keeps a connection for the next message, if there is room.
    pub(super) fn keep(self: &Arc<Self>, receiver: Receiver, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.count >= self.limits.max_idle {
            return;
        }
        let connections = idle.connections.entry(receiver).or_default();
        if connections.len() >= self.limits.max_idle_per_receiver {
            return;
        }
        connections.push((Instant::now(), connection));
        idle.count += 1;
        if !std::mem::replace(&mut idle.is_swept, true) {
            self.sweep();
        }
    }

    /// Starts a task that closes connections in time. It ends when none is left, or with the sender.
    fn sweep(self: &Arc<Self>) {
        let (pool, interval) = (Arc::downgrade(self), self.limits.idle);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match pool.upgrade() {
                    Some(pool) if pool.close_old() => {}
                    _ => return,
                }
            }
        });
    }

    /// Closes what has been idle for too long. Returns whether something is left.
    fn close_old(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = self.limits.idle;
        idle.connections.retain(|_, connections| {
            connections.retain(|(since, _)| since.elapsed() < longest);
            !connections.is_empty()
        });
        idle.count = idle.connections.values().map(Vec::len).sum();
        idle.is_swept = idle.count > 0;
        idle.is_swept
    }
}
