use std::collections::BTreeSet;

/// Says where a Service can be reached. What it knows must be known before: nothing is looked up here.
pub trait Services {
    /// `host:port` to connect to, or `None` if there is no such Service or no such port.
    fn address(&self, namespace: &str, name: &str, port: u16) -> Option<String>;
}

/// Knows no Service: outside a cluster.
#[derive(Clone, Copy, Debug)]
pub struct NoServices;

impl Services for NoServices {
    fn address(&self, _: &str, _: &str, _: u16) -> Option<String> {
        None
    }
}

/// The Services of a cluster, each port by itself; reached by their names in the cluster's DNS.
#[derive(Clone, Debug, Default)]
pub struct ClusterServices(BTreeSet<(String, String, u16)>);

impl ClusterServices {
    /// Adds a port of a Service.
    pub fn insert(&mut self, namespace: &str, name: &str, port: u16) {
        self.0.insert((namespace.to_owned(), name.to_owned(), port));
    }
}

impl Services for ClusterServices {
    fn address(&self, namespace: &str, name: &str, port: u16) -> Option<String> {
        let known = self.0.contains(&(namespace.to_owned(), name.to_owned(), port));
        known.then(|| format!("{name}.{namespace}.svc:{port}"))
    }
}
