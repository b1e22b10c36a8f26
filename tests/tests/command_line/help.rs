//! Help that teaches.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use super::{checkout, run};

const COMMANDS: [&[&str]; 9] = [
    &[],
    &["gateway"],
    &["operator"],
    &["probe"],
    &["demo"],
    &["check"],
    &["crd"],
    &["keyring"],
    &["keyring", "new"],
];

fn help(command: &[&str]) -> Result<String> {
    let ran = run(&[command, &["--help"]].concat(), &[])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command:?}");
    Ok(ran.stdout)
}

/// The long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let flags = words.filter(|word| word.len() > 3 && word.starts_with("--") && !word.ends_with('-'));
    flags.map(str::to_owned).collect()
}

#[test]
fn the_version_is_the_package_s() -> Result<()> {
    for flag in ["--version", "-V"] {
        let ran = run(&[flag], &[])?;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert_eq!(ran.stdout, format!("splittoken {}\n", env!("CARGO_PKG_VERSION")));
    }
    Ok(())
}

#[test]
fn every_command_says_what_it_is_for_with_an_example() -> Result<()> {
    for command in COMMANDS {
        let text = help(command)?;
        assert!(text.contains("Usage: splittoken"), "{command:?}: {text}");
        let (_, examples) = text.split_once("Example").expect("examples");
        let name = format!("splittoken {}", command.join(" "));
        assert!(examples.contains(name.trim_end()), "{command:?}: {examples}");
        // Lines that somebody copies must not be broken by a terminal, nor by us.
        let wide = text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{command:?}");
        let broken = examples.lines().find(|line| line.trim() == "\\");
        assert_eq!(broken, None, "{command:?}: {examples}");
    }
    Ok(())
}

#[test]
fn every_command_is_named_by_the_help_above_it() -> Result<()> {
    let text = help(&[])?;
    for command in COMMANDS.iter().filter_map(|command| command.first()) {
        let line = format!("  {command} ");
        assert!(
            text.lines().any(|found| found.starts_with(&line)),
            "{command}: {text}"
        );
    }
    assert!(text.contains("Exit codes"), "{text}");
    // Asked for nothing, it says what there is to ask for; but nothing was done.
    let ran = run(&[], &[])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Commands:"), "{}", ran.stderr);
    Ok(())
}

#[test]
fn every_option_of_the_gateway_has_a_variable() -> Result<()> {
    let text = help(&["gateway"])?;
    let (options, _) = text.split_once("Examples").expect("examples");
    for flag in flags(options).iter().filter(|flag| *flag != "--help") {
        let variable = format!("SPLITTOKEN_{}", flag[2..].replace('-', "_").to_uppercase());
        assert!(options.contains(&variable), "{flag} has no {variable}");
    }
    Ok(())
}

/// The README's command lines and those of the help itself are of flags that there are.
#[test]
fn no_text_names_a_flag_that_there_is_not() -> Result<()> {
    let mut known = BTreeSet::new();
    let mut used = BTreeSet::new();
    for command in COMMANDS {
        let text = help(command)?;
        let (options, examples) = text.split_once("Example").expect("examples");
        known.extend(flags(options));
        used.extend(flags(examples));
    }
    let readme = fs::read_to_string(checkout("README.md"))?;
    let others = ["cargo ", "docker ", "helm ", "kubectl "];
    for line in readme.lines() {
        if others.iter().any(|other| line.contains(other)) {
            continue;
        }
        used.extend(flags(line));
    }
    assert!(used.len() > 8, "{used:?}");
    assert_eq!(used.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new());
    Ok(())
}
