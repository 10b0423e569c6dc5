//! Contention: an operation that repeatedly loses to concurrent changes of the same row waits in a queue for that row.
//!
//! Without the queue, if many requests change one tenant at the same time, one of them wins each round of decisions,
//! and those that lose most often fail with `Error::Overtaken`. The queue is not a lock: a new request decides at once,
//! and only the guards of a commit protect the data.

use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

/// Number of queues. Two rows that share a queue by chance wait for each other, which costs time but is otherwise
/// harmless.
const LINES: usize = 64;

/// The queues of a process.
#[derive(Debug)]
pub struct Contention([Mutex<()>; LINES]);

/// The head of a queue, held until this is dropped.
#[derive(Debug)]
pub struct QueuePlace<'a> {
    line: usize,
    _at_its_head: MutexGuard<'a, ()>,
}

impl Default for Contention {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Contention {
    /// Waits for the head of the queue of this id. A caller holds at most one place: `before` is released if it belongs
    /// to another queue.
    pub async fn wait<'a>(&'a self, id: &str, before: Option<QueuePlace<'a>>) -> QueuePlace<'a> {
        let line = line(id);
        match before {
            Some(turn) if turn.line == line => turn,
            before => {
                drop(before);
                QueuePlace { line, _at_its_head: self.0[line].lock().await }
            }
        }
    }
}

fn line(id: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    // The remainder is less than 64.
    usize::try_from(hasher.finish() % LINES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn must_serve_one_at_a_time_and_keep_a_place_once_taken() {
        let turns = Contention::default();
        let other = (0..).map(|n| format!("t-{n}")).find(|id| line(id) != line("acme")).expect("another line");
        let first = turns.wait("acme", None).now_or_never().expect("nobody else waits");
        assert!(turns.wait("acme", None).now_or_never().is_none(), "it is another's turn");
        let first = turns.wait("acme", Some(first)).now_or_never().expect("it has its turn");
        let elsewhere = turns.wait(&other, Some(first)).now_or_never().expect("nobody else waits there");
        assert!(turns.wait("acme", None).now_or_never().is_some(), "the turn before was given up");
        drop(elsewhere);
    }
}
