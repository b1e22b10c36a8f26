//! The keyring is rotated while tokens of the old key live.

use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use splittoken_tests::cluster::{Release, SYSTEM, pods};
use splittoken_tests::wait;

use crate::shop::Shop;

/// Every step waits until kubelet has given the changed Secret to all pods, which takes it more than a minute.
const STEPS: Duration = Duration::from_secs(600);

const SECRET: &str = "splittoken-keyring";

#[test]
fn a_rotation_of_the_keyring_ends_no_session_before_its_time() -> Result<()> {
    let shop = Shop::open("keyring")?;
    let release = Release::installed()?;
    shop.serve(&[])?;
    let old = shop.token("orders:read")?;
    let before = keys(&release)?;
    assert_eq!(before.others, 0);

    let rotate = ["keyring", "rotate", "--namespace", SYSTEM, "--secret", SECRET];
    release.cluster.splittoken(&rotate)?;
    wait::until_true(STEPS, "another key to be written", || {
        keys(&release).is_ok_and(|keys| keys.write != before.write && keys.others == 1)
    })?;
    every_pod_answers(&shop, 200, &old)?;
    let new = shop.token("orders:read")?;
    every_pod_answers(&shop, 200, &new)?;

    // As if the last token of the old key had ended.
    let long_ago = "splittoken.dev/keyring-written-since=2020-01-01T00:00:00Z";
    release.kubectl(&["annotate", "--overwrite", "secret", SECRET, long_ago])?;
    wait::until_true(STEPS, "the old key to go", || {
        keys(&release).is_ok_and(|keys| keys.others == 0)
    })?;
    every_pod_answers(&shop, 401, &old)?;
    every_pod_answers(&shop, 200, &new)
}

/// Waits, because pods follow the Secret when kubelet gets to it.
fn every_pod_answers(shop: &Shop, status: u16, token: &str) -> Result<()> {
    for url in pods(&shop.gateways()?, "/list")? {
        let headers = shop.headers(token);
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        wait::until_true(STEPS, &format!("{status} of every pod"), || {
            let reply = shop.namespace.get(&url, &headers);
            reply.is_ok_and(|reply| reply.status == status)
        })?;
    }
    Ok(())
}

/// What can be told of a keyring.
struct Keys {
    write: Value,
    others: usize,
}

fn keys(release: &Release) -> Result<Keys> {
    let text = release.kubectl(&["get", "secret", SECRET, "--output", "json"])?;
    let secret: Value = serde_json::from_str(&text)?;
    let file = secret["data"]["keyring.json"].as_str().context("no keyring")?;
    let keyring: Value = serde_json::from_slice(&STANDARD.decode(file)?)?;
    let keys = keyring["keys"].as_object().context("no keys")?;
    Ok(Keys {
        write: keyring["write"].clone(),
        others: keys.len() - 1,
    })
}
