//! Two releases on one cluster.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::cluster::Release;

use crate::shop::{Installation, Shop};

const SECOND: Installation = Installation {
    release: "second",
    namespace: "splittoken-second",
    class: "second",
};

#[test]
fn a_second_release_of_another_class_works_beside_the_first() -> Result<()> {
    let (first, second) = (Shop::open("first")?, Shop::open_at(SECOND, "second")?);
    let release = Release::installed()?;
    first.serve(&[])?;
    let values = json!({
        "className": SECOND.class, "crds": {"enabled": false}, "gateway": {"replicas": 1},
    });
    release.install(SECOND.release, SECOND.namespace, &values)?;
    second.serve(&[])?;
    second.call(&second.token("orders:read")?)?;

    // Each knows its own routes only: without a token one says so, the other that there is nothing. kube-proxy lags behind a
    // Deployment that is ready: until then nobody listens behind the Service.
    let ask = |shop: &Shop, host: &str, status| {
        shop.namespace
            .wait_for(status, &shop.url("/list"), &["-header", host])
    };
    ask(&second, &second.host_header(), 401)?;
    ask(&second, &first.host_header(), 404)?;
    ask(&first, &second.host_header(), 404)?;
    first.call(&first.token("orders:read")?)?;

    release.remove(SECOND.release, SECOND.namespace)?;
    first.call(&first.token("orders:read")?)?;
    release
        .cluster
        .kubectl(&["delete", "namespace", SECOND.namespace, "--timeout=120s"])?;
    Ok(())
}
