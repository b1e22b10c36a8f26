//! WebSocket on a stream of HTTP/2 (RFC 8441): what holds by HTTP/1.1 holds here.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::frames::{self, ACK, END_STREAM, Frame, Frames, Outcome, block};
use splittoken_tests::hostile;
use splittoken_tests::http2::{Http2, Opened};
use splittoken_tests::http2_upstream::Http2Upstream;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, Token};
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, Loud, field};

use super::websocket::stand as stand_before;

/// `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441 §3).
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// How long the end of a tunnel may take that has a reason to end.
const SOON: Duration = Duration::from_secs(40);

fn stand(upstream: &Loud, more: &Value, arguments: &[&str]) -> Result<Stand> {
    let arguments = [&["--http2-cleartext"], arguments].concat();
    stand_before(upstream, more, &arguments)
}

fn connect(stand: &Stand) -> Result<Http2> {
    Http2::connect(stand.gateway.address())
}

fn target(stand: &Stand, path: &str) -> String {
    format!("http://{}{path}", stand.gateway.host())
}

fn open(client: &mut Http2, stand: &Stand, path: &str, token: Option<&Token>) -> Result<Opened> {
    let bearer = token.map(|token| format!("Bearer {}", token.opaque));
    let mut headers = vec![("sec-websocket-version", "13")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    client.open("websocket", &target(stand, path), &headers)
}

/// One that is there, and the head that the upstream has seen.
fn opened(client: &mut Http2, stand: &Stand, path: &str, token: &Token) -> Result<(Opened, String)> {
    let mut tunnel = open(client, stand, path, Some(token))?;
    ensure!(tunnel.status() == 200, "{}", tunnel.status());
    let seen = tunnel.read_head()?;
    Ok((tunnel, seen))
}

fn talk(tunnel: &mut Opened, word: &str) -> Result<()> {
    tunnel.write(word.as_bytes())?;
    let back = tunnel.read(word.len())?;
    ensure!(
        back == word.to_ascii_uppercase().as_bytes(),
        "{}",
        String::from_utf8_lossy(&back)
    );
    Ok(())
}

fn tunnels(stand: &Stand) -> Result<u64> {
    metric(&stand.gateway, "splittoken_gateway_tunnels")
}

fn in_flight(stand: &Stand) -> Result<u64> {
    metric(
        &stand.gateway,
        "splittoken_gateway_requests_in_flight{protocol=\"http2\"}",
    )
}

fn all_gone(stand: &Stand) -> Result<()> {
    wait::until_true(wait::START, "the tunnels to be gone", || {
        tunnels(stand).is_ok_and(|number| number == 0)
    })?;
    wait::until_true(wait::START, "their streams to be gone", || {
        in_flight(stand).is_ok_and(|number| number == 0)
    })
}

#[test]
fn a_tunnel_carries_both_directions() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, seen) = opened(&mut client, &stand, "/ws/chat?room=1", &token)?;
    let headers = tunnel.headers();
    assert_eq!(headers.get("x-seen").context("no X-Seen")?, "yes");
    for gone in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
        ensure!(headers.get(gone).is_none(), "{gone} came back");
    }
    ensure!(seen.starts_with("GET /ws/chat?room=1 HTTP/1.1\r\n"), "{seen}");
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("x-forwarded-for", "127.0.0.1"),
        ("host", &stand.gateway.host()),
        ("authorization", &token.restored()),
    ] {
        assert_eq!(field(&seen, name), Some(value), "{name} in {seen}");
    }
    ensure!(
        !seen.contains(&token.header()),
        "the client's own credential is in {seen}"
    );
    ensure!(!seen.contains(":protocol"), "{seen}");
    for word in ["hello", &"x".repeat(1000), "bye"] {
        talk(&mut tunnel, word)?;
    }
    assert_eq!((tunnels(&stand)?, in_flight(&stand)?), (1, 1));
    // The client ends its half; what is still on its way comes, and then the end.
    tunnel.write(b"last")?;
    tunnel.finish()?;
    assert_eq!(tunnel.rest(SOON)?, b"LAST");
    all_gone(&stand)?;
    // The connection is as good as before.
    let bearer = format!("Bearer {}", token.opaque);
    let answer = client.get(&target(&stand, "/after"), &[("authorization", &bearer)])?;
    assert_eq!(answer.status, 200);
    Ok(())
}

/// What is logged is what was decided about: a GET, and the answer that the client has got.
#[test]
fn a_tunnel_is_logged_as_a_get() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(
        &upstream,
        &json!({}),
        &["--access-log", "on", "--log-format", "json"],
    )?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (_tunnel, _) = opened(&mut client, &stand, "/ws/logged?room=1", &token)?;
    open(&mut client, &stand, "/logged", Some(&token))?;
    for (path, rule, status) in [("/ws/logged", "ws", 200), ("/logged", "plain", 405)] {
        let line = wait::until(wait::START, "the line of a request", || {
            let output = String::from_utf8_lossy(&stand.gateway.output()).into_owned();
            let mut lines = output
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["target"] == "access" && line["path"] == path)
        })?;
        assert_eq!(line["method"], "GET", "{line}");
        assert_eq!(
            (&line["status"], &line["rule"]),
            (&json!(status), &json!(rule)),
            "{line}"
        );
    }
    let output = String::from_utf8_lossy(&stand.gateway.output()).into_owned();
    ensure!(!output.contains(&token.opaque), "the token is logged");
    Ok(())
}

/// Each handshake has a key of its own, and a client's has no say.
#[test]
fn the_key_is_the_gateways() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = connect(&stand)?;
    let mut keys = Vec::new();
    for _ in 0..3 {
        let headers = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-key", "eA=="),
            ("sec-websocket-protocol", "chat"),
            ("origin", "http://a.example"),
        ];
        let mut tunnel = client.open("websocket", &target(&stand, "/ws"), &headers)?;
        assert_eq!(tunnel.status(), 200);
        let seen = tunnel.read_head()?;
        let lower = seen.to_ascii_lowercase();
        assert_eq!(lower.matches("sec-websocket-key:").count(), 1, "{seen}");
        assert_eq!(field(&seen, "sec-websocket-protocol"), Some("chat"));
        assert_eq!(field(&seen, "origin"), Some("http://a.example"));
        keys.push(field(&seen, "sec-websocket-key").context("no key")?.to_owned());
    }
    keys.sort();
    keys.dedup();
    ensure!(
        keys.len() == 3 && keys.iter().all(|key| key.len() == 24),
        "{keys:?}"
    );
    ensure!(!keys.iter().any(|key| key.starts_with("dGhl")), "{keys:?}");
    Ok(())
}

#[test]
fn much_goes_both_ways_at_once() -> Result<()> {
    const LENGTH: usize = 8 * 1024 * 1024;
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    let sent: Vec<u8> = (b'a'..=b'y').cycle().take(LENGTH).collect();
    let start = Instant::now();
    let back = tunnel.exchange(&sent)?;
    println!("{LENGTH} bytes went and came back in {:?}", start.elapsed());
    ensure!(
        back == sent.to_ascii_uppercase(),
        "what comes back is something else"
    );
    Ok(())
}

#[test]
fn tunnels_share_a_connection_with_requests_and_do_not_mix() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &["--threads", "1"])?;
    let token = stand.token(&json!({}))?;
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = connect(&stand)?;
    let mut all = Vec::new();
    for number in 0..5 {
        all.push(opened(&mut client, &stand, &format!("/ws/{number}"), &token)?.0);
    }
    for round in 0..4 {
        for (number, tunnel) in all.iter_mut().enumerate() {
            tunnel.write(format!("tunnel {number}, round {round}").as_bytes())?;
        }
        let answer = client.get(&target(&stand, "/plain"), &[("authorization", &bearer)])?;
        assert_eq!(answer.status, 200);
        for (number, tunnel) in all.iter_mut().enumerate() {
            let expected = format!("TUNNEL {number}, ROUND {round}");
            assert_eq!(tunnel.read(expected.len())?, expected.as_bytes());
        }
    }
    assert_eq!((tunnels(&stand)?, in_flight(&stand)?), (5, 5));
    // One that ends takes no other with it.
    drop(all.remove(2));
    wait::until_true(wait::START, "one to be gone", || {
        tunnels(&stand).is_ok_and(|n| n == 4)
    })?;
    for tunnel in &mut all {
        talk(tunnel, "still here")?;
    }
    drop(all);
    all_gone(&stand)
}

#[test]
fn a_handshake_is_authenticated_like_any_request() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({"authorization": {"scopes": ["chat"]}}), &[])?;
    let (token, other) = (
        stand.token(&json!({"scope": "chat"}))?,
        stand.token(&json!({"scope": "mail"}))?,
    );
    let unknown = Token {
        jwt: String::new(),
        opaque: "A".repeat(86),
    };
    let mut client = connect(&stand)?;
    for (what, token, status) in [
        ("no token", None, 401),
        ("an unknown token", Some(&unknown), 401),
        ("no scope", Some(&other), 403),
    ] {
        let answer = open(&mut client, &stand, "/ws", token)?;
        assert_eq!(answer.status(), status, "{what}");
        ensure!(answer.headers().contains_key("www-authenticate"), "{what}");
    }
    ensure!(upstream.take().is_empty(), "a handshake arrived");
    opened(&mut client, &stand, "/ws", &token)?;
    assert_eq!(upstream.take().len(), 1);
    Ok(())
}

/// Where it is not allowed there is nothing that it could be in its place.
#[test]
fn a_rule_without_upgrades_takes_no_handshake() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    stand.upstream.take();
    let refused = open(&mut client, &stand, "/other", Some(&token))?;
    assert_eq!(refused.status(), 405);
    ensure!(refused.headers().contains_key("allow"), "no Allow");
    assert_eq!(open(&mut client, &stand, "/other", None)?.status(), 401);
    assert_eq!(
        open(&mut client, &stand, "/oauth/token", Some(&token))?.status(),
        405
    );
    ensure!(stand.upstream.take().is_empty(), "it arrived");
    opened(&mut client, &stand, "/ws", &token).map(drop)
}

/// An upstream may say no, and is heard as it is.
#[test]
fn a_refusal_is_passed_on() -> Result<()> {
    for (answer, status, text) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: x\r\n\r\nno",
            403,
            "no",
        ),
        (
            "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n",
            426,
            "",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
            503,
            "busy",
        ),
    ] {
        let upstream = Loud::start(answer)?;
        let stand = stand(&upstream, &json!({}), &[])?;
        let token = stand.token(&json!({}))?;
        let mut client = connect(&stand)?;
        let refused = open(&mut client, &stand, "/ws", Some(&token))?;
        assert_eq!(
            (refused.status(), refused.text()?.as_str()),
            (status, text),
            "{answer}"
        );
        all_gone(&stand)?;
    }
    Ok(())
}

/// What is neither an agreement nor a refusal, or an agreement to something else.
#[test]
fn what_is_no_agreement_opens_nothing() -> Result<()> {
    const TO: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\
         Content-Length: 0\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        format!("{TO}\r\n"),
        format!("{TO}Upgrade: h2c\r\nSec-WebSocket-Accept: {{accept}}\r\n\r\n"),
        format!("{TO}Upgrade: websocket\r\n\r\n"),
        format!("{TO}Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
        format!("{TO}Upgrade: websocket\r\nSec-WebSocket-Accept: {{accept}}x\r\n\r\n"),
        format!(
            "{TO}Upgrade: websocket\r\nSec-WebSocket-Accept: {{accept}}\r\nSec-WebSocket-Accept: {{accept}}\r\n\r\n"
        ),
    ] {
        let upstream = Loud::start(answer.clone().leak())?;
        let stand = stand(&upstream, &json!({}), &[])?;
        let token = stand.token(&json!({}))?;
        let mut client = connect(&stand)?;
        let refused = open(&mut client, &stand, "/ws", Some(&token))?;
        assert_eq!(refused.status(), 502, "{answer}");
        all_gone(&stand)?;
    }
    Ok(())
}

/// A length in an agreement is no body (RFC 9110 §15.2), and no reason to break off.
#[test]
fn an_agreement_with_a_length_is_one() -> Result<()> {
    let upstream = Loud::start(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nContent-Length: 5\r\n\r\n",
    )?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    ensure!(tunnel.headers().get("content-length").is_none(), "it came back");
    talk(&mut tunnel, "hello")
}

/// By HTTP/2 upstreams are asked as for a page: one that answers so has not agreed.
#[test]
fn an_upstream_of_http_2_only_opens_nothing() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let backend = json!({"url": upstream.url(), "protocol": "HTTP2"});
    let (stand, token) = super::upstream_http2::before(&backend, &json!({"upgrades": ["websocket"]}))?;
    let mut client = connect(&stand)?;
    let refused = open(&mut client, &stand, "/ws", Some(&token))?;
    assert_eq!(refused.status(), 502);
    let seen = upstream.last()?;
    assert_eq!((seen.method.as_str(), seen.headers.get("upgrade")), ("GET", None));
    Ok(())
}

#[test]
fn a_tunnel_ends_when_its_token_does() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let (short, long) = (
        stand.token(&json!({"exp": hostile::now() + 4}))?,
        stand.token(&json!({}))?,
    );
    let mut client = connect(&stand)?;
    let (mut ending, _) = opened(&mut client, &stand, "/ws", &short)?;
    let (mut staying, _) = opened(&mut client, &stand, "/ws", &long)?;
    talk(&mut ending, "still here")?;
    let start = Instant::now();
    assert_eq!(ending.rest(SOON)?, b"");
    println!("a tunnel whose token had 4 s ended after {:?}", start.elapsed());
    // Whoever holds it may not write any more either.
    wait::until_true(wait::START, "writes to fail", || ending.write(b"more").is_err())?;
    talk(&mut staying, "still here")?;
    assert_eq!(tunnels(&stand)?, 1);
    Ok(())
}

#[test]
fn silence_ends_a_tunnel_and_not_its_connection() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let times = json!({"timeouts": {"idle": "2s", "backendRequest": "1s", "request": "1s"}});
    let stand = stand(&upstream, &times, &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    let start = Instant::now();
    // Longer than a request may take: that limit was for the answer's head.
    while start.elapsed() < Duration::from_secs(4) {
        talk(&mut tunnel, "awake")?;
        std::thread::sleep(Duration::from_millis(500));
    }
    let start = Instant::now();
    assert_eq!(tunnel.rest(SOON)?, b"");
    let took = start.elapsed();
    println!("a silent tunnel ended after {took:?}");
    ensure!(
        took > Duration::from_secs(1) && took < Duration::from_secs(20),
        "{took:?}"
    );
    opened(&mut client, &stand, "/ws", &token).map(drop)
}

/// A connection with a tunnel is not idle, however long nothing is said on it.
#[test]
fn a_tunnel_keeps_its_connection() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &["--keep-alive-timeout", "1s"])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    // An idle one is told to go after the limit and has 5 s for it.
    std::thread::sleep(Duration::from_secs(10));
    talk(&mut tunnel, "still here")?;
    drop(tunnel);
    wait::until_true(SOON, "the connection to be over", || client.is_over())
}

/// It has as long as a request in flight.
#[test]
fn a_tunnel_has_the_time_of_the_drain() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let mut stand = stand(&upstream, &json!({}), &["--min-drain", "0s", "--drain", "3s"])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    let start = Instant::now();
    stand.gateway.terminate()?;
    talk(&mut tunnel, "while it drains")?;
    // The connection breaks off in the end.
    let rest = tunnel.rest(SOON);
    let took = start.elapsed();
    println!("the tunnel ended {took:?} after the signal: {rest:?}");
    ensure!(
        took > Duration::from_secs(1) && took < Duration::from_secs(30),
        "{took:?}"
    );
    let status = stand
        .gateway
        .wait(Duration::from_secs(30))
        .context("it waits for a tunnel")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_drain_is_over_when_its_tunnels_are() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let mut stand = stand(&upstream, &json!({}), &["--min-drain", "0s", "--drain", "300s"])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let (mut tunnel, _) = opened(&mut client, &stand, "/ws", &token)?;
    stand.gateway.terminate()?;
    std::thread::sleep(Duration::from_secs(2));
    talk(&mut tunnel, "while it drains")?;
    tunnel.finish()?;
    assert_eq!(tunnel.rest(SOON)?, b"");
    let status = stand
        .gateway
        .wait(Duration::from_secs(30))
        .context("it goes on")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// By hand: what a library does not show.
struct ByHand {
    client: Frames,
}

impl ByHand {
    fn connect(stand: &Stand, settings: &[(u16, u32)]) -> Result<Self> {
        let client = Frames::connect_with(stand.gateway.address(), settings)?;
        Ok(Self { client })
    }

    /// Opens a tunnel on this stream.
    fn open(&mut self, stand: &Stand, stream: u32, token: &Token) -> Result<()> {
        self.open_at(stand, "/ws", stream, token)
    }

    fn open_at(&mut self, stand: &Stand, path: &str, stream: u32, token: &Token) -> Result<()> {
        let (host, bearer) = (stand.gateway.host(), format!("Bearer {}", token.opaque));
        let fields = block(&[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", &host),
            ("sec-websocket-version", "13"),
            ("authorization", &bearer),
        ]);
        self.client.send(&[Frame::headers(stream, fields)]);
        let outcome = self.client.outcome(stream)?;
        ensure!(outcome == Outcome::Status(200), "{outcome:?}");
        Ok(())
    }

    /// Sends on this stream until there has been no more room for a while.
    fn fill(&mut self, stream: u32) -> Result<()> {
        const PIECE: usize = 16 * 1024;
        let mut room = 65_535;
        self.client.patience(Duration::from_secs(3))?;
        loop {
            while room >= PIECE {
                room -= PIECE;
                self.client
                    .send(&[Frame::new(frames::DATA, stream, [b'x'; PIECE])]);
            }
            // What ends it is that nothing comes.
            let Ok(Some(frame)) = self.client.read() else {
                return self.client.patience(SOON);
            };
            if frame.kind == frames::WINDOW_UPDATE && frame.stream == stream {
                room += u32::from_be_bytes(frame.payload[..].try_into()?) as usize;
            }
        }
    }

    /// The data of a stream up to its end, and the last frame of it.
    fn rest(&mut self, stream: u32) -> Result<(Vec<u8>, Option<Frame>)> {
        let mut all = Vec::new();
        while let Some(frame) = self.client.read()? {
            if frame.stream != stream {
                continue;
            }
            if frame.kind == frames::DATA {
                all.extend_from_slice(&frame.payload);
            }
            if frame.kind == frames::RST_STREAM || frame.flags & END_STREAM != 0 {
                return Ok((all, Some(frame)));
            }
        }
        Ok((all, None))
    }
}

#[test]
fn clients_are_told_that_they_may_ask() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let mut client = Frames::connect(stand.gateway.address())?;
    let settings = loop {
        let frame = client.read()?.context("no SETTINGS")?;
        if frame.kind == frames::SETTINGS && frame.flags & ACK == 0 {
            break frame.payload;
        }
    };
    let told: Vec<&[u8]> = settings
        .chunks(6)
        .filter(|pair| pair[..2] == ENABLE_CONNECT_PROTOCOL.to_be_bytes())
        .collect();
    assert_eq!(told, [[0, 8, 0, 0, 0, 1]]);
    Ok(())
}

/// A client that cancels its stream is gone, and its upstream hears of it.
#[test]
fn a_client_may_cancel() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = ByHand::connect(&stand, &[])?;
    client.open(&stand, 1, &token)?;
    client.open(&stand, 3, &token)?;
    assert_eq!(tunnels(&stand)?, 2);
    client.client.send(&[Frame::cancel(1)]);
    wait::until_true(wait::START, "one to be gone", || {
        tunnels(&stand).is_ok_and(|n| n == 1)
    })?;
    client
        .client
        .send(&[Frame::new(frames::DATA, 3, *b"still here").last()]);
    let (rest, last) = client.rest(3)?;
    ensure!(
        rest.ends_with(b"STILL HERE"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    ensure!(
        last.context("the connection ended")?.kind == frames::DATA,
        "it broke off"
    );
    all_gone(&stand)
}

/// The same where the upstream does not care, and has nothing to say that would fail.
#[test]
fn a_cancelled_tunnel_ends_without_its_upstream() -> Result<()> {
    let upstream = Loud::that_stays()?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = ByHand::connect(&stand, &[])?;
    for stream in [1, 3, 5] {
        client.open(&stand, stream, &token)?;
    }
    let left = |number| {
        wait::until_true(wait::START, "a tunnel to be gone", || {
            tunnels(&stand).is_ok_and(|open| open == number)
        })
    };
    client.client.send(&[Frame::cancel(1)]);
    left(2)?;
    // One that has only ended its half may wait for the other, until it gives up on that, too.
    client.client.send(&[Frame::new(frames::DATA, 3, []).last()]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(tunnels(&stand)?, 2);
    client.client.send(&[Frame::cancel(3)]);
    left(1)
}

/// An upstream that does not read keeps its own tunnels waiting and no others of their connection, and them for no longer than
/// their client is there.
#[test]
fn a_tunnel_that_is_not_read_hurts_no_other_and_ends_with_its_client() -> Result<()> {
    let upstream = Loud::that_may_be_deaf()?;
    let stand = stand(&upstream, &json!({}), &[])?;
    let token = stand.token(&json!({}))?;
    let mut client = connect(&stand)?;
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let (mut tunnel, _) = opened(&mut client, &stand, "/ws/deaf", &token)?;
        tunnel.fill()?;
        stuck.push(tunnel);
    }
    let (mut other, _) = opened(&mut client, &stand, "/ws", &token)?;
    talk(&mut other, "still here")?;
    // Tiny messages, more than may lie unread.
    let message = [b'x'; 40];
    for _ in 0..5000 {
        other.write(&message)?;
    }
    ensure!(other.read(5000 * message.len())?.iter().all(|byte| *byte == b'X'));
    drop((client, stuck, other));
    all_gone(&stand)?;

    let mut client = ByHand::connect(&stand, &[])?;
    for stream in [1, 3] {
        client.open_at(&stand, "/ws/deaf", stream, &token)?;
        client.fill(stream)?;
    }
    client.client.send(&[Frame::cancel(1)]);
    wait::until_true(SOON, "the cancelled one to be gone", || {
        tunnels(&stand).is_ok_and(|open| open == 1)
    })
}

/// What an upstream sends waits for the client to make room, and the tunnel's end behind it; not for ever.
#[test]
fn a_client_that_makes_no_room_is_not_waited_for() -> Result<()> {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let upstream = Loud::start(AGREED)?;
    let times = json!({"timeouts": {"idle": "1s"}});
    let stand = stand(&upstream, &times, &["--send-timeout", "2s"])?;
    let token = stand.token(&json!({}))?;
    let mut client = ByHand::connect(&stand, &[(INITIAL_WINDOW_SIZE, 0)])?;
    client.open(&stand, 1, &token)?;
    let start = Instant::now();
    let (rest, last) = client.rest(1)?;
    println!("the connection ended after {:?}", start.elapsed());
    ensure!(rest.is_empty() && last.is_none(), "{rest:?} {last:?}");
    ensure!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    all_gone(&stand)?;
    // With room, it comes.
    let mut client = ByHand::connect(&stand, &[(INITIAL_WINDOW_SIZE, 0)])?;
    client.open(&stand, 1, &token)?;
    client.client.send(&[Frame::window(1, 10_000)]);
    let (rest, last) = client.rest(1)?;
    ensure!(rest.starts_with(b"GET /ws HTTP/1.1\r\n"), "{rest:?}");
    ensure!(
        last.context("the connection ended")?.kind == frames::DATA,
        "it broke off"
    );
    Ok(())
}
