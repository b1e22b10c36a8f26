//! The `ConfigMap` that owns what the operator makes, under a real garbage collector.

use anyhow::Result;
use serde_json::Value;
use splittoken_tests::cluster::Release;

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
    // Owned as before: an uninstall takes it.
    let owners = "jsonpath={.metadata.ownerReferences[*].uid}";
    let owner = release.kubectl(&[
        "get",
        "secret",
        "splittoken-keyring",
        &format!("--output={owners}"),
    ])?;
    let anchor = release.kubectl(&[
        "get",
        "configmap",
        "splittoken",
        "--output=jsonpath={.metadata.uid}",
    ])?;
    assert_eq!(owner, anchor);
    Ok(())
}
