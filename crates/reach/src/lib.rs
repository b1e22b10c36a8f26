//! Which addresses a gateway may connect to on behalf of whoever wrote a route.
//!
//! In a cluster a tenant names hosts, and DNS may say anything of a name: so what counts is the address, looked at
//! between resolving and connecting, and at each reuse of a connection.
//!
//! Pure: plain functions over addresses. Whoever resolves and connects hands in what it found.

mod own;
mod written;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};

use own::{embedded, is_machine_own};
use written::Written;

/// Which addresses may be connected to. Written as two members, which are to be flattened into whatever holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Reach {
    /// Any: for routes of whoever runs the gateway.
    Anywhere,
    /// None that means something of its own to the machine that connects (loopback, link-local, metadata services,
    /// multicast), and none of these.
    Beyond(Refused),
}

/// Addresses that may not be connected to, beside those that never may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Refused {
    /// On every port.
    pub addresses: Vec<IpAddr>,
    /// On one port: what else the machine has to offer may be used.
    pub sockets: Vec<SocketAddr>,
}

/// An address that may not be connected to. Does not name it: what a name means inside of a network is not for
/// everybody who reads a status.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "the address is not allowed here (loopback, link-local, multicast, a metadata service or the API server)"
)]
pub struct Forbidden;

/// The narrower one: what says nothing is not trusted.
impl Default for Reach {
    fn default() -> Self {
        Self::Beyond(Refused::default())
    }
}

impl Reach {
    /// Whether this address may be connected to on this port.
    pub fn admits(&self, socket: SocketAddr) -> bool {
        let Self::Beyond(refused) = self else { return true };
        let (address, port) = (socket.ip(), socket.port());
        // An IPv6 address may lead to the IPv4 address that is written in it.
        let is_refused = |address: IpAddr| is_machine_own(address) || refused.contains(address, port);
        !is_refused(address) && !embedded(address).is_some_and(is_refused)
    }

    /// Whether an address may be allowed on one port and not on another.
    pub fn depends_on_ports(&self) -> bool {
        matches!(self, Self::Beyond(refused) if !refused.sockets.is_empty())
    }

    /// Those of the addresses of a name that may be connected to. That there was none at all is left to the caller.
    pub fn pick(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Forbidden> {
        let (admitted, refused): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| self.admits(*address));
        if admitted.is_empty() && !refused.is_empty() {
            return Err(Forbidden);
        }
        Ok(admitted)
    }

    /// Looks at a host that needs no resolving, since it is an address. Other hosts pass: see [`pick`](Self::pick).
    pub fn check_literal(&self, url: &Url) -> Result<(), Forbidden> {
        let address = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        // A scheme without a port of its own is none that anybody here speaks.
        let port = url.port_or_known_default().unwrap_or_default();
        if self.admits(SocketAddr::new(address, port)) {
            Ok(())
        } else {
            Err(Forbidden)
        }
    }

    /// What can be said of a URL before its name is resolved: about addresses, and about the names that mean loopback
    /// everywhere (RFC 6761 §6.3). For telling early; a URL that passes may still lead anywhere.
    pub fn check_url(&self, url: &Url) -> Result<(), Forbidden> {
        if *self != Self::Anywhere && url.domain().is_some_and(is_localhost) {
            return Err(Forbidden);
        }
        self.check_literal(url)
    }
}

impl Refused {
    fn contains(&self, address: IpAddr, port: u16) -> bool {
        // Not by `==`: an IPv6 socket also has a scope, which changes nothing here.
        let is_here = |socket: &SocketAddr| socket.ip() == address && socket.port() == port;
        self.addresses.contains(&address) || self.sockets.iter().any(is_here)
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    // `url` has put it in lower case.
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
