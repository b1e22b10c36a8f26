//! What runs on hosted runners: the same recipes, and no code that could be another tomorrow.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::parts;

use super::root;

fn workflow() -> Result<String> {
    fs::read_to_string(root().join(".github/workflows/ci.yaml")).context("ci.yaml")
}

fn steps(workflow: &Value) -> impl Iterator<Item = &Value> {
    let jobs = workflow["jobs"].as_object().into_iter().flatten();
    jobs.flat_map(|(_, job)| job["steps"].as_array().into_iter().flatten())
}

#[test]
fn it_runs_the_command_of_the_readme_and_the_recipe_for_known_holes() -> Result<()> {
    let workflow: Value = serde_saphyr::from_str(&workflow()?)?;
    let lines: Vec<&str> = steps(&workflow)
        .filter_map(|step| step["run"].as_str())
        .flat_map(str::lines)
        .collect();
    for wanted in ["tests/run", "just advisories"] {
        ensure!(lines.contains(&wanted), "{wanted} is not in {lines:#?}");
    }
    Ok(())
}

#[test]
fn it_may_only_read_and_runs_only_what_a_commit_names() -> Result<()> {
    let text = workflow()?;
    let workflow: Value = serde_saphyr::from_str(&text)?;
    assert_eq!(workflow["permissions"].to_string(), r#"{"contents":"read"}"#);
    let actions: Vec<&str> = steps(&workflow)
        .filter_map(|step| step["uses"].as_str())
        .collect();
    ensure!(actions.len() > 2, "{actions:?}");
    for action in actions {
        let (_, commit) = action.split_once('@').context("no commit")?;
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(
            is_commit && text.contains(&format!("{action} # v")),
            "{action}: no commit with its version behind it"
        );
    }
    for (name, job) in workflow["jobs"].as_object().into_iter().flatten() {
        ensure!(job["timeout-minutes"].is_u64(), "{name} may run for ever");
    }
    Ok(())
}

/// What `just workflows-lint` calls finds what is wrong, and nothing else.
#[test]
fn a_mistake_in_it_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let check = |text: &str| -> Result<String> {
        let file = folder.path().join("ci.yaml");
        fs::write(&file, text)?;
        let mut command = Command::new(parts::path("SPLITTOKEN_ACTIONLINT")?);
        command
            .args(["-shellcheck=", "-pyflakes=", "-no-color"])
            .arg(&file);
        let output = command.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = workflow()?;
    assert_eq!(check(&text)?, "");
    for (right, wrong, word) in [
        ("timeout-minutes", "timeout-minuets", "timeout-minuets"),
        ("runner.temp", "runner.tmp", "tmp"),
        ("contents: read", "contents: all", "all"),
        ("17 4 * * 1", "17 4 * *", "17 4 * *"),
    ] {
        ensure!(text.contains(right), "{right} is not there");
        let said = check(&text.replacen(right, wrong, 1))?;
        ensure!(said.contains(word), "{wrong} passes: {said:?}");
    }
    Ok(())
}
