use std::process::ExitCode;

use splittoken_api::{Severity, check};
use splittoken_feed::read_files;

use super::print;
use crate::arguments::CheckArguments;

/// Checks files and prints what it finds, one line each.
pub(super) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let files = read_files(&arguments.files)?;
    let report = check(&files);
    let count = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let summary = format!(
        "{} files: {} errors, {} unresolved, {} warnings",
        files.len(),
        count(Severity::Error),
        count(Severity::Unresolved),
        count(Severity::Warning),
    );
    let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    lines.push(summary);
    print(&format!("{}\n", lines.join("\n")))?;
    Ok(ExitCode::from(u8::from(report.fails(arguments.strict))))
}
