use std::{path::PathBuf, process::ExitCode};

use anyhow::ensure;
use splittoken_api::{Severity, check};
use splittoken_feed::read_files;

use super::print;
use crate::arguments::CheckArguments;

/// Checks files and prints what it finds, one line each.
pub(super) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let files = read_files(&arguments.files)?;
    // Whoever checks nothing has mistyped a folder: nothing wrong in it is no news.
    ensure!(
        !files.is_empty(),
        "no *.yaml, *.yml or *.json file in {}",
        names(&arguments.files)
    );
    let report = check(&files);
    let count = |severity| {
        let findings = report.findings.iter();
        findings.filter(|finding| finding.severity == severity).count()
    };
    let summary = format!(
        "{}: {}, {} unresolved, {}",
        counted(files.len(), "file"),
        counted(count(Severity::Error), "error"),
        count(Severity::Unresolved),
        counted(count(Severity::Warning), "warning"),
    );
    let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    lines.push(summary);
    print(&format!("{}\n", lines.join("\n")))?;
    Ok(ExitCode::from(u8::from(report.fails(arguments.strict))))
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
