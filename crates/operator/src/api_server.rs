//! Where the API server really is: what stands behind the Service `kubernetes`, by address and port. A tenant must not
//! have a gateway call it there either. Only the ports: in a small cluster the address is that of a node, and of all
//! else that the node offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, api::ListParams};
use tokio::{sync::watch, time::sleep};

use crate::{
    error::{OperatorError, in_time},
    metrics::{FailingLabels, Metrics},
};

/// The API server writes these objects itself, in every cluster.
const NAMESPACE: &str = "default";
const SLICES: &str = "kubernetes.io/service-name=kubernetes";
/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// How long an address counts that is not there any more. API servers restart one after another in an upgrade, and each
/// change is another revision of every route.
const MEMORY: Duration = Duration::from_secs(3600);

/// Each address with the time when it was last seen.
pub(crate) type Known = BTreeMap<SocketAddr, Instant>;

/// Asks where the API server is.
pub(crate) async fn find(client: &Client) -> Result<BTreeSet<SocketAddr>, OperatorError> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let parameters = ListParams::default().labels(SLICES);
    let what = format!("endpointslices.discovery.k8s.io in {NAMESPACE}");
    let slices = in_time("list", what, api.list(&parameters)).await?.items;
    Ok(slices.iter().flat_map(sockets).collect())
}

/// Looks again and again, and tells whoever listens when something is new. What cannot be read stays as it was.
pub(crate) async fn follow(
    client: Client,
    metrics: Metrics,
    found: BTreeSet<SocketAddr>,
    told: watch::Sender<BTreeSet<SocketAddr>>,
) {
    if found.is_empty() {
        tracing::warn!("nothing stands behind the API server's Service: that alone is kept from tenants");
    }
    let mut known = remember(Known::new(), found, Instant::now());
    let failing = metrics.failing.get_or_create_owned(&FailingLabels {
        kind: "EndpointSlice",
        verb: "list",
    });
    loop {
        sleep(EVERY).await;
        let found = find(&client).await;
        failing.set(i64::from(found.is_err()));
        match found {
            Ok(found) => known = remember(known, found, Instant::now()),
            Err(error) => {
                let error = error.chain();
                tracing::warn!(
                    error,
                    "the API server's addresses are those of before: trying again"
                );
            }
        }
        tell(&known, &told);
    }
}

fn tell(known: &Known, told: &watch::Sender<BTreeSet<SocketAddr>>) {
    let now: BTreeSet<SocketAddr> = known.keys().copied().collect();
    let is_news = told.send_if_modified(|before| {
        let is_new = *before != now;
        if is_new {
            *before = now;
        }
        is_new
    });
    if is_news {
        tracing::info!(addresses = known.len(), "the API server has other addresses now");
    }
}

/// What is known after a look: what was found, and what was there not long ago.
fn remember(known: Known, found: BTreeSet<SocketAddr>, now: Instant) -> Known {
    let mut next = known;
    next.retain(|_, seen| now.saturating_duration_since(*seen) < MEMORY);
    next.extend(found.into_iter().map(|socket| (socket, now)));
    next
}

/// Each address of a slice with each of its ports; what is no address is left out. Whether an endpoint is ready makes no
/// difference.
fn sockets(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let ports: BTreeSet<u16> = ports.filter_map(|port| u16::try_from(port).ok()).collect();
    let texts = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses = texts.filter_map(|text| text.parse::<IpAddr>().ok());
    addresses
        .flat_map(|address| {
            let address = address.to_canonical();
            ports.iter().map(move |port| SocketAddr::new(address, *port))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn slice(kind: &str, endpoints: &Value, ports: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "kubernetes"},
            "addressType": kind, "endpoints": endpoints, "ports": ports,
        }))
        .unwrap()
    }

    #[test]
    fn each_address_comes_with_each_port_ready_or_not() {
        let endpoints = json!([
            {"addresses": ["172.18.0.3"], "conditions": {"ready": false}},
            {"addresses": ["172.18.0.2", "172.18.0.3"]},
        ]);
        let ports = json!([{"name": "https", "port": 6443}, {"name": "more", "port": 443}]);
        assert_eq!(
            sockets(&slice("IPv4", &endpoints, &ports)),
            set(&[
                "172.18.0.2:443",
                "172.18.0.2:6443",
                "172.18.0.3:443",
                "172.18.0.3:6443"
            ])
        );
        let endpoints = json!([{"addresses": ["fd00:18::2"]}, {"addresses": ["::ffff:172.18.0.2"]}]);
        let ports = json!([{"port": 6443}]);
        assert_eq!(
            sockets(&slice("IPv6", &endpoints, &ports)),
            set(&["[fd00:18::2]:6443", "172.18.0.2:6443"])
        );
    }

    #[test]
    fn what_is_no_address_or_no_port_is_left_out() {
        let endpoints = json!([
            {"addresses": ["api.example", "172.18.0.2/16", "", "172.18.0.2"]},
            {"addresses": []},
        ]);
        let ports = json!([{"port": 70_000}, {"port": -1}, {"name": "any"}, {"port": 6443}]);
        let found = sockets(&slice("FQDN", &endpoints, &ports));
        assert_eq!(found, set(&["172.18.0.2:6443"]));
        for nothing in [Value::Null, json!([])] {
            assert!(sockets(&slice("IPv4", &endpoints, &nothing)).is_empty());
        }
        assert!(sockets(&slice("IPv4", &json!([]), &ports)).is_empty());
    }

    #[test]
    fn an_address_that_vanishes_counts_for_an_hour() {
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let keys = |known: &Known| known.keys().copied().collect::<BTreeSet<_>>();
        let (one, two) = ("172.18.0.2:6443", "172.18.0.3:6443");

        let known = remember(Known::new(), set(&[one, two]), start);
        let known = remember(known, set(&[one]), after(59));
        assert_eq!(keys(&known), set(&[one, two]), "it restarts");
        let back = remember(known.clone(), set(&[two]), after(59));
        let back = remember(back, set(&[two]), after(118));
        assert_eq!(keys(&back), set(&[one, two]), "counted from the last time");
        let known = remember(known, set(&[one]), after(60));
        assert_eq!(keys(&known), set(&[one]));
        assert!(keys(&remember(known, set(&[]), after(120))).is_empty());
    }

    #[test]
    fn that_all_is_as_before_is_no_news() {
        let (told, mut listener) = watch::channel(set(&["172.18.0.2:6443"]));
        let is_news = |listener: &mut watch::Receiver<_>| {
            let is_news = listener.has_changed().unwrap();
            listener.mark_unchanged();
            is_news
        };
        let now = Instant::now();
        let known = remember(Known::new(), set(&["172.18.0.2:6443"]), now);
        tell(&known, &told);
        assert!(!is_news(&mut listener));
        let known = remember(known, set(&["172.18.0.3:6443"]), now);
        tell(&known, &told);
        assert!(is_news(&mut listener));
        assert_eq!(*listener.borrow(), set(&["172.18.0.2:6443", "172.18.0.3:6443"]));
    }
}
