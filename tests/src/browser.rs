//! A headless Chromium, driven by scripts in `tests/parts/browser`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::parts;
use crate::process::Process;

/// Starting Chromium takes a few seconds and the longest script, some hundred clicks, 20 s; much more on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `tests/parts/browser/<script>` with these arguments in Node.js and gives what it wrote. A script that ends with
/// another code than 0 is an error that shows it.
pub fn run(script: &str, arguments: &[&str]) -> Result<String> {
    let folder = parts::node_project("browser", "SPLITTOKEN_BROWSER")?;
    let mut command = Command::new(parts::path("SPLITTOKEN_NODE")?);
    command
        .arg(script)
        .args(arguments)
        .current_dir(folder.path())
        .env("SPLITTOKEN_CHROMIUM", parts::path("SPLITTOKEN_CHROMIUM")?);
    Process::start(script, &command)?.finish(LIMIT)
}
