//! Commands that print something: `crd` and `keyring new`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Desk, address, checkout, run, start};

/// Name and text of every file of a folder.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.insert(
            entry.file_name().to_string_lossy().into_owned(),
            fs::read_to_string(entry.path())?,
        );
    }
    Ok(files)
}

#[test]
fn the_custom_resource_definitions_are_the_committed_ones() -> Result<()> {
    let desk = Desk::new()?;
    let committed = files(&checkout("crds"))?;
    assert_eq!(committed.len(), 2);
    let out = desk.at("a/new/folder");
    let written = run(&["crd", "--out", &out], &[])?;
    assert_eq!(
        (written.code, written.stdout.as_str(), written.stderr.as_str()),
        (Some(0), "", "")
    );
    assert_eq!(files(Path::new(&out))?, committed);
    // Into what is there already, too.
    assert_eq!(run(&["crd", "--out", &out], &[])?.code, Some(0));
    assert_eq!(files(Path::new(&out))?, committed);
    let printed = run(&["crd"], &[])?;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let mut documents: Vec<&str> = printed.stdout.split("---\n").collect();
    documents.sort_unstable();
    let mut wanted: Vec<&str> = committed.values().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(documents, wanted);
    Ok(())
}

#[test]
fn every_keyring_is_new() -> Result<()> {
    let (first, second) = (run(&["keyring", "new"], &[])?, run(&["keyring", "new"], &[])?);
    for ran in [&first, &second] {
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert_eq!(ran.stdout.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout)?;
        assert_eq!((&json["version"], &json["write"]), (&1.into(), &1.into()));
        assert_eq!(
            splittoken_tests::secret::from_base64url(json["keys"]["1"].as_str().unwrap_or_default())?.len(),
            32
        );
    }
    assert_ne!(first.stdout, second.stdout);
    Ok(())
}

/// As it is printed, and as an editor leaves it.
#[test]
fn a_keyring_is_usable() -> Result<()> {
    let desk = Desk::new()?;
    let text = fs::read_to_string(desk.at("keyring.json"))?;
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&text)?)?;
    for content in [text, format!("{pretty}\r\n\n")] {
        let keyring = desk.put("ring", content)?;
        let (admin, routes) = (address()?, desk.at("routes.yaml"));
        let arguments = [
            "gateway",
            "--routes",
            &routes,
            "--keyring",
            &keyring,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            &admin,
        ];
        let _gateway = start(&arguments, &[], &admin)?;
        let config = splittoken_tests::http::Client::new()?
            .get(&format!("http://{admin}/config"))?
            .json()?;
        assert_eq!(config["keyring"], serde_json::json!({"write": 1, "ids": [1]}));
    }
    Ok(())
}
