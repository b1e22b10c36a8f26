//! kubectl, for what it does beyond the API: it reads many objects at once and checks them strictly.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::parts;

/// Runs it with objects on its standard input. What it refuses is an error with its words.
pub fn run(kubeconfig: &Path, arguments: &[&str], objects: &[Value]) -> Result<String> {
    let mut child = Command::new(parts::path("SPLITTOKEN_KUBECTL")?)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    // Dropped at the end of the statement: that is the end of the input.
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(texts.join("\n---\n").as_bytes())?;
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}
