//! State that the proxy's handle and its connections share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::fault::{Armed, Counting, Effect, Fault};
use super::frontend::{Frontend, Message};

const CUT_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct State {
    faults: Mutex<Vec<Counting>>,
    messages: AtomicU64,
    opened: AtomicU64,
    open: Mutex<BTreeSet<u64>>,
    closed: Condvar,
    refusing: AtomicBool,
    frozen: watch::Sender<bool>,
    /// Number of calls of `cut`.
    cuts: watch::Sender<u64>,
}

impl State {
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
        lock(&self.open).len()
    }

    pub(super) fn arm(&self, fault: Fault) -> Armed {
        let (counting, armed) = Counting::new(fault);
        lock(&self.faults).push(counting);
        armed
    }

    pub(super) fn disarm(&self) {
        lock(&self.faults).clear();
    }

    pub(super) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::SeqCst)
    }

    pub(super) fn freeze(&self, freeze: bool) {
        self.frozen.send_replace(freeze);
    }

    pub(super) fn cut(&self) {
        let open = lock(&self.open);
        let to_cut = open.clone();
        self.cuts.send_modify(|cuts| *cuts += 1);
        let (_open, waited) = self
            .closed
            .wait_timeout_while(open, CUT_LIMIT, |open| !open.is_disjoint(&to_cut))
            .expect("the lock is not poisoned");
        assert!(!waited.timed_out(), "connections were not closed within {CUT_LIMIT:?}");
    }

    /// Registers a connection.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let mut open = lock(&self.open);
        // Inside the lock: the connection sees every cut after its registration.
        let cuts = self.cuts.subscribe();
        open.insert(number);
        Open { number, state: Arc::clone(self), cuts, frozen: self.frozen.subscribe() }
    }
}

/// An open connection; closed when it is dropped.
#[derive(Debug)]
pub(super) struct Open {
    number: u64,
    state: Arc<State>,
    cuts: watch::Receiver<u64>,
    frozen: watch::Receiver<bool>,
}

impl Open {
    /// Waits until all connections are to be cut.
    pub(super) async fn cut(&self) {
        // An error means that the proxy is gone; the end of the runtime ends this as well.
        let _ = self.cuts.clone().changed().await;
    }

    /// Waits while the proxy is frozen.
    pub(super) async fn thawed(&self) {
        let _ = self.frozen.clone().wait_for(|frozen| !frozen).await;
    }

    /// Counts a message of this connection. Returns the effect if a fault fires.
    pub(super) fn message(
        &self,
        frontend: &Frontend,
        kind: char,
        sql: Option<Arc<str>>,
        length_bytes: usize,
    ) -> Option<Effect> {
        let mut faults = lock(&self.state.faults);
        let message = Message {
            number: self.state.messages.fetch_add(1, Ordering::SeqCst) + 1,
            connection: self.number,
            application: frontend.application(),
            kind,
            sql,
            length_bytes,
        };
        // Every fault counts the message, whichever fires.
        let effects: Vec<Effect> = faults.iter_mut().filter_map(|fault| fault.message(&message)).collect();
        faults.retain(|fault| !fault.is_spent());
        effects.first().copied()
    }

    /// Number of the next bytes that may be forwarded before the cut; `None` if there is no cut.
    pub(super) fn bytes(&self, bytes: usize) -> Option<usize> {
        let mut faults = lock(&self.state.faults);
        let passing = faults.iter_mut().filter_map(|fault| fault.bytes(bytes as u64)).min();
        faults.retain(|fault| !fault.is_spent());
        passing.map(|bytes| usize::try_from(bytes).expect("at most the requested number"))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.state.open).remove(&self.number);
        self.state.closed.notify_all();
    }
}

/// A filter that panicked while it held a lock fails its own test; the counters are still correct.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
