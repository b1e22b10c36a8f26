//! The lines of the demo that README.md shows, with what they give.

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::demo::Demo;
use splittoken_tests::markdown::commands;
use splittoken_tests::shell;

use super::blocks_of;

/// Where README.md has its demo.
const ADDRESS: &str = "127.0.0.1:8080";

/// A command and the line below it, which shows what it gives.
#[derive(Debug)]
struct Shown {
    command: String,
    output: String,
}

fn shown() -> Result<Vec<Shown>> {
    let block = blocks_of("console", "")?.pop().context("no block")?.text;
    let mut shown: Vec<Shown> = Vec::new();
    for part in commands(&block) {
        if let Some(command) = part.strip_prefix("$ ") {
            shown.push(Shown {
                command: command.to_owned(),
                output: String::new(),
            });
        } else {
            let last = shown.last_mut().context("an output before any command")?;
            last.output.push_str(&part);
        }
    }
    ensure!(shown.len() == 2, "two commands: {shown:#?}");
    Ok(shown)
}

/// One blank for any white space, which is all that a line broken for the page differs by.
fn on_one_line(command: &str) -> String {
    command.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn they_are_among_those_that_the_demo_prints() -> Result<()> {
    let demo = Demo::start()?;
    let printed: Vec<String> = demo.lines()?.iter().map(|line| on_one_line(line)).collect();
    for Shown { command, .. } in shown()? {
        let command = on_one_line(&command.replace(ADDRESS, &demo.address().to_string()));
        assert!(printed.contains(&command), "{command}\nis not among {printed:#?}");
    }
    Ok(())
}

#[test]
fn they_give_what_is_shown() -> Result<()> {
    let demo = Demo::start()?;
    let shown = shown()?;
    let commands: Vec<String> = shown
        .iter()
        .map(|shown| shown.command.replace(ADDRESS, &demo.address().to_string()))
        .collect();
    let folder = tempfile::tempdir()?;
    let outputs = shell::run("bash", &commands, folder.path(), &shell::path_with_the_binary()?)?;

    let issued = demo.issued()?;
    let (_, signature) = issued.rsplit_once('.').context("not a JWT")?;
    assert_eq!(outputs[0].trim_end(), signature, "the first gives the signature");
    let example = shown[0].output.split('…').next().unwrap_or_default();
    assert!(example.len() > 20, "{example:?}");
    assert!(
        example
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "what README.md shows is no signature: {example:?}"
    );

    // What stands between the ellipses is in the answer letter for letter: the beginning of an RS256 JWT.
    let fragment = shown[1].output.split('…').nth(1).unwrap_or_default().trim();
    assert!(fragment.contains("Bearer eyJ"), "{fragment:?}");
    assert!(
        outputs[1].contains(fragment),
        "{fragment:?} is not in {}",
        outputs[1]
    );
    assert!(outputs[1].contains(&issued), "not the whole JWT: {}", outputs[1]);
    Ok(())
}
