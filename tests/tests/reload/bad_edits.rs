//! Bad edits keep the last good set, are logged once, and show until a good one comes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, Token};
use splittoken_tests::wait;

use super::{EFFECT, edit, plain, problem, recovered, revisions, route};

/// For how long a client tries whether the last good set is really served: several looks of the watcher.
const SERVED: Duration = Duration::from_secs(1);

const FAILING: &str = "splittoken_gateway_config_failing";
const REJECTED: &str = "splittoken_gateway_config_rejected_total";

/// How many lines of the log are complaints, whoever complains. Not the warning on the good route, which is told too.
fn logged(gateway: &Gateway) -> usize {
    let output = String::from_utf8_lossy(&gateway.output()).into_owned();
    let is_complaint = |line: &&str| {
        (line.contains(" WARN ") || line.contains("ERROR ")) && !line.contains("IdTokenPassThrough")
    };
    output.lines().filter(is_complaint).count()
}

/// Makes a bad edit of the file, checks everything that is promised, and takes it back.
fn is_refused(
    stand: &Stand,
    token: &Token,
    reason: &str,
    message: &str,
    bad: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let gateway = &stand.gateway;
    let served = revisions(gateway)?;
    let (rejected, lines) = (metric(gateway, REJECTED)?, logged(gateway));
    let start = Instant::now();
    bad(gateway.routes_file())?;
    let (said, text) = wait::until(EFFECT, "the problem in /config", || problem(gateway).ok()?)?;
    eprintln!("{reason} after {:?}: {text}", start.elapsed());
    ensure!(said == reason, "{said}: {text}");
    ensure!(text.contains(message), "{text}");
    let served_since = Instant::now();
    while served_since.elapsed() < SERVED {
        let answer = stand.get("/orders", token)?;
        ensure!(
            answer.status == 200,
            "the last good set is not served: {} {}",
            answer.status,
            answer.text()
        );
    }
    ensure!(revisions(gateway)? == served, "other routes are served");
    ensure!(metric(gateway, FAILING)? == 1, "the metric says that all is well");
    ensure!(metric(gateway, REJECTED)? == rejected + 1, "not counted once");
    // Lines come through a pipe, a little late.
    wait::until_true(EFFECT, "a line in the log", || logged(gateway) > lines)?;
    ensure!(
        logged(gateway) == lines + 1,
        "logged {} times",
        logged(gateway) - lines
    );

    // The same text as before the edit, so no other set is served: only the problem goes.
    gateway.write_routes(&String::from(route(&stand.addresses())))?;
    recovered(gateway)?;
    ensure!(
        metric(gateway, FAILING)? == 0,
        "the metric says that something is wrong"
    );
    ensure!(revisions(gateway)? == served, "other routes are served");
    ensure!(
        logged(gateway) == lines + 1,
        "the good edit is logged as a bad one"
    );
    Ok(())
}

/// In one step: a file that is missing in between would be another problem.
fn replaced_by_link(file: &Path, target: &Path) -> Result<()> {
    let link = file.with_extension("link");
    symlink(target, &link)?;
    Ok(fs::rename(link, file)?)
}

#[test]
fn a_bad_text_keeps_the_last_good_set() -> Result<()> {
    let stand = plain()?;
    let token = stand.token(&json!({}))?;
    let good = String::from(route(&stand.addresses()));
    let service = json!({"rules": [{"name": "api", "backendRefs": [{"name": "orders", "port": 80}]}]});
    let service = String::from(route(&stand.addresses()).spec(&service));
    let hmac = String::from(route(&stand.addresses()).issuer(&json!({"algorithms": ["HS256"]})));
    for (text, message) in [
        ("kind: [".to_owned(), "error yaml"),
        (
            good.replace("\"rules\"", "\"rulez\""),
            "spec.rulez: no such field",
        ),
        (hmac, "HMAC algorithms need hmacSecretRef"),
        (service, "orders"),
        (good.clone() + &good, "duplicate"),
    ] {
        is_refused(&stand, &token, "invalid", message, |_| {
            stand.gateway.write_routes(&text)
        })?;
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_last_good_set() -> Result<()> {
    let stand = plain()?;
    let token = stand.token(&json!({}))?;
    is_refused(&stand, &token, "read", "No such file", |file| {
        Ok(fs::remove_file(file)?)
    })?;
    // Unreadable for everybody, root included: nothing is mapped at the address 0.
    is_refused(&stand, &token, "read", "Input/output error", |file| {
        replaced_by_link(file, Path::new("/proc/self/mem"))
    })?;
    is_refused(&stand, &token, "read", "symbolic link", |file| {
        replaced_by_link(file, file)
    })?;
    is_refused(&stand, &token, "too_large", "larger than", |file| {
        let mut text = String::from(route(&stand.addresses()));
        text += &"# too much\n".repeat(100_000);
        Ok(fs::write(file, text)?)
    })?;
    is_refused(&stand, &token, "not_utf8", "not UTF-8", |file| {
        Ok(fs::write(file, b"kind: \xff")?)
    })
}

/// An editor that writes in place and is slow: what is there in between is half a text.
#[test]
fn a_half_written_file_keeps_the_last_good_set() -> Result<()> {
    let stand = plain()?;
    let token = stand.token(&json!({}))?;
    let text =
        String::from(route(&stand.addresses()).spec(&json!({"hostnames": ["127.0.0.1", "new.example"]})));
    let (half, _) = text.split_at(text.len() / 2);
    is_refused(&stand, &token, "invalid", "error yaml", |file| {
        Ok(fs::write(file, half)?)
    })?;
    // And the whole of it, in two writes: the first half is served at no time.
    fs::write(stand.gateway.routes_file(), half)?;
    wait::until_true(EFFECT, "the problem in /config", || {
        problem(&stand.gateway).is_ok_and(|problem| problem.is_some())
    })?;
    fs::write(stand.gateway.routes_file(), &text)?;
    wait::until_true(EFFECT, "the whole file", || {
        stand
            .ask_at("new.example", "GET /orders", &[&token.header()])
            .is_ok_and(|answer| answer.status == 200)
    })?;
    recovered(&stand.gateway)
}

/// Another way of being bad is another problem; the same one again is not.
#[test]
fn each_problem_is_told_once() -> Result<()> {
    let stand = plain()?;
    let gateway = &stand.gateway;
    let told = |text: &str, fragment: &str| -> Result<()> {
        gateway.write_routes(text)?;
        wait::until_true(EFFECT, "the problem in /config", || {
            problem(gateway).is_ok_and(|problem| problem.is_some_and(|(_, text)| text.contains(fragment)))
        })
    };
    told("kind: [", "error yaml")?;
    let good = String::from(route(&stand.addresses()));
    told(&good.replace("\"rules\"", "\"rulez\""), "rulez")?;
    // The same fault in another text.
    let also = good
        .replace("\"rules\"", "\"rulez\"")
        .replace("/oauth/token", "/oauth/other");
    told(&also, "rulez")?;
    fs::remove_file(gateway.routes_file())?;
    wait::until_true(EFFECT, "the missing file in /config", || {
        problem(gateway).is_ok_and(|problem| problem.is_some_and(|(reason, _)| reason == "read"))
    })?;
    // Lines come through a pipe, a little late.
    wait::until_true(EFFECT, "three lines in the log", || logged(gateway) >= 3)?;
    let counted = (metric(gateway, REJECTED)?, logged(gateway));
    ensure!(
        counted == (3, 3),
        "{counted:?}:\n{}",
        String::from_utf8_lossy(&gateway.output())
    );
    edit(
        gateway,
        route(&stand.addresses()).token(&json!({"path": "/oauth/other"})),
    )?;
    recovered(gateway)?;
    let line = String::from_utf8_lossy(&gateway.output()).into_owned();
    let line = line
        .lines()
        .find(|line| line.contains("rulez"))
        .context("not in the log")?
        .to_owned();
    ensure!(line.contains("ERROR") && line.contains("spec.rulez"), "{line}");
    Ok(())
}
