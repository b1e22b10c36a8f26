//! Names become addresses here, and the addresses that may not be connected to are left out before anybody connects.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use splittoken_reach::Reach;

/// The system's resolver, for what `reach` admits.
pub(crate) struct Resolver {
    pub(crate) reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach.clone();
        Box::pin(async move {
            // The client puts the port in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = reach.pick(found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
