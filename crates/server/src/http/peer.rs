//! The peer of a request: the address of the client that sent it.

use crate::network::Network;
use axum::http::HeaderMap;
use std::fmt;
use std::net::IpAddr;

/// Header in which a proxy records the address of its client.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Address of the client that sent a request. The service of a connection adds it to the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Determines the client of a request that arrived from the address `socket`.
    ///
    /// Only a trusted proxy may name another address. Each proxy appends the address that it received the request from,
    /// so the last entry that is not a trusted proxy is the client. Everything before it was written by the client.
    pub fn of(socket: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> Self {
        let is_proxy = |address| proxies.iter().any(|proxy| proxy.contains(address));
        let mut nearest = socket.to_canonical();
        if !is_proxy(nearest) {
            return Self(nearest);
        }
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for entry in values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
            let Some(address) = address_of(entry) else { break };
            nearest = address;
            if !is_proxy(nearest) {
                break;
            }
        }
        Self(nearest)
    }
}

/// Parses an entry. Some proxies add the port.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|with_port: std::net::SocketAddr| with_port.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(socket: &str, forwarded: &[&'static str]) -> String {
        let proxies: Vec<Network> = ["10.0.0.0/8", "::1"].iter().map(|text| text.parse().expect("a network")).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, value.parse().expect("a header"));
        }
        Peer::of(socket.parse().expect("an address"), &headers, &proxies).to_string()
    }

    #[test]
    fn must_believe_trusted_proxies_only() {
        assert_eq!(peer("192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
        assert_eq!(peer("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(peer("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(peer("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn must_take_the_last_entry_that_is_no_trusted_proxy() {
        assert_eq!(peer("10.0.0.1", &["1.1.1.1, 198.51.100.9, 10.0.0.2"]), "198.51.100.9");
        assert_eq!(peer("10.0.0.1", &["1.1.1.1", "198.51.100.9 ,10.0.0.2"]), "198.51.100.9");
        assert_eq!(peer("::1", &["10.0.0.3,10.0.0.2"]), "10.0.0.3");
        assert_eq!(peer("::1", &["198.51.100.9:4711"]), "198.51.100.9");
        assert_eq!(peer("::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(peer("::1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn must_stop_at_an_entry_that_is_no_address() {
        assert_eq!(peer("10.0.0.1", &["198.51.100.9, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(peer("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(peer("10.0.0.1", &[""]), "10.0.0.1");
    }
}
