//! One file of a key at a time: a file can be large, and two files of one key would be judged without each other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::ids::KeyId;

/// Keys whose file is being applied or planned.
#[derive(Debug, Default, Clone)]
pub struct OneAtATime(Arc<Mutex<HashSet<KeyId>>>);

/// The turn of one key. It ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    all: OneAtATime,
    key: KeyId,
}

impl OneAtATime {
    /// Begins the turn of a key; `None` if another file of the key is in progress.
    pub fn begin(&self, key: &KeyId) -> Option<Turn> {
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then(|| Turn { all: self.clone(), key: key.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_take_one_file_of_a_key_until_it_ends() {
        let all = OneAtATime::default();
        let (one, other) = (KeyId::known("key_a"), KeyId::known("key_b"));
        let turn = all.begin(&one).expect("the first");
        assert!(all.begin(&one).is_none() && all.begin(&other).is_some());
        drop(turn);
        assert!(all.begin(&one).is_some());
    }
}
