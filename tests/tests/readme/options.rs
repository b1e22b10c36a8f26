//! The options of the command line: the pages and `--help` say the same.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use splittoken_tests::gateway;
use splittoken_tests::markdown::table;

use super::{document, documents, readme};

/// An option of `--help` with all that it says of it, on one line.
#[derive(Debug)]
struct Explained {
    name: String,
    text: String,
}

impl Explained {
    /// What stands between `[default: ` and `]`.
    fn default(&self) -> Option<&str> {
        Some(self.text.split_once("[default: ")?.1.split_once(']')?.0)
    }
}

fn help(arguments: &[&str]) -> Result<String> {
    let output = gateway::run(&[arguments, &["--help"]].concat())?;
    ensure!(output.status.success(), "{arguments:?} --help: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn explained(help: &str) -> Vec<Explained> {
    let mut found: Vec<Explained> = Vec::new();
    let mut is_inside = false;
    for line in help.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with(' ') {
            is_inside = line == "Options:" || line.starts_with("Limits");
            continue;
        }
        if !is_inside {
            continue;
        }
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.trim_start().starts_with('-') {
            let name = words.split(' ').find(|word| word.starts_with("--"));
            found.push(Explained {
                name: name.unwrap_or_default().to_owned(),
                text: words,
            });
        } else if let Some(last) = found.last_mut() {
            last.text.push(' ');
            last.text.push_str(&words);
        }
    }
    found.retain(|option| option.name != "--help");
    found
}

/// Every `--option` that a text mentions, apart from those of other programs.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_of_others = |line: &str| {
        ["cargo ", "kubectl ", "helm "]
            .iter()
            .any(|other| line.contains(other))
    };
    let lines = text.lines().filter(|line| !is_of_others(line));
    let words =
        lines.flat_map(|line| line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-'));
    let options = words.filter(|word| {
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase()))
    });
    options.map(str::to_owned).collect()
}

/// Which page has tables of the options of which command.
const TABLES: [(&str, &str); 2] = [("gateway", "docs/gateway.md"), ("operator", "docs/kubernetes.md")];

/// The rows of them, limits behind all others as in `--help`.
fn rows(command: &str, page: &str) -> Result<Vec<Vec<String>>> {
    let page = document(page)?;
    let mut rows = table(&page, &format!("option of `{command}`"));
    rows.extend(table(&page, &format!("limit of `{command}`")));
    Ok(rows)
}

#[test]
fn every_option_of_what_runs_for_long_is_in_a_table_with_its_default() -> Result<()> {
    for (command, page) in TABLES {
        let rows = rows(command, page)?;
        let explained = explained(&help(&[command])?);
        assert!(explained.len() > 10, "{explained:?}");
        let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        let expected: Vec<&str> = explained.iter().map(|option| option.name.as_str()).collect();
        assert_eq!(names, expected, "{command}");
        for (row, option) in rows.iter().zip(&explained) {
            // What has a space in it says in words what is worked out.
            if let Some(default) = option.default().filter(|default| !default.contains(' ')) {
                assert_eq!(row[1].trim_matches('`'), default, "{command} {}", option.name);
            }
            assert!(row[2].len() > 10, "{command} {} is not explained", option.name);
        }
    }
    Ok(())
}

#[test]
fn every_option_of_what_runs_for_long_can_be_given_in_the_environment() -> Result<()> {
    for (command, _) in TABLES {
        for option in explained(&help(&[command])?) {
            let name = option.name.trim_start_matches('-').replace('-', "_");
            let variable = format!("[env: SPLITTOKEN_{}", name.to_ascii_uppercase());
            assert!(
                option.text.contains(&variable),
                "{command}: {variable} in: {}",
                option.text
            );
        }
    }
    Ok(())
}

#[test]
fn every_option_that_a_text_mentions_exists() -> Result<()> {
    let commands: [&[&str]; 8] = [
        &["gateway"],
        &["operator"],
        &["demo"],
        &["check"],
        &["crd"],
        &["probe"],
        &["keyring", "new"],
        &["keyring", "rotate"],
    ];
    let mut exist = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    let mut texts = documents()?;
    texts.push(("--help".to_owned(), help(&[])?));
    for command in commands {
        let text = help(command)?;
        exist.extend(explained(&text).into_iter().map(|option| option.name));
        texts.push((format!("{} --help", command.join(" ")), text));
    }
    for (what, text) in texts {
        let unknown: Vec<String> = mentioned(&text).difference(&exist).cloned().collect();
        assert!(unknown.is_empty(), "{what} mentions {unknown:?}");
    }
    // The search finds what is there to be found.
    assert!(mentioned(&readme()?).contains("--store-password-file"));
    assert_eq!(
        mentioned("a `--no-such` one, |---|"),
        BTreeSet::from(["--no-such".to_owned()])
    );
    Ok(())
}
