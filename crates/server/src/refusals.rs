//! Refused calls: the gate collects them in memory, and a loop records them in the audit log. Their number is bounded,
//! so that whoever sends bad tokens can fill neither the memory nor the log.

use crate::background::{Loop, Wake};
use crate::operations::refusals::Record;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::rules::refusals::RefusedCalls;

/// Interval at which collected calls are recorded. A crash loses at most the calls of one interval.
const PERIOD: Duration = Duration::from_secs(15);

/// Maximum number of different calls of one peer that are recorded in one interval. All others count as one.
const MAX_OF_PEER: usize = 8;

/// Maximum number of different calls that are recorded in one interval. All others count as calls of no known peer.
const MAX_CALLS: usize = 128;

/// Method and route of calls that are counted together because a limit is exceeded.
const OTHERS: &str = "others";

/// Name of the actor in the audit log.
pub const ACTOR: &str = "gate";

/// Refused calls that are not recorded yet.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Vec<RefusedCalls>>);

impl Refusals {
    /// Adds refused calls to those that are equal.
    pub fn add(&self, calls: RefusedCalls) {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(calls) = add_within(&mut collected, calls, MAX_OF_PEER) else { return };
        let of_peer = RefusedCalls { method: OTHERS, route: OTHERS.to_owned(), key_id: None, ..calls };
        let Some(calls) = add_within(&mut collected, of_peer, MAX_OF_PEER + 1) else { return };
        // The codes of refusals are few, so that these are, too.
        add_within(&mut collected, RefusedCalls { peer: None, ..calls }, usize::MAX);
    }

    fn take(&self) -> Vec<RefusedCalls> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts calls that are known, or adds them if `max_of_peer` permits it. Returns them otherwise.
fn add_within(collected: &mut Vec<RefusedCalls>, calls: RefusedCalls, max_of_peer: usize) -> Option<RefusedCalls> {
    let is_same = |known: &&mut RefusedCalls| {
        (known.method, &known.route, known.code) == (calls.method, &calls.route, calls.code)
            && (&known.key_id, &known.peer) == (&calls.key_id, &calls.peer)
    };
    if let Some(known) = collected.iter_mut().find(is_same) {
        known.count = known.count.saturating_add(calls.count);
        known.first_at = known.first_at.min(calls.first_at);
        known.last_at = known.last_at.max(calls.last_at);
        return None;
    }
    let of_peer = collected.iter().filter(|known| known.peer == calls.peer).count();
    if max_of_peer < usize::MAX && (of_peer >= max_of_peer || collected.len() >= MAX_CALLS) {
        return Some(calls);
    }
    collected.push(calls);
    None
}

/// Returns the loop that records collected calls.
pub fn as_loop() -> Loop {
    Loop {
        name: "refusals",
        period: PERIOD,
        wake: Wake::Never,
        run: |tenancy, _| Box::pin(async move { run_once(&tenancy).await.map(drop) }),
    }
}

/// Records collected calls and returns the number of events.
///
/// # Errors
/// [`Error::Unavailable`]. The calls are then kept for the next run.
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let calls = tenancy.refusals.take();
    if calls.is_empty() {
        return Ok(0);
    }
    let (count, record) = (calls.len(), Record { calls });
    let request = RequestContext::by_part(ACTOR, fresh_correlation_id());
    match tenancy.decide_and_commit(&record, &request, None).await {
        Ok(_) => Ok(count),
        Err(error) => {
            // If the outcome is unknown, they may be recorded. Recording them again could count them twice.
            if error != Error::OutcomeUnknown {
                record.calls.into_iter().for_each(|calls| tenancy.refusals.add(calls));
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::Timestamp;

    #[test]
    fn must_collect_a_bounded_number_for_each_peer_and_in_all_and_lose_no_count() {
        let refusals = Refusals::default();
        let call = |route: String, peer: String| RefusedCalls {
            method: "GET",
            route,
            code: "unauthenticated",
            key_id: None,
            peer: Some(peer),
            count: 1,
            first_at: Timestamp::UNIX_EPOCH,
            last_at: Timestamp::UNIX_EPOCH,
        };
        for route in 0..20 {
            for _ in 0..3 {
                refusals.add(call(format!("/{route}"), "192.0.2.1".to_owned()));
            }
        }
        let of_one = refusals.take();
        assert_eq!(of_one.len(), MAX_OF_PEER + 1);
        assert_eq!((of_one[0].count, of_one[MAX_OF_PEER].count, of_one[MAX_OF_PEER].method), (3, 36, OTHERS));
        for peer in 0..1000 {
            refusals.add(call("/".to_owned(), format!("2001:db8::{peer:x}")));
        }
        let of_many = refusals.take();
        assert_eq!(of_many.len(), MAX_CALLS + 1);
        assert_eq!((&of_many[MAX_CALLS].peer, of_many.iter().map(|calls| calls.count).sum::<u64>()), (&None, 1000));
    }
}
