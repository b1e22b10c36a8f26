//! From manifests to a table, for configuration that comes with the program.

use anyhow::{Context, bail};
use splittoken_api::{ManifestFile, Severity, gather};
use splittoken_routing::RouteTable;

/// Compiles one text. Anything wrong with it is an error, named as `check` names it.
pub(crate) fn compile_text(name: &str, text: &str) -> anyhow::Result<RouteTable> {
    let file = ManifestFile {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    // Nothing secret is in a configuration that comes with the program.
    let (compiled, report) = gather(&[file]).compile(None, &[0; 32]);
    if let Some(finding) = report
        .findings
        .iter()
        .find(|finding| finding.severity != Severity::Warning)
    {
        bail!("{finding}");
    }
    RouteTable::build(&compiled.routes).with_context(|| format!("{name} cannot be served"))
}
