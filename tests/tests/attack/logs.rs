//! Log lines are the gateway's own: nothing that a client or a provider says begins another one.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::gate::Gate;
use splittoken_tests::stand::Stand;
use splittoken_tests::wait;

use super::policies;

/// What would be a line of its own, or another colour, if it were written as it is.
const EVIL: [&str; 12] = [
    "x\nEVIL level=ERROR",
    "x\r\nEVIL",
    "x\rEVIL",
    "x\u{1b}[31mEVIL\u{1b}[0m",
    "x\u{1b}]0;EVIL\u{7}",
    "x\u{9b}31mEVIL",
    "x\u{85}EVIL",
    "x\u{2028}EVIL",
    "x\0EVIL",
    "x\u{8}\u{8}EVIL",
    "\"}\n{\"level\":\"ERROR\",\"EVIL\":\"",
    "x\u{202e}EVIL",
];

fn gate(format: &str) -> Result<Gate> {
    let arguments = ["--access-log", "on", "--log-format", format];
    let stand = Stand::built(policies, |gateway| gateway.arguments(&arguments).log("debug"))?;
    Gate::of(stand)
}

/// Requests with all of it in places that are logged: client ids by their tokens, paths, hosts, methods, fields.
fn attack(gate: &Gate) -> Result<()> {
    for evil in EVIL {
        let token = gate
            .stand
            .token(&json!({"client_id": evil, "azp": evil, "sub": evil}))?;
        let answer = gate.stand.get("/public/logged", &token)?;
        ensure!(answer.status == 200);
        gate.stand.get("/logged", &token)?;
    }
    let escaped = [
        "%0aEVIL",
        "%0d%0aEVIL",
        "%1b[31mEVIL",
        "%1b%5b31mEVIL",
        "%c2%85EVIL",
        "%e2%80%a8EVIL",
        "%00EVIL",
    ];
    for text in escaped {
        let path = text.replace('[', "%5b");
        gate.stand.ask(&format!("GET /public/{path}"), &[])?;
        gate.stand.ask(&format!("GET /public?x={path}"), &[])?;
    }
    let raw = [
        "GET /public/\u{1b}[31mEVIL HTTP/1.1⏎Host: {host}⏎⏎",
        "GET /public/x\u{1b}EVIL HTTP/1.1⏎Host: {host}⏎⏎",
        "GET /public HTTP/1.1⏎Host: x\u{1b}[31mEVIL⏎⏎",
        "GET /public HTTP/1.1⏎Host: EVIL\"\\n.example⏎⏎",
        "GET /public HTTP/1.1⏎Host: {host}⏎X\u{1b}EVIL: y⏎⏎",
        "GET /public HTTP/1.1⏎Host: {host}⏎User-Agent: \u{1b}]0;EVIL\u{7}⏎⏎",
        "EVIL\u{1b} /public HTTP/1.1⏎Host: {host}⏎⏎",
        "EVIL'`|~!#$%&*+-.^_ /public HTTP/1.1⏎Host: {host}⏎⏎",
        "GET /public HTTP/1.1⏎Host: {host}⏎Connection: EVIL\u{1b}⏎⏎",
    ];
    for case in raw {
        gate.send(case)?;
    }
    Ok(())
}

/// Where the next line begins: of the last one not all may have been read yet.
fn next_line(gate: &Gate) -> usize {
    let output = gate.stand.gateway.output();
    memchr::memrchr(b'\n', &output).map_or(0, |end| end + 1)
}

/// All that was written from `mark` on, once the last request is in it.
fn written(gate: &Gate, mark: usize) -> Result<String> {
    gate.stand.ask("GET /public/the-last-line", &[])?;
    let text = || String::from_utf8_lossy(&gate.stand.gateway.output()[mark..]).into_owned();
    wait::until(Duration::from_secs(20), "the last line", || {
        Some(text()).filter(|text| text.contains("the-last-line") && text.ends_with('\n'))
    })
}

#[test]
fn text_lines_are_the_gateways_own() -> Result<()> {
    let gate = gate("text")?;
    let mark = next_line(&gate);
    attack(&gate)?;
    let text = written(&gate, mark)?;
    println!("{} cases, {} lines", EVIL.len() * 2 + 23, text.lines().count());
    for line in text.lines() {
        // A date first, or what a colour begins with.
        let plain = line.trim_start_matches("\u{1b}[2m");
        ensure!(plain.starts_with("20"), "a line begins with {line:?}");
        let told = plain.replace("\u{1b}[0m", "");
        ensure!(
            !told.contains("\u{1b}]") && !told.contains("\u{1b}[31mEVIL"),
            "{line:?}"
        );
        let odd = [
            '\r', '\0', '\u{7}', '\u{8}', '\u{85}', '\u{9b}', '\u{2028}', '\u{202e}',
        ];
        ensure!(!line.contains(odd), "{line:?}");
    }
    Ok(())
}

#[test]
fn json_lines_are_whole() -> Result<()> {
    let gate = gate("json")?;
    let mark = next_line(&gate);
    attack(&gate)?;
    let text = written(&gate, mark)?;
    println!("{} cases, {} lines", EVIL.len() * 2 + 23, text.lines().count());
    let mut clients = Vec::new();
    for line in text.lines() {
        let json: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
        ensure!(json["level"].is_string() && json.get("EVIL").is_none(), "{line}");
        ensure!(
            !line.contains(['\r', '\0', '\u{1b}', '\u{7}', '\u{8}']),
            "{line:?}"
        );
        clients.extend(
            json["fields"]["client_id"]
                .as_str()
                .or(json["client_id"].as_str())
                .map(str::to_owned),
        );
    }
    for evil in EVIL {
        ensure!(
            clients.iter().any(|client| client == evil),
            "{evil:?} is not told as it is: {clients:?}"
        );
    }
    Ok(())
}
