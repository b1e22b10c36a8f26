//! The chart with a Redis of one's own, by helm 3.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::certs::Authority;
use splittoken_tests::cluster::{Release, Workload, checkout};
use splittoken_tests::helm::Helm;
use splittoken_tests::secret;

use crate::shop::{Installation, Shop};

const EXTERNAL: Installation = Installation {
    release: "external",
    namespace: "splittoken-external",
    class: "external",
};

/// The Secrets that the example tells to make, and one with a client certificate, which this Redis asks for.
fn secrets(authority: &Authority, password: &str) -> Result<Vec<Value>> {
    let secret = |name: &str, kind: &str, entries: Value| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "stringData": entries,
            "metadata": {"name": name, "namespace": EXTERNAL.namespace},
        })
    };
    let client = authority.certify_client("gateway")?;
    let client = json!({"tls.crt": client.pem, "tls.key": client.key_pem});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXTERNAL.namespace}});
    Ok(vec![
        namespace,
        secret("redis-password", "Opaque", json!({"password": password})),
        secret("redis-ca", "Opaque", json!({"ca.crt": authority.pem()})),
        secret("redis-client", "kubernetes.io/tls", client),
    ])
}

#[test]
fn with_a_redis_of_ones_own_tokens_outlive_the_release() -> Result<()> {
    let shop = Shop::open_at(EXTERNAL, "external")?;
    let (authority, password) = (Authority::new()?, secret::text());
    let host = "redis.external.svc.cluster.local";
    let redis = Workload::redis_with_tls("redis", &authority, &authority.certify(&[host])?, &password);
    shop.namespace.run(&[redis])?;

    let release = Release::installed()?;
    let cluster = release.cluster;
    cluster.apply(&secrets(&authority, &password)?)?;
    let example = checkout("examples/helm/redis.yaml");
    let values = |replicas: u8| {
        json!({
            "className": EXTERNAL.class, "crds": {"enabled": false}, "gateway": {"replicas": replicas},
            "store": {"redis": {
                "addresses": [format!("{host}:6379")],
                "tls": {"clientSecret": "redis-client"},
            }},
        })
    };
    let install = |replicas: u8| {
        let more = ["--values", &example];
        let helm = Helm::oldest()?;
        release.install_by(
            helm,
            EXTERNAL.release,
            EXTERNAL.namespace,
            &more,
            &values(replicas),
        )
    };
    let helm = |words: &[&str]| {
        let words = [words, &["--namespace", EXTERNAL.namespace]].concat();
        cluster.run_helm(Helm::oldest()?, &words, &Value::Null)
    };
    install(2)?;
    shop.serve(&["orders:read"])?;
    let token = shop.token("orders:read")?;
    shop.call(&token)?;
    helm(&["test", EXTERNAL.release, "--timeout", "120s"])?;

    install(1)?;
    helm(&["rollback", EXTERNAL.release, "1", "--wait", "--timeout", "180s"])?;
    shop.serve(&["orders:read"])?;
    shop.call(&token)?;

    // The keyring stays, and so do the tokens in Redis.
    helm(&["uninstall", EXTERNAL.release, "--wait"])?;
    install(1)?;
    shop.serve(&["orders:read"])?;
    shop.call(&token)?;

    helm(&["uninstall", EXTERNAL.release, "--wait"])?;
    cluster.kubectl(&["delete", "namespace", EXTERNAL.namespace, "--timeout=120s"])?;
    Ok(())
}
