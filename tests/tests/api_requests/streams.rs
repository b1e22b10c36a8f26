//! Bodies are streamed both ways and never buffered: shown by halves, each seen before the next one is sent.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::gateway::{Gateway, smallest_route};
use splittoken_tests::hand::{Listener, Peer};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::stand::request;

use super::stand;

/// More than all socket buffers between two ends, and a sign of buffering if it fits.
const TOO_MUCH: usize = 64 * 1024 * 1024;

struct Halves {
    gateway: Gateway,
    upstream: Listener,
}

/// A gateway that asks for no token, before an upstream that is driven by hand.
fn halves() -> Result<Halves> {
    let upstream = Listener::start()?;
    let issuer = Hostile::start(&[&Key::es256()?])?.issuer();
    let routes = smallest_route(&issuer, &upstream.url())
        .replace("  - name: api\n", "  - name: api\n    authentication: Disabled\n");
    Ok(Halves {
        gateway: Gateway::start(routes)?,
        upstream,
    })
}

impl Halves {
    fn client(&self, line: &str, headers: &[&str]) -> Result<Peer> {
        let mut client = Peer::connect(self.gateway.address())?;
        client.send(request(&self.gateway.host(), line, headers, ""))?;
        Ok(client)
    }
}

#[test]
fn the_upstream_sees_the_first_chunk_before_the_client_sends_the_last() -> Result<()> {
    let halves = halves()?;
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 10"] {
        let mut client = halves.client("POST /upload", &[framing])?;
        let chunked = framing.ends_with("chunked");
        client.send(if chunked { "5\r\nfirst\r\n" } else { "first" })?;
        let mut upstream = halves.upstream.accept()?;
        upstream.until("first").context("the first half")?;
        client.send(if chunked {
            "4\r\nlast\r\n0\r\n\r\n"
        } else {
            "last!"
        })?;
        upstream.until("last")?;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")?;
        client.until("done")?;
    }
    Ok(())
}

#[test]
fn the_client_sees_the_first_chunk_before_the_upstream_sends_the_last() -> Result<()> {
    let halves = halves()?;
    for framing in [
        "Transfer-Encoding: chunked",
        "Content-Length: 9",
        "Content-Type: text/event-stream",
    ] {
        let chunked = framing.ends_with("chunked");
        let mut client = halves.client("GET /events", &[])?;
        let mut upstream = halves.upstream.accept()?;
        upstream.until("\r\n\r\n")?;
        upstream.send(format!(
            "HTTP/1.1 200 OK\r\n{framing}\r\nConnection: close\r\n\r\n"
        ))?;
        client.until("200 OK").context("the head alone")?;
        upstream.send(if chunked { "5\r\nfirst\r\n" } else { "first" })?;
        client.until("first").context("the first half")?;
        upstream.send(if chunked { "4\r\nlast\r\n0\r\n\r\n" } else { "last" })?;
        client.until("last")?;
    }
    Ok(())
}

#[test]
fn both_directions_at_once() -> Result<()> {
    let halves = halves()?;
    let mut client = halves.client("POST /talk", &["Transfer-Encoding: chunked"])?;
    client.send("3\r\none\r\n")?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("one")?;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nuno\r\n")?;
    client.until("uno")?;
    client.send("3\r\ntwo\r\n")?;
    upstream
        .until("two")
        .context("the request goes on after the answer has begun")?;
    upstream.send("3\r\ndue\r\n")?;
    client.until("due")?;
    client.send("0\r\n\r\n")?;
    upstream.until("0\r\n\r\n")?;
    upstream.send("0\r\n\r\n")?;
    client.until("0\r\n\r\n")?;
    Ok(())
}

#[test]
fn an_upstream_that_a_client_does_not_read_from_has_to_wait() -> Result<()> {
    let halves = halves()?;
    let client = halves.client("GET /download", &[])?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("\r\n\r\n")?;
    upstream.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        2 * TOO_MUCH
    ))?;
    let mut upstream = upstream.patience(Duration::from_secs(2))?;
    let written = write_until_full(&mut upstream)?;
    println!("the upstream could write {} KiB", written / 1024);
    ensure!(written < TOO_MUCH, "{written} bytes are in the gateway");
    drop(client);
    Ok(())
}

#[test]
fn a_client_whose_upstream_does_not_read_has_to_wait() -> Result<()> {
    let halves = halves()?;
    let length = format!("Content-Length: {}", 2 * TOO_MUCH);
    let mut client = halves
        .client("POST /upload", &[&length])?
        .patience(Duration::from_secs(2))?;
    let upstream = halves.upstream.accept()?;
    let written = write_until_full(&mut client)?;
    println!("the client could write {} KiB", written / 1024);
    ensure!(written < TOO_MUCH, "{written} bytes are in the gateway");
    drop(upstream);
    Ok(())
}

/// How many bytes go in until a write waits longer than the peer's patience.
fn write_until_full(peer: &mut Peer) -> Result<usize> {
    let piece = vec![b'x'; 64 * 1024];
    let mut written = 0;
    while written < TOO_MUCH && peer.send(&piece).is_ok() {
        written += piece.len();
    }
    ensure!(written > 0, "nothing could be written");
    Ok(written)
}

#[test]
fn an_upstream_notices_that_the_client_is_gone() -> Result<()> {
    let halves = halves()?;
    // While it waits for the answer, while it gets it, and while it sends.
    let client = halves.client("GET /slow", &[])?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("\r\n\r\n")?;
    drop(client);
    upstream.rest().context("waiting for an answer")?;

    let mut client = halves.client("GET /events", &[])?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("\r\n\r\n")?;
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
    client.until("first")?;
    drop(client);
    upstream.rest().context("in the middle of an answer")?;

    let mut client = halves.client("POST /upload", &["Content-Length: 10"])?;
    client.send("first")?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("first")?;
    drop(client);
    upstream.rest().context("in the middle of a request")?;
    Ok(())
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() -> Result<()> {
    let halves = halves()?;
    let mut client = halves.client("POST /upload", &["Content-Length: 4", "Expect: 100-continue"])?;
    client.until("HTTP/1.1 100 Continue\r\n\r\n")?;
    client.send("body")?;
    let mut upstream = halves.upstream.accept()?;
    let got = String::from_utf8_lossy(&upstream.until("body")?).to_ascii_lowercase();
    ensure!(!got.contains("expect:"), "{got}");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")?;
    let all = String::from_utf8_lossy(&client.until("done")?).into_owned();
    assert_eq!(all.matches("HTTP/1.1 ").count(), 2, "{all}");
    Ok(())
}

#[test]
fn a_client_that_asks_first_and_may_not_is_told_so_at_once() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    for (line, headers, status) in [
        ("POST /orders", vec![], "401"),
        ("POST /scoped", vec![token.header()], "403"),
        ("POST /a;b", vec![token.header()], "400"),
    ] {
        let mut headers: Vec<_> = headers.iter().map(String::as_str).collect();
        headers.extend(["Content-Length: 1000000", "Expect: 100-continue"]);
        let mut client = Peer::connect(stand.gateway.address())?;
        client.send(request(&stand.gateway.host(), line, &headers, ""))?;
        let all = String::from_utf8_lossy(&client.until("error")?).into_owned();
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {all}");
    }
    assert_eq!(stand.upstream.requests(), []);
    Ok(())
}

/// An answer may come before the end of the request: 413, or a login page.
#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() -> Result<()> {
    let halves = halves()?;
    let mut client = halves.client("POST /upload", &["Content-Length: 1000000"])?;
    client.send("first")?;
    let mut upstream = halves.upstream.accept()?;
    upstream.until("first")?;
    upstream.send("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")?;
    let all = String::from_utf8_lossy(&client.until("done")?).into_owned();
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    Ok(())
}

/// Many streams at once do not hold each other up.
#[test]
fn a_silent_stream_holds_nobody_up() -> Result<()> {
    let halves = halves()?;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let client = halves.client("GET /silent", &[])?;
        let mut upstream = halves.upstream.accept()?;
        upstream.until("\r\n\r\n")?;
        silent.push((client, upstream));
    }
    let mut client = halves.client("GET /quick", &[])?;
    let answering = thread::spawn({
        let mut upstream = halves.upstream.accept()?;
        move || {
            upstream.until("GET /quick")?;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        }
    });
    client.until("done")?;
    answering.join().expect("no panic")?;
    drop(silent);
    Ok(())
}
