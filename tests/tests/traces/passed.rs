//! Without a collector a trace passes through as it came.

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::http2::Http2;
use splittoken_tests::http2_upstream::{Http2Upstream, field};
use splittoken_tests::stand::{Stand, request};

use crate::{route, traceparent};

const STATE: &str = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";

#[test]
fn upstreams_get_it_unchanged_by_both_versions_from_both_versions() -> Result<()> {
    let http2 = Http2Upstream::start()?;
    let stand = Stand::of_both_versions(&http2, |gateway| gateway.arguments(&["--http2-cleartext"]))?;
    let host = stand.gateway.host();
    let mut client = Http2::connect(stand.gateway.address())?;
    for value in [
        traceparent("01"),
        traceparent("00"),
        "cc-what-is-not-known-yet".to_owned(),
    ] {
        let lines = [format!("traceparent: {value}"), format!("tracestate: {STATE}")];
        let headers = [("traceparent", value.as_str()), ("tracestate", STATE)];
        for path in ["/1", "/2"] {
            let seen = |from: &str| -> Result<()> {
                let (parent, state) = if path == "/1" {
                    let seen = stand.upstream.last()?;
                    (
                        seen.header_all("traceparent").join("|"),
                        seen.header_all("tracestate").join("|"),
                    )
                } else {
                    let seen = http2.last()?;
                    (
                        field(&seen.headers, "traceparent")?.to_owned(),
                        field(&seen.headers, "tracestate")?.to_owned(),
                    )
                };
                ensure!(
                    (parent.as_str(), state.as_str()) == (value.as_str(), STATE),
                    "{from} to {path}: {parent} {state}"
                );
                Ok(())
            };
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            ensure!(stand.ask(&format!("GET {path}"), &lines)?.status == 200);
            seen("HTTP/1.1")?;
            ensure!(client.get(&format!("http://{host}{path}"), &headers)?.status == 200);
            seen("HTTP/2")?;
        }
    }
    ensure!(stand.ask("GET /1", &[])?.status == 200);
    let seen = stand.upstream.last()?;
    ensure!(seen.header("traceparent").is_none() && seen.header("tracestate").is_none());
    Ok(())
}

#[test]
fn providers_get_it_with_token_requests() -> Result<()> {
    let stand = Stand::with(route)?;
    let (value, form) = (traceparent("01"), "grant_type=client_credentials");
    let headers = [
        "Content-Type: application/x-www-form-urlencoded".to_owned(),
        format!("Content-Length: {}", form.len()),
        format!("traceparent: {value}"),
        format!("tracestate: {STATE}"),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let bytes = request(&stand.gateway.host(), "POST /oauth/token", &headers, form);
    stand.gateway.exchange(bytes)?.context("no answer")?;
    let asked = stand.provider.requests("/token").pop().context("not asked")?;
    assert_eq!(asked.header_all("traceparent"), [value]);
    assert_eq!(asked.header_all("tracestate"), [STATE]);
    Ok(())
}
