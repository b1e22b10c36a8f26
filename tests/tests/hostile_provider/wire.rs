//! Answers that are broken, too large, too late, or none at all.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use splittoken_tests::jwt;
use splittoken_tests::scene::Scene;
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::{Court, JSON, UNTRUSTED, send_and_close};

#[test]
fn answers_that_are_broken_on_the_wire_are_refused() -> Result<()> {
    let court = Court::open()?;
    let body = court.good_body()?;
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let half = &body[..length / 2];
    let zipped = gzip(body.as_bytes());
    let whole = [
        (
            "gzip",
            answer("200 OK", &[("Content-Encoding", "gzip")], &zipped),
            "provider_compressed",
        ),
        (
            "br, it says",
            answer("200 OK", &[("Content-Encoding", "br")], &body),
            "provider_compressed",
        ),
        (
            "twice",
            answer("200 OK", &[("Content-Encoding", "identity, gzip")], &zipped),
            "provider_compressed",
        ),
        (
            "gzip that does not say so",
            answer("200 OK", &[JSON], &zipped),
            "json_syntax",
        ),
        (
            "gzip as transfer",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            )
            .into(),
            "provider_malformed",
        ),
    ];
    for (lie, bytes, reason) in whole {
        court.refuses(lie, vec![Step::Send(bytes)], UNTRUSTED, reason)?;
    }
    for (lie, bytes, reason) in [
        (
            "shorter than it says",
            format!("{head}\r\n{half}").into(),
            "provider_truncated",
        ),
        (
            "no body at all",
            format!("{head}\r\n").into(),
            "provider_truncated",
        ),
        (
            "ends within a chunk",
            format!("{chunked}{length:x}\r\n{half}").into(),
            "provider_truncated",
        ),
        (
            "no last chunk",
            format!("{chunked}{length:x}\r\n{body}\r\n").into(),
            "provider_truncated",
        ),
        ("an empty answer", Vec::new(), "provider_truncated"),
        ("half a head", head.clone().into(), "provider_truncated"),
        (
            "a chunk size that is none",
            format!("{chunked}xyz\r\n{body}\r\n0\r\n\r\n").into(),
            "provider_truncated",
        ),
        (
            "a chunk size beyond any",
            format!("{chunked}fffffffffffffffff\r\n{body}\r\n0\r\n\r\n").into(),
            "provider_truncated",
        ),
        (
            "two lengths",
            format!("{head}Content-Length: 5\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a length below zero",
            format!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        ("not HTTP", format!("{body}\r\n\r\n").into(), "provider_malformed"),
        (
            "HTTP/2",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\xff\xff".to_vec(),
            "provider_malformed",
        ),
        (
            "status 99",
            format!("HTTP/1.1 099 Odd\r\nContent-Length: {length}\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a null byte in a header",
            format!("{head}X-Token: a\0b\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a space in a header's name",
            format!("{head}X Token: a\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a bare CR in a header",
            format!("{head}X-Token: a\rSet-Cookie: b\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "more headers than anyone sends",
            format!("{head}{}\r\n{body}", "X-Token: 1\r\n".repeat(5_000)).into(),
            "provider_malformed",
        ),
        (
            "no end of headers",
            format!("{head}X-Token: {}", "a".repeat(600_000)).into(),
            "provider_malformed",
        ),
    ] {
        court.refuses(lie, send_and_close(bytes), UNTRUSTED, reason)?;
    }
    Ok(())
}

#[test]
fn an_answer_larger_than_256_kib_is_refused() -> Result<()> {
    let court = Court::open()?;
    let token = court.scene.jwt(&json!({}))?;
    let huge = json!({"access_token": token, "x": "a".repeat(256 * 1024)}).to_string();
    let announced = answer("200 OK", &[JSON], &huge);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{huge}\r\n0\r\n\r\n",
        huge.len()
    );
    let endless = [
        Step::send("HTTP/1.1 200 OK\r\n\r\n"),
        Step::send(" ".repeat(300 * 1024)),
        Step::Hold,
    ];
    let whole = |raw: &[u8]| vec![Step::send(raw)];
    court.refuses("announced", whole(&announced), UNTRUSTED, "provider_too_large")?;
    court.refuses(
        "chunked",
        whole(chunked.as_bytes()),
        UNTRUSTED,
        "provider_too_large",
    )?;
    court.refuses("without end", endless.to_vec(), UNTRUSTED, "provider_too_large")?;
    court.refuses(
        "as an error",
        whole(&answer("400 Bad Request", &[JSON], &huge)),
        UNTRUSTED,
        "provider_too_large",
    )?;
    let fits = json!({"access_token": token, "x": "a".repeat(250 * 1024)}).to_string();
    court.scene.provider.answer_json(fits);
    assert_eq!(court.scene.ask()?.status, 200);
    Ok(())
}

#[test]
fn a_provider_that_is_slow_is_given_up_on() -> Result<()> {
    let limit = Duration::from_millis(500);
    let scene = Scene::with_route(|route| route.issuer(&json!({"timeouts": {"request": "500ms"}})))?;
    let token = scene.jwt(&json!({}))?;
    let whole = answer("200 OK", &[JSON], json!({"access_token": token}).to_string());
    let (start, rest) = whole.split_at(whole.len() - 20);
    for (lie, steps) in [
        ("nothing comes", vec![Step::Hold]),
        (
            "the head comes",
            vec![
                Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
                Step::Hold,
            ],
        ),
        (
            "the end comes late",
            vec![Step::send(start), Step::Wait(limit * 4), Step::send(rest)],
        ),
    ] {
        scene.provider.answer_steps(steps);
        let (begun, mark) = (Instant::now(), scene.log_mark());
        let got = scene.ask()?;
        assert_eq!(got.status, 504, "{lie}: {}", got.text());
        assert!(begun.elapsed() >= limit, "{lie}: given up on too early");
        assert!(begun.elapsed() < limit * 10, "{lie}: {:?}", begun.elapsed());
        assert_eq!(
            scene.marks().found_in(&got.raw_body),
            Vec::<String>::new(),
            "{lie}"
        );
        assert_eq!(got.header("cache-control"), Some("no-store"), "{lie}");
        scene.logs_since(mark, "reason=\"provider_timeout\"")?;
        assert_eq!(
            scene.gateway.call("/x", jwt::signature(&token)?)?.status,
            401,
            "{lie}"
        );
        scene.works()?;
    }
    Ok(())
}

#[test]
fn a_provider_that_refuses_connections_is_a_503() -> Result<()> {
    let scene = Scene::start()?;
    let token = scene.works()?;
    let Scene {
        provider, gateway, ..
    } = scene;
    drop(provider);
    let form = [("grant_type", "client_credentials")];
    let got = wait::until(
        Duration::from_secs(10),
        "the end of the provider's connections",
        || gateway.token(None, &form).ok().filter(|got| got.status == 503),
    )?;
    assert_eq!(got.header("retry-after"), Some("1"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.member("error")?, "temporarily_unavailable");
    // The log comes through a pipe, a little later.
    wait::until_true(Duration::from_secs(10), "a word about it in the log", || {
        String::from_utf8_lossy(&gateway.output()).contains("reason=\"provider_unreachable\"")
    })?;
    assert_eq!(
        gateway.call("/x", jwt::signature(&token)?)?.status,
        200,
        "API traffic goes on"
    );
    Ok(())
}

/// Gzip, RFC 1952, with one stored block.
fn gzip(data: &[u8]) -> Vec<u8> {
    let crc = !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let (length, complement) = (length.to_le_bytes(), (!length).to_le_bytes());
    let size = u32::from(u16::from_le_bytes(length)).to_le_bytes();
    [
        &head,
        length.as_slice(),
        &complement,
        data,
        &crc.to_le_bytes(),
        &size,
    ]
    .concat()
}
