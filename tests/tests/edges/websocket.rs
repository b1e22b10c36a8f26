//! WebSocket: a tunnel, where the rule lets it, for as long as the token is good.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::hostile;
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Addresses, Stand, Token, request};
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, Loud, read_head};

use super::HOSTS;

const HANDSHAKE: [&str; 4] = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// A gateway before this upstream, whose rule `ws` lets connections change.
pub(crate) fn stand(upstream: &Loud, more: &serde_json::Value, arguments: &[&str]) -> Result<Stand> {
    let mut rule = json!({
        "name": "ws", "matches": [{"path": {"value": "/ws"}}], "upgrades": ["websocket"],
        "backendRefs": [{"url": upstream.url()}],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        rule[name] = value.clone();
    }
    let routes = |to: &Addresses| {
        let plain = json!({"name": "plain", "backendRefs": [{"url": to.upstream}]});
        String::from(
            Route::new(&to.issuer, &to.upstream).spec(&json!({"hostnames": HOSTS, "rules": [rule, plain]})),
        )
    };
    Stand::built(routes, |gateway| gateway.arguments(arguments))
}

/// Sends a handshake; gives the head of the answer and the connection.
fn shake(stand: &Stand, path: &str, token: Option<&Token>, headers: &[&str]) -> Result<(String, TcpStream)> {
    let mut stream = TcpStream::connect(stand.gateway.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let authorization = token.map(Token::header);
    let all: Vec<&str> = headers.iter().copied().chain(authorization.as_deref()).collect();
    stream.write_all(&request(&stand.gateway.host(), &format!("GET {path}"), &all, ""))?;
    let head = read_head(&mut stream)?;
    Ok((head, stream))
}

/// Sends a word and reads it back.
fn talk(stream: &mut TcpStream, word: &str) -> Result<()> {
    stream.write_all(word.as_bytes())?;
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back)?;
    ensure!(
        back == word.to_ascii_uppercase().as_bytes(),
        "{}",
        String::from_utf8_lossy(&back)
    );
    Ok(())
}

/// Reads until the other side ends; how long that took.
fn until_end(stream: &mut TcpStream) -> Result<Duration> {
    let start = Instant::now();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => Ok(start.elapsed()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(start.elapsed()),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn a_tunnel_carries_both_directions() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let (head, mut stream) = shake(&stand, "/ws/chat?room=1", Some(&token), &HANDSHAKE)?;
    let lower = head.to_ascii_lowercase();
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: s3pp",
        "x-seen: yes",
    ] {
        ensure!(lower.contains(line), "{line} is not in {head}");
    }
    let seen = read_head(&mut stream)?;
    ensure!(seen.starts_with("GET /ws/chat?room=1 HTTP/1.1\r\n"), "{seen}");
    let lower = seen.to_ascii_lowercase();
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "x-forwarded-for: 127.0.0.1",
    ] {
        ensure!(lower.contains(line), "{line} is not in {seen}");
    }
    ensure!(seen.contains(&token.restored()), "the JWT is not in {seen}");
    ensure!(
        !seen.contains(&token.header()),
        "the client's own credential is in {seen}"
    );
    for word in ["hello", &"x".repeat(1000), "bye"] {
        talk(&mut stream, word)?;
    }
    let tunnels = || metric(&stand.gateway, "splittoken_gateway_tunnels");
    assert_eq!(tunnels()?, 1);
    // The client ends its half; what is still on its way comes, and then the end.
    stream.write_all(b"last")?;
    stream.shutdown(Shutdown::Write)?;
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    assert_eq!(rest, "LAST");
    wait::until_true(wait::START, "the tunnel to be gone", || {
        tunnels().is_ok_and(|number| number == 0)
    })
}

#[test]
fn a_handshake_is_authenticated_like_any_request() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({"authorization": {"scopes": ["chat"]}}), &[])?;
    let (token, other) = (
        stand.token(&json!({"scope": "chat"}))?,
        stand.token(&json!({"scope": "mail"}))?,
    );
    for (what, token, status) in [("no token", None, 401), ("no scope", Some(&other), 403)] {
        let (head, _) = shake(&stand, "/ws", token, &HANDSHAKE)?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
    }
    let (head, _) = shake(&stand, "/ws", Some(&token), &HANDSHAKE)?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(())
}

/// A page cannot set `Authorization` on a WebSocket. What it can send instead is no credential.
#[test]
fn what_a_page_can_send_is_no_token() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let required = stand(&upstream, &json!({}), &[])?;
    let token = required.token(&json!({}))?;
    let header = token.header();
    let opaque = header.rsplit(' ').next().context("no token")?;
    let protocol = format!("Sec-WebSocket-Protocol: bearer, {opaque}");
    let cookie = format!("Cookie: access_token={opaque}");
    for (path, header, status) in [
        (
            format!("/ws?access_token={opaque}"),
            "Origin: https://a.example",
            400,
        ),
        ("/ws".to_owned(), protocol.as_str(), 401),
        ("/ws".to_owned(), &cookie, 401),
    ] {
        let headers = [&HANDSHAKE[..], &[header]].concat();
        let (head, _) = shake(&required, &path, None, &headers)?;
        ensure!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{header}: {head}"
        );
    }
    Ok(())
}

/// Where the gateway asks for no token, the API has all that it needs to ask for something else.
#[test]
fn a_ticket_and_the_origin_reach_an_api_that_checks_them() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({"authentication": "Disabled"}), &[])?;
    let headers = [&HANDSHAKE[..], &["Origin: https://a.example"]].concat();
    let (head, mut stream) = shake(&stand, "/ws?ticket=abc", None, &headers)?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let seen = read_head(&mut stream)?;
    ensure!(seen.starts_with("GET /ws?ticket=abc HTTP/1.1\r\n"), "{seen}");
    let is_there = seen
        .to_ascii_lowercase()
        .contains("origin: https://a.example\r\n");
    ensure!(is_there, "no origin in {seen}");
    Ok(())
}

/// Where it is not allowed, or not asked for in full, the request goes on as a plain one.
#[test]
fn what_is_no_handshake_stays_a_request() -> Result<()> {
    let upstream = Loud::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let (head, _) = shake(&stand, "/other", Some(&token), &HANDSHAKE)?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let seen = stand.upstream.last()?;
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (None, None));
    for left_out in HANDSHAKE {
        let headers: Vec<&str> = HANDSHAKE
            .into_iter()
            .filter(|header| *header != left_out)
            .collect();
        let (head, _) = shake(&stand, "/ws", Some(&token), &headers)?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "without {left_out}: {head}");
    }
    // An upstream may say no.
    let (head, _) = shake(&stand, "/ws", Some(&token), &HANDSHAKE)?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(())
}

#[test]
fn an_upstream_that_agrees_to_something_else_is_refused() -> Result<()> {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let upstream = Loud::start(answer)?;
        let stand = stand(&upstream, &json!({}), &[])?;
        let token = stand.token(&json!({}))?;
        let (head, _) = shake(&stand, "/ws", Some(&token), &HANDSHAKE)?;
        ensure!(head.starts_with("HTTP/1.1 502 "), "{head}");
    }
    Ok(())
}

#[test]
fn a_tunnel_ends_when_its_token_does() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let (short, long) = (
        stand.token(&json!({"exp": hostile::now() + 10}))?,
        stand.token(&json!({}))?,
    );
    let (_, mut ending) = shake(&stand, "/ws", Some(&short), &HANDSHAKE)?;
    let (_, mut staying) = shake(&stand, "/ws", Some(&long), &HANDSHAKE)?;
    read_head(&mut ending)?;
    read_head(&mut staying)?;
    talk(&mut ending, "still here")?;
    let took = until_end(&mut ending)?;
    println!("a tunnel whose token had 10 s ended after {took:?}");
    ensure!(took < Duration::from_secs(40), "{took:?}");
    talk(&mut staying, "still here")
}

#[test]
fn silence_ends_a_tunnel() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(
        &upstream,
        &json!({"timeouts": {"idle": "4s", "backendRequest": "2s", "request": "2s"}}),
        &[],
    )?;
    let token = stand.token(&json!({}))?;
    let (_, mut stream) = shake(&stand, "/ws", Some(&token), &HANDSHAKE)?;
    read_head(&mut stream)?;
    let start = Instant::now();
    // Longer than a request may take, and than a silence: the first limit was for the answer's head.
    while start.elapsed() < Duration::from_secs(6) {
        talk(&mut stream, "awake")?;
        thread::sleep(Duration::from_millis(500));
    }
    let took = until_end(&mut stream)?;
    println!("a silent tunnel ended after {took:?}");
    ensure!(
        took > Duration::from_secs(1) && took < Duration::from_secs(40),
        "{took:?}"
    );
    Ok(())
}

/// It has as long as a request in flight.
#[test]
fn a_tunnel_has_the_time_of_the_drain() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let mut stand = stand(&upstream, &json!({}), &["--min-drain", "0s", "--drain", "3s"])?;
    let token = stand.token(&json!({}))?;
    let (_, mut stream) = shake(&stand, "/ws", Some(&token), &HANDSHAKE)?;
    read_head(&mut stream)?;
    stand.gateway.terminate()?;
    talk(&mut stream, "while it drains")?;
    let took = until_end(&mut stream)?;
    println!("the tunnel ended {took:?} after the signal");
    ensure!(took > Duration::from_secs(1), "{took:?}");
    let status = stand
        .gateway
        .wait(Duration::from_secs(30))
        .context("it waits for a tunnel")?;
    ensure!(status.success(), "{status}");
    Ok(())
}
