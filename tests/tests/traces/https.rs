//! A collector behind TLS: who is trusted, what it gets besides spans, and what is said where it is not trusted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::certs::Authority;
use splittoken_tests::collector::Collector;
use splittoken_tests::gateway::Builder;
use splittoken_tests::marks::Marks;
use splittoken_tests::stand::Stand;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{secret, wait};

use crate::route;
use crate::trouble::{AT_ONCE, ends, many, spans};

/// Ten times the two seconds that spans wait for others.
const LIMIT: Duration = Duration::from_secs(20);

/// A stand that exports every request to this collector.
fn stand(collector: &Collector, gateway: impl FnOnce(Builder) -> Builder) -> Result<Stand> {
    let url = collector.url();
    ensure!(url.starts_with("https://"), "no TLS: {url}");
    Stand::built(route, |builder| {
        gateway(
            builder
                .arguments(&["--otlp-endpoint", &url, "--trace-sampling", "1"])
                .arguments(&AT_ONCE),
        )
    })
}

fn trusting(collector: &Collector, file: &Path) -> Result<Stand> {
    let file = file.display().to_string();
    stand(collector, |gateway| gateway.arguments(&["--otlp-ca", &file]))
}

/// The lines of the log in which this stands.
fn lines(stand: &Stand, text: &str) -> Vec<String> {
    let output = String::from_utf8_lossy(&stand.gateway.output()).into_owned();
    let found = output.lines().filter(|line| line.contains(text));
    found.map(str::to_owned).collect()
}

fn wait_for_line(stand: &Stand, text: &str) -> Result<()> {
    wait::until_true(LIMIT, text, || !lines(stand, text).is_empty())
}

#[test]
fn a_private_authority_is_given_by_an_option_or_by_the_machine() -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let file = authority.write(folder.path())?;
    let collector = Collector::start_tls(&authority)?;
    let by_option = trusting(&collector, &file)?;
    many(&by_option, 10)?;
    assert_eq!(collector.wait_for(20)?.len(), 20);
    let by_machine = stand(&collector, |gateway| gateway.roots_of(&file))?;
    many(&by_machine, 10)?;
    assert_eq!(collector.wait_for(40)?.len(), 40);
    for stand in [by_option, by_machine] {
        wait::until_true(LIMIT, "the spans to be counted", || {
            spans(&stand, "exported").is_ok_and(|exported| exported == 20)
        })?;
    }
    Ok(())
}

#[test]
fn an_authority_that_is_given_is_the_only_one() -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority.pem())?;
    let other = Authority::new()?.write(folder.path())?.display().to_string();
    let collector = Collector::start_tls(&authority)?;
    let stand = stand(&collector, |gateway| {
        gateway.roots_of(roots).arguments(&["--otlp-ca", &other])
    })?;
    many(&stand, 10)?;
    wait_for_line(&stand, "invalid peer certificate")?;
    assert_eq!(collector.requests().len(), 0);
    Ok(())
}

#[test]
fn a_collector_that_is_not_trusted_is_said_once_and_delays_nobody_until_it_is() -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let file = Authority::new()?.write(folder.path())?;
    let collector = Collector::start_tls(&authority)?;
    let mut stand = trusting(&collector, &file)?;
    for _ in 0..2 {
        let before = spans(&stand, "failed")?;
        let slowest = many(&stand, 200)?;
        ensure!(slowest < Duration::from_secs(1), "a request took {slowest:?}");
        wait::until_true(LIMIT, "failed exports to be counted", || {
            spans(&stand, "failed").is_ok_and(|failed| failed >= before + 400)
        })?;
    }
    let said = lines(&stand, "the collector does not take spans");
    ensure!(said.len() == 1, "{said:?}");
    for part in [" WARN ", &collector.url(), "invalid peer certificate"] {
        ensure!(said[0].contains(part), "{part} is not in {}", said[0]);
    }
    assert_eq!(collector.requests().len(), 0);
    // A file that is no good changes nothing, and is said once.
    fs::write(&file, "nothing of the kind\n")?;
    many(&stand, 1)?;
    wait_for_line(&stand, "certificate authorities stay as they were")?;
    fs::write(&file, authority.pem())?;
    many(&stand, 10)?;
    collector.wait_for(20)?;
    wait_for_line(&stand, "the collector takes spans again")?;
    let bad = lines(&stand, "certificate authorities stay as they were");
    ensure!(
        bad.len() == 1 && bad[0].contains("no certificate in PEM"),
        "{bad:?}"
    );
    // A file that is gone for a while, and one with nothing in it, leave what there was.
    fs::remove_file(&file)?;
    many(&stand, 10)?;
    collector.wait_for(40)?;
    let took = ends(&mut stand)?;
    ensure!(took < Duration::from_secs(4), "the end took {took:?}");
    Ok(())
}

#[test]
fn the_key_of_a_collector_gets_there_and_nowhere_else() -> Result<()> {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let file = authority.write(folder.path())?.display().to_string();
    let collector = Collector::start_tls(&authority)?;
    let (key, bearer) = (secret::text(), secret::text());
    let headers = format!("x-api-key={key},authorization=Bearer%20{bearer}");
    let mut stand = stand(&collector, |gateway| {
        gateway
            .arguments(&["--otlp-ca", &file, "--access-log", "on"])
            .variable("OTEL_EXPORTER_OTLP_HEADERS", &headers)
    })?;
    many(&stand, 10)?;
    collector.wait_for(20)?;
    for request in collector.requests() {
        assert_eq!(request.header_all("x-api-key"), [key.as_str()]);
        assert_eq!(request.header_all("authorization"), [format!("Bearer {bearer}")]);
    }
    // One that repeats them in its refusal, and one that is gone.
    let refusal = answer("401 Unauthorized", &[("X-Seen", &key)], &headers);
    for (steps, says) in [
        (vec![Step::Send(refusal)], "status code: 401"),
        (vec![Step::Close], ""),
    ] {
        collector.steps(steps);
        let before = spans(&stand, "failed")?;
        many(&stand, 10)?;
        wait::until_true(LIMIT, "failed exports to be counted", || {
            spans(&stand, "failed").is_ok_and(|failed| failed >= before + 20)
        })?;
        let said = lines(&stand, "the collector does not take spans");
        ensure!(said.len() == 1 && said[0].contains(says), "{said:?}");
    }
    let mut marks = Marks::new();
    marks.add("a key", &key);
    marks.add("a bearer token", &bearer);
    for page in ["/config", "/config/issuers", "/metrics", "/readyz"] {
        let found = marks.found_in(&stand.gateway.admin(page)?.body);
        ensure!(found.is_empty(), "{page}: {found:?}");
    }
    for request in stand.upstream.requests() {
        let found = marks.found_in(request.head());
        ensure!(found.is_empty(), "the upstream was told: {found:?}");
    }
    ends(&mut stand)?;
    let output = stand.gateway.output();
    let found = marks.found_in(&output);
    ensure!(found.is_empty(), "the log: {found:?}");
    // At this level even the HTTP client says what it does.
    let text = String::from_utf8_lossy(&output);
    let mut of_clients = text.lines().filter(|line| line.contains("hyper_util::client"));
    of_clients
        .find(|line| line.contains(&collector.url()["https://".len()..]))
        .context("nothing was logged by the client")?;
    Ok(())
}
