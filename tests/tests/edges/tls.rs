//! TLS: which certificate, which protocol, and what happens when files change.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::raw;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::request;
use splittoken_tests::tls::Session;
use splittoken_tests::wait;

use super::{Secured, certificate_folder};

/// Ten times the two seconds between two looks at the files.
pub const RELOADED: Duration = Duration::from_secs(20);

/// An answer with a body, whole.
fn is_whole(answer: &str) -> bool {
    answer.ends_with("\r\n\r\nok")
}

/// `GET /orders` with a token.
fn call(host: &str, token: &str) -> Vec<u8> {
    request(
        host,
        "GET /orders",
        &[&format!("Authorization: Bearer {token}")],
        "",
    )
}

/// curl is another implementation of all that is spoken here.
#[test]
fn a_token_is_issued_and_used_by_both_versions() -> Result<()> {
    let secured = Secured::start(&[&["a.example"]])?;
    let stand = &secured.stand;
    let token = stand.token(&json!({}))?;
    let ca = secured.authority.write(secured.folder.path())?;
    let port = secured.address.port();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = Command::new("curl")
            .args(["-sS", option, "--cacert"])
            .arg(&ca)
            .args(["--resolve", &format!("a.example:{port}:127.0.0.1")])
            .args(["-H", &token.header(), "-w", " %{http_version} %{http_code}"])
            .arg(format!("https://a.example:{port}/orders?a=b"))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            text == format!("ok {version} 200"),
            "{text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let seen = stand.upstream.last()?;
        let header = |name: &str| seen.header(name);
        assert_eq!(header("authorization"), Some(token.restored()));
        assert_eq!(header("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(header("host"), Some(format!("a.example:{port}")));
        assert_eq!(seen.target(), "/orders?a=b");
    }
    Ok(())
}

#[test]
fn each_name_has_its_certificate() -> Result<()> {
    let secured = Secured::start(&[&["first.example"], &["a.example", "127.0.0.1"], &["*.c.example"]])?;
    let shown = |name: &str| -> Result<Vec<u8>> {
        Session::connect(secured.address, secured.authority.pem(), name, &[])?.certificate()
    };
    // The client verifies that the name is the certificate's.
    let first = shown("first.example")?;
    let (a, c) = (shown("a.example")?, shown("x.c.example")?);
    ensure!(
        first != a && a != c && first != c,
        "one certificate for several names"
    );
    assert_eq!(shown("A.EXAMPLE")?, a);
    // No name is asked for where it is an address, and the first certificate is not for that.
    for stranger in ["other.example", "c.example", "x.y.c.example", "127.0.0.1"] {
        let refused = shown(stranger)
            .err()
            .with_context(|| format!("{stranger} was verified"))?;
        let text = format!("{refused:#}");
        ensure!(text.contains("certificate"), "{stranger}: {text}");
    }
    Ok(())
}

#[test]
fn the_protocol_is_agreed_on() -> Result<()> {
    let secured = Secured::start(&[&["a.example"]])?;
    let agreed = |protocols: &[&str]| -> Result<Option<String>> {
        let session = Session::connect(secured.address, secured.authority.pem(), "a.example", protocols)?;
        Ok(session.protocol())
    };
    assert_eq!(agreed(&["http/1.1", "h2"])?.as_deref(), Some("h2"));
    assert_eq!(agreed(&["h2"])?.as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1"])?.as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&[])?, None);
    // RFC 7301 §3.2: nothing in common is no session.
    ensure!(
        agreed(&["h3", "spdy/3"]).is_err(),
        "a protocol that nobody here speaks"
    );
    // Without a word on it, it is HTTP/1.1.
    let token = secured.stand.token(&json!({}))?;
    let mut session = Session::connect(secured.address, secured.authority.pem(), "a.example", &[])?;
    for _ in 0..3 {
        let answer = session.exchange(call("a.example", &token.opaque), is_whole)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    Ok(())
}

/// Renewed certificates are in use within seconds, and no connection is closed for them.
#[test]
fn changed_files_are_read_again_and_connections_go_on() -> Result<()> {
    let secured = Secured::built(&[&["a.example"]], |gateway| gateway.log("info"))?;
    let token = secured.stand.token(&json!({}))?;
    let connect = || Session::connect(secured.address, secured.authority.pem(), "a.example", &[]);
    let mut kept = connect()?;
    let before = kept.certificate()?;
    let ask = |session: &mut Session| {
        let answer = session.exchange(call("a.example", &token.opaque), is_whole)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    };
    ask(&mut kept)?;
    secured.replace(0, &secured.authority.certify(&["a.example"])?)?;
    let start = Instant::now();
    wait::until_true(RELOADED, "the new certificate", || {
        connect()
            .and_then(|session| session.certificate())
            .is_ok_and(|shown| shown != before)
    })?;
    println!("a new certificate is shown after {:?}", start.elapsed());
    ask(&mut kept)?;
    ask(&mut connect()?)?;

    // Half a certificate is none: what there was stays.
    let renewed = connect()?.certificate()?;
    let key = certificate_folder(secured.folder.path(), 0).join("tls.key");
    let (good, secret) = (
        fs::read(&key)?,
        secured.authority.certify(&["a.example"])?.key_pem,
    );
    fs::write(&key, &secret)?;
    let log = || String::from_utf8_lossy(&secured.stand.gateway.output()).into_owned();
    wait::until_true(RELOADED, "a word on the key", || {
        log().contains("a certificate of the TLS listener stays as it was")
    })?;
    assert_eq!(connect()?.certificate()?, renewed);
    ask(&mut kept)?;
    let line = secret.lines().nth(1).context("no key")?;
    ensure!(!log().contains(line), "the key is in the log");
    fs::write(&key, good)?;
    Ok(())
}

#[test]
fn what_is_no_tls_is_closed_and_counted() -> Result<()> {
    let secured = Secured::start(&[&["a.example"]])?;
    let unopened = || {
        metric(
            &secured.stand.gateway,
            "splittoken_gateway_connections_unopened_total{reason=\"tls\"}",
        )
    };
    let answer = raw::exchange(secured.address, call("a.example", "x"));
    ensure!(
        !matches!(answer, Ok(Some(_))),
        "an answer without TLS: {answer:?}"
    );
    wait::until_true(wait::START, "the connection to be counted", || {
        unopened().is_ok_and(|count| count == 1)
    })?;
    // The other way round it is a bad request.
    let plain = TcpStream::connect(secured.stand.gateway.address())?;
    let refused = Session::over(plain, secured.authority.pem(), "a.example", &[]);
    ensure!(refused.is_err(), "TLS where none is spoken");
    let good = Session::connect(secured.address, secured.authority.pem(), "a.example", &[]);
    ensure!(good.is_ok(), "a good client is refused after a bad one");
    Ok(())
}

/// Whoever connects and says nothing does not stay.
#[test]
fn a_handshake_has_as_long_as_a_request_head() -> Result<()> {
    let secured = Secured::start(&[&["a.example"]])?;
    let mut silent = TcpStream::connect(secured.address)?;
    silent.set_read_timeout(Some(Duration::from_secs(50)))?;
    let start = Instant::now();
    let end = silent.read(&mut [0]);
    ensure!(
        matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
        "still open"
    );
    println!("a silent connection is closed after {:?}", start.elapsed());
    ensure!(start.elapsed() > Duration::from_secs(3), "closed at once");
    Ok(())
}
