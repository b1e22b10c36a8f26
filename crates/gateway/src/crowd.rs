//! How many connections each address has, where the address is a client's.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use crate::client_address::{TrustedProxies, contains, network};

/// Counts the connections of addresses.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// The most of one address; `None` for any number.
    limit: Option<u32>,
    /// Those whose connections carry requests of many clients.
    proxies: TrustedProxies,
    counts: Arc<Counts>,
}

type Counts = Mutex<HashMap<IpAddr, u32>>;

/// A connection among those of its address, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(IpAddr, Arc<Counts>)>);

/// An address has as many connections as it may have.
#[derive(Debug)]
pub(crate) struct Crowded;

impl Crowd {
    pub(crate) fn new(limit: Option<u32>, proxies: TrustedProxies) -> Self {
        Self {
            limit,
            proxies,
            counts: Arc::default(),
        }
    }

    /// Takes one more connection of `address` into account.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Place, Crowded> {
        let address = address.to_canonical();
        let Some(limit) = self.limit.filter(|_| !contains(&self.proxies, address)) else {
            return Ok(Place::default());
        };
        let address = network(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return Err(Crowded);
        }
        *count += 1;
        Ok(Place(Some((address, Arc::clone(&self.counts)))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((address, counts)) = self.0.take() else {
            return;
        };
        let mut counts = counts.lock();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(limit: Option<u32>) -> Crowd {
        let proxies: Vec<ipnet::IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        Crowd::new(limit, proxies.into())
    }

    fn enter(crowd: &Crowd, address: &str) -> Option<Place> {
        crowd.enter(address.parse().unwrap()).ok()
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let crowd = crowd(Some(2));
        let (one, _other) = (
            enter(&crowd, "192.0.2.1").unwrap(),
            enter(&crowd, "::ffff:192.0.2.1").unwrap(),
        );
        assert!(enter(&crowd, "192.0.2.1").is_none());
        assert!(enter(&crowd, "192.0.2.2").is_some());
        drop(one);
        assert!(enter(&crowd, "192.0.2.1").is_some());
        assert_eq!(crowd.counts.lock().len(), 1, "who has gone is forgotten");
    }

    #[test]
    fn a_subnet_of_ipv6_is_one_client() {
        let crowd = crowd(Some(1));
        let _one = enter(&crowd, "2001:db8::1").unwrap();
        assert!(enter(&crowd, "2001:db8::ffff:2").is_none());
        assert!(enter(&crowd, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn proxies_are_no_clients() {
        let crowd = crowd(Some(1));
        let places: Vec<_> = (0..9).filter_map(|_| enter(&crowd, "10.1.1.1")).collect();
        assert_eq!(places.len(), 9);
        assert!(crowd.counts.lock().is_empty());
    }
}
