//! Which addresses a webhook may reach.
//!
//! What is refused is everything that is not a public unicast address: a request to it would come from inside the
//! platform's network, where a customer has no business.

use super::Policy;
use crate::network::prefix_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tenancy_core::webhook::bad_url;
use url::{Host, Url};

/// A kind of address that is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// Serves metadata and credentials to virtual machines. Refused even if an operator permits its network.
    Metadata,
    /// Any other; the text completes "a … address".
    Other(&'static str),
}

impl Kind {
    /// Name of the kind: "a … address".
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Metadata => "cloud metadata",
            Self::Other(name) => name,
        }
    }
}

/// IPv4 blocks that are not public: the special-purpose registry of IANA (RFC 6890), multicast and the former class E.
const V4: [(Ipv4Addr, u8, Kind); 16] = [
    (Ipv4Addr::new(169, 254, 169, 254), 32, Kind::Metadata),
    (Ipv4Addr::new(100, 100, 100, 200), 32, Kind::Metadata),
    // Public by its number, but answered by the host of a virtual machine on Azure.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Kind::Metadata),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Kind::Loopback),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Kind::Other("unspecified")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Kind::Other("private")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Kind::Other("private")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Kind::Other("private")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Kind::Other("shared (CGNAT)")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Kind::Other("link-local")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Kind::Other("reserved")),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Kind::Other("6to4")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Kind::Other("benchmarking")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Kind::Other("multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Kind::Other("reserved")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Kind::Other("documentation")),
];

/// More IPv4 blocks for documentation (RFC 5737).
const V4_DOCUMENTATION: [(Ipv4Addr, u8); 2] =
    [(Ipv4Addr::new(198, 51, 100, 0), 24), (Ipv4Addr::new(203, 0, 113, 0), 24)];

const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// IPv6 blocks that are not public. What is outside `2000::/3` and not named here is reserved.
const V6: [(Ipv6Addr, u8, Kind); 15] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, Kind::Metadata),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Kind::Metadata),
    (Ipv6Addr::LOCALHOST, 128, Kind::Loopback),
    (Ipv6Addr::UNSPECIFIED, 128, Kind::Other("unspecified")),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, Kind::Other("IPv4-mapped")),
    (Ipv6Addr::UNSPECIFIED, 96, Kind::Other("IPv4-compatible")),
    (v6(0x64, 0xff9b, 0), 96, Kind::Other("NAT64")),
    (v6(0x64, 0xff9b, 1), 48, Kind::Other("NAT64")),
    (v6(0xfc00, 0, 0), 7, Kind::Other("unique-local")),
    (v6(0xfe80, 0, 0), 10, Kind::Other("link-local")),
    (v6(0xff00, 0, 0), 8, Kind::Other("multicast")),
    (v6(0x2002, 0, 0), 16, Kind::Other("6to4")),
    (v6(0x2001, 0xdb8, 0), 32, Kind::Other("documentation")),
    (v6(0x3fff, 0, 0), 20, Kind::Other("documentation")),
    // Teredo (2001::/32), benchmarking, ORCHID and other protocols.
    (v6(0x2001, 0, 0), 23, Kind::Other("reserved")),
];

/// Returns the kind of an address that is not public.
pub fn kind(address: IpAddr) -> Option<Kind> {
    let within = |network: IpAddr, prefix: u8| prefix_of(address, prefix) == prefix_of(network, prefix);
    match address {
        IpAddr::V4(_) => {
            let known = V4.iter().find(|(network, prefix, _)| within((*network).into(), *prefix)).map(|known| known.2);
            let documents = || V4_DOCUMENTATION.iter().any(|(network, prefix)| within((*network).into(), *prefix));
            known.or_else(|| documents().then_some(Kind::Other("documentation")))
        }
        IpAddr::V6(_) => {
            let known = V6.iter().find(|(network, prefix, _)| within((*network).into(), *prefix)).map(|known| known.2);
            let is_global = within(v6(0x2000, 0, 0).into(), 3);
            known.or((!is_global).then_some(Kind::Other("reserved")))
        }
    }
}

/// Returns why an address must not be connected to, if it must not.
pub fn refusal(address: IpAddr, is_platform: bool, policy: &Policy) -> Option<Kind> {
    let kind = kind(address)?;
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let is_permitted = match kind {
        Kind::Metadata => false,
        Kind::Loopback if policy.allows_loopback => true,
        _ => is_platform && !is_mapped && policy.platform_networks.iter().any(|network| network.contains(address)),
    };
    (!is_permitted).then_some(kind)
}

/// Parses the URL of an endpoint, and refuses a scheme, an address or a name that must not be reached.
///
/// # Errors
/// The rest of a sentence that begins with the name of the field.
pub fn parse(text: &str, is_platform: bool, policy: &Policy) -> Result<Url, String> {
    if let Some(wrong) = bad_url(text) {
        return Err(wrong);
    }
    // The parser turns every spelling of an IPv4 address, such as 0x7f.1 or 2130706433, into its four numbers.
    let url = Url::parse(text).map_err(|error| format!("must be a URL: {error}"))?;
    if url.scheme() == "http" && !policy.allows_http {
        return Err("must begin with https://: the server does not send webhooks without TLS".to_owned());
    }
    // Some characters are valid in a URL, but not in a request.
    if super::attempt::path(&url).parse::<hyper::Uri>().is_err() {
        return Err("has characters that must be percent-encoded".to_owned());
    }
    let refused = match url.host() {
        Some(Host::Ipv4(address)) => refusal(address.into(), is_platform, policy),
        Some(Host::Ipv6(address)) => refusal(address.into(), is_platform, policy),
        Some(Host::Domain(name)) if is_localhost(name) => {
            let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            let refused = addresses.map(|address| refusal(address, is_platform, policy));
            refused.iter().all(Option::is_some).then_some(Kind::Loopback)
        }
        Some(Host::Domain(_)) => None,
        None => return Err("must name a host".to_owned()),
    };
    refused.map_or(Ok(url), |kind| {
        Err(format!("must not name a {} address: webhooks are sent to public addresses", kind.name()))
    })
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public_only() -> Policy {
        Policy { allows_http: true, ..Policy::default() }
    }

    #[test]
    fn must_refuse_every_kind_of_address_that_is_not_public() {
        for (first, last, name) in [
            ("0.0.0.0", "0.255.255.255", "unspecified"),
            ("10.0.0.0", "10.255.255.255", "private"),
            ("100.64.0.0", "100.127.255.255", "shared (CGNAT)"),
            ("100.100.100.200", "100.100.100.200", "cloud metadata"),
            ("127.0.0.0", "127.255.255.255", "loopback"),
            ("168.63.129.16", "168.63.129.16", "cloud metadata"),
            ("169.254.0.0", "169.254.255.255", "link-local"),
            ("169.254.169.254", "169.254.169.254", "cloud metadata"),
            ("172.16.0.0", "172.31.255.255", "private"),
            ("192.0.0.0", "192.0.0.255", "reserved"),
            ("192.0.2.0", "192.0.2.255", "documentation"),
            ("192.88.99.0", "192.88.99.255", "6to4"),
            ("192.168.0.0", "192.168.255.255", "private"),
            ("198.18.0.0", "198.19.255.255", "benchmarking"),
            ("198.51.100.0", "198.51.100.255", "documentation"),
            ("203.0.113.0", "203.0.113.255", "documentation"),
            ("224.0.0.0", "239.255.255.255", "multicast"),
            ("240.0.0.0", "255.255.255.255", "reserved"),
            ("::", "::", "unspecified"),
            ("::1", "::1", "loopback"),
            ("::0.0.0.2", "::255.255.255.255", "IPv4-compatible"),
            ("::ffff:0.0.0.0", "::ffff:255.255.255.255", "IPv4-mapped"),
            ("64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"),
            ("100::", "100::ffff:ffff:ffff:ffff", "reserved"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique-local"),
            ("fd00:ec2::254", "fd00:ec2::254", "cloud metadata"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ] {
            for address in [first, last] {
                let found = kind(address.parse().expect(address)).map(Kind::name);
                assert_eq!(found, Some(name), "{address}");
            }
        }
    }

    #[test]
    fn must_permit_public_addresses_up_to_the_next_block() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "2000::",
            "2001:200::",
            "2001:db7::1",
            "2001:db9::",
            "2003::",
            "2606:4700::1111",
            "3ffe:ffff::",
            "3fff:1000::",
        ] {
            assert_eq!(kind(address.parse().expect(address)), None, "{address}");
        }
    }

    #[test]
    fn must_refuse_odd_spellings_of_forbidden_addresses() {
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "017700000001",
            "0x7f000001",
            "0X7F.0.0.1",
            "0",
            "127.0.0.1.",
            "127.0.1",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "0xa9fea9fe",
            "169.254.43518",
            "[::ffff:a9fe:a9fe]",
            "[fd00:ec2::254]",
            "0300.0250.1.1",
            "3232235777",
            "10.1",
            "[fe80::1]",
            "[::]",
        ] {
            for scheme in ["https", "http"] {
                let url = format!("{scheme}://{host}/hook");
                assert!(super::super::check_url(&url, false, &public_only()).is_err(), "{url}");
            }
        }
        for bad in
            ["https://[fe80::1%25eth0]/", "https://127.0.0.1%00.example/", "https://1.2.3.4.5/", "https://256.1.1.1/"]
        {
            assert!(parse(bad, false, &public_only()).is_err(), "{bad}");
        }
        for good in
            ["https://hooks.example/a?b=c", "https://1.1.1.1/", "http://[2606:4700::1111]:8080/", "https://ä.example/ü"]
        {
            assert!(parse(good, false, &public_only()).is_ok(), "{good}");
        }
    }

    #[test]
    fn must_want_tls_unless_http_is_allowed() {
        let refused = parse("http://hooks.example", true, &Policy::default()).expect_err("no TLS");
        assert!(refused.starts_with("must begin with https://"), "{refused}");
        assert!(parse("http://hooks.example", false, &public_only()).is_ok());
    }

    #[test]
    fn must_permit_loopback_and_the_networks_of_the_operator_only_where_allowed() {
        let develops = Policy { allows_http: true, allows_loopback: true, ..Policy::default() };
        for url in ["http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000", "http://127.1"] {
            assert!(parse(url, false, &develops).is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1", "http://169.254.169.254", "http://[::ffff:127.0.0.1]"] {
            assert!(parse(url, false, &develops).is_err(), "{url}");
        }
        let networks = ["10.0.0.0/8", "169.254.0.0/16", "fd00::/8"].map(|text| text.parse().expect(text)).to_vec();
        let operates = Policy { platform_networks: networks, ..Policy::default() };
        for url in ["https://10.1.2.3", "https://169.254.1.1", "https://[fd12::1]"] {
            assert!(parse(url, true, &operates).is_ok(), "{url}");
            assert!(parse(url, false, &operates).is_err(), "only endpoints of the platform: {url}");
        }
        for url in
            ["https://192.168.0.1", "https://169.254.169.254", "https://[fd00:ec2::254]", "https://[::ffff:10.1.2.3]"]
        {
            assert!(parse(url, true, &operates).is_err(), "{url}");
        }
    }
}
