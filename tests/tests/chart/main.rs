//! The chart: what helm renders of it, what a real API server says to that, and whether the programs work with it.

mod accounts;
mod admission;
mod bounds;
mod documents;
mod image;
mod lifecycle;
mod release;
mod rendering;
mod scaling;
mod schema;
mod switches;
mod together;

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::kube::Kube;
use splittoken_tests::wait;

/// Every switch on and every list filled.
fn everything() -> Value {
    json!({
        "image": {"tag": "1.2.3", "digest": format!("sha256:{}", "0".repeat(64))},
        "imagePullSecrets": [{"name": "pull"}],
        "className": "team-b",
        "gateway": {
            "autoscaling": {"enabled": true},
            "trustedProxies": ["0.0.0.0/0", "10.0.0.0/8", "::/0", "fd00::/8", "2001:db8::1/128"],
            "service": {
                "type": "LoadBalancer",
                "port": 8000,
                "tlsPort": 8443,
                "annotations": {"a": "b"},
                "externalTrafficPolicy": "Local",
                "loadBalancerClass": "example.com/internal",
                "loadBalancerSourceRanges": ["192.0.2.0/24"],
            },
            "tls": {"certificateSecrets": ["api-example-com", "wildcard"]},
            "http2Cleartext": true,
            "proxyProtocol": true,
            "limits": {
                "maxConnections": 20_000_000, "maxConnectionsPerAddress": 0, "maxMissesPerAddress": 50,
                "maxHeaderBytes": "64KiB", "maxHeaders": 200, "maxStreams": 50, "maxBodyBytes": "10MiB",
                "maxTokenRequestBytes": 32768, "headerTimeout": "10s", "keepAliveTimeout": "2m",
                "sendTimeout": "30s", "tokenRequestTimeout": "5s", "maxUpstreamRequests": 500,
                "maxProviderRequests": 50, "breakerFailures": 0, "nearCacheBytes": "128MiB",
            },
            "minDrain": "1m30s",
            "drain": "500ms",
            "threads": 2,
            "tracing": {
                "otlpEndpoint": "https://collector.monitoring:4318", "sampling": 0.5,
                "caSecret": "collector-ca", "caKey": "tls.crt",
                "headersSecret": "collector-key", "headersKey": "otlp",
            },
            "podAnnotations": {"a": "b"},
            "podLabels": {"team": "edge"},
            "serviceAccount": {"annotations": {"a": "gateway"}},
            "priorityClassName": "system-node-critical",
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
        },
        "operator": {
            "replicas": 2,
            "podAnnotations": {"a": "b"},
            "podLabels": {"team": "platform"},
            "serviceAccount": {"annotations": {"a": "operator"}},
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"a": "b"},
        },
        "store": {"embedded": {
            "persistence": {"enabled": true, "storageClassName": "fast"},
            "priorityClassName": "system-cluster-critical",
        }},
        "keyring": {"keep": true},
        "policy": {
            "namespaceSelector": {
                "matchLabels": {"team": "a"},
                "matchExpressions": [
                    {"key": "b", "operator": "Exists"},
                    {"key": "c", "operator": "In", "values": ["d"]},
                ],
            },
            "hostnames": [
                {"hostname": "*.example.com", "namespaces": ["shop"]},
                {"hostname": "192.0.2.1"},
                {"hostname": "2001:db8::1"},
            ],
            "issuers": ["https://iam.example.com/"],
            "urlBackends": true,
            "selectorlessServices": true,
            "localAddresses": true,
        },
        "metrics": {
            "serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}},
        },
        "networkPolicy": {
            "enabled": true,
            "clients": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "scrapers": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
        },
    })
}

/// A store of somebody else's, over TLS.
fn external() -> Value {
    json!({"store": {"mode": "redis", "redis": {
        "addresses": ["redis.internal:6380"],
        "database": 3,
        "existingSecret": "redis-password",
        "passwordKey": "gateway",
        "tls": {"caSecret": "redis-ca", "caKey": "tls.crt", "clientSecret": "redis-client"},
    }}})
}

/// All sets of values that make a difference to what kinds of objects there are.
fn cases() -> Vec<(&'static str, Value)> {
    vec![
        ("no values", json!({})),
        ("every switch", everything()),
        ("a store of somebody else's", external()),
        (
            "nothing that can be left out",
            json!({
                "crds": {"enabled": false},
                "rbac": {"aggregateRoles": false},
                "gateway": {"pdb": {"enabled": false}, "topologySpread": {"enabled": false}},
                "store": {"mode": "redis", "redis": {
                    "addresses": ["[fd00::1]:6379"],
                    "username": "",
                    "existingSecret": "password",
                    "tls": {"enabled": false},
                }},
            }),
        ),
    ]
}

/// The kinds of the Prometheus operator, as far as they matter here: that they are there.
fn install_monitoring_kinds(kube: &Kube) -> Result<()> {
    for (kind, plural) in [
        ("ServiceMonitor", "servicemonitors"),
        ("PrometheusRule", "prometheusrules"),
    ] {
        kube.apply(&json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
            "spec": {
                "group": "monitoring.coreos.com",
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }}}],
            },
        }))?;
        // It is told of a moment after it is served, and helm and kubectl go by what is told.
        wait::until_true(wait::START, kind, || {
            let told = kube.get("/apis/monitoring.coreos.com/v1");
            kube.list(kind, "default", "").is_ok() && told.is_ok_and(|told| told.text().contains(plural))
        })?;
    }
    Ok(())
}
