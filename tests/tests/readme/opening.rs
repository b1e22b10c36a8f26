//! The two commands that README.md opens with, and what it points to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use splittoken_tests::markdown::links;
use splittoken_tests::{demo::Demo, shell};

use super::{blocks_of, readme, root};

const DEMO: &str = "cargo run --release -p splittoken -- demo";
const TESTS: &str = "tests/run";

#[test]
fn it_opens_with_exactly_two_commands() -> Result<()> {
    let commands: Vec<String> = blocks_of("sh", "")?.into_iter().map(|block| block.text).collect();
    assert_eq!(commands, [format!("{DEMO}\n"), format!("{TESTS}\n")]);
    Ok(())
}

/// A release build takes minutes; that its package has the one binary, and that this one's arguments start the demo,
/// is what can go wrong.
#[test]
fn the_first_one_builds_the_binary_and_runs_the_demo() -> Result<()> {
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--locked",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()?;
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"] == "splittoken")
        .context("no package splittoken")?;
    let binaries: Vec<&Value> = package["targets"]
        .as_array()
        .context("no targets")?
        .iter()
        .filter(|target| target["kind"][0] == "bin")
        .collect();
    assert_eq!(
        binaries.len(),
        1,
        "`cargo run` would not know which: {binaries:?}"
    );
    assert_eq!(binaries[0]["name"], "splittoken");
    assert_eq!(Demo::start()?.get("/")?.status, 200);
    Ok(())
}

#[test]
fn the_second_one_is_a_script_that_ci_calls_too() -> Result<()> {
    for script in [TESTS, "tests/setup", ".ci/run"] {
        let path = root().join(script);
        let mode = fs::metadata(&path)
            .with_context(|| script.to_owned())?
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{script} cannot be executed");
        let syntax = [format!("bash -n {script}")];
        shell::run("bash", &syntax, &root(), &shell::path_with_the_binary()?)?;
    }
    let ci = fs::read_to_string(root().join(".ci/run"))?;
    let last = ci.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("exec ") && last.contains("/tests/run"),
        "CI ends with: {last}"
    );
    Ok(())
}

#[test]
fn every_file_that_it_links_to_exists() -> Result<()> {
    let links = links(&readme()?);
    let files: Vec<&String> = links.iter().filter(|link| !link.contains("://")).collect();
    assert!(
        files.len() > 5,
        "the search for links finds too little: {links:?}"
    );
    let missing: Vec<&&String> = files.iter().filter(|file| !root().join(file).exists()).collect();
    assert!(
        missing.is_empty(),
        "README.md links to what is not there: {missing:?}"
    );
    Ok(())
}

#[test]
fn every_recipe_that_it_names_exists() -> Result<()> {
    let justfile = fs::read_to_string(root().join("justfile"))?;
    assert_eq!(unknown_recipes(&readme()?, &justfile), Vec::<String>::new());
    let text = "`just` lists, `just setup` gets, `just no-such-thing` does not";
    assert_eq!(unknown_recipes(text, &justfile), ["no-such-thing"]);
    Ok(())
}

fn unknown_recipes(text: &str, justfile: &str) -> Vec<String> {
    let named = text.split("`just ").skip(1).map(|rest| {
        rest.chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
            .collect::<String>()
    });
    let exists = |recipe: &String| {
        justfile
            .lines()
            .any(|line| line.split([' ', ':']).next() == Some(recipe))
    };
    named.filter(|recipe| !exists(recipe)).collect()
}
