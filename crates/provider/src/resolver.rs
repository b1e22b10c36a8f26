//! Names become addresses here, and the addresses that may not be connected to are left out before anybody connects.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use splittoken_reach::Reach;

/// The system's resolver, for what `reach` admits on `port`.
pub(crate) struct Resolver {
    pub(crate) reach: Reach,
    pub(crate) port: u16,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, port) = (self.reach.clone(), self.port);
        Box::pin(async move {
            // The client puts the port in where it is 0.
            let found = tokio::net::lookup_host((name.as_str(), port)).await?;
            let addresses: Vec<SocketAddr> = reach.pick(found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use splittoken_reach::{Forbidden, Refused};

    use super::*;

    /// A name that needs no look-up stands for those that do.
    #[tokio::test]
    async fn a_name_may_be_connected_to_on_one_port_and_not_on_another() {
        let at = |port| Resolver {
            reach: Reach::Beyond(Refused {
                sockets: vec!["172.18.0.2:6443".parse().unwrap()],
                ..Refused::default()
            }),
            port,
        };
        let name = || "172.18.0.2".parse::<Name>().unwrap();
        let found = at(443).resolve(name()).await.ok().unwrap();
        assert_eq!(found.collect::<Vec<_>>(), ["172.18.0.2:443".parse().unwrap()]);
        let error = at(6443).resolve(name()).await.err().unwrap();
        assert!(error.is::<Forbidden>(), "{error}");
    }
}
