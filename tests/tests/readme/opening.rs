//! The two commands that README.md opens with, and what it points to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use splittoken_tests::markdown::{anchors, links};
use splittoken_tests::{demo::Demo, shell};

use super::{blocks_of, document, documents, readme, root};

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

/// The chart's own page among them.
#[test]
fn every_file_and_heading_that_is_linked_to_exists() -> Result<()> {
    let mut pages = documents()?;
    let chart = "charts/splittoken/README.md";
    pages.push((chart.to_owned(), document(chart)?));
    let mut number = 0;
    let mut missing = Vec::new();
    for (page, text) in &pages {
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            number += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                root().join(page)
            } else {
                root().join(folder).join(file)
            };
            let is_there = heading.is_empty() && target.exists()
                || fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(&heading.to_owned()));
            if !is_there {
                missing.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(number > 20, "the search for links finds too little: {number}");
    assert_eq!(missing, [""; 0], "links to what is not there");
    Ok(())
}

/// Every page of `docs/` can be found from README.md.
#[test]
fn it_links_to_every_page() -> Result<()> {
    let links = links(&readme()?);
    for (page, _) in documents()?.iter().skip(1) {
        assert!(links.contains(page), "README.md does not link to {page}");
    }
    Ok(())
}

#[test]
fn every_recipe_that_is_named_exists() -> Result<()> {
    let justfile = fs::read_to_string(root().join("justfile"))?;
    for (page, text) in documents()? {
        assert_eq!(unknown_recipes(&text, &justfile), Vec::<String>::new(), "{page}");
    }
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
