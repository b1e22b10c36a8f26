//! h2spec, which sends a server what RFC 9113 and RFC 7541 speak of, and says what it made of each case.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roxmltree::{Document, Node};

use crate::parts;
use crate::process::Process;

/// How long a case waits for what does not come: on a busy machine an answer may take a while.
const PATIENCE: &str = "5";

/// All cases take 50 s where each of them waits as long as it may.
const LIMIT: Duration = Duration::from_mins(5);

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server did as it has to.
    Passed,
    /// h2spec could not tell, as where a server has set no limit that could be passed.
    Skipped,
    /// The server did something else, which is this.
    Failed(String),
}

/// All cases by their names, such as `http2/5.1.1/1: Sends even-numbered stream identifier`.
pub type Verdicts = BTreeMap<String, Verdict>;

/// Makes all cases of HTTP/2 and HPACK, strict ones too, at `/` of a server that answers 200 with a body there.
pub fn run(server: SocketAddr, has_tls: bool) -> Result<Verdicts> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.xml");
    let mut command = Command::new(parts::path("SPLITTOKEN_H2SPEC")?);
    command.args(["--host", &server.ip().to_string()]);
    command.args(["--port", &server.port().to_string()]);
    command.args(["--timeout", PATIENCE]);
    command.arg("--strict").arg("--junit-report").arg(&report);
    if has_tls {
        command.args(["--tls", "--insecure"]);
    }
    let mut process = Process::start("h2spec", &command)?;
    // It ends with an error where any case failed.
    process.wait(LIMIT)?;
    let text = fs::read_to_string(&report).with_context(|| process.text())?;
    read(&text)
}

fn read(report: &str) -> Result<Verdicts> {
    let document = Document::parse(report)?;
    let mut verdicts = Verdicts::new();
    for suite in document
        .descendants()
        .filter(|node| node.has_tag_name("testsuite"))
    {
        let cases = suite.children().filter(|node| node.has_tag_name("testcase"));
        for (number, case) in cases.enumerate() {
            let attribute = |name| case.attribute(name).context("a case without a name");
            let name = format!(
                "{}/{}: {}",
                attribute("package")?,
                number + 1,
                attribute("classname")?
            );
            let earlier = verdicts.insert(name, verdict(case));
            ensure!(earlier.is_none(), "two cases of one name: {report}");
        }
    }
    Ok(verdicts)
}

fn verdict(case: Node<'_, '_>) -> Verdict {
    let child = |name| case.children().find(|node| node.has_tag_name(name));
    if let Some(failure) = child("failure").or_else(|| child("error")) {
        return Verdict::Failed(failure.text().unwrap_or_default().trim().to_owned());
    }
    child("skipped").map_or(Verdict::Passed, |_| Verdict::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_each_case() -> Result<()> {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?><testsuites>
            <testsuite name="3.5. Preface" package="http2/3.5">
                <testcase package="http2/3.5" classname="good" time="0.1"></testcase>
                <testcase package="http2/3.5" classname="bad" time="0.1"><error>Timeout</error></testcase>
                <testcase package="http2/3.5" classname="none" time="0.1"><skipped></skipped></testcase>
            </testsuite></testsuites>"#;
        let expected = [
            ("http2/3.5/1: good", Verdict::Passed),
            ("http2/3.5/2: bad", Verdict::Failed("Timeout".to_owned())),
            ("http2/3.5/3: none", Verdict::Skipped),
        ];
        let expected = expected.map(|(name, verdict)| (name.to_owned(), verdict));
        assert_eq!(read(report)?, Verdicts::from(expected));
        Ok(())
    }
}
