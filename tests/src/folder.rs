//! Folders for what all tests of a process share. Such things are never dropped.

use std::os::unix::process::CommandExt as _;
use std::process::{self, Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A folder that goes when it is dropped or, at the latest, when this process has ended, however it ends.
pub fn guarded() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    Command::new("sh")
        .args([
            "-c",
            r#"tail --pid="$1" --follow /dev/null; rm -rf -- "$2""#,
            "sh",
        ])
        .arg(process::id().to_string())
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Whoever interrupts the tests does not mean this.
        .process_group(0)
        .spawn()
        .context("cannot start sh")?;
    Ok(folder)
}
