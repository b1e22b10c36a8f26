//! gRPC through the gateway: its calls, its trailers, and the gateway's own failures in its form.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::HeaderMap;
use serde_json::{Value, json};
use splittoken_tests::http2::Http2;
use splittoken_tests::http2_upstream::{Http2Upstream, Reply, field};
use splittoken_tests::ports;
use splittoken_tests::stand::{Stand, Token};

use super::upstream_http2::before;

const PATH: &str = "/shop.Orders/Get";

/// A message with its length before it.
fn message(text: &str) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(text.len()).expect("a short text"));
    framed.put_slice(text.as_bytes());
    framed.freeze()
}

fn shop(upstream: &str, rule: &Value) -> Result<(Stand, Token)> {
    before(&json!({"url": upstream, "protocol": "HTTP2"}), rule)
}

fn headers(bearer: &str) -> [(&str, &str); 3] {
    [
        ("authorization", bearer),
        ("content-type", "application/grpc+proto"),
        ("te", "trailers"),
    ]
}

fn target(stand: &Stand) -> String {
    format!("http://{}{PATH}", stand.gateway.host())
}

#[test]
fn a_call_gets_its_answer_and_its_trailers() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = shop(&upstream.url(), &json!({}))?;
    upstream.answer(Reply::Whole(
        200,
        vec![("content-type", "application/grpc+proto".to_owned())],
        vec![(Duration::ZERO, message("an order"))],
        vec![
            ("grpc-status", "0".to_owned()),
            ("grpc-message", "fine".to_owned()),
        ],
    ));
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = Http2::connect(stand.gateway.address())?;
    let call = vec![Frame::data(message("which?"))];
    let answer = client.send(&target(&stand), &headers(&bearer), call)?;
    assert_eq!(answer.status(), 200);
    assert_eq!(field(answer.headers(), "content-type")?, "application/grpc+proto");
    let (body, trailers) = answer.rest()?;
    ensure!(body == message("an order"));
    assert_eq!(field(&trailers, "grpc-status")?, "0");
    assert_eq!(field(&trailers, "grpc-message")?, "fine");
    let seen = upstream.last()?;
    ensure!(seen.body == message("which?"));
    assert_eq!(field(&seen.headers, "te")?, "trailers");
    assert_eq!(field(&seen.headers, "content-type")?, "application/grpc+proto");
    assert_eq!(field(&seen.headers, "authorization")?, token.restored());
    Ok(())
}

/// An upstream's own failure is its own: trailers only.
#[test]
fn the_upstream_s_own_failures_stay_as_they_are() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = shop(&upstream.url(), &json!({}))?;
    upstream.answer(Reply::Whole(
        200,
        vec![
            ("content-type", "application/grpc".to_owned()),
            ("grpc-status", "5".to_owned()),
            ("grpc-message", "no such order".to_owned()),
        ],
        Vec::new(),
        Vec::new(),
    ));
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = Http2::connect(stand.gateway.address())?;
    let call = vec![Frame::data(message("which?"))];
    let answer = client.send(&target(&stand), &headers(&bearer), call)?;
    assert_eq!(field(answer.headers(), "grpc-status")?, "5");
    assert_eq!(field(answer.headers(), "grpc-message")?, "no such order");
    Ok(())
}

/// Each message is sent only when the answer to the one before has come.
#[test]
fn both_sides_of_a_stream_are_open_at_once() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = shop(&upstream.url(), &json!({}))?;
    upstream.answer(Reply::Echo("application/grpc"));
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = Http2::connect(stand.gateway.address())?;
    let (sender, mut answer) = client.stream(&target(&stand), &headers(&bearer))?;
    for number in 0..20 {
        let sent = message(&format!("message {number}"));
        sender.send(Frame::data(sent.clone())).context("nobody listens")?;
        let came = answer.piece()?.context("an end")?.into_data();
        ensure!(came.is_ok_and(|came| came == sent), "message {number}");
    }
    let status = [("grpc-status".parse()?, "0".parse()?)];
    let status = Frame::trailers(status.into_iter().collect());
    sender.send(status).context("nobody listens")?;
    drop(sender);
    let (body, trailers) = answer.rest()?;
    ensure!(body.is_empty());
    assert_eq!(field(&trailers, "grpc-status")?, "0");
    Ok(())
}

fn failed(stand: &Stand, headers: &[(&str, &str)]) -> Result<(u16, HeaderMap, Vec<u8>)> {
    let mut client = Http2::connect(stand.gateway.address())?;
    let call = vec![Frame::data(message("which?"))];
    let answer = client.send(&target(stand), headers, call)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let (body, trailers) = answer.rest()?;
    ensure!(trailers.is_empty(), "{trailers:?}");
    Ok((status, headers, body))
}

#[test]
fn the_gateway_s_own_failures_are_told_in_the_form_of_grpc() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    let scoped = json!({"authorization": {"scopes": ["orders:read"]}});
    let (good, token) = shop(&upstream.url(), &scoped)?;
    let (lost, token_of_lost) = shop(&nobody, &json!({}))?;
    let cases = [
        ("no token", &good, None, "16", Some("Bearer realm=")),
        (
            "a bad token",
            &good,
            Some("Bearer x".to_owned()),
            "16",
            Some("error=\"invalid_token\""),
        ),
        (
            "a scope is missing",
            &good,
            Some(format!("Bearer {}", token.opaque)),
            "7",
            Some("scope=\"orders:read\""),
        ),
        (
            "no upstream",
            &lost,
            Some(format!("Bearer {}", token_of_lost.opaque)),
            "14",
            None,
        ),
    ];
    for (what, stand, bearer, code, challenge) in cases {
        let mut sent = vec![("content-type", "application/grpc"), ("te", "trailers")];
        sent.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let (status, headers, body) = failed(stand, &sent)?;
        assert_eq!((status, body.len()), (200, 0), "{what}");
        assert_eq!(field(&headers, "grpc-status")?, code, "{what}");
        assert_eq!(field(&headers, "content-type")?, "application/grpc", "{what}");
        ensure!(!field(&headers, "grpc-message")?.is_empty(), "{what}");
        let challenged = headers.get("www-authenticate");
        let challenged = challenged.map(|value| value.to_str()).transpose()?;
        assert_eq!(challenged.is_some(), challenge.is_some(), "{what}");
        let wanted = challenge.unwrap_or_default();
        ensure!(
            challenged.unwrap_or_default().contains(wanted),
            "{what}: {challenged:?}"
        );
    }
    ensure!(upstream.seen().is_empty(), "something came through");
    // Whoever does not speak gRPC is told as ever.
    assert_eq!(good.ask(&format!("GET {PATH}"), &[])?.status, 401);
    let metrics = good.gateway.admin("/metrics")?.text();
    ensure!(metrics.contains("no_credentials"), "{metrics}");
    Ok(())
}
