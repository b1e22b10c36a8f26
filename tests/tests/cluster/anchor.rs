//! The `ConfigMap` that owns what the operator makes, under a real garbage collector.

use anyhow::Result;
use serde_json::Value;
use splittoken_tests::cluster::Release;
use splittoken_tests::wait;

use crate::shop::Shop;

#[test]
fn an_anchor_that_was_deleted_comes_back_with_an_upgrade_and_no_session_has_ended() -> Result<()> {
    let shop = Shop::open("anchor")?;
    let mut release = Release::installed()?;
    shop.serve(&["orders:read"])?;
    let token = shop.token("orders:read")?;
    shop.call(&token)?;

    release.is_changed();
    release.kubectl(&["delete", "configmap", "splittoken"])?;
    release.kubectl(&[
        "wait",
        "--for=delete",
        "secret/splittoken-keyring",
        "--timeout=90s",
    ])?;
    release.upgrade(&Value::Null)?;
    shop.serve(&["orders:read"])?;
    shop.call(&token)?;
    // The operator looks every few seconds. Owned as before: an uninstall takes it.
    let anchor = release.kubectl(&[
        "get",
        "configmap",
        "splittoken",
        "--output=jsonpath={.metadata.uid}",
    ])?;
    let owner = [
        "get",
        "secret",
        "splittoken-keyring",
        "--output=jsonpath={.metadata.ownerReferences[*].uid}",
    ];
    wait::until_true(wait::START, "the keyring to be there, and the anchor's", || {
        release.kubectl(&owner).is_ok_and(|owner| owner == anchor)
    })?;
    Ok(())
}
