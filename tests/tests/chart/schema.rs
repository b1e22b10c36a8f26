//! Values that are no good, and what is said of them.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::helm::Helm;

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
            (json!({"className": "Team_B"}), vec!["/className"]),
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
            json!({"gateway": {"replicas": null, "autoscaling": {"enabled": true, "minReplicas": 5, "maxReplicas": 2}}}),
            "minReplicas is more than maxReplicas",
        ),
        // Kubernetes would take 1.
        (
            json!({"gateway": {"autoscaling": {"enabled": true}}}),
            "gateway.autoscaling: set gateway.replicas to null too",
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
