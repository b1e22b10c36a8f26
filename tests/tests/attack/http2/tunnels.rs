//! Extended CONNECT (RFC 8441): a whole handshake of WebSocket where a rule lets it, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use splittoken_tests::frames::{self, Frame, Outcome};
use splittoken_tests::gate::report;
use splittoken_tests::shop::metric;
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, accept};
use splittoken_tests::wire::{Request, Step, answer};

use super::Verdict::{Ended, Reset, Status};
use super::{Attempt, Hall, Verdict, data, encoded};
use crate::witness::beside;

/// What an attacker would like to get past the gate: a path that the token is no good for.
const HIDDEN: &[u8] = b"GET /admin HTTP/1.1\r\nHost: evil.example\r\n\r\n";

/// The upstream agrees to whatever it is asked for, and counts it.
fn agreeing() -> Result<(Hall, Arc<AtomicUsize>)> {
    let (hall, handshakes) = (Hall::open()?, Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&handshakes);
    hall.gate.stand.upstream.script(move |request| {
        let key = request.header("sec-websocket-key");
        vec![Step::Send(match key {
            Some(key) => {
                counted.fetch_add(1, Relaxed);
                AGREED.replace("{accept}", &accept(&key)).into_bytes()
            }
            None => answer("200 OK", &[], "ok"),
        })]
    });
    Ok((hall, handshakes))
}

/// The fields of a good handshake, changed like those of a good request. Those that are new stand where they belong.
fn handshake(hall: &Hall, changes: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut fields = hall.good();
    fields.insert(0, (":protocol".to_owned(), "websocket".to_owned()));
    fields.push(("sec-websocket-version".to_owned(), "13".to_owned()));
    let good = [(":method", Some("CONNECT")), (":path", Some("/ws"))];
    for (name, value) in good.iter().chain(changes) {
        fields.retain(|(found, _)| found != name);
        let Some(value) = value else { continue };
        let field = ((*name).to_owned(), (*value).to_owned());
        if name.starts_with(':') {
            fields.insert(0, field);
        } else {
            fields.push(field);
        }
    }
    encoded(&fields)
}

fn one(hall: &Hall, name: &str, verdict: Verdict, changes: &[(&str, Option<&str>)]) -> Attempt {
    let frames = vec![Frame::headers(1, handshake(hall, changes)), data(1, HIDDEN)];
    Attempt::new(name, verdict, frames)
}

/// A good handshake and these fields.
fn with(hall: &Hall, name: &str, verdict: Verdict, more: &[(&str, &str)]) -> Attempt {
    let block = [handshake(hall, &[]), frames::block(more)].concat();
    Attempt::new(name, verdict, vec![Frame::headers(1, block), data(1, HIDDEN)])
}

#[test]
fn a_handshake_is_for_websocket_and_whole() -> Result<()> {
    let (hall, _) = agreeing()?;
    let protocol = |text: &'static str| {
        let name = format!("protocol {text:?}");
        one(&hall, &name, Status(405), &[(":protocol", Some(text))])
    };
    let changed = |name: &str, verdict, changes: &[(&str, Option<&str>)]| one(&hall, name, verdict, changes);
    let mut attempts: Vec<Attempt> = [
        "",
        "h2c",
        "connect-udp",
        "connect-ip",
        "webtransport",
        "HTTP/1.1",
        "websocket2",
        "websocket/13",
        "websocket, h2c",
        "websocket;v=13",
        "web socket",
        " websocket",
        "websocket ",
        "x-websocket",
    ]
    .into_iter()
    .map(protocol)
    .collect();
    attempts.extend([
        changed("no protocol", Reset, &[(":protocol", None)]),
        changed(
            "a plain CONNECT",
            Status(405),
            &[(":protocol", None), (":scheme", None), (":path", None)],
        ),
        changed("no scheme", Reset, &[(":scheme", None)]),
        changed("no path", Reset, &[(":path", None)]),
        changed("no method", Reset, &[(":method", None)]),
        changed("no version", Status(405), &[("sec-websocket-version", None)]),
        changed("version 8", Status(405), &[("sec-websocket-version", Some("8"))]),
        changed(
            "version 013",
            Status(405),
            &[("sec-websocket-version", Some("013"))],
        ),
        changed(
            "versions",
            Status(405),
            &[("sec-websocket-version", Some("13, 8"))],
        ),
        with(
            &hall,
            "two versions",
            Status(405),
            &[("sec-websocket-version", "8")],
        ),
        with(
            &hall,
            "the version twice",
            Status(405),
            &[("sec-websocket-version", "13")],
        ),
        with(&hall, "an upgrade, too", Reset, &[("upgrade", "websocket")]),
        with(&hall, "Connection, too", Reset, &[("connection", "upgrade")]),
        with(&hall, "chunked", Reset, &[("transfer-encoding", "chunked")]),
        with(&hall, "a late protocol", Reset, &[(":protocol", "websocket")]),
    ]);
    for method in ["GET", "POST", "OPTIONS", "TRACE", "connect"] {
        let name = format!(":protocol on {method}");
        attempts.push(one(&hall, &name, Reset, &[(":method", Some(method))]));
    }
    let mut twice = frames::block(&[(":protocol", "websocket")]);
    twice.extend(handshake(&hall, &[]));
    attempts.push(Attempt::new(
        "two protocols",
        Reset,
        vec![Frame::headers(1, twice)],
    ));
    hall.judge(&attempts);
    Ok(())
}

/// A handshake has no body, whatever is said of one.
#[test]
fn a_handshake_has_no_length() -> Result<()> {
    let (hall, _) = agreeing()?;
    let length = |value: &str, verdict, frames: Vec<Frame>| {
        let block = handshake(&hall, &[("content-length", Some(value))]);
        let frames = [vec![Frame::headers(1, block)], frames].concat();
        Attempt::new(
            format!("content-length: {value}, {} frames", frames.len()),
            verdict,
            frames,
        )
    };
    let hidden = || vec![data(1, HIDDEN)];
    let real = HIDDEN.len().to_string();
    hall.judge(&[
        length("0", Status(405), Vec::new()),
        length("0", Reset, hidden()),
        length("x", Reset, hidden()),
        length("-1", Reset, hidden()),
        // The library knows no CONNECT with a length, and ends the connection.
        length(&real, Ended, Vec::new()),
        length(&real, Ended, hidden()),
    ]);
    Ok(())
}

#[test]
fn a_handshake_passes_the_gate() -> Result<()> {
    let (hall, _) = agreeing()?;
    let host = hall.gate.stand.gateway.host();
    let path = |text: &'static str, status| {
        let changes: &[(&str, Option<&str>)] = &[(":path", Some(text))];
        one(&hall, text, status, changes)
    };
    let changed = |name: &str, verdict, changes: &[(&str, Option<&str>)]| one(&hall, name, verdict, changes);
    let in_query = format!("/ws?access_token={}", hall.gate.token.opaque);
    let elsewhere = |text: &str| format!("{text}{host}");
    hall.judge(&[
        path("/public/../ws", Status(400)),
        path("/ws/../admin", Status(400)),
        path("//ws", Status(400)),
        path("/ws%2f", Status(400)),
        path("/ws;a=b", Status(400)),
        path("/ws\\x", Status(400)),
        path("*", Status(400)),
        path("", Reset),
        path("/ws x", Reset),
        path("/ws HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /admin", Reset),
        // Where rules let nothing change: for everybody, for a scope, for a method, for a token.
        path("/public", Status(405)),
        path("/admin", Status(403)),
        path("/items", Status(405)),
        path("/a", Status(405)),
        path("/oauth/token", Status(405)),
        changed(
            "another host",
            Status(404),
            &[(":authority", Some("evil.example"))],
        ),
        changed(
            "host and port of a proxy",
            Status(404),
            &[(":authority", Some("evil.example:443"))],
        ),
        changed("a user", Status(400), &[(":authority", Some(&elsewhere("me@")))]),
        changed("neither authority nor host", Status(400), &[(":authority", None)]),
        changed("scheme ws", Status(400), &[(":scheme", Some("ws"))]),
        changed("scheme wss", Status(400), &[(":scheme", Some("wss"))]),
        changed("scheme file", Status(400), &[(":scheme", Some("file"))]),
        changed("no token", Status(401), &[("authorization", None)]),
        changed("a bad token", Status(401), &[("authorization", Some("Bearer x"))]),
        changed(
            "another scheme",
            Status(401),
            &[("authorization", Some("Basic eDp5"))],
        ),
        changed("a token in the query", Status(400), &[(":path", Some(&in_query))]),
        with(
            &hall,
            "two credentials",
            Status(400),
            &[("authorization", "Bearer x")],
        ),
        with(&hall, "another Host", Status(400), &[("host", "evil.example")]),
        with(&hall, "an underscore", Status(400), &[("x_user", "root")]),
    ]);
    Ok(())
}

/// gRPC's failures are 200, which says to a CONNECT that there is a tunnel.
#[test]
fn no_refusal_looks_like_an_agreement() -> Result<()> {
    let (hall, _) = agreeing()?;
    let grpc = ("content-type", Some("application/grpc"));
    let as_grpc = |name: &str, verdict, change| one(&hall, name, verdict, &[grpc, change]);
    hall.judge(&[
        as_grpc("no token", Status(401), ("authorization", None)),
        as_grpc("no rule", Status(405), (":path", Some("/a"))),
        as_grpc("no protocol that is known", Status(405), (":protocol", Some("x"))),
        as_grpc("a dot segment", Status(400), (":path", Some("/./ws"))),
        one(
            &hall,
            "a plain CONNECT",
            Status(405),
            &[grpc, (":protocol", None), (":scheme", None), (":path", None)],
        ),
    ]);
    Ok(())
}

/// What is behind a handshake that came to nothing is nobody's, also where it was asked for and refused.
#[test]
fn without_an_agreement_there_is_no_tunnel() -> Result<()> {
    let hall = Hall::open()?;
    let mut failures = Vec::new();
    for (reply, status) in [
        (
            answer(
                "200 OK",
                &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
                "no",
            ),
            502,
        ),
        (answer("204 No Content", &[], ""), 502),
        (answer("400 Bad Request", &[], "no"), 400),
        (
            answer(
                "404 Not Found",
                &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
                "no",
            ),
            404,
        ),
        (answer("503 Service Unavailable", &[], "no"), 503),
        (
            AGREED
                .replace("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                .into_bytes(),
            502,
        ),
        (AGREED.replace("{accept}", "").into_bytes(), 502),
        (AGREED.replace("websocket", "h2c").into_bytes(), 502),
    ] {
        let name = String::from_utf8_lossy(&reply)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        hall.gate.stand.upstream.script(move |request| {
            let is_handshake = request.target() == "/ws";
            vec![Step::Send(if is_handshake {
                reply.clone()
            } else {
                answer("200 OK", &[], "ok")
            })]
        });
        failures.extend(
            nothing_is_carried(&hall, status)
                .err()
                .map(|error| error.context(name)),
        );
    }
    report(failures.into_iter().map(|error| ("an answer", error)).collect());
    Ok(())
}

fn nothing_is_carried(hall: &Hall, status: u16) -> Result<()> {
    let mut client = hall.connect()?;
    client.send(&[Frame::headers(1, handshake(hall, &[])), data(1, HIDDEN)]);
    let outcome = client.outcome(1)?;
    ensure!(outcome == Outcome::Status(status), "{outcome:?}");
    client.send(&[data(1, HIDDEN)]);
    let lines: Vec<String> = hall.gate.good_request()?.iter().map(Request::line).collect();
    ensure!(lines == ["GET /ws HTTP/1.1"], "arrived: {lines:?}");
    hall.goes_on(&mut client)
}

/// It is bytes between the two of them, on a connection that no other request comes on.
#[test]
fn an_agreed_tunnel_carries_what_it_is_given() -> Result<()> {
    let (hall, _) = agreeing()?;
    let mut client = hall.connect()?;
    client.send(&[Frame::headers(1, handshake(&hall, &[])), data(1, HIDDEN)]);
    let outcome = client.outcome(1)?;
    ensure!(outcome == Outcome::Status(200), "{outcome:?}");
    let arrived = wait::until(Duration::from_secs(10), "what the tunnel was given", || {
        let arrived = hall.gate.stand.upstream.requests();
        (arrived.len() == 2).then_some(arrived)
    })?;
    assert_eq!(arrived[1].raw, HIDDEN, "as it was given, without our token");
    assert_eq!(arrived[0].connection, arrived[1].connection);
    assert_eq!(
        arrived[0].header_all("authorization"),
        [hall.gate.token.restored()]
    );
    for name in [
        "sec-websocket-key",
        "sec-websocket-version",
        "upgrade",
        "connection",
        "host",
    ] {
        assert_eq!(arrived[0].header_all(name).len(), 1, "{name}");
    }
    // A tunnel that has ended leaves no connection for others.
    client.send(&[Frame::cancel(1)]);
    wait::until_true(wait::START, "the tunnel to be gone", || {
        metric(&hall.gate.stand.gateway, "splittoken_gateway_tunnels").is_ok_and(|open| open == 0)
    })?;
    hall.gate.stand.get("/a", &hall.gate.token)?;
    let last = hall.gate.stand.upstream.last()?;
    ensure!(last.connection != arrived[0].connection, "it is used again");
    hall.gate.stand.upstream.take();
    hall.goes_on(&mut client)
}

/// Opened and given up again and again: as good as requests.
#[test]
fn tunnels_that_are_given_up_leave_nothing() -> Result<()> {
    let (hall, handshakes) = agreeing()?;
    beside(&hall.gate, "1,000 tunnels, each given up soon", || {
        let mut client = hall.connect()?;
        for round in 0..20 {
            let first = u32::try_from(100 * round)?;
            let streams = (0..50).map(|at| first + 2 * at + 1);
            let block = handshake(&hall, &[]);
            let opened: Vec<Frame> = streams
                .clone()
                .map(|stream| Frame::headers(stream, block.clone()))
                .collect();
            client.send(&opened);
            wait::until_true(wait::START, "the handshakes to arrive", || {
                handshakes.load(Relaxed) == 50 * (round + 1)
            })?;
            client.send(&streams.map(Frame::cancel).collect::<Vec<_>>());
        }
        Ok(())
    })?;
    wait::until_true(wait::START, "the tunnels to be gone", || {
        let left = |line| metric(&hall.gate.stand.gateway, line).is_ok_and(|number| number == 0);
        left("splittoken_gateway_tunnels")
            && left("splittoken_gateway_requests_in_flight{protocol=\"http2\"}")
    })
}
