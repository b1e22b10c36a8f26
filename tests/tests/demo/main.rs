//! `splittoken demo` as a new user meets it: what it prints, the lines to copy, the page in a real Chromium, how it
//! starts and how it ends.

mod lines;
mod page;
mod process;
mod redis;

use anyhow::{Context as _, Result};
use splittoken_tests::demo::Demo;
use splittoken_tests::shell;

/// What the lines to copy gave, in their order: those without output and comments are left out.
struct Copied {
    machine_token: String,
    alice_token: String,
    received: serde_json::Value,
    /// The answers to the whole JWT and to a wrong token, headers included.
    refused: [String; 2],
}

/// Runs all that the demo invites to copy, in one go, in this shell.
fn copy(demo: &Demo, shell: &str) -> Result<Copied> {
    let folder = tempfile::tempdir()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let outputs = shell::run(shell, &demo.lines()?, folder.path(), &path)?;
    let outputs: Vec<String> = outputs.into_iter().filter(|output| !output.is_empty()).collect();
    let [machine, alice, received, whole, wrong] = outputs.as_slice() else {
        anyhow::bail!("five of the lines should answer: {outputs:#?}");
    };
    Ok(Copied {
        machine_token: machine.trim_end().to_owned(),
        alice_token: alice.trim_end().to_owned(),
        received: serde_json::from_str(received).with_context(|| received.clone())?,
        refused: [whole.clone(), wrong.clone()],
    })
}
