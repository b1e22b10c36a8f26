//! Who is the client, and what do upstreams hear about that?

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::{
    crowd::{Crowd, Crowded, Place},
    headers::value,
};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The networks whose `X-Forwarded-*` is believed.
pub(crate) type TrustedProxies = Arc<[IpNet]>;

/// What is known of a connection's other end, prepared once for all its requests.
#[derive(Debug)]
pub(crate) struct Peer {
    address: IpAddr,
    /// Those who speak for others, if it is one of them.
    trusted: Option<TrustedProxies>,
    text: HeaderValue,
    scheme: Scheme,
    /// Among the connections of its address, for as long as anything of this one is there.
    place: Arc<Place>,
}

/// What a client speaks with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// What upstreams are told about the client.
#[derive(Debug)]
pub(crate) struct Forwarded {
    address: HeaderValue,
    proto: HeaderValue,
    host: Option<HeaderValue>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, scheme: Scheme, place: Place, trusted: &TrustedProxies) -> Self {
        // A listener on `::` sees IPv4 clients as mapped addresses; networks are written in the plain form.
        let address = address.ip().to_canonical();
        Self {
            address,
            trusted: contains(trusted, address).then(|| Arc::clone(trusted)),
            text: value(&address.to_string()),
            scheme,
            place: Arc::new(place),
        }
    }

    /// For what outlives the connection.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// A place of its own, for what is as good as one more connection.
    pub(crate) fn another_place(&self, crowd: &Crowd) -> Result<Arc<Place>, Crowded> {
        crowd.enter(self.address).map(Arc::new)
    }

    /// The address of the client that has sent these headers: the last one in the chain that is no trusted proxy's. `None`
    /// if a proxy does not tell.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let Some(trusted) = &self.trusted else {
            return Some(self.address);
        };
        let lists = headers.get_all(FOR).iter().filter_map(|list| list.to_str().ok());
        let chain: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
        let mut addresses = chain.iter().rev().map(|text| text.trim().parse::<IpAddr>());
        // What cannot be read may stand for anybody.
        addresses.find_map(|address| match address {
            Ok(address) if contains(trusted, address.to_canonical()) => None,
            address => Some(address.ok().map(|address| address.to_canonical())),
        })?
    }

    /// Whether what it says of others is believed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.is_some()
    }

    /// `http` or `https`.
    pub(crate) fn scheme_name(&self) -> &'static str {
        self.scheme.name()
    }

    /// Reads what has to be told before the client's headers are cleaned.
    pub(crate) fn forwarded(&self, headers: &HeaderMap) -> Forwarded {
        let plain = Forwarded {
            address: self.text.clone(),
            proto: self.scheme.value(),
            host: headers.get(http::header::HOST).cloned(),
        };
        if self.trusted.is_some() {
            self.believed(headers, plain)
        } else {
            plain
        }
    }

    fn believed(&self, headers: &HeaderMap, plain: Forwarded) -> Forwarded {
        let lists = headers
            .get_all(FOR)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut chain: Vec<&str> = lists.collect();
        chain.push(self.text.to_str().unwrap_or_default());
        let proto = headers
            .get(PROTO)
            .filter(|proto| *proto == "https" || *proto == "http");
        Forwarded {
            address: value(&chain.join(", ")),
            proto: proto.cloned().unwrap_or(plain.proto),
            host: headers.get(HOST).cloned().or(plain.host),
        }
    }
}

impl Forwarded {
    /// Sets the headers on a request whose own copies have been removed.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        headers.insert(FOR, self.address);
        headers.insert(PROTO, self.proto);
        if let Some(host) = self.host {
            headers.insert(HOST, host);
        }
    }
}

/// What stands for the client that has this address: in IPv6 the subnet, since one host may take any address of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Whether an address, in its plain form, is in one of these networks.
pub(crate) fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let pairs = headers.iter();
        pairs
            .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    fn peer(address: &str) -> Peer {
        let trusted = TrustedProxies::from(["10.0.0.0/8".parse().unwrap()]);
        Peer::new(address.parse().unwrap(), Scheme::Http, Place::default(), &trusted)
    }

    fn told(peer: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let headers = map(headers);
        let mut out = HeaderMap::new();
        self::peer(peer).forwarded(&headers).set(&mut out);
        let mut pairs: Vec<_> = out
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()))
            .collect();
        pairs.sort();
        pairs
    }

    fn expected(address: &str, host: &str, proto: &str) -> Vec<(String, String)> {
        [
            ("x-forwarded-for", address),
            ("x-forwarded-host", host),
            ("x-forwarded-proto", proto),
        ]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec()
    }

    #[test]
    fn strangers_are_not_believed() {
        let claims = [
            ("host", "api"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
        ];
        assert_eq!(told("192.0.2.1:5", &claims), expected("192.0.2.1", "api", "http"));
        assert_eq!(
            told("[::ffff:192.0.2.1]:5", &claims),
            expected("192.0.2.1", "api", "http")
        );
    }

    #[test]
    fn what_was_spoken_is_told() {
        let mut out = HeaderMap::new();
        let peer = Peer::new(
            "192.0.2.1:5".parse().unwrap(),
            Scheme::Https,
            Place::default(),
            &TrustedProxies::default(),
        );
        let headers = HeaderMap::from_iter([(PROTO, HeaderValue::from_static("http"))]);
        peer.forwarded(&headers).set(&mut out);
        assert_eq!(out[PROTO], "https");
    }

    #[test]
    fn a_client_is_the_first_that_nobody_vouches_for() {
        for (peer_address, chain, client) in [
            ("192.0.2.1:5", Some("6.6.6.6"), Some("192.0.2.1")),
            ("10.1.2.3:5", Some("6.6.6.6, 7.7.7.7"), Some("7.7.7.7")),
            (
                "10.1.2.3:5",
                Some("6.6.6.6, ::ffff:7.7.7.7, 10.9.9.9"),
                Some("7.7.7.7"),
            ),
            ("10.1.2.3:5", Some("6.6.6.6, unknown"), None),
            ("10.1.2.3:5", Some("10.4.4.4"), None),
            ("10.1.2.3:5", None, None),
        ] {
            let headers: Vec<_> = chain
                .map(|chain| ("x-forwarded-for", chain))
                .into_iter()
                .collect();
            let found = peer(peer_address).client(&map(&headers));
            assert_eq!(found, client.map(|text| text.parse().unwrap()), "{chain:?}");
        }
    }

    #[test]
    fn trusted_proxies_are() {
        let claims = [
            ("host", "api"),
            ("x-forwarded-for", "6.6.6.6, 7.7.7.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www"),
        ];
        assert_eq!(
            told("10.1.2.3:5", &claims),
            expected("6.6.6.6, 7.7.7.7, 10.1.2.3", "www", "https")
        );
        assert_eq!(
            told("[::ffff:10.1.2.3]:5", &[("host", "api")]),
            expected("10.1.2.3", "api", "http")
        );
        assert_eq!(
            told("10.1.2.3:5", &[("host", "api"), ("x-forwarded-proto", "gopher")]),
            expected("10.1.2.3", "api", "http")
        );
    }
}
