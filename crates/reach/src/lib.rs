//! Which addresses a gateway may connect to on behalf of whoever wrote a route.
//!
//! In a cluster a tenant names hosts, and DNS may say anything of a name: so what counts is the address, looked at
//! between resolving and connecting, and at each reuse of a connection.
//!
//! Pure: plain functions over addresses. Whoever resolves and connects hands in what it found.

mod own;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};

use own::{embedded, is_machine_own};

/// Which addresses may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Any: for routes of whoever runs the gateway.
    Anywhere,
    /// None that means something of its own to the machine that connects (loopback, link-local, metadata services,
    /// multicast), and none of these.
    Beyond(Vec<IpAddr>),
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
        Self::Beyond(Vec::new())
    }
}

impl Reach {
    /// Whether this address may be connected to.
    pub fn admits(&self, address: IpAddr) -> bool {
        let Self::Beyond(refused) = self else { return true };
        // An IPv6 address may lead to the IPv4 address that is written in it.
        let is_refused = |address: IpAddr| is_machine_own(address) || refused.contains(&address);
        !is_refused(address) && !embedded(address).is_some_and(is_refused)
    }

    /// Those of the addresses of a name that may be connected to. That there was none at all is left to the caller.
    pub fn pick(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Forbidden> {
        let (admitted, refused): (Vec<_>, Vec<_>) = addresses
            .into_iter()
            .partition(|address| self.admits(address.ip()));
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
        if self.admits(address) {
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

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    // `url` has put it in lower case.
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
