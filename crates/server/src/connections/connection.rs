//! One connection: what its stream, its service and the gate know of it together.

use super::response_budget::ResponseBudget;
use super::seats::Seat;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// State of one connection. The service of the connection adds it to the extensions of every request.
pub struct Connection {
    seat: Seat,
    budget: Arc<ResponseBudget>,
    /// Whether the connection had a request.
    is_used: AtomicBool,
    /// Whether the client may still be sending a body that no handler reads.
    is_body_unread: AtomicBool,
    /// Whether the client does not accept the bytes that wait for it.
    is_blocked: AtomicBool,
    unblocked: Notify,
}

impl Connection {
    /// Creates the state of a new connection.
    pub fn new(seat: Seat, budget: Arc<ResponseBudget>) -> Self {
        Self {
            seat,
            budget,
            is_used: AtomicBool::default(),
            is_body_unread: AtomicBool::default(),
            is_blocked: AtomicBool::default(),
            unblocked: Notify::new(),
        }
    }

    /// Returns the seat.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Returns the budget for responses.
    pub fn budget(&self) -> &Arc<ResponseBudget> {
        &self.budget
    }

    /// Returns whether the next request must let all other connections go first: any but the first one on a connection
    /// without a key. Otherwise clients that send many requests at once get as many answers in one turn, and everybody
    /// else waits for that.
    pub fn goes_last(&self) -> bool {
        !self.seat.has_key() && self.is_used.swap(true, Ordering::Relaxed)
    }

    /// Notes that a request was answered before its body was read.
    pub fn leave_body_unread(&self) {
        self.is_body_unread.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Connection::leave_body_unread`] was called.
    pub fn is_body_unread(&self) -> bool {
        self.is_body_unread.load(Ordering::Relaxed)
    }

    /// Notes whether the client accepts the bytes that wait for it.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Release);
        if !is_blocked {
            self.unblocked.notify_waiters();
        }
    }

    /// Returns whether the client does not accept the bytes that wait for it.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }

    /// Waits until the client has accepted the bytes that wait for it.
    pub async fn unblocked(&self) {
        loop {
            let mut unblocked = std::pin::pin!(self.unblocked.notified());
            unblocked.as_mut().enable();
            if !self.is_blocked() {
                return;
            }
            unblocked.await;
        }
    }
}

/// Closes a connection by aborting its task.
#[derive(Debug, Clone, Default)]
pub struct Closer(Arc<OnceLock<AbortHandle>>);

impl Closer {
    /// Sets the task of the connection.
    pub fn of(&self, task: AbortHandle) {
        // A connection has one task, so the cell is empty.
        let _ = self.0.set(task);
    }

    /// Closes the connection. A write that a request has started still runs to its end.
    pub fn close(&self) {
        if let Some(task) = self.0.get() {
            task.abort();
        }
    }
}
