//! HTTP/2 as h2spec knows it: whatever a server does right that is hyper and nothing else, the gateway does too.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::certs::Authority;
use splittoken_tests::h2spec::{self, Verdict, Verdicts};
use splittoken_tests::http2_upstream::{Http2Upstream, Settings};
use splittoken_tests::route::Route;

use super::Secured;

/// How many cases h2spec has.
const CASES: usize = 146;

/// How many of them hyper passes at least; fewer, and it is the comparison that is broken.
const PASSED: usize = 143;

/// How many requests at least come through the gateway to the upstream.
const FORWARDED: usize = 40;

/// Where HTTP/2 is spoken without TLS, the same port takes HTTP/1.1: what does not begin as HTTP/2 does is a bad request of
/// that, answered with 400 and closed, where h2spec looks for a frame. hyper closes, which h2spec sees or does not.
const OF_BOTH_VERSIONS: &[&str] = &["http2/3.5/2: Sends invalid connection preface"];

fn right(verdicts: &Verdicts) -> impl Iterator<Item = &String> {
    let right = verdicts
        .iter()
        .filter(|(_, verdict)| **verdict == Verdict::Passed);
    right.map(|(name, _)| name)
}

/// Runs h2spec against both, the gateway at this address of its, and names what only hyper passes, `but` for these.
fn compare(secured: &Secured, gateway: SocketAddr, hyper: Settings, but: &[&str]) -> Result<()> {
    let has_tls = hyper.tls.is_some();
    let hyper = Http2Upstream::with(hyper)?;
    let (gateway, hyper) = thread::scope(|scope| {
        let gateway = scope.spawn(|| h2spec::run(gateway, has_tls));
        let hyper = h2spec::run(hyper.address(), has_tls);
        (gateway.join().expect("no panic"), hyper)
    });
    let (gateway, hyper) = (gateway?, hyper?);
    let (ours, theirs) = (right(&gateway).count(), right(&hyper).count());
    println!("{} cases, hyper passes {theirs}, the gateway {ours}", hyper.len());
    ensure!(hyper.len() == CASES && theirs >= PASSED, "hyper: {hyper:?}");
    let worse: Vec<String> = right(&hyper)
        .filter(|name| gateway.get(*name) != Some(&Verdict::Passed) && !but.contains(&name.as_str()))
        .map(|name| format!("{name}: {:?}", gateway.get(name)))
        .collect();
    ensure!(worse.is_empty(), "by hyper alone:\n{}", worse.join("\n"));
    let forwarded = secured.stand.upstream.take().len();
    ensure!(forwarded >= FORWARDED, "only {forwarded} requests arrived");
    Ok(())
}

/// A gateway that speaks HTTP/2 on both its ports, and asks for no token.
fn open() -> Result<Secured> {
    let open = json!({"authentication": "Disabled"});
    Secured::with(
        &[&["127.0.0.1"]],
        |to| Route::new(&to.issuer, &to.upstream).rule(&open).into(),
        |gateway| gateway.arguments(&["--http2-cleartext"]),
    )
}

#[test]
fn what_hyper_does_right_the_gateway_does_too() -> Result<()> {
    let secured = open()?;
    let gateway = secured.stand.gateway.address();
    compare(&secured, gateway, Settings::default(), OF_BOTH_VERSIONS)
}

#[test]
fn what_hyper_does_right_over_tls_the_gateway_does_too() -> Result<()> {
    let secured = open()?;
    let certificate = Authority::new()?.certify(&["127.0.0.1"])?;
    let (tls, _) = certificate.server(&["h2"], None)?;
    let hyper = Settings {
        tls: Some(tls),
        ..Settings::default()
    };
    compare(&secured, secured.address, hyper, &[])
}
