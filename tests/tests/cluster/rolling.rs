//! New versions under load.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::cluster::Release;

use crate::shop::Shop;

#[test]
fn an_upgrade_and_a_rolling_restart_fail_no_request() -> Result<()> {
    let mut release = Release::installed()?;
    let shop = Shop::open("rolling")?;
    shop.serve(&[])?;
    let token = shop.token("orders:read")?;
    shop.start_load(&token)?;
    release.is_changed();
    release.upgrade(&json!({
        "gateway": {"replicas": 3, "podAnnotations": {"round": "two"}},
        "operator": {"podAnnotations": {"round": "two"}},
    }))?;
    release.settled(3)?;
    let upgraded = shop.namespace.counts_after("load", 300)?;
    println!(
        "helm upgrade: {} of {} requests failed",
        upgraded.failed, upgraded.sent
    );
    upgraded.expect_none_failed()?;
    release.kubectl(&["rollout", "restart", "deployment/splittoken-gateway"])?;
    release.kubectl(&["rollout", "restart", "deployment/splittoken-operator"])?;
    release.settled(3)?;
    release.rolled_out("splittoken-operator")?;
    let restarted = shop.namespace.counts_after("load", 300)?;
    println!(
        "rolling restart: {} of {} requests failed",
        restarted.failed - upgraded.failed,
        restarted.sent - upgraded.sent
    );
    restarted.expect_none_failed()?;
    release.is_changed();
    Ok(())
}
