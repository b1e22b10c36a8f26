//! Folders: several files, and links that are swapped as the kubelet swaps those of a volume.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::stand::{Addresses, Stand};
use splittoken_tests::wait;
use tempfile::TempDir;

use super::{EFFECT, all_well, changed, clients, plain, problem, recovered, revisions, route};

/// A gateway that reads a folder beside its file.
fn with_folder(folder: &TempDir) -> Result<Stand> {
    let path = folder.path().display().to_string();
    Stand::built(
        |to| route(to).into(),
        |gateway| {
            gateway
                .log("info")
                .arguments(&["--threads", "2", "--routes", &path])
        },
    )
}

/// A route of its own host, as the text of one file; its path is one more that needs no token.
fn document(to: &Addresses, name: &str, path: &str) -> String {
    let rule = json!({
        "name": "open", "matches": [{"path": {"type": "Exact", "value": path}}], "authentication": "Disabled",
        "backendRefs": [{"url": to.upstream}],
    });
    String::from(route(to).spec(&json!({"rules": [rule]})))
        .replace("\"shop\"", &format!("\"{name}\""))
        .replace("\"127.0.0.1\"", &format!("\"{name}.example\""))
}

fn status(stand: &Stand, name: &str, path: &str) -> Result<u16> {
    Ok(stand
        .ask_at(&format!("{name}.example"), &format!("GET {path}"), &[])?
        .status)
}

/// Writes a file in one step.
fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(".new"), text)?;
    Ok(fs::rename(folder.join(".new"), folder.join(name))?)
}

#[test]
fn a_file_is_added_and_one_is_removed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stand = with_folder(&folder)?;
    let to = stand.addresses();
    let load = clients(&stand, 2)?;
    changed(&stand.gateway, || {
        put(folder.path(), "first.yaml", &document(&to, "first", "/a"))
    })?;
    let took = changed(&stand.gateway, || {
        put(folder.path(), "second.json", &document(&to, "second", "/a"))
    })?;
    eprintln!("a file more in the folder: served after {took:?}");
    ensure!(
        (status(&stand, "first", "/a")?, status(&stand, "second", "/a")?) == (200, 200),
        "not served"
    );
    let before = revisions(&stand.gateway)?;
    // Neither of these is a file of routes.
    put(folder.path(), "notes.txt", "kind: [")?;
    put(folder.path(), ".hidden.yaml", "kind: [")?;
    changed(&stand.gateway, || {
        Ok(fs::remove_file(folder.path().join("first.yaml"))?)
    })?;
    ensure!(
        (status(&stand, "first", "/a")?, status(&stand, "second", "/a")?) == (404, 200),
        "not removed"
    );
    ensure!(
        problem(&stand.gateway)?.is_none(),
        "a file that is none of ours was read"
    );
    let after = revisions(&stand.gateway)?;
    ensure!(after.len() + 1 == before.len(), "{after:?}");
    ensure!(
        after
            .iter()
            .all(|(name, revision)| before.get(name) == Some(revision)),
        "{before:?} {after:?}"
    );
    // One bad file of several: all of them stay as they are.
    put(folder.path(), "third.yaml", "kind: [")?;
    put(folder.path(), "second.json", &document(&to, "second", "/b"))?;
    wait::until_true(EFFECT, "the problem in /config", || {
        problem(&stand.gateway)
            .is_ok_and(|problem| problem.is_some_and(|(_, message)| message.contains("third.yaml")))
    })?;
    ensure!(
        (status(&stand, "second", "/a")?, status(&stand, "second", "/b")?) == (200, 404),
        "half an edit"
    );
    changed(&stand.gateway, || {
        put(folder.path(), "third.yaml", &document(&to, "third", "/a"))
    })?;
    ensure!(
        (status(&stand, "second", "/b")?, status(&stand, "third", "/a")?) == (200, 200),
        "not recovered"
    );
    all_well(&load.finish())
}

/// As Kubernetes does it: the files are links through `..data`, a link that is replaced in one step.
#[test]
fn a_volume_is_swapped_under_load() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let stand = with_folder(&folder)?;
    let to = stand.addresses();
    let swap = |version: &str, text: &str| -> Result<()> {
        fs::create_dir(at(version))?;
        fs::write(at(version).join("routes.yaml"), text)?;
        symlink(version, at("..data_tmp"))?;
        Ok(fs::rename(at("..data_tmp"), at("..data"))?)
    };
    swap("..1", &document(&to, "volume", "/v1"))?;
    changed(&stand.gateway, || {
        Ok(symlink("..data/routes.yaml", at("routes.yaml"))?)
    })?;
    let load = clients(&stand, 2)?;

    let start = Instant::now();
    swap("..2", &document(&to, "volume", "/v2"))?;
    fs::remove_dir_all(at("..1"))?;
    wait::until_true(EFFECT, "the swapped volume", || {
        status(&stand, "volume", "/v2").is_ok_and(|s| s == 200)
    })?;
    eprintln!("a swapped volume was served after {:?}", start.elapsed());

    swap("..3", "kind: SplitTokenRoute\nspec: {")?;
    fs::remove_dir_all(at("..2"))?;
    wait::until_true(EFFECT, "the problem in /config", || {
        problem(&stand.gateway).is_ok_and(|problem| problem.is_some())
    })?;
    ensure!(
        status(&stand, "volume", "/v2")? == 200,
        "the last good set is not served"
    );

    swap("..4", &document(&to, "volume", "/v4"))?;
    wait::until_true(EFFECT, "the good volume", || {
        status(&stand, "volume", "/v4").is_ok_and(|s| s == 200)
    })?;
    recovered(&stand.gateway)?;
    all_well(&load.finish())
}

/// The folder itself is gone for a while, as when it is mounted anew.
#[test]
fn a_folder_that_goes_and_comes_back() -> Result<()> {
    let outer = tempfile::tempdir()?;
    let (folder, away) = (outer.path().join("routes"), outer.path().join("away"));
    fs::create_dir(&folder)?;
    let stand = plain()?;
    put(
        &folder,
        "volume.yaml",
        &document(&stand.addresses(), "volume", "/v1"),
    )?;
    let path = folder.display().to_string();
    let stand = Stand::built(
        |to| route(to).into(),
        |gateway| gateway.log("info").arguments(&["--routes", &path]),
    )?;
    ensure!(status(&stand, "volume", "/v1")? == 200, "not served");
    fs::rename(&folder, &away)?;
    wait::until_true(EFFECT, "the problem in /config", || {
        problem(&stand.gateway).is_ok_and(|problem| problem.is_some_and(|(reason, _)| reason == "read"))
    })?;
    ensure!(
        status(&stand, "volume", "/v1")? == 200,
        "the last good set is not served"
    );
    fs::rename(&away, &folder)?;
    recovered(&stand.gateway)?;
    ensure!(status(&stand, "volume", "/v1")? == 200, "not served any more");
    Ok(())
}
