//! Two releases on one cluster.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::cluster::Release;
use splittoken_tests::wait;

use crate::shop::Shop;

const SECOND: &str = "splittoken-second";

#[test]
fn a_second_release_of_another_class_works_beside_the_first() -> Result<()> {
    let release = Release::installed()?;
    let (first, second) = (Shop::open("first")?, Shop::open("second")?);
    first.serve(&[])?;
    let values = json!({
        "className": "second", "crds": {"enabled": false}, "gateway": {"replicas": 1},
    });
    release.install("second", SECOND, &values)?;
    let mut route = second.route(&[]);
    route["spec"]["className"] = json!("second");
    second.namespace.apply(&[route])?;
    second.wait_ready()?;

    let url = format!("http://second-gateway.{SECOND}/list");
    let (first_host, second_host) = (first.host_header(), second.host_header());
    // Each knows its own routes only: without a token one says so, the other that there is nothing.
    // kube-proxy lags behind a Deployment that is ready: until then nobody listens behind the Service.
    wait::until_true(
        wait::START,
        "the second release to refuse who has no token",
        || {
            let answer = second.namespace.get(&url, &["-header", &second_host]);
            answer.is_ok_and(|answer| answer.status == 401)
        },
    )?;
    assert_eq!(second.namespace.get(&url, &["-header", &first_host])?.status, 404);
    assert!(second.token("orders:read").is_err());
    first.call(&first.token("orders:read")?)?;

    release.remove("second", SECOND)?;
    first.call(&first.token("orders:read")?)?;
    release
        .cluster
        .kubectl(&["delete", "namespace", SECOND, "--timeout=120s"])?;
    Ok(())
}
