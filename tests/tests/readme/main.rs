//! What README.md says can be done is done here: its commands run, its options, links and recipes exist.

mod demo;
mod installation;
mod opening;
mod options;
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
    fs::read_to_string(root().join("README.md")).context("README.md")
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
