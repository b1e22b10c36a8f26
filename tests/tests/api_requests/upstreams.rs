//! Connections to upstreams: kept, replaced when they are stale, tried again where that is harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::raw::Client;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::wire::{Step, answer};

use super::{routes, stand};

#[test]
fn one_connection_serves_many_requests() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--threads", "1"]))?;
    let token = stand.token(&json!({}))?;
    for _ in 0..50 {
        assert_eq!(stand.get("/orders", &token)?.status, 200);
    }
    assert_eq!(stand.upstream.connections(), 1);
    Ok(())
}

#[test]
fn a_connection_is_kept_after_every_kind_of_answer() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--threads", "1"]))?;
    for (line, raw) in [
        (
            "GET /open",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        ("HEAD /open", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("GET /open", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET /open",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        ),
        ("GET /open", "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"),
        ("GET /open", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        stand.upstream.answer(raw);
        assert!(stand.ask(line, &[])?.status < 502, "{raw}");
        assert_eq!(stand.upstream.connections(), 1, "before or at {raw}");
    }
    Ok(())
}

#[test]
fn an_upstream_that_asks_for_a_close_gets_it() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--threads", "1"]))?;
    stand
        .upstream
        .answer(answer("200 OK", &[("Connection", "close")], "ok"));
    for _ in 0..5 {
        assert_eq!(stand.ask("GET /open", &[])?.status, 200);
    }
    assert_eq!(stand.upstream.connections(), 5);
    Ok(())
}

/// An upstream that closes after each answer, without a word: the next request finds a dead connection.
#[test]
fn a_stale_connection_is_replaced_unseen() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--threads", "1"]))?;
    let token = stand.token(&json!({}))?;
    stand
        .upstream
        .steps(vec![Step::Send(answer("200 OK", &[], "ok")), Step::Close]);
    let mut client = Client::connect(stand.gateway.address())?;
    for number in 0..200 {
        client.send(request(
            &stand.gateway.host(),
            "GET /orders",
            &[&token.header()],
            "",
        ))?;
        let answer = client.read()?.context("no answer")?;
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
    }
    Ok(())
}

/// Dies so often before it answers.
fn dying(stand: &Stand, times: usize) {
    let left = Arc::new(AtomicUsize::new(times));
    stand.upstream.script(move |_| {
        let dies = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        vec![if dies {
            Step::Close
        } else {
            Step::Send(answer("200 OK", &[], "ok"))
        }]
    });
}

#[test]
fn only_what_is_harmless_is_tried_again() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    for (line, body, deaths, status, tries) in [
        ("GET /orders", None, 1, 200, 2),
        ("HEAD /orders", None, 1, 200, 2),
        ("DELETE /orders", None, 1, 200, 2),
        ("OPTIONS /orders", None, 1, 200, 2),
        ("PUT /orders", Some(""), 1, 200, 2),
        ("GET /orders", None, 2, 502, 2),
        ("GET /once", None, 1, 502, 1),
        ("GET /thrice", None, 3, 200, 4),
        ("GET /thrice", None, 4, 502, 4),
        ("POST /orders", None, 1, 502, 1),
        ("POST /thrice", Some("body"), 1, 502, 1),
        ("PATCH /thrice", None, 1, 502, 1),
        ("PUT /thrice", Some("body"), 1, 502, 1),
        ("GET /thrice", Some("body"), 1, 502, 1),
    ] {
        renew(&stand, &token)?;
        dying(&stand, deaths);
        let authorization = token.header();
        let length = format!("Content-Length: {}", body.unwrap_or_default().len());
        let headers: Vec<_> = body
            .iter()
            .map(|_| length.as_str())
            .chain([authorization.as_str()])
            .collect();
        let mut client = Client::connect(stand.gateway.address())?;
        client.send(request(
            &stand.gateway.host(),
            line,
            &headers,
            body.unwrap_or_default(),
        ))?;
        let is_head = line.starts_with("HEAD");
        let answer = if is_head {
            client.read_head()?
        } else {
            client.read()?
        };
        assert_eq!(
            answer.context("no answer")?.status,
            status,
            "{line} {body:?}, {deaths} deaths"
        );
        assert_eq!(
            stand.upstream.take().len(),
            tries,
            "{line} {body:?}, {deaths} deaths"
        );
    }
    Ok(())
}

/// Leaves no kept connections, whose deaths would not count as tries.
fn renew(stand: &Stand, token: &Token) -> Result<()> {
    stand
        .upstream
        .answer(answer("200 OK", &[("Connection", "close")], "ok"));
    for _ in 0..8 {
        assert_eq!(stand.get("/orders", token)?.status, 200);
    }
    stand.upstream.take();
    Ok(())
}

#[test]
fn an_upstream_that_switches_protocols_unasked_is_a_502() -> Result<()> {
    let stand = stand()?;
    stand.upstream.answer(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nsecret",
    );
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
    for headers in [&[][..], &upgrade] {
        let answer = stand.ask("GET /open", headers)?;
        assert_eq!(answer.status, 502);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    Ok(())
}

#[test]
fn garbage_from_an_upstream_is_a_502() -> Result<()> {
    let stand = stand()?;
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    for raw in [
        "garbage\r\n\r\n",
        "\r\n\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\u{0}c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-",
        "",
        &long,
    ] {
        stand.upstream.steps(vec![Step::send(raw), Step::Close]);
        let answer = stand.ask("POST /open", &[])?;
        let shown: String = raw.chars().take(80).collect();
        assert_eq!(answer.status, 502, "{shown:?}: {}", answer.text());
        stand
            .upstream
            .answer(splittoken_tests::wire::answer("200 OK", &[], "ok"));
        assert_eq!(stand.ask("GET /open", &[])?.status, 200, "after {shown:?}");
    }
    Ok(())
}

/// A transfer coding that is taken off without being undone would leave bytes that nobody can read.
#[test]
fn an_answer_in_a_coding_that_we_do_not_know_is_a_502() -> Result<()> {
    let stand = stand()?;
    for coding in ["gzip, chunked", "gzip", "xchunked"] {
        let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        stand.upstream.steps(vec![Step::send(raw), Step::Close]);
        assert_eq!(stand.ask("POST /open", &[])?.status, 502, "{coding}");
    }
    Ok(())
}

/// What comes after an answer on the upstream's connection belongs to nobody.
#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--threads", "1"]))?;
    let mut both = answer("200 OK", &[], "first");
    both.extend_from_slice(&answer("200 OK", &[], "for somebody else"));
    stand.upstream.answer(both);
    for _ in 0..20 {
        let answer = stand.ask("GET /open", &[])?;
        assert!(
            matches!((answer.status, answer.text().as_str()), (200, "first") | (502, _)),
            "{}",
            answer.text()
        );
    }
    Ok(())
}
