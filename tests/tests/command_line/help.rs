//! Help that teaches.

use anyhow::Result;

use super::run;

const COMMANDS: [&[&str]; 10] = [
    &[],
    &["gateway"],
    &["operator"],
    &["probe"],
    &["demo"],
    &["check"],
    &["crd"],
    &["keyring"],
    &["keyring", "new"],
    &["keyring", "rotate"],
];

fn help(command: &[&str]) -> Result<String> {
    let ran = run(&[command, &["--help"]].concat(), &[])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command:?}");
    Ok(ran.stdout)
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
