//! Command lines, run by a shell as they stand in a text that people copy from.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;

/// A line is some calls of curl or of the gateway's own tools.
const LIMIT: Duration = Duration::from_secs(60);

/// ASCII's record separator: in no output of a command here.
const BETWEEN: char = '\u{1e}';

/// Runs all `commands`, in one `shell`, in `folder`, with this `PATH`, and gives what each wrote to standard output and
/// standard error. A command may have several lines; they go to the shell unchanged, and nothing is set that a person
/// at a terminal would not have. The last one has to end well.
pub fn run(shell: &str, commands: &[String], folder: &Path, path: &str) -> Result<Vec<String>> {
    let mut script = String::new();
    for (number, command) in commands.iter().enumerate() {
        if number > 0 {
            script.push_str("printf '\\036'\n");
        }
        script.push_str(command);
        script.push('\n');
    }
    let mut process = Command::new(shell);
    process
        .args(["-c", &script])
        .current_dir(folder)
        .env("PATH", path);
    let text = Process::start(shell, &process)?.finish(LIMIT)?;
    let outputs: Vec<String> = text.split(BETWEEN).map(str::to_owned).collect();
    ensure!(
        outputs.len() == commands.len(),
        "{} outputs of {} commands: {text}",
        outputs.len(),
        commands.len()
    );
    Ok(outputs)
}

/// The `PATH` of this process with the folder of the gateway's binary before it, so that `splittoken` is that one.
pub fn path_with_the_binary() -> Result<String> {
    let binary = crate::gateway::binary()?;
    let folder = binary.parent().context("the binary lies in no folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{path}", folder.display()))
}
