//! What README.md and the pages of `docs/` say can be done is done here: their commands run, their options, fields, links
//! and recipes exist.

mod demo;
mod fields;
mod installation;
mod opening;
mod options;
mod security;
mod workflow;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use splittoken_tests::markdown::{Block, blocks};

/// The checkout.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> Result<String> {
    document("README.md")
}

fn document(name: &str) -> Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

/// README.md and the pages of `docs/`, by their paths in the checkout.
fn documents() -> Result<Vec<(String, String)>> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs"))? {
        names.push(format!("docs/{}", entry?.file_name().to_string_lossy()));
    }
    names.sort();
    names
        .into_iter()
        .map(|name| Ok((name.clone(), document(&name)?)))
        .collect()
}

/// The blocks of one language below one heading; below none, those before the first heading.
fn blocks_of(language: &str, section: &str) -> Result<Vec<Block>> {
    let all = blocks(&readme()?);
    let found: Vec<Block> = all
        .into_iter()
        .filter(|block| block.language == language && block.section == section)
        .collect();
    anyhow::ensure!(
        !found.is_empty(),
        "README.md has no {language} block below {section:?}"
    );
    Ok(found)
}
