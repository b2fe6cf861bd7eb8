//! Whose address a request comes from, and what counts as one neighbour.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::ConnectInfo;
use http::HeaderName;
use http::request::Parts;

/// A range of addresses in CIDR notation; a bare address is a range of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not a range of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidNetwork;

impl std::fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a range of addresses: 10.0.0.0/8 or 2001:db8::/32 is expected")
    }
}

impl std::error::Error for InvalidNetwork {}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |p| p.parse().map_err(|_| InvalidNetwork))?;
        if prefix <= bits { Ok(Self { address, prefix }) } else { Err(InvalidNetwork) }
    }
}

impl Network {
    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

/// The scheme by which a client came to the proxy.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who sent it; none where the server does not tell.
fn peer(parts: &Parts) -> Option<IpAddr> {
    Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical())
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Takes out what only a proxy may say of the client's way here, where none of ours says it.
pub(crate) fn unsay(parts: &mut Parts, trusted: &[Network]) {
    if peer(parts).is_some_and(|peer| !is_trusted(peer, trusted)) {
        parts.headers.remove(FORWARDED_PROTO);
    }
}

/// The client: the connection's peer, or the nearest untrusted hop that trusted proxies name.
/// None where the server does not tell the peer.
pub(crate) fn client(parts: &Parts, trusted: &[Network]) -> Option<IpAddr> {
    let peer = peer(parts)?;
    let is_trusted = |address| is_trusted(address, trusted);
    if !is_trusted(peer) {
        return Some(peer);
    }
    let mut client = peer;
    let lines = parts.headers.get_all("x-forwarded-for").iter();
    for line in lines.rev() {
        for hop in line.to_str().unwrap_or_default().rsplit(',') {
            // What stands left of something unreadable may be anybody's invention.
            let Some(address) = hop_address(hop.trim()) else { return Some(client) };
            client = address;
            if !is_trusted(client) {
                return Some(client);
            }
        }
    }
    Some(client)
}

/// Proxies write `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1` or `[2001:db8::1]:567`.
fn hop_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The key of an address's bucket: a whole /64 of IPv6 is one neighbour, since one customer
/// usually has all of it.
pub(crate) fn neighbour(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).to_string()
        }
        None => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut request = Request::builder();
        for line in forwarded {
            request = request.header("x-forwarded-for", *line);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        neighbour(client(&parts, &trusted))
    }

    #[test]
    fn strangers_cannot_name_another_address() {
        assert_eq!(seen("9.9.9.9:1", &["1.1.1.1"], &[]), "9.9.9.9");
        assert_eq!(seen("9.9.9.9:1", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn strangers_cannot_say_by_which_scheme_they_came() {
        let kept = |peer: Option<&str>| {
            let request = Request::builder().header(FORWARDED_PROTO, "https");
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            if let Some(peer) = peer {
                parts.extensions.insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
            }
            unsay(&mut parts, &["10.0.0.0/8".parse().unwrap()]);
            parts.headers.contains_key(FORWARDED_PROTO)
        };
        assert!(!kept(Some("9.9.9.9:1")));
        assert!(kept(Some("10.0.0.1:1")));
        assert!(kept(None), "API Gateway tells no peer, and sets the header itself");
    }

    #[test]
    fn trusted_proxies_name_the_nearest_stranger() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(seen("10.0.0.1:1", &["1.1.1.1, 2.2.2.2, 10.9.9.9"], &trusted), "2.2.2.2");
        assert_eq!(seen("10.0.0.1:1", &["1.1.1.1", "2.2.2.2:80"], &trusted), "2.2.2.2");
        assert_eq!(seen("10.0.0.1:1", &["1.1.1.1, rubbish"], &trusted), "10.0.0.1");
        assert_eq!(seen("10.0.0.1:1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_addresses_as_ipv4() {
        assert_eq!(seen("[2001:db8:1:2:3:4:5:6]:1", &[], &[]), "2001:db8:1:2::");
        assert_eq!(seen("[::ffff:9.9.9.9]:1", &[], &[]), "9.9.9.9");
    }

    #[test]
    fn networks_are_read_and_bounded() {
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("9.9.9.9".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("::1".parse().unwrap()));
        assert!(!"10.1.0.0/16".parse::<Network>().unwrap().contains("10.2.0.0".parse().unwrap()));
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }
}
