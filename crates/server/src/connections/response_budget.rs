//! The budget of large responses that clients have not accepted yet.
//!
//! A response stays in memory until its client has accepted it. Without a budget, clients that request lists and do not
//! read them hold any amount of memory.

use super::connection::{Closer, Connection};
use crate::metrics::ConnectionLimit;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use hyper::body::{Bytes, Frame, SizeHint};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Responses up to this size do not count: each connection holds at most one, and its buffers are as large.
const SMALL_BYTES: u64 = 16 * 1024;

/// Age at which a response may be given up for a new one if the budget is used up.
const OLD: Duration = Duration::from_secs(1);

/// Part of the budget that connections without a key may use: one fourth.
const PART_WITHOUT_KEY: u64 = 4;

/// The budget.
pub struct ResponseBudget {
    most_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: u64,
    bytes_without_key: u64,
    /// Number of the next response. A smaller number is an older response.
    next: u64,
    responses: BTreeMap<u64, HeldResponse>,
}

struct HeldResponse {
    bytes: u64,
    since: Instant,
    has_key: bool,
    closer: Closer,
}

/// Share of one response in the budget. It is free again when the value is dropped.
struct Share {
    budget: Arc<ResponseBudget>,
    number: u64,
}

impl ResponseBudget {
    /// Creates an unused budget.
    pub fn new(most_bytes: u64) -> Arc<Self> {
        Arc::new(Self { most_bytes, held: Mutex::default() })
    }

    /// Charges a response to the budget until its client has accepted it. If the budget is used up, closes the
    /// connections whose clients have left a response unread for longest. Returns `None`, and drops the response, if
    /// all responses in the budget are new.
    ///
    /// The response to a change is never dropped, because the client must learn the outcome.
    pub fn charge(connection: &Connection, response: Response, is_change: bool) -> Option<Response> {
        let size = response.body().size_hint();
        let bytes = size.exact().unwrap_or_else(|| size.lower());
        if bytes <= SMALL_BYTES {
            return Some(response);
        }
        let budget = connection.budget();
        let has_key = connection.seat().has_key();
        let mut held = budget.held();
        while !budget.has_room(&held, bytes, has_key) {
            let is_given_up = held.give_up_oldest(has_key);
            if is_given_up {
                connection.seat().limited(ConnectionLimit::ResponseBytes);
            } else if is_change {
                break;
            } else {
                connection.seat().limited(ConnectionLimit::ResponseBytes);
                return None;
            }
        }
        let closer = connection.seat().closer().clone();
        let number = held.add(HeldResponse { bytes, since: Instant::now(), has_key, closer });
        drop(held);
        let share = Arc::new(Share { budget: Arc::clone(budget), number });
        Some(response.map(|body| Body::new(Charged { body, share })))
    }

    /// Returns whether a response of this size has room. One response always has, however large it is.
    fn has_room(&self, held: &Held, bytes: u64, has_key: bool) -> bool {
        let fits = |used: u64, most: u64| used == 0 || used.saturating_add(bytes) <= most;
        fits(held.bytes, self.most_bytes)
            && (has_key || fits(held.bytes_without_key, self.most_bytes / PART_WITHOUT_KEY))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn add(&mut self, response: HeldResponse) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += response.bytes;
        if !response.has_key {
            self.bytes_without_key += response.bytes;
        }
        self.responses.insert(number, response);
        number
    }

    fn remove(&mut self, number: u64) -> Option<HeldResponse> {
        let response = self.responses.remove(&number)?;
        self.bytes -= response.bytes;
        if !response.has_key {
            self.bytes_without_key -= response.bytes;
        }
        Some(response)
    }

    /// Closes the connection of the oldest response, if it is old. A response without a key makes room only for
    /// another one without a key, or if it is the oldest of all.
    fn give_up_oldest(&mut self, for_key: bool) -> bool {
        let old = self.responses.iter().find(|(_, response)| for_key || !response.has_key);
        let Some(number) = old.filter(|(_, response)| response.since.elapsed() >= OLD).map(|(number, _)| *number)
        else {
            return false;
        };
        if let Some(response) = self.remove(number) {
            response.closer.close();
        }
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held().remove(self.number);
    }
}

/// A body whose bytes are charged to the budget. The HTTP library drops the bytes when the socket has accepted them.
struct Charged {
    body: Body,
    share: Arc<Share>,
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let share = &this.share;
        let charged = |data: Bytes| Bytes::from_owner(ChargedBytes { data, _share: Arc::clone(share) });
        Pin::new(&mut this.body).poll_frame(cx).map_ok(|frame| frame.map_data(charged))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct ChargedBytes {
    data: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::super::seats::Seats;
    use super::*;
    use crate::metrics::{Commits, Metrics};
    use axum::body::to_bytes;

    fn connections(most_bytes: u64) -> impl Fn(bool) -> Connection {
        let seats = Seats::new(100, 100, 100, Arc::new(Metrics::new(&Commits::default())));
        let budget = ResponseBudget::new(most_bytes);
        move |has_key| {
            let seat = seats.take([127, 0, 0, 1].into(), false).expect("a seat");
            if has_key {
                seat.show_key();
            }
            Connection::new(seat, Arc::clone(&budget))
        }
    }

    fn of(bytes: usize) -> Response {
        Response::new(Body::from("x".repeat(bytes)))
    }

    #[tokio::test]
    async fn must_charge_a_response_until_it_is_accepted() {
        let open = connections(100_000);
        let (first, second) = (open(true), open(true));
        let held = ResponseBudget::charge(&first, of(60_000), false).expect("room");
        assert!(ResponseBudget::charge(&second, of(60_000), false).is_none(), "the budget is used up");
        assert!(ResponseBudget::charge(&second, of(10_000), false).is_some(), "a small response does not count");
        // What was already handed out still counts while its bytes exist.
        let bytes = to_bytes(held.into_body(), usize::MAX).await.expect("a body");
        assert_eq!(bytes.len(), 60_000);
        assert!(ResponseBudget::charge(&second, of(60_000), false).is_none(), "the bytes still exist");
        let change = ResponseBudget::charge(&second, of(60_000), true);
        assert!(change.is_some(), "the response to a change is never dropped");
        drop((bytes, change));
        assert!(ResponseBudget::charge(&second, of(60_000), false).is_some());
        assert_eq!(second.budget().held().bytes, 0);
    }

    #[tokio::test]
    async fn must_leave_most_of_the_budget_to_connections_with_a_key() {
        let open = connections(200_000);
        let (stranger, known) = (open(false), open(true));
        let one = ResponseBudget::charge(&stranger, of(40_000), false);
        assert!(one.is_some() && ResponseBudget::charge(&stranger, of(40_000), false).is_none());
        assert!(ResponseBudget::charge(&known, of(150_000), false).is_some());
    }

    #[tokio::test]
    async fn must_take_one_response_that_is_larger_than_the_budget() {
        let known = connections(50_000)(true);
        let large = ResponseBudget::charge(&known, of(60_000), false);
        assert!(large.is_some() && ResponseBudget::charge(&known, of(20_000), false).is_none());
    }

    #[tokio::test]
    async fn must_give_up_an_old_response_for_a_new_one() {
        let open = connections(100_000);
        let (slow, other) = (open(true), open(true));
        let task = tokio::spawn(std::future::pending::<()>());
        slow.seat().closer().of(task.abort_handle());
        let unread = ResponseBudget::charge(&slow, of(60_000), false).expect("room");
        tokio::time::sleep(OLD).await;
        let new = ResponseBudget::charge(&other, of(60_000), false).expect("room");
        assert!(task.await.expect_err("it was closed").is_cancelled());
        drop((unread, new));
        assert_eq!(other.budget().held().bytes, 0);
    }
}
