//! What is counted of clients' connections, upstreams, providers, the store and the near cache.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::hand::Listener;
use splittoken_tests::http2::Http2;
use splittoken_tests::http2_upstream::Http2Upstream;
use splittoken_tests::raw::Client;
use splittoken_tests::route::Route;
use splittoken_tests::shop::{Shop, connected, disconnected};
use splittoken_tests::stand::{Addresses, Stand, request};
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{ports, wait};

use crate::{Listener as Secured, scrape};

const LIMIT: Duration = Duration::from_secs(20);

/// One series of the gateway's, by its name behind `splittoken_gateway_`.
fn value(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
    Ok(scrape(gateway)?.value(&format!("splittoken_gateway_{name}"), labels))
}

fn becomes(gateway: &Gateway, name: &str, labels: &[(&str, &str)], wanted: u64) -> Result<()> {
    wait::until_true(LIMIT, &format!("{name}{labels:?} to be {wanted}"), || {
        value(gateway, name, labels).is_ok_and(|now| now == wanted)
    })
}

/// A rule for each of these upstreams, at `/0`, `/1` and so on, without tokens.
fn open_rules(to: &Addresses, upstreams: &[String]) -> String {
    let rules = upstreams.iter().enumerate().map(|(number, url)| {
        json!({
            "name": format!("rule-{number}"),
            "authentication": "Disabled",
            "matches": [{"path": {"value": format!("/{number}")}}],
            "backendRefs": [{"url": url}],
        })
    });
    let rules: Vec<_> = rules.collect();
    Route::new(&to.issuer, &to.upstream)
        .spec(&json!({"rules": rules}))
        .into()
}

#[test]
fn connections_to_upstreams_are_counted_at_both_ends() -> Result<()> {
    let http2 = Http2Upstream::start()?;
    let stand = Stand::of_both_versions(&http2, |gateway| gateway.arguments(&["--threads", "1"]))?;
    let gateway = &stand.gateway;
    for (path, protocol) in [("/1", "http1"), ("/2", "http2")] {
        for _ in 0..3 {
            assert_eq!(stand.ask(&format!("GET {path}"), &[])?.status, 200, "{path}");
        }
        let labels = [("protocol", protocol)];
        let opened = value(gateway, "upstream_connections_opened_total", &labels)?;
        assert!(opened >= 1, "{protocol}: {opened}");
    }
    assert_eq!(
        value(
            gateway,
            "upstream_connections_opened_total",
            &[("protocol", "http2")]
        )?,
        http2.connections() as u64
    );
    assert_eq!(
        value(gateway, "upstream_connections", &[("protocol", "http2")])?,
        1
    );
    http2.leave();
    becomes(gateway, "upstream_connections", &[("protocol", "http2")], 0)?;
    // Those that lie idle end after half a minute at the latest; a dead one at once.
    stand.upstream.steps(vec![Step::Send(answer(
        "200 OK",
        &[("Connection", "close")],
        "ok",
    ))]);
    stand.ask("GET /1", &[])?;
    stand.ask("GET /1", &[])?;
    becomes(gateway, "upstream_connections", &[("protocol", "http1")], 0)?;
    assert_eq!(
        value(
            gateway,
            "upstream_connections_opened_total",
            &[("protocol", "http1")]
        )?,
        stand.upstream.connections() as u64
    );
    assert_eq!(value(gateway, "upstream_duration_seconds_count", &[])?, 8);
    Ok(())
}

#[test]
fn tries_that_fail_are_counted_with_their_reason() -> Result<()> {
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    let stand = Stand::with(|to| open_rules(to, &[nobody, to.upstream.clone()]))?;
    let gateway = &stand.gateway;
    let ask = |line: &str| stand.ask(line, &[]).map(|answer| answer.status);
    assert_eq!(ask("GET /0")?, 502);
    let failures = |reason: &'static str| value(gateway, "upstream_failures_total", &[("reason", reason)]);
    assert_eq!(failures("upstream_connect")?, 2, "a try and one more");
    assert_eq!(value(gateway, "upstream_retries_total", &[])?, 1);
    stand.upstream.answer("no HTTP at all\r\n\r\n");
    assert_eq!(ask("GET /1")?, 502);
    assert_eq!(failures("upstream_protocol")?, 2);
    // Not one that may be done twice.
    assert_eq!(ask("POST /1")?, 502);
    assert_eq!(failures("upstream_protocol")?, 3);
    assert_eq!(value(gateway, "upstream_retries_total", &[])?, 2);
    assert_eq!(value(gateway, "upstream_duration_seconds_count", &[])?, 3);
    Ok(())
}

#[test]
fn requests_are_counted_by_protocol_and_while_they_last() -> Result<()> {
    let by_hand = Listener::start()?;
    let stand = Stand::built(
        |to| open_rules(to, &[to.upstream.clone(), by_hand.url()]),
        |gateway| gateway.arguments(&["--http2-cleartext"]),
    )?;
    let (gateway, host) = (&stand.gateway, stand.gateway.host());
    let (one, two) = ([("protocol", "http1")], [("protocol", "http2")]);
    for _ in 0..3 {
        assert_eq!(stand.ask("GET /0", &[])?.status, 200);
    }
    let mut client = Http2::connect(gateway.address())?;
    for _ in 0..5 {
        assert_eq!(client.get(&format!("http://{host}/0"), &[])?.status, 200);
    }
    // The connections of the first three are gone, that of the others is there.
    assert_eq!(value(gateway, "client_requests_total", &one)?, 3);
    assert_eq!(value(gateway, "client_requests_total", &two)?, 5);
    let mut slow = Client::connect(gateway.address())?;
    slow.send(request(&host, "GET /1", &[], ""))?;
    let mut upstream = by_hand.accept()?;
    upstream.until("\r\n\r\n")?;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12")?;
    becomes(gateway, "requests_in_flight", &one, 1)?;
    upstream.send("34")?;
    slow.read()?.context("no answer")?;
    becomes(gateway, "requests_in_flight", &one, 0)?;
    assert_eq!(value(gateway, "client_requests_total", &one)?, 4);
    assert_eq!(value(gateway, "requests_in_flight", &two)?, 0);
    Ok(())
}

#[test]
fn tls_handshakes_and_the_end_of_certificates() -> Result<()> {
    let listener = Secured::new()?;
    let stand = Stand::built(
        |to| open_rules(to, std::slice::from_ref(&to.upstream)),
        |gateway| gateway.arguments(&listener.arguments()),
    )?;
    let gateway = &stand.gateway;
    let handshakes = |outcome: &'static str| ("tls_handshakes_total", [("outcome", outcome)]);
    drop(listener.session()?);
    let (name, labels) = handshakes("full");
    becomes(gateway, name, &labels, 1)?;
    TcpStream::connect(listener.address)?.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let (name, labels) = handshakes("failed");
    becomes(gateway, name, &labels, 1)?;
    // What is read off the certificate by another program.
    let expiry = || {
        let name = "tls_certificate_expiry_timestamp_seconds";
        value(gateway, name, &[("certificate", "web")])
    };
    let end = |path: &std::path::Path| -> Result<u64> {
        let output = std::process::Command::new("openssl")
            .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
            .arg(path)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let date = text.trim().strip_prefix("notAfter=").context("no date")?;
        let output = std::process::Command::new("date")
            .args(["-u", "+%s", "-d", date])
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    let file = listener.folder.path().join("web/tls.crt");
    let before = end(&file)?;
    assert_eq!(expiry()?, before);
    let output = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "30",
            "-subj",
            "/CN=a.example",
            "-addext",
            "subjectAltName=DNS:a.example",
        ])
        .arg("-keyout")
        .arg(file.with_file_name("tls.key"))
        .arg("-out")
        .arg(&file)
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let renewed = end(&file)?;
    ensure!(renewed != before, "it ends as before");
    wait::until_true(LIMIT, "the renewed certificate", || {
        expiry().is_ok_and(|now| now == renewed)
    })
}

#[test]
fn provider_calls_are_counted_by_issuer_and_outcome() -> Result<()> {
    let stand = Stand::start()?;
    let gateway = &stand.gateway;
    let issuer = gateway.admin("/config")?.json()?["issuers"][0]["name"]
        .as_str()
        .context("a name")?
        .to_owned();
    let calls = |call: &'static str, outcome: &'static str| {
        let labels = [("issuer", issuer.as_str()), ("call", call), ("outcome", outcome)];
        value(gateway, "provider_requests_total", &labels)
    };
    wait::until_true(LIMIT, "the keys", || {
        calls("jwks", "ok").is_ok_and(|count| count == 1)
    })?;
    assert_eq!(calls("discovery", "ok")?, 1);
    stand.token(&json!({}))?;
    stand.token(&json!({}))?;
    stand
        .provider
        .answer_raw("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    let form = "grant_type=client_credentials";
    let length = format!("Content-Length: {}", form.len());
    let headers = ["Content-Type: application/x-www-form-urlencoded", &length];
    let ask = || {
        stand
            .gateway
            .exchange(request(&gateway.host(), "POST /oauth/token", &headers, form))
    };
    ask()?;
    stand.provider.answer_raw("nonsense\r\n\r\n");
    ask()?;
    assert_eq!((calls("token", "2xx")?, calls("token", "5xx")?), (2, 1));
    let exposition = scrape(gateway)?;
    let tokens = exposition
        .samples()
        .filter(|sample| sample.name == "splittoken_gateway_provider_requests_total")
        .filter(|sample| sample.labels[1].1 == "token");
    assert_eq!(tokens.map(crate::exposition::Sample::whole).sum::<u64>(), 4);
    assert_eq!(
        value(
            gateway,
            "provider_request_duration_seconds_count",
            &[("call", "token")]
        )?,
        4
    );
    Ok(())
}

#[test]
fn commands_to_the_store_are_counted_and_so_is_what_the_cache_holds() -> Result<()> {
    let mut shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let mut caller = Caller::of(&gateway)?;
    let token = caller.issue()?;
    assert_eq!(value(&gateway, "near_cache_entries", &[])?, 0);
    for _ in 0..5 {
        assert_eq!(caller.status(&token)?, 200);
    }
    let commands = |command: &'static str, outcome: &'static str| {
        value(
            &gateway,
            "store_commands_total",
            &[("command", command), ("outcome", outcome)],
        )
    };
    assert_eq!((commands("put", "ok")?, commands("get", "ok")?), (1, 1));
    assert_eq!(
        value(
            &gateway,
            "store_command_duration_seconds_count",
            &[("command", "get")]
        )?,
        1
    );
    assert_eq!(value(&gateway, "near_cache_entries", &[])?, 1);
    let bytes = value(&gateway, "near_cache_bytes", &[])?;
    assert!((500..50_000).contains(&bytes), "{bytes}");
    shop.redis.kill()?;
    disconnected(&gateway, LIMIT)?;
    let other = "A".repeat(86);
    assert_eq!(caller.status(&other)?, 503);
    let failed = scrape(&gateway)?
        .samples()
        .filter(|sample| sample.name == "splittoken_gateway_store_commands_total")
        .filter(|sample| sample.labels[1].1 != "ok")
        .map(crate::exposition::Sample::whole)
        .sum::<u64>();
    assert!(failed >= 1);
    shop.redis.restart()?;
    connected(&gateway, LIMIT)?;
    assert_eq!(value(&gateway, "near_cache_evictions_total", &[])?, 0);
    Ok(())
}
