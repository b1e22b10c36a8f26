//! Command lines and files with which the gateway does not start: one clear line, and nothing secret in it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::gateway::{self, Keyring};

use crate::stage::Stage;

/// Every refusal to start.
pub(super) fn all(stage: &Stage) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let routes = folder.path().join("routes.yaml");
    fs::write(&routes, &stage.routes)?;
    let keyring = Keyring::new()?;
    stores(stage, &routes, &keyring)?;
    keyrings(stage, &routes, &keyring, folder.path())
}

fn stores(stage: &Stage, routes: &Path, keyring: &Keyring) -> Result<()> {
    let password = &stage.redis.user().context("no user")?.password;
    let keyring = keyring.path();
    for store in [
        format!("redis://gateway:{password}@127.0.0.1:6379/first"),
        format!("redis://gateway:{password}@127.0.0.1:port"),
        format!("redis://gateway:{password}@"),
        format!("redis://gateway:{password}@a host"),
        format!("redis://gateway:{password}@redis.test?password={password}"),
        format!("redis://gateway:{password}:{password}@redis.test"),
        format!("redis://gateway:%zz{password}@redis.test"),
        format!("redis://redis.test/{password}"),
        format!("redis://redis.test:{password}"),
        format!("redi://gateway:{password}@redis.test"),
        format!("redis:/gateway:{password}@redis.test"),
        format!("gateway:{password}@redis.test"),
        format!("{password}://gateway@redis.test"),
        password.clone(),
    ] {
        refused(stage, &["--store", &store], routes, &keyring)?;
    }
    let url = format!("redis://gateway:{password}@127.0.0.1:6379");
    let file = stage.redis.password_file().display().to_string();
    let twice = ["--store", &url, "--store-password-file", &file];
    refused(stage, &twice, routes, &keyring)?;
    let option = format!("--store-password={password}");
    refused(stage, &["--store", &url, &option], routes, &keyring)
}

fn keyrings(stage: &Stage, routes: &Path, keyring: &Keyring, folder: &Path) -> Result<()> {
    let text = fs::read_to_string(keyring.path())?;
    stage.secrets.add_keyring(&text)?;
    let file: Value = serde_json::from_str(&text)?;
    let pepper = file["keys"]["1"].as_str().context("no pepper")?;
    for broken in [
        pepper.to_owned(),
        text.replace(pepper, &format!("{pepper}x")),
        text.replace(pepper, &format!("{pepper}\" \"")),
        text.replace("\"1\":", &format!("\"{pepper}\":")),
        text.replace("\"write\":1", &format!("\"write\":\"{pepper}\"")),
        text.replace("\"write\":1", &format!("\"{pepper}\":1")),
        text.replace(
            "\"version\":1",
            &format!("\"version\":1,\"version\":\"{pepper}\""),
        ),
    ] {
        let path = folder.join("keyring");
        fs::write(&path, broken)?;
        let store = ["--store", "redis://127.0.0.1:1"];
        refused(stage, &store, routes, &path)?;
    }
    Ok(())
}

fn refused(stage: &Stage, arguments: &[&str], routes: &Path, keyring: &Path) -> Result<()> {
    let (routes, keyring) = (routes.display().to_string(), keyring.display().to_string());
    let common = ["gateway", "--routes", &routes, "--keyring", &keyring];
    let output = gateway::run(&[&common, arguments].concat())?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.code() == Some(2) && !said.is_empty(),
        "it starts with {arguments:?}: {}",
        String::from_utf8_lossy(&said)
    );
    stage.written.add("a refusal to start", said);
    Ok(())
}
