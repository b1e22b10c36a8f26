//! Tunnels: bytes go through one only after the upstream has agreed to it, and what is no tunnel is a request.

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Case, Gate};
use splittoken_tests::wire::{Step, answer};

use super::strict_and_lenient;

const HANDSHAKE: &str = "GET /ws HTTP/1.1⏎Host: {host}⏎{auth}⏎Connection: Upgrade⏎Upgrade: websocket⏎\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎Sec-WebSocket-Version: 13⏎";
const LINE: &str = "GET /ws HTTP/1.1";

/// What an attacker would like to get past the gate: a path that the token is no good for.
const HIDDEN: &str = "GET /admin HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
const HIDDEN_LINE: &str = "GET /admin HTTP/1.1";

/// From now on a handshake is answered with this.
fn answers(gate: &Gate, raw: &[u8]) {
    let raw = raw.to_vec();
    gate.stand.upstream.script(move |request| {
        let is_handshake = request.target() == "/ws";
        vec![Step::Send(if is_handshake {
            raw.clone()
        } else {
            answer("200 OK", &[], "ok")
        })]
    });
}

fn agreed(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n").into_bytes()
}

/// What follows a handshake that came to nothing passes the gate like any request.
#[test]
fn without_an_agreement_there_is_no_tunnel() -> Result<()> {
    let gate = strict_and_lenient()?;
    let sent = format!("{HANDSHAKE}⏎{HIDDEN}");
    for status in [
        "200 OK",
        "400 Bad Request",
        "404 Not Found",
        "426 Upgrade Required",
        "503 Service Unavailable",
    ] {
        for fields in [&[][..], &[("Upgrade", "websocket"), ("Connection", "Upgrade")]] {
            answers(&gate, &answer(status, fields, "no"));
            let code = status[..3].parse()?;
            // The path behind it takes a scope.
            let case = Case::answered(status, &[code, 403], format!("{sent}GET / HTTP/1.1⏎⏎"));
            let case = case.then(&[400]).arriving(&[LINE]);
            gate.judge(&[case]);
        }
    }
    Ok(())
}

/// 101 to another protocol, or to none, is no answer at all.
#[test]
fn an_agreement_is_to_websocket() -> Result<()> {
    let gate = strict_and_lenient()?;
    for fields in [
        "",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: evil\r\n",
    ] {
        answers(&gate, &agreed(fields));
        let case = Case::denied(fields, 502, format!("{HANDSHAKE}⏎")).arriving(&[LINE]);
        gate.judge(&[case]);
    }
    Ok(())
}

/// A handshake that is not whole stays a request, whatever the upstream would agree to, and what is behind it another.
#[test]
fn what_is_no_handshake_opens_nothing() -> Result<()> {
    let gate = strict_and_lenient()?;
    answers(&gate, &answer("200 OK", &[], "ok"));
    let whole = format!("{HANDSHAKE}⏎");
    let changed = |from: &str, to: &str| whole.replacen(from, to, 1);
    let heads = [
        ("another version", changed("Version: 13", "Version: 777")),
        (
            "two versions",
            changed("Version: 13", "Version: 13⏎Sec-WebSocket-Version: 8"),
        ),
        (
            "no key",
            changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==⏎", ""),
        ),
        (
            "two keys",
            changed(
                "Sec-WebSocket-Version",
                "Sec-WebSocket-Key: eA==⏎Sec-WebSocket-Version",
            ),
        ),
        (
            "h2c",
            changed("Upgrade: websocket", "Upgrade: h2c⏎HTTP2-Settings: AAMAAABk"),
        ),
        ("a list", changed("Upgrade: websocket", "Upgrade: websocket, h2c")),
        (
            "twice",
            changed("Upgrade: websocket", "Upgrade: websocket⏎Upgrade: h2c"),
        ),
        (
            "a word before it",
            changed("Upgrade: websocket", "Upgrade: x-websocket"),
        ),
        (
            "not in Connection",
            changed("Connection: Upgrade", "Connection: keep-alive"),
        ),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0")),
    ];
    for (name, head) in &heads {
        let is_last = name.starts_with("HTTP/1.0");
        let case = Case::passed(*name, LINE, head.clone());
        gate.judge_with(&[case], |_, request| {
            ensure!(request.header("upgrade").is_none(), "Upgrade arrived");
            ensure!(
                request.header("http2-settings").is_none(),
                "HTTP2-Settings arrived"
            );
            Ok(())
        });
        if !is_last {
            let behind = format!("{head}{HIDDEN}GET / HTTP/1.1⏎⏎");
            gate.judge(&[Case::answered(*name, &[200, 403, 400], behind).arriving(&[LINE])]);
        }
    }
    Ok(())
}

#[test]
fn a_handshake_passes_the_gate() -> Result<()> {
    let gate = strict_and_lenient()?;
    answers(&gate, &agreed("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    let whole = format!("{HANDSHAKE}⏎");
    let changed = |from: &str, to: &str| format!("{}{HIDDEN}", whole.replacen(from, to, 1));
    gate.judge(&[
        Case::refused("no Host", 400, changed("Host: {host}⏎", "")),
        Case::refused(
            "Connection names a credential",
            400,
            changed("Connection: Upgrade", "Connection: Upgrade, Authorization"),
        ),
        Case::refused("two credentials", 400, changed("{auth}⏎", "{auth}⏎{auth}⏎")),
        Case::refused("a dot segment", 400, changed("/ws", "/public/../ws")),
        Case::refused(
            "an unknown coding",
            400,
            changed("Connection", "Transfer-Encoding: x⏎Connection"),
        ),
        Case::refused("CONNECT", 405, changed("GET", "CONNECT")),
        Case::denied("no token", 401, whole.replacen("{auth}⏎", "", 1)),
        Case::denied(
            "a bad token",
            401,
            whole.replacen("{auth}", "Authorization: Bearer x", 1),
        ),
        Case::denied(
            "a token in the query",
            400,
            whole.replacen("/ws", "/ws?access_token={token}", 1),
        ),
    ]);
    Ok(())
}

/// Only now is it between the two of them.
#[test]
fn an_agreed_tunnel_carries_what_it_is_given() -> Result<()> {
    let gate = strict_and_lenient()?;
    answers(
        &gate,
        &agreed("Connection: Upgrade\r\nUpgrade: websocket\r\nX-Accel: y\r\n"),
    );
    let tunnel = Case::denied("a tunnel", 101, format!("{HANDSHAKE}⏎{HIDDEN}"));
    gate.judge(&[tunnel.then(&[200]).arriving(&[LINE, HIDDEN_LINE])]);
    Ok(())
}

/// RFC 6455 §4.1: a handshake has no body, which could end in one place for one and in another for the other.
#[test]
fn a_handshake_with_a_body_opens_nothing() -> Result<()> {
    let gate = strict_and_lenient()?;
    answers(&gate, &answer("200 OK", &[], "ok"));
    for body in [
        "Content-Length: 3⏎⏎abc",
        "Transfer-Encoding: chunked⏎⏎3⏎abc⏎0⏎⏎",
        "Content-Length: 0⏎⏎",
        "Transfer-Encoding: chunked⏎⏎0⏎⏎",
    ] {
        let behind = format!("{HANDSHAKE}{body}{HIDDEN}GET / HTTP/1.1⏎⏎");
        gate.judge_with(
            &[Case::answered(body, &[200, 403, 400], behind).arriving(&[LINE])],
            |_, request| {
                ensure!(
                    body.starts_with("Content-Length: 0") || request.header("upgrade").is_none(),
                    "Upgrade arrived"
                );
                Ok(())
            },
        );
    }
    Ok(())
}
