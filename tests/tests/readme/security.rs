//! The tests that `docs/security.md` names: they exist, and those of the attack suite are all named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{document, root};

fn tests() -> PathBuf {
    root().join("tests/tests")
}

/// What stands between backquotes and has the form of a path of Rust.
fn named(page: &str) -> BTreeSet<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.contains("::")).collect()
}

/// Whether `attack::http2::floods::name` is a test of `attack/http2/floods.rs`.
fn exists(test: &str) -> Result<bool> {
    let (modules, name) = test.rsplit_once("::").context("no module")?;
    let file = tests().join(modules.replace("::", "/")).with_extension("rs");
    let source = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(functions(&source).contains(&name))
}

/// The functions behind `#[test]`.
fn functions(text: &str) -> Vec<&str> {
    let behind = text.split("#[test]\n").skip(1);
    behind
        .filter_map(|rest| rest.trim_start().strip_prefix("fn ")?.split('(').next())
        .collect()
}

/// All tests of a folder, by their names.
fn below(folder: &Path, prefix: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}::{stem}");
        if path.is_dir() {
            found.extend(below(&path, &name)?);
        } else {
            let text = fs::read_to_string(&path)?;
            found.extend(functions(&text).iter().map(|test| format!("{name}::{test}")));
        }
    }
    Ok(found)
}

#[test]
fn every_attack_is_listed_and_every_test_that_is_named_exists() -> Result<()> {
    let page = document("docs/security.md")?;
    let named = named(&page);
    for test in &named {
        ensure!(exists(test)?, "docs/security.md names {test}, which is no test");
    }
    let all = below(&tests().join("attack"), "attack")?;
    ensure!(all.len() > 50, "the search finds too little: {all:?}");
    let missing: Vec<&String> = all.iter().filter(|test| !named.contains(test.as_str())).collect();
    ensure!(missing.is_empty(), "docs/security.md does not name {missing:?}");
    Ok(())
}
