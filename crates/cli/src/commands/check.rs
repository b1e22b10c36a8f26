use std::process::ExitCode;

use splittoken_api::{Severity, check};
use splittoken_feed::read_files;

use super::print;
use crate::arguments::CheckArguments;

/// Checks files and prints what it finds, one line each.
pub(super) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let files = read_files(&arguments.files)?;
    let report = check(&files);
    let mut lines: String = report
        .findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    let count = |severity| {
        report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    lines.push_str(&format!(
        "{} files: {} errors, {} unresolved, {} warnings\n",
        files.len(),
        count(Severity::Error),
        count(Severity::Unresolved),
        count(Severity::Warning),
    ));
    print(&lines)?;
    Ok(ExitCode::from(u8::from(report.fails(arguments.strict))))
}
