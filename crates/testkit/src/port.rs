//! Ports on 127.0.0.1 for servers that stop and restart.

use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the usual ranges of outgoing connections. In those ranges a client that keeps trying a closed port can connect
/// to itself, and an outgoing connection can take the port of a stopped server.
const RANGE: std::ops::Range<u64> = 10_000..30_000;

/// Returns a port that is free now. Another process may take it, so the caller must retry if binding fails.
pub(crate) fn free() -> u16 {
    for _ in 0..1_000 {
        let port = RANGE.start + chance() % (RANGE.end - RANGE.start);
        let port = u16::try_from(port).expect("the range is within 16 bits");
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 between {} and {}", RANGE.start, RANGE.end);
}

pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(local(port)).is_ok()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Returns a random number that differs between processes and calls: the standard library seeds its hashers that way.
fn chance() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
