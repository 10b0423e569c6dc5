//! Contention: who loses more than once to others that change the same thing waits in line for it, and is not in their way.
//!
//! Without it, of many that change one tenant at one moment one wins each time they decide, and those that lose most are
//! told that too much is going on. It is no lock: whoever comes new decides at once, and what is committed is guarded by
//! what the database says.

use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

/// How many lines there are. Two things that share one by chance wait for each other, which costs only time.
const LINES: usize = 64;

/// The lines of a process.
#[derive(Debug)]
pub struct Contention([Mutex<()>; LINES]);

/// Somebody's turn, until it is dropped.
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
    /// Waits for the turn at the thing of that id. Nobody has two: the one before is given up, if it is of another line.
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
    // The remainder is below 64.
    usize::try_from(hasher.finish() % LINES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn must_let_one_at_a_time_have_its_turn_and_let_everybody_keep_their_own() {
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
