use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use crate::by_name::ByName;

/// Says where a Service can be reached. What it knows must be known before: nothing is looked up here.
pub trait Services {
    /// Where to connect to. `selectorless` says whether a Service may do without a selector.
    fn address(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
        selectorless: bool,
    ) -> Result<ServiceAddress, ServiceFault>;
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// `host:port` to connect to.
    pub address: String,
    /// Whether it says that HTTP/2 is spoken there without TLS (`appProtocol: kubernetes.io/h2c`, KEP-3726).
    pub is_h2c: bool,
}

/// Why a Service cannot be a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFault {
    /// There is none of that name.
    Unknown,
    /// It has no such port.
    NoPort,
    /// It is another name for somewhere else, inside the cluster or out of it.
    ExternalName,
    /// It has no selector: its addresses are whatever somebody wrote.
    NoSelector,
    /// It has no address yet.
    NoAddress,
}

/// Knows no Service: outside a cluster.
#[derive(Clone, Copy, Debug)]
pub struct NoServices;

impl Services for NoServices {
    fn address(&self, _: &str, _: &str, _: u16, _: bool) -> Result<ServiceAddress, ServiceFault> {
        Err(ServiceFault::Unknown)
    }
}

/// HTTP/2 without TLS, known beforehand.
const H2C: &str = "kubernetes.io/h2c";

/// The Services of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterServices(ByName<Service>);

/// A Service, as far as a backend needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    is_external_name: bool,
    has_selector: bool,
    /// `None` for a headless one, which is reached by the addresses of its pods.
    cluster_ip: Option<IpAddr>,
    is_headless: bool,
    ports: BTreeSet<u16>,
    /// Where pods listen, for the ports that say so by number.
    target_ports: BTreeMap<u16, u16>,
    /// Where HTTP/2 is spoken without TLS.
    h2c_ports: BTreeSet<u16>,
}

impl ClusterServices {
    /// Takes in a Service, in place of the one that had its name. Says whether that changes anything for backends.
    pub fn put(&mut self, raw: &Value) -> bool {
        self.0.put(raw, Some(Service::read(raw)))
    }

    /// Forgets a Service. Says whether it was known.
    pub fn remove(&mut self, namespace: &str, name: &str) -> bool {
        self.0.remove(namespace, name)
    }

    /// Forgets those that are not there any more. Says whether there was any.
    pub fn keep(&mut self, is_there: impl Fn(&str, &str) -> bool) -> bool {
        self.0.keep(is_there)
    }
}

impl Services for ClusterServices {
    fn address(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
        selectorless: bool,
    ) -> Result<ServiceAddress, ServiceFault> {
        let service = self.0.get(namespace, name);
        let service = service.ok_or(ServiceFault::Unknown)?;
        if service.is_external_name {
            return Err(ServiceFault::ExternalName);
        }
        if !service.has_selector && !selectorless {
            return Err(ServiceFault::NoSelector);
        }
        if !service.ports.contains(&port) {
            return Err(ServiceFault::NoPort);
        }
        let address = match service.cluster_ip {
            Some(IpAddr::V4(ip)) => format!("{ip}:{port}"),
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            None if service.is_headless => {
                // Nothing translates the port on the way to a pod. A port by name may differ from pod to pod.
                let target = service.target_ports.get(&port).unwrap_or(&port);
                format!("{name}.{namespace}.svc:{target}")
            }
            None => return Err(ServiceFault::NoAddress),
        };
        Ok(ServiceAddress {
            address,
            is_h2c: service.h2c_ports.contains(&port),
        })
    }
}

impl Service {
    /// Reads what the API server has let through; what is not there is taken for absent.
    fn read(raw: &Value) -> Self {
        let spec = &raw["spec"];
        let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        let ports = spec["ports"].as_array().into_iter().flatten();
        // HTTP runs over TCP, which is what a port is that does not say so.
        let ports = ports.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"));
        let ports: Vec<(u16, &Value)> = ports
            .filter_map(|port| Some((number(&port["port"])?, port)))
            .collect();
        let cluster_ip = spec["clusterIP"].as_str().unwrap_or_default();
        Self {
            is_external_name: spec["type"] == "ExternalName",
            has_selector: spec["selector"]
                .as_object()
                .is_some_and(|selector| !selector.is_empty()),
            cluster_ip: cluster_ip.parse().ok(),
            is_headless: cluster_ip == "None",
            ports: ports.iter().map(|(port, _)| *port).collect(),
            target_ports: ports
                .iter()
                .filter_map(|(at, port)| Some((*at, number(&port["targetPort"])?)))
                .collect(),
            h2c_ports: ports
                .iter()
                .filter(|(_, port)| port["appProtocol"] == H2C)
                .map(|(port, _)| *port)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(spec: &Value, port: u16) -> Result<String, ServiceFault> {
        let mut services = ClusterServices::default();
        assert!(services.put(&json!({"metadata": {"namespace": "shop", "name": "orders"}, "spec": spec})));
        let found = services.address("shop", "orders", port, false)?;
        Ok(found.address)
    }

    #[test]
    fn a_service_is_its_cluster_ip_and_a_headless_one_its_name() {
        let ports = json!([{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "http"}]);
        let with = |ip: &str| json!({"clusterIP": ip, "selector": {"app": "orders"}, "ports": ports});
        assert_eq!(address(&with("10.96.0.7"), 80).unwrap(), "10.96.0.7:80");
        assert_eq!(address(&with("fd00::7"), 80).unwrap(), "[fd00::7]:80");
        assert_eq!(address(&with("None"), 80).unwrap(), "orders.shop.svc:8080");
        assert_eq!(address(&with("None"), 81).unwrap(), "orders.shop.svc:81");
        assert_eq!(address(&with(""), 80), Err(ServiceFault::NoAddress));
        assert_eq!(address(&with("10.96.0.7"), 82), Err(ServiceFault::NoPort));
    }

    #[test]
    fn a_port_says_that_it_is_for_http_2() {
        let mut services = ClusterServices::default();
        let mut service = json!({
            "metadata": {"namespace": "shop", "name": "orders"},
            "spec": {"clusterIP": "10.96.0.7", "selector": {"a": "b"}, "ports": [
                {"port": 80, "appProtocol": "http"}, {"port": 81, "appProtocol": "kubernetes.io/h2c"},
            ]},
        });
        services.put(&service);
        let is_h2c = |services: &ClusterServices, port| {
            let found = services.address("shop", "orders", port, false);
            found.unwrap().is_h2c
        };
        assert!(!is_h2c(&services, 80) && is_h2c(&services, 81));
        service["spec"]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
        assert!(services.put(&service), "a change that matters");
        assert!(is_h2c(&services, 80));
    }

    #[test]
    fn what_leads_elsewhere_is_no_backend() {
        let external = json!({"type": "ExternalName", "externalName": "x.example", "ports": [{"port": 80}]});
        assert_eq!(address(&external, 80), Err(ServiceFault::ExternalName));
        let bare = json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
        assert_eq!(address(&bare, 80), Err(ServiceFault::NoSelector));
        let mut services = ClusterServices::default();
        services.put(&json!({"metadata": {"namespace": "shop", "name": "orders"}, "spec": bare}));
        assert_eq!(
            services.address("shop", "orders", 80, true).unwrap().address,
            "10.96.0.7:80"
        );
        let udp = json!({"clusterIP": "10.96.0.7", "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "UDP"}]});
        assert_eq!(address(&udp, 80), Err(ServiceFault::NoPort));
    }

    #[test]
    fn only_a_change_that_matters_is_one() {
        let mut services = ClusterServices::default();
        let mut service = json!({
            "metadata": {"namespace": "shop", "name": "orders", "resourceVersion": "1"},
            "spec": {"clusterIP": "10.96.0.7", "selector": {"a": "b"}, "ports": [{"port": 80}]},
        });
        assert!(services.put(&service));
        service["metadata"]["resourceVersion"] = json!("2");
        service["spec"]["selector"] = json!({"a": "c"});
        assert!(!services.put(&service));
        service["spec"]["ports"][0]["port"] = json!(81);
        assert!(services.put(&service));
        assert!(services.remove("shop", "orders"));
        assert!(!services.remove("shop", "orders"));
    }
}
