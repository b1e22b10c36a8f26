//! Values that are no good, and what is said of them.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::helm::Helm;

fn expression(expression: Value) -> Value {
    json!({"policy": {"namespaceSelector": {"matchExpressions": [expression]}}})
}

#[test]
fn a_value_that_is_no_good_is_refused_by_its_name() -> Result<()> {
    for helm in Helm::both()? {
        for (values, words) in [
            (json!({"gatway": {}}), vec!["'gatway' not allowed"]),
            (
                json!({"gateway": {"replica": 2}}),
                vec!["/gateway", "'replica' not allowed"],
            ),
            (
                json!({"gateway": {"replicas": "2"}}),
                vec!["/gateway/replicas", "integer"],
            ),
            (
                json!({"gateway": {"drain": "25"}}),
                vec!["/gateway/drain", "pattern"],
            ),
            (
                json!({"gateway": {"accessLog": "some"}}),
                vec!["/gateway/accessLog", "'sampled'"],
            ),
            (
                json!({"gateway": {"trustedProxies": ["10.0.0.1"]}}),
                vec!["/gateway/trustedProxies/0"],
            ),
            (
                json!({"gateway": {"trustedProxies": ["10.0.0.0/99"]}}),
                vec!["/gateway/trustedProxies/0", "'10.0.0.0/99' does not match"],
            ),
            (
                json!({"gateway": {"trustedProxies": ["10.0.0.256/8"]}}),
                vec!["/gateway/trustedProxies/0", "'10.0.0.256/8' does not match"],
            ),
            (
                json!({"gateway": {"trustedProxies": ["fd00::/129"]}}),
                vec!["/gateway/trustedProxies/0", "'fd00::/129' does not match"],
            ),
            (
                json!({"gateway": {"trustedProxies": ["fd00:::/8"]}}),
                vec!["/gateway/trustedProxies/0", "'fd00:::/8' does not match"],
            ),
            (
                json!({"gateway": {"tracing": {"sampling": 1.5}}}),
                vec!["/gateway/tracing/sampling", "1.5"],
            ),
            (
                json!({"gateway": {"tracing": {"otlpEndpoint": "collector:4318"}}}),
                vec!["/gateway/tracing/otlpEndpoint", "does not match"],
            ),
            (
                json!({"gateway": {"tracing": {"otlpEndpoint": "http://user:secret@collector:4318"}}}),
                vec!["/gateway/tracing/otlpEndpoint", "does not match"],
            ),
            (
                json!({"gateway": {"tracing": {"otlpEndpoint": "http://collector:4318", "caSecret": "ca"}}}),
                vec!["/gateway/tracing/otlpEndpoint", "does not match"],
            ),
            (
                json!({"gateway": {"proxyProtocol": true}}),
                vec!["/gateway/trustedProxies", "minItems"],
            ),
            (
                json!({"gateway": {"tls": {"certificateSecrets": [""]}}}),
                vec!["/gateway/tls/certificateSecrets/0"],
            ),
            (
                json!({"gateway": {"tls": {"certificateSecrets": ["a", "a"]}}}),
                vec!["/gateway/tls/certificateSecrets"],
            ),
            (
                json!({"gateway": {"pdb": {"maxUnavailable": -1}}}),
                vec!["/gateway/pdb/maxUnavailable", "got -1, want 0"],
            ),
            (
                json!({"gateway": {"pdb": {"maxUnavailable": "101%"}}}),
                vec!["/gateway/pdb/maxUnavailable", "'101%' does not match"],
            ),
            (
                json!({"gateway": {"service": {"loadBalancerSourceRanges": ["192.0.2.1"]}}}),
                vec!["/gateway/service/loadBalancerSourceRanges/0"],
            ),
            (
                json!({"image": {"digest": "sha256:1"}}),
                vec!["/image/digest", "'sha256:1' does not match"],
            ),
            // By these the Services find the pods.
            (
                json!({"gateway": {"podLabels": {"app.kubernetes.io/name": "a"}}}),
                vec!["/gateway/podLabels/app.kubernetes.io~1name"],
            ),
            (json!({"className": "Team_B"}), vec!["/className"]),
            (json!({"bindAddress": "0.0.0.256"}), vec!["/bindAddress"]),
            (json!({"bindAddress": "0.0"}), vec!["/bindAddress"]),
            (
                json!({"store": {"redis": {"addresses": ["a:65536"]}}}),
                vec!["/store/redis/addresses/0", "'a:65536' does not match"],
            ),
            (
                json!({"store": {"mode": "memory"}}),
                vec!["/store/mode", "'embedded', 'redis'"],
            ),
            // Not there yet: never accepted and ignored.
            (
                json!({"store": {"redis": {"mode": "sentinel"}}}),
                vec!["/store/redis/mode", "'single'"],
            ),
            (
                json!({"store": {"redis": {"mode": "cluster"}}}),
                vec!["/store/redis/mode", "'single'"],
            ),
            (
                json!({"store": {"redis": {"sentinel": {"masterName": "m"}}}}),
                vec!["/store/redis", "'sentinel' not allowed"],
            ),
            (
                json!({"store": {"redis": {"addresses": ["a:1", "b:1"]}}}),
                vec!["/store/redis/addresses", "maxItems"],
            ),
            (
                json!({"store": {"redis": {"addresses": ["redis://a:1"]}}}),
                vec!["/store/redis/addresses/0"],
            ),
            // A misspelt selector would pick every namespace.
            (
                json!({"policy": {"namespaceSelector": {"matchLabel": {"a": "b"}}}}),
                vec!["/policy/namespaceSelector", "'matchLabel' not allowed"],
            ),
            (
                json!({"policy": {"hostnames": [{"host": "a.example"}]}}),
                vec!["/policy/hostnames/0", "'host' not allowed"],
            ),
            // With these the operator would not start.
            (
                json!({"policy": {"hostnames": [{"hostname": "*"}]}}),
                vec!["/policy/hostnames/0/hostname", "'*' does not match"],
            ),
            (
                json!({"policy": {"hostnames": [{"hostname": "A.example"}]}}),
                vec!["/policy/hostnames/0/hostname", "'A.example' does not match"],
            ),
            (
                json!({"policy": {"hostnames": [{"hostname": "192.0.2.256"}]}}),
                vec!["/policy/hostnames/0/hostname", "'192.0.2.256' is not valid ipv4"],
            ),
            // Kubernetes takes no such selector either.
            (
                expression(json!({"key": "a", "operator": "In"})),
                vec![
                    "/policy/namespaceSelector/matchExpressions/0",
                    "missing property 'values'",
                ],
            ),
            (
                expression(json!({"key": "a", "operator": "NotIn", "values": []})),
                vec![
                    "/policy/namespaceSelector/matchExpressions/0/values",
                    "got 0, want 1",
                ],
            ),
            (
                expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
                vec![
                    "/policy/namespaceSelector/matchExpressions/0/values",
                    "got 1, want 0",
                ],
            ),
            (
                json!({"policy": {"issuers": ["iam.example.com"]}}),
                vec!["/policy/issuers/0"],
            ),
            (
                json!({"gateway": {"resources": {"limit": {}}}}),
                vec!["/gateway/resources", "'limit' not allowed"],
            ),
        ] {
            let refusal = helm.refusal(&values)?;
            for word in words {
                assert!(
                    refusal.contains(word),
                    "{} {values}: {word} is not in {refusal}",
                    helm.name
                );
            }
        }
    }
    Ok(())
}

#[test]
fn what_two_values_must_say_together_is_said_in_words() -> Result<()> {
    let helm = Helm::newest()?;
    for (values, words) in [
        (
            json!({"store": {"mode": "redis", "redis": {"existingSecret": "a"}}}),
            "store.redis.addresses: say where",
        ),
        (
            json!({"store": {"mode": "redis", "redis": {"addresses": ["a:1"]}}}),
            "store.redis.existingSecret: name a Secret",
        ),
        (
            json!({"gateway": {"autoscaling": {"enabled": true, "minReplicas": 5, "maxReplicas": 2}}}),
            "minReplicas is more than maxReplicas",
        ),
        // Its percentage would be of nothing.
        (
            json!({"gateway": {"autoscaling": {"enabled": true}, "resources": {"requests": {"cpu": null}}}}),
            "gateway.resources.requests.cpu: say how much",
        ),
        (
            json!({"gateway": {"service": {"port": 443}}}),
            "gateway.service: port and tlsPort are the same",
        ),
        (
            json!({"gateway": {"service": {"cleartext": false}}}),
            "gateway.service.cleartext: without gateway.tls.certificateSecrets",
        ),
        (
            json!({"gateway": {"replicas": null}}),
            "gateway.replicas: say how many",
        ),
    ] {
        let refusal = helm.refusal(&values)?;
        assert!(refusal.contains(words), "{values}: {refusal}");
    }
    Ok(())
}

#[test]
fn what_kubernetes_takes_is_taken() -> Result<()> {
    for helm in Helm::both()? {
        for number in [json!(0), json!(3), json!("0%"), json!("50%"), json!("100%")] {
            let rendered = helm.template(&json!({"gateway": {"pdb": {"maxUnavailable": number}}}))?;
            let budget = rendered.get("PodDisruptionBudget", "splittoken-gateway")?;
            assert_eq!(budget["spec"]["maxUnavailable"], number, "{}", helm.name);
        }
        // The request is then the limit.
        helm.template(&json!({"gateway": {
            "autoscaling": {"enabled": true},
            "resources": {"requests": {"cpu": null}, "limits": {"cpu": "2"}},
        }}))?;
    }
    Ok(())
}
