//! What passes the gate, and how it arrives.

use anyhow::{Context as _, Result};

use super::Gate;
use splittoken_tests::raw;

#[test]
fn an_absolute_target_of_the_same_host_arrives_in_origin_form() -> Result<()> {
    let gate = Gate::open()?;
    for (target, expected) in [
        ("http://{host}/%61/b?c=d", "/a/b?c=d"),
        ("HTTP://{host}/a", "/a"),
        ("https://{host}/a", "/a"),
        ("http://{host}", "/"),
        ("http://{host}?a=b", "/?a=b"),
    ] {
        let request = gate.passes(&format!("GET {target} HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎"))?;
        assert_eq!(request.target(), expected, "{target}");
        assert_eq!(request.header_all("host").len(), 1, "{target}");
        assert_eq!(
            request.header("authorization"),
            Some(gate.token.restored()),
            "{target}"
        );
    }
    Ok(())
}

#[test]
fn an_absolute_target_passes_the_same_gate() -> Result<()> {
    Gate::open()?.refuses(&[
        (
            "dot segments",
            400,
            "GET http://{host}/a/../b HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "an empty segment",
            400,
            "GET http://{host}//a HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "an encoded slash",
            400,
            "GET http://{host}/a%2fb HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        ("no token", 401, "GET http://{host}/a HTTP/1.1⏎Host: {host}⏎⏎"),
    ]);
    Ok(())
}

#[test]
fn hosts_are_one_in_any_case_and_with_any_port() -> Result<()> {
    let gate = Gate::open()?;
    for host in ["127.0.0.1", "127.0.0.1:80", "127.0.0.1:", "127.0.0.1."] {
        let request = gate.passes(&format!("GET / HTTP/1.1⏎hOsT: {host}⏎{{auth}}⏎⏎"))?;
        assert_eq!(request.header_all("host").len(), 1, "{host}");
    }
    Ok(())
}

#[test]
fn an_upgrade_is_never_forwarded() -> Result<()> {
    let gate = Gate::open()?;
    for fields in [
        "Connection: Upgrade⏎Upgrade: websocket⏎Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎Sec-WebSocket-Version: 13",
        "Connection: keep-alive, upgrade⏎Upgrade: h2c⏎HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Upgrade: websocket",
        "Connection: Upgrade, HTTP2-Settings⏎Upgrade: h2c⏎HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ] {
        let request = gate.passes(&format!("GET / HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{fields}⏎⏎"))?;
        assert_eq!(request.header("upgrade"), None, "{fields}");
        assert_eq!(request.header("http2-settings"), None, "{fields}");
        let connection = request
            .header("connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        assert!(!connection.contains("upgrade"), "{fields}: {connection}");
    }
    Ok(())
}

#[test]
fn http_2_by_prior_knowledge_is_no_request_yet() -> Result<()> {
    let gate = Gate::open()?;
    let (answer, requests) = gate.send("PRI * HTTP/2.0⏎⏎SM⏎⏎")?;
    assert!(answer.is_none_or(|answer| answer.status >= 400));
    assert_eq!(requests, []);
    Ok(())
}

#[test]
fn http_1_0_is_answered_in_its_own_way_and_forwarded_as_1_1() -> Result<()> {
    let gate = Gate::open()?;
    gate.stand
        .upstream
        .answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let mut client = raw::Client::connect(gate.stand.gateway.address())?;
    client.send(gate.bytes("GET /a HTTP/1.0⏎Host: {host}⏎{auth}⏎⏎"))?;
    let answer = client.read()?.context("no answer")?;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("transfer-encoding"),
        None,
        "HTTP/1.0 knows no chunks"
    );
    assert_eq!(answer.text(), "hello");
    let request = gate.stand.upstream.last()?;
    assert_eq!(request.line(), "GET /a HTTP/1.1");
    Ok(())
}

#[test]
fn http_1_0_keeps_a_connection_only_if_asked_to() -> Result<()> {
    let gate = Gate::open()?;
    let mut client = raw::Client::connect(gate.stand.gateway.address())?;
    for _ in 0..2 {
        client.send(gate.bytes("GET /a HTTP/1.0⏎Host: {host}⏎{auth}⏎Connection: keep-alive⏎⏎"))?;
        assert_eq!(client.read()?.context("no answer")?.status, 200);
    }
    client.send(gate.bytes("GET /a HTTP/1.0⏎Host: {host}⏎{auth}⏎⏎"))?;
    assert_eq!(client.read()?.context("no answer")?.status, 200);
    assert!(client.closed()?);
    Ok(())
}

/// RFC 9112 section 2.2: an empty line before a request is left out, a line that ends in LF alone may be one.
#[test]
fn lenient_line_ends_arrive_strict() -> Result<()> {
    let gate = Gate::open()?;
    for case in [
        "⏎⏎GET /a HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        "GET /a HTTP/1.1\nHost: {host}\n{auth}\n\n",
    ] {
        let (answer, requests) = gate.send(case)?;
        match answer.context("closed without an answer")?.status {
            200 => assert_eq!(requests.len(), 1),
            status => assert_eq!((status, requests.len()), (400, 0)),
        }
        for request in requests {
            let head = String::from_utf8_lossy(request.head()).into_owned();
            assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
            assert_eq!(request.line(), "GET /a HTTP/1.1");
        }
    }
    Ok(())
}
