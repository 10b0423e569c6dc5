//! Limits on requests that follow events: in all, and of one key.

use super::limits::EventLimits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::Error;
use tenancy_core::ids::KeyId;

/// Requests that follow events in this process.
#[derive(Debug)]
pub struct Seats {
    limits: EventLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<KeyId, usize>,
}

/// Permission to follow events, until it is dropped.
#[derive(Debug)]
pub struct StreamSeat {
    seats: Arc<Seats>,
    key: Option<KeyId>,
}

impl Seats {
    /// Creates the seats with these limits.
    pub fn new(limits: EventLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// Takes a seat for a request of a key.
    ///
    /// # Errors
    /// [`Error::TooManyAtOnce`] if the key has as many as it may; [`Error::Busy`] if all are taken.
    pub fn take(self: &Arc<Self>, key: Option<&KeyId>) -> Result<StreamSeat, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = key.and_then(|key| taken.of.get(key)).copied().unwrap_or_default();
        if key.is_some() && of_key >= self.limits.max_event_streams_per_key {
            return Err(Error::TooManyAtOnce);
        }
        if taken.all >= self.limits.max_event_streams {
            return Err(Error::Busy);
        }
        taken.all += 1;
        if let Some(key) = key {
            taken.of.insert(key.clone(), of_key + 1);
        }
        Ok(StreamSeat { seats: Arc::clone(self), key: key.cloned() })
    }

    /// Number of seats that are taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for StreamSeat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(key) = &self.key else { return };
        match taken.of.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.of.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_limit_the_streams_of_one_key_and_of_all() {
        let limits = EventLimits { max_event_streams: 3, max_event_streams_per_key: 2, ..EventLimits::default() };
        let seats = Seats::new(limits);
        let (one, other) = (KeyId::known("key_1"), KeyId::known("key_2"));
        let first = seats.take(Some(&one)).expect("a seat");
        let second = seats.take(Some(&one)).expect("a seat");
        assert_eq!(seats.take(Some(&one)).expect_err("of the key"), Error::TooManyAtOnce);
        let third = seats.take(Some(&other)).expect("a seat");
        assert_eq!(seats.take(Some(&other)).expect_err("of all"), Error::Busy);
        drop(second);
        let again = seats.take(Some(&one)).expect("it is free again");
        drop((first, third, again));
        assert_eq!(seats.taken(), 0);
    }
}
