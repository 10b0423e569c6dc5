//! Seats: the right of a connection to be open.
//!
//! A connection is without a key until one of its requests has shown a valid key. If a limit is reached, a new
//! connection takes the seat of the oldest one without a key, so that connections without a key cannot keep anybody
//! out. A connection with a key keeps its seat until it ends.

use super::connection::Closer;
use crate::metrics::{ConnectionLimit, Metrics};
use crate::network::prefix_of;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Part of an IPv6 address that identifies a peer. One host usually has a whole /64 network.
const PREFIX_OF_PEER: u8 = 64;

/// All seats of a listener.
pub struct Seats {
    most: usize,
    most_without_key: usize,
    most_per_peer: usize,
    book: Mutex<Book>,
    metrics: Arc<Metrics>,
}

/// Which seats are taken.
#[derive(Default)]
struct Book {
    taken: usize,
    without_key: usize,
    peers: HashMap<IpAddr, PeerSeats>,
    /// Number of the next seat. A smaller number is an older seat.
    next: u64,
}

/// Seats of the connections of one peer.
#[derive(Default)]
struct PeerSeats {
    with_key: usize,
    without_key: BTreeMap<u64, Closer>,
}

impl PeerSeats {
    fn taken(&self) -> usize {
        self.with_key + self.without_key.len()
    }
}

/// Seat of one connection. It is free again when the value is dropped.
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    peer: IpAddr,
    has_key: AtomicBool,
    closer: Closer,
}

impl Seats {
    /// Creates free seats: in all, for connections without a key, and for each peer.
    pub fn new(most: usize, most_without_key: usize, most_per_peer: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { most, most_without_key, most_per_peer, book: Mutex::default(), metrics })
    }

    /// Takes a seat for a connection from `socket`. The connections of a trusted proxy carry the requests of many
    /// clients: they count only for the limit of all connections.
    ///
    /// # Errors
    /// The limit that is reached, if all connections that it counts have shown a key.
    pub fn take(self: &Arc<Self>, socket: IpAddr, is_proxy: bool) -> Result<Seat, ConnectionLimit> {
        let peer = match socket.to_canonical() {
            v6 @ IpAddr::V6(_) => prefix_of(v6, PREFIX_OF_PEER),
            v4 => v4,
        };
        let mut book = self.book();
        if !is_proxy {
            let taken = book.peers.get(&peer).map_or(0, PeerSeats::taken);
            if taken >= self.most_per_peer {
                self.free(&mut book, Some(peer), ConnectionLimit::PerPeer)?;
            }
            if book.without_key >= self.most_without_key {
                self.free(&mut book, None, ConnectionLimit::WithoutKey)?;
            }
        }
        if book.taken >= self.most {
            self.free(&mut book, None, ConnectionLimit::All)?;
        }
        let (number, closer) = (book.next, Closer::default());
        book.next += 1;
        book.taken += 1;
        let of_peer = book.peers.entry(peer).or_default();
        if is_proxy {
            of_peer.with_key += 1;
        } else {
            of_peer.without_key.insert(number, closer.clone());
            book.without_key += 1;
        }
        self.metrics.connections.inc();
        Ok(Seat { seats: Arc::clone(self), number, peer, has_key: AtomicBool::new(is_proxy), closer })
    }

    /// Closes up to `number` connections without a key, because the process has no file descriptors left. Returns
    /// whether it closed any.
    pub fn free_some(&self, number: usize) -> bool {
        let mut book = self.book();
        (0..number).take_while(|_| self.free(&mut book, None, ConnectionLimit::OpenFiles).is_ok()).count() > 0
    }

    /// Closes the oldest connection without a key: of this peer, or of the peer that has the most of them, so that a
    /// peer with many connections displaces its own ones and not those of others.
    fn free(&self, book: &mut Book, peer: Option<IpAddr>, limit: ConnectionLimit) -> Result<(), ConnectionLimit> {
        self.metrics.limited(limit);
        let crowded = || {
            let order = |seats: &PeerSeats| {
                (seats.without_key.len(), seats.without_key.first_key_value().map(|(number, _)| Reverse(*number)))
            };
            book.peers.iter().max_by_key(|(_, seats)| order(seats)).map(|(peer, _)| *peer)
        };
        let peer = peer.or_else(crowded).ok_or(limit)?;
        let of_peer = book.peers.get_mut(&peer).ok_or(limit)?;
        let (_, closer) = of_peer.without_key.pop_first().ok_or(limit)?;
        closer.close();
        book.without_key -= 1;
        book.left(peer);
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Counts a connection less. Its entry was removed before.
    fn left(&mut self, peer: IpAddr) {
        self.taken -= 1;
        if self.peers.get(&peer).is_some_and(|seats| seats.taken() == 0) {
            self.peers.remove(&peer);
        }
    }
}

impl Seat {
    /// Notes that a request on this connection has shown a valid key.
    pub fn show_key(&self) {
        if self.has_key() {
            return;
        }
        let mut book = self.seats.book();
        let Some(of_peer) = book.peers.get_mut(&self.peer) else { return };
        // Otherwise the seat was given to another connection, and this one is closing.
        if of_peer.without_key.remove(&self.number).is_some() {
            of_peer.with_key += 1;
            book.without_key -= 1;
            self.has_key.store(true, Ordering::Release);
        }
    }

    /// Returns whether a request on this connection has shown a valid key. A trusted proxy counts as if it had.
    pub fn has_key(&self) -> bool {
        self.has_key.load(Ordering::Acquire)
    }

    /// Returns what closes the connection.
    pub fn closer(&self) -> &Closer {
        &self.closer
    }

    /// Counts that a limit closed this connection or refused a request on it.
    pub fn limited(&self, limit: ConnectionLimit) {
        self.seats.metrics.limited(limit);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.metrics.connections.dec();
        let mut book = self.seats.book();
        let has_key = *self.has_key.get_mut();
        let Some(of_peer) = book.peers.get_mut(&self.peer) else { return };
        if has_key {
            of_peer.with_key -= 1;
        } else if of_peer.without_key.remove(&self.number).is_some() {
            book.without_key -= 1;
        } else {
            return;
        }
        book.left(self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Commits;

    fn seats(most: usize, most_without_key: usize, most_per_peer: usize) -> Arc<Seats> {
        Seats::new(most, most_without_key, most_per_peer, Arc::new(Metrics::new(&Commits::default())))
    }

    fn at(seats: &Arc<Seats>, peer: &str) -> Result<Seat, ConnectionLimit> {
        seats.take(peer.parse().expect("an address"), false)
    }

    fn holds(seat: &Seat) -> bool {
        let book = seat.seats.book();
        let of_peer = book.peers.get(&seat.peer);
        seat.has_key() || of_peer.is_some_and(|of_peer| of_peer.without_key.contains_key(&seat.number))
    }

    #[test]
    fn must_take_the_oldest_seat_without_a_key_of_the_peer_that_has_the_most() {
        let seats = seats(100, 3, 100);
        let alone = at(&seats, "192.0.2.1").expect("a seat");
        let flood = [at(&seats, "192.0.2.2").expect("a seat"), at(&seats, "192.0.2.2").expect("a seat")];
        let newest = at(&seats, "192.0.2.2").expect("a seat");
        assert_eq!([&alone, &flood[0], &flood[1], &newest].map(holds), [true, false, true, true]);
        // With a key, a seat is not taken.
        alone.show_key();
        newest.show_key();
        let others = [at(&seats, "192.0.2.3").expect("a seat"), at(&seats, "192.0.2.4").expect("a seat")];
        assert_eq!([&alone, &flood[1], &newest].map(holds), [true, true, true]);
        let last = at(&seats, "192.0.2.5").expect("a seat");
        assert_eq!([&flood[1], &others[0], &others[1], &last].map(holds), [false, true, true, true]);
    }

    #[test]
    fn must_refuse_only_if_all_have_a_key() {
        let seats = seats(3, 3, 2);
        let first = [at(&seats, "192.0.2.1").expect("a seat"), at(&seats, "192.0.2.1").expect("a seat")];
        first.iter().for_each(Seat::show_key);
        assert_eq!(at(&seats, "192.0.2.1").err(), Some(ConnectionLimit::PerPeer));
        let second = at(&seats, "192.0.2.2").expect("a seat");
        second.show_key();
        assert_eq!(at(&seats, "192.0.2.3").err(), Some(ConnectionLimit::All));
        drop(first);
        let again = at(&seats, "192.0.2.1").expect("a seat");
        assert!(holds(&again) && !again.has_key());
        // A trusted proxy is exempt from the limit per peer.
        let proxy = seats.take("192.0.2.2".parse().expect("an address"), true).expect("a seat");
        drop((second, again, proxy));
        let book = seats.book();
        assert_eq!((book.taken, book.without_key, book.peers.len()), (0, 0, 0));
    }

    #[test]
    fn must_count_a_network_of_ipv6_as_one_peer() {
        let seats = seats(100, 100, 1);
        at(&seats, "::ffff:192.0.2.1").expect("a seat").show_key();
        let kept = at(&seats, "2001:db8::1").expect("a seat");
        kept.show_key();
        assert_eq!(at(&seats, "2001:db8::2").err(), Some(ConnectionLimit::PerPeer));
        assert!(at(&seats, "2001:db8:0:1::2").is_ok());
    }

    #[test]
    fn must_forget_a_displaced_connection_once() {
        let seats = seats(1, 1, 1);
        let first = at(&seats, "192.0.2.1").expect("a seat");
        let second = at(&seats, "192.0.2.1").expect("a seat");
        // A key that comes too late does not bring the seat back.
        first.show_key();
        assert!(!first.has_key());
        drop(first);
        assert_eq!(seats.book().taken, 1);
        drop(second);
        assert_eq!(seats.book().taken, 0);
    }
}
