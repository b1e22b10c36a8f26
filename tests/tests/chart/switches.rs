//! What a value changes.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::helm::{Helm, Rendered, arguments};

use super::{everything, external};

fn template(values: &Value) -> Result<Rendered> {
    Helm::newest()?.template(values)
}

fn pod<'r>(rendered: &'r Rendered, name: &str) -> Result<&'r Value> {
    Ok(&rendered.get("Deployment", name)?["spec"]["template"]["spec"])
}

/// The operator reads its policy at the start, so a pod with another policy has to be another pod.
#[test]
fn a_changed_policy_changes_the_operator_s_pods_and_no_others() -> Result<()> {
    let before = template(&Value::Null)?;
    let after = template(&json!({"policy": {"urlBackends": true}}))?;
    let differing: Vec<_> = before.0.iter().zip(&after.0).filter(|(a, b)| a != b).collect();
    let names: Vec<_> = differing
        .iter()
        .map(|(object, _)| object["metadata"]["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(names, ["splittoken-policy", "splittoken-operator"]);
    let (before, after) = differing[1];
    let annotation = "/spec/template/metadata/annotations/splittoken.dev~1policy";
    assert_ne!(before.pointer(annotation), after.pointer(annotation));
    Ok(())
}

/// Two releases of one name may have one each: the namespace is part of the name.
#[test]
fn where_the_api_server_is_may_be_read_unless_it_may_be_connected_to() -> Result<()> {
    let name = "splittoken-system:splittoken-operator";
    for (allowed, expected) in [(false, 1), (true, 0)] {
        let rendered = template(&json!({"policy": {"localAddresses": allowed}}))?;
        for kind in ["Role", "RoleBinding"] {
            let objects = rendered.all(kind);
            let there = objects.filter(|object| object["metadata"]["namespace"] == "default");
            let names: Vec<_> = there.map(|object| &object["metadata"]["name"]).collect();
            assert_eq!(names, vec![name; expected], "{kind}");
        }
    }
    let rendered = template(&Value::Null)?;
    assert_eq!(
        rendered.get("RoleBinding", name)?["subjects"][0],
        json!({"kind": "ServiceAccount", "name": "splittoken-operator", "namespace": "splittoken-system"})
    );
    Ok(())
}

/// A pod that is killed while it drains would fail requests.
#[test]
fn pods_have_more_time_to_end_than_the_gateway_takes() -> Result<()> {
    for (min_drain, drain, seconds) in [
        ("5s", "25s", 35),
        ("1m30s", "500ms", 96),
        ("0s", "0s", 5),
        ("1h", "1ms", 3606),
        ("1500ms", "2m", 127),
    ] {
        let rendered = template(&json!({"gateway": {"minDrain": min_drain, "drain": drain}}))?;
        let pod = pod(&rendered, "splittoken-gateway")?;
        assert_eq!(
            pod["terminationGracePeriodSeconds"], seconds,
            "{min_drain} {drain}"
        );
        let arguments = arguments(pod);
        assert!(arguments.contains(&format!("--min-drain={min_drain}").as_str()));
        assert!(arguments.contains(&format!("--drain={drain}").as_str()));
    }
    Ok(())
}

#[test]
fn a_store_of_somebody_else_s_is_reached_as_the_values_say() -> Result<()> {
    let rendered = template(&external())?;
    assert_eq!(rendered.all("StatefulSet").count(), 0);
    let gateway = pod(&rendered, "splittoken-gateway")?;
    let all = arguments(gateway);
    for argument in [
        "--store=rediss://gateway@redis.internal:6380/3",
        "--store-password-file=/etc/splittoken/store/password",
        "--store-ca=/etc/splittoken/store-ca/ca.crt",
        "--store-client-certificate=/etc/splittoken/store-identity/tls.crt",
        "--store-client-key=/etc/splittoken/store-identity/tls.key",
    ] {
        assert!(all.contains(&argument), "{argument} is not in {all:?}");
    }
    let volumes = gateway["volumes"].as_array().context("no volumes")?;
    let of = |name: &str| volumes.iter().find(|volume| volume["name"] == name);
    assert_eq!(
        of("store").context("no password")?["secret"],
        json!({"secretName": "redis-password", "items": [{"key": "gateway", "path": "password"}]})
    );
    assert_eq!(
        of("store-ca").context("no authority")?["secret"],
        json!({"secretName": "redis-ca", "items": [{"key": "tls.crt", "path": "ca.crt"}]})
    );
    assert_eq!(
        of("store-identity").context("no client certificate")?["secret"],
        json!({"secretName": "redis-client"})
    );
    let operator = arguments(pod(&rendered, "splittoken-operator")?).join(" ");
    assert!(!operator.contains("--store-secret"), "{operator}");
    Ok(())
}

/// Two who set the number of pods would fight.
#[test]
fn with_autoscaling_nobody_else_says_how_many_pods_there_are() -> Result<()> {
    let rendered = template(&everything())?;
    let deployment = rendered.get("Deployment", "splittoken-gateway")?;
    assert_eq!(deployment["spec"]["replicas"], Value::Null);
    let scaler = rendered.get("HorizontalPodAutoscaler", "splittoken-gateway")?;
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "splittoken-gateway");
    Ok(())
}

#[test]
fn each_switch_adds_its_objects() -> Result<()> {
    let before = template(&Value::Null)?.names();
    for (values, added) in [
        (
            json!({"gateway": {"autoscaling": {"enabled": true}}}),
            vec!["HorizontalPodAutoscaler splittoken-gateway"],
        ),
        (
            json!({"metrics": {"serviceMonitor": {"enabled": true}}}),
            vec!["ServiceMonitor splittoken"],
        ),
        (
            json!({"metrics": {"prometheusRule": {"enabled": true}}}),
            vec!["PrometheusRule splittoken"],
        ),
        (
            json!({"networkPolicy": {"enabled": true}}),
            vec![
                "NetworkPolicy splittoken-gateway",
                "NetworkPolicy splittoken-operator",
                "NetworkPolicy splittoken-store",
            ],
        ),
    ] {
        let mut after = template(&values)?.names();
        after.retain(|name| !before.contains(name));
        assert_eq!(after, added, "{values}");
    }
    Ok(())
}

/// What the operator asks pods for by itself has to agree with the chart's own words.
#[test]
fn the_operator_looks_for_the_gateways_where_they_are() -> Result<()> {
    let rendered = template(&everything())?;
    let arguments = arguments(pod(&rendered, "splittoken-operator")?);
    let given = |name: &str| {
        let prefix = format!("--{name}=");
        let found = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(&prefix));
        found.map(str::to_owned).context(prefix)
    };
    let gateway = rendered.get("Deployment", "splittoken-gateway")?;
    let labels = &gateway["spec"]["template"]["metadata"]["labels"];
    let selector = given("gateway-selector")?;
    assert_eq!(selector.split(',').count(), 3, "{selector}");
    for pair in selector.split(',') {
        let (label, value) = pair.split_once('=').context("no pair")?;
        assert_eq!(labels[label], value, "{selector}");
    }
    let ports = gateway["spec"]["template"]["spec"]["containers"][0]["ports"]
        .as_array()
        .context("no ports")?;
    let admin = ports.iter().find(|port| port["name"] == "admin");
    assert_eq!(
        admin.context("no port")?["containerPort"].to_string(),
        given("gateway-admin-port")?
    );
    rendered.get("ConfigMap", &given("anchor")?)?;
    Ok(())
}

/// Without a disk, sessions end when the store's pod is replaced: another version of the chart is no reason for that.
#[test]
fn the_pod_of_the_store_does_not_know_the_version() -> Result<()> {
    let rendered = template(&Value::Null)?;
    let store = &rendered.get("StatefulSet", "splittoken-store")?["spec"];
    assert_eq!(
        store["template"]["metadata"],
        json!({"labels": store["selector"]["matchLabels"]})
    );
    Ok(())
}

/// What clouds, service meshes and cost reports ask for.
#[test]
fn pods_and_accounts_get_what_the_values_say_of_them() -> Result<()> {
    let (bare, full) = (template(&Value::Null)?, template(&everything())?);
    for (kind, component, priority, team) in [
        ("Deployment", "gateway", "system-node-critical", json!("edge")),
        (
            "Deployment",
            "operator",
            "system-cluster-critical",
            json!("platform"),
        ),
        ("StatefulSet", "store", "system-cluster-critical", Value::Null),
    ] {
        let name = format!("splittoken-{component}");
        let bare = &bare.get(kind, &name)?["spec"];
        let full = &full.get(kind, &name)?["spec"];
        assert_eq!(bare["template"]["spec"]["priorityClassName"], Value::Null);
        assert_eq!(full["template"]["spec"]["priorityClassName"], priority);
        let labels = &full["template"]["metadata"]["labels"];
        assert_eq!(labels["team"], team, "{name}");
        // It never changes, and still picks the pods.
        assert_eq!(bare["selector"], full["selector"], "{name}");
        for (label, value) in full["selector"]["matchLabels"]
            .as_object()
            .context("no selector")?
        {
            assert_eq!(&labels[label], value, "{name}");
        }
    }
    for component in ["gateway", "operator"] {
        let name = format!("splittoken-{component}");
        let annotations = |rendered: &Rendered| {
            let account = rendered.get("ServiceAccount", &name)?;
            anyhow::Ok(account["metadata"]["annotations"].clone())
        };
        assert_eq!(annotations(&bare)?, Value::Null);
        assert_eq!(annotations(&full)?, json!({"a": component}));
    }
    Ok(())
}

#[test]
fn a_digest_wins_over_the_tag() -> Result<()> {
    let digest = format!("sha256:{}", "1".repeat(64));
    for (image, expected) in [
        (json!({}), "localhost/splittoken:0.1.0".to_owned()),
        (json!({"tag": "a"}), "localhost/splittoken:a".to_owned()),
        (
            json!({"tag": "a", "digest": digest}),
            format!("localhost/splittoken@{digest}"),
        ),
    ] {
        let rendered = template(&json!({"image": image}))?;
        for (name, pod) in rendered.pods() {
            if name != "splittoken-store" {
                assert_eq!(pod["containers"][0]["image"], expected, "{name}");
            }
        }
    }
    Ok(())
}

/// The API server refuses them with another type.
#[test]
fn what_is_only_for_load_balancers_is_only_there() -> Result<()> {
    let (class, networks) = ("example.com/internal", json!(["192.0.2.0/24", "2001:db8::/32"]));
    for (kind, is_there) in [("LoadBalancer", true), ("NodePort", false), ("ClusterIP", false)] {
        let rendered = template(&json!({"gateway": {"service": {
            "type": kind,
            "loadBalancerClass": class,
            "loadBalancerSourceRanges": networks,
        }}}))?;
        let service = &rendered.get("Service", "splittoken-gateway")?["spec"];
        let expected = |value: Value| if is_there { value } else { Value::Null };
        assert_eq!(service["loadBalancerClass"], expected(json!(class)), "{kind}");
        assert_eq!(
            service["loadBalancerSourceRanges"],
            expected(networks.clone()),
            "{kind}"
        );
    }
    let service = &template(&json!({"gateway": {"service": {"type": "LoadBalancer"}}}))?;
    let service = &service.get("Service", "splittoken-gateway")?["spec"];
    assert_eq!(service["loadBalancerClass"], Value::Null);
    assert_eq!(service["loadBalancerSourceRanges"], Value::Null);
    Ok(())
}

/// One late answer says that there is much to do, to all pods at once.
#[test]
fn a_late_answer_takes_no_pod_out_and_none_is_started_anew_before_it_is_taken_out() -> Result<()> {
    let rendered = template(&Value::Null)?;
    let mut number = 0;
    for (name, pod) in rendered.pods() {
        let container = &pod["containers"][0];
        if container["readinessProbe"].is_null() {
            continue;
        }
        // After how many seconds, if each answer fails at once, and if each is waited for.
        let seconds = |probe: &str| {
            let of = |what: &str| container[probe][what].as_u64().context(probe.to_owned());
            let (period, timeout) = (of("periodSeconds")?, of("timeoutSeconds")?);
            let failures = of("failureThreshold")?;
            anyhow::Ok((failures * period, failures * period.max(timeout)))
        };
        let (ready, alive) = (seconds("readinessProbe")?, seconds("livenessProbe")?);
        assert!(ready.0 >= 10 && ready.1 >= 20, "{name}: {ready:?}");
        assert!(alive.0 >= 2 * ready.1, "{name}: {ready:?} {alive:?}");
        number += 1;
    }
    assert_eq!(number, 3);
    Ok(())
}

#[test]
fn spans_go_where_the_values_say_and_nowhere_without_them() -> Result<()> {
    for (tracing, expected) in [
        (Value::Null, vec![]),
        (json!({"sampling": 1}), vec![]),
        (
            json!({"otlpEndpoint": "http://collector:4318"}),
            vec!["--otlp-endpoint=http://collector:4318", "--trace-sampling=0.01"],
        ),
        (
            json!({"otlpEndpoint": "https://[::1]/otlp", "sampling": 0}),
            vec!["--otlp-endpoint=https://[::1]/otlp", "--trace-sampling=0"],
        ),
    ] {
        let values = if tracing.is_null() {
            Value::Null
        } else {
            json!({"gateway": {"tracing": tracing}})
        };
        let rendered = template(&values)?;
        let arguments = arguments(pod(&rendered, "splittoken-gateway")?);
        let about = |argument: &&str| argument.starts_with("--otlp") || argument.starts_with("--trace");
        let found: Vec<&str> = arguments.into_iter().filter(about).collect();
        assert_eq!(found, expected);
    }
    Ok(())
}

#[test]
fn a_collector_s_authority_and_key_come_from_secrets() -> Result<()> {
    let with = |endpoint: &str| {
        let tracing = json!({"otlpEndpoint": endpoint, "caSecret": "ca", "headersSecret": "key"});
        template(&json!({"gateway": {"tracing": tracing}}))
    };
    let rendered = with("https://collector:4318")?;
    let gateway = pod(&rendered, "splittoken-gateway")?;
    let container = &gateway["containers"][0];
    ensure!(arguments(gateway).contains(&"--otlp-ca=/etc/splittoken/otlp-ca/ca.crt"));
    assert_eq!(
        container["env"],
        json!([{
            "name": "OTEL_EXPORTER_OTLP_HEADERS",
            "valueFrom": {"secretKeyRef": {"name": "key", "key": "headers"}},
        }])
    );
    let named = |list: &Value| {
        let mut items = list.as_array().into_iter().flatten();
        items.find(|item| item["name"] == "otlp-ca").cloned()
    };
    assert_eq!(
        named(&gateway["volumes"]).context("no volume")?["secret"],
        json!({"secretName": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]})
    );
    assert_eq!(
        named(&container["volumeMounts"]).context("no mount")?["mountPath"],
        "/etc/splittoken/otlp-ca"
    );
    // Nobody is told anything where there is no collector.
    let rendered = with("")?;
    let text = pod(&rendered, "splittoken-gateway")?.to_string();
    ensure!(!text.contains("otlp") && !text.contains("OTEL"), "{text}");
    Ok(())
}
