//! HTTP/2 towards upstreams: connections are shared, and what comes through is the same as by HTTP/1.1.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Value, json};
use splittoken_tests::hand::Listener;
use splittoken_tests::http2::Http2;
use splittoken_tests::http2_upstream::{Http2Upstream, Reply, Settings, field};
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Stand, Token};
use splittoken_tests::wait;

use super::HOSTS;

/// A gateway of one worker whose only backend is this one, and a token of it.
pub(crate) fn before(backend: &Value, rule: &Value) -> Result<(Stand, Token)> {
    let stand = Stand::built(
        |to| {
            let mut whole = json!({"name": "api", "backendRefs": [backend]});
            for (name, value) in rule.as_object().into_iter().flatten() {
                whole[name] = value.clone();
            }
            Route::new(&to.issuer, &to.upstream)
                .spec(&json!({"hostnames": HOSTS, "rules": [whole]}))
                .into()
        },
        |gateway| gateway.arguments(&["--http2-cleartext", "--threads", "1"]),
    )?;
    let token = stand.token(&json!({}))?;
    Ok((stand, token))
}

fn h2c(url: &str) -> Value {
    json!({"url": url, "protocol": "HTTP2"})
}

fn target(stand: &Stand, path: &str) -> String {
    format!("http://{}{path}", stand.gateway.host())
}

#[test]
fn a_request_by_http_1_comes_through_by_http_2() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = before(&h2c(&upstream.url()), &json!({}))?;
    let host = stand.gateway.host();
    upstream.answer(Reply::Whole(
        201,
        vec![("etag", "\"e\"".to_owned()), ("content-length", "2".to_owned())],
        vec![(Duration::ZERO, Bytes::from_static(b"ok"))],
        Vec::new(),
    ));
    let body = "hello";
    let request = splittoken_tests::stand::request(
        &host,
        "POST /orders?a=%20b",
        &[
            &token.header(),
            "Content-Length: 5",
            "Connection: keep-alive, X-Once",
            "X-Once: 1",
            "TE: gzip",
        ],
        body,
    );
    let answer = stand.gateway.exchange(request)?.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (201, "ok"));
    assert_eq!(answer.header("etag"), Some("\"e\""));
    let seen = upstream.last()?;
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.target, format!("http://{host}/orders?a=%20b"));
    assert_eq!(field(&seen.headers, "authorization")?, token.restored());
    assert_eq!(field(&seen.headers, "content-length")?, "5");
    assert_eq!(field(&seen.headers, "x-forwarded-for")?, "127.0.0.1");
    for absent in ["host", "te", "connection", "x-once", "transfer-encoding"] {
        ensure!(!seen.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(seen.body, b"hello");
    Ok(())
}

#[test]
fn requests_share_a_connection() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = before(&h2c(&upstream.url()), &json!({}))?;
    upstream.answer(Reply::After(Duration::from_millis(300)));
    let client = Http2::connect(stand.gateway.address())?;
    let bearer = format!("Bearer {}", token.opaque);
    let start = Instant::now();
    // As many as a client may have at a time, and as a connection of ours takes.
    for answer in client.get_all(100, &target(&stand, "/"), &[("authorization", &bearer)])? {
        assert_eq!(answer?.status, 200);
    }
    ensure!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(upstream.connections(), 1);
    stand.get("/", &token)?;
    assert_eq!(upstream.connections(), 1);
    Ok(())
}

#[test]
fn where_the_upstream_takes_fewer_there_are_more_connections() -> Result<()> {
    let upstream = Http2Upstream::with(Settings {
        max_streams: Some(10),
        ..Settings::default()
    })?;
    let (stand, token) = before(&h2c(&upstream.url()), &json!({}))?;
    // Long enough for all of them to be there before the first one is answered.
    upstream.answer(Reply::After(Duration::from_secs(5)));
    let client = Http2::connect(stand.gateway.address())?;
    let bearer = format!("Bearer {}", token.opaque);
    for answer in client.get_all(50, &target(&stand, "/"), &[("authorization", &bearer)])? {
        assert_eq!(answer?.status, 200);
    }
    let mut requests = vec![0; upstream.connections()];
    for seen in upstream.seen() {
        requests[seen.connection - 1] += 1;
    }
    println!("requests of each connection: {requests:?}");
    ensure!((5..=6).contains(&requests.len()), "{requests:?}");
    ensure!(requests.iter().all(|requests| *requests <= 11), "{requests:?}");
    Ok(())
}

#[test]
fn a_connection_that_is_left_takes_no_new_request_and_loses_none() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let (stand, token) = before(&h2c(&upstream.url()), &json!({}))?;
    assert_eq!(stand.get("/", &token)?.status, 200);
    upstream.script(|seen| {
        if seen.target.ends_with("/slow") {
            Reply::After(Duration::from_secs(3))
        } else {
            Reply::ok("ok")
        }
    });
    let mut client = Http2::connect(stand.gateway.address())?;
    let bearer = format!("Bearer {}", token.opaque);
    let auth = [("authorization", bearer.as_str())];
    let sent = std::thread::scope(|scope| {
        let slow = scope.spawn(|| stand.get("/slow", &token));
        wait::until_true(wait::START, "the slow request", || upstream.seen().len() == 2)?;
        upstream.leave();
        let mut sent = 2;
        // The gateway may not have heard of it yet: until then the upstream serves what comes on that connection.
        while upstream.connections() == 1 {
            // A POST without a body is nothing to be sent twice.
            let next = client.call("POST", &target(&stand, "/next"), &auth, "")?;
            assert_eq!(next.status, 200);
            sent += 1;
        }
        ensure!(!slow.is_finished(), "it was not left while it was in use");
        assert_eq!(slow.join().expect("no panic")?.status, 200);
        Ok(sent)
    })?;
    let seen = upstream.seen();
    let connections: Vec<usize> = seen.iter().map(|seen| seen.connection).collect();
    ensure!(
        seen.len() == sent && upstream.connections() == 2,
        "{sent} sent, on {connections:?}"
    );
    Ok(())
}

/// Frames of HTTP/2, RFC 9113 section 6: an empty SETTINGS, and answers to the first stream.
mod frames {
    pub(super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    pub(super) const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    pub(super) const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// HEADERS that end the stream, with `:status: 200`.
    pub(super) const OK: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
    /// The type, flags and stream of a request without a body.
    pub(super) const REQUEST: &[u8] = &[1, 5, 0, 0, 0, 1];
}

#[test]
fn what_an_upstream_has_not_looked_at_goes_to_another_connection() -> Result<()> {
    for refusal in [frames::REFUSED, frames::GOAWAY] {
        let upstream = Listener::start()?;
        let (stand, token) = before(&h2c(&upstream.url()), &json!({}))?;
        let bearer = format!("Bearer {}", token.opaque);
        let auth = [("authorization", bearer.as_str())];
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut client = Http2::connect(stand.gateway.address())?;
                client.call("POST", &target(&stand, "/"), &auth, "")
            });
            let mut first = upstream.accept()?;
            first.send(frames::SETTINGS)?;
            first.until(frames::REQUEST)?;
            first.send(refusal)?;
            let mut second = upstream.accept()?;
            second.send(frames::SETTINGS)?;
            second.until(frames::REQUEST)?;
            second.send(frames::OK)?;
            assert_eq!(asking.join().expect("no panic")?.status, 200);
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

/// With a peer that says nothing, requests time out; the connection must not be everybody's until it is old.
#[test]
fn a_connection_that_answers_nobody_is_left() -> Result<()> {
    let upstream = Listener::start()?;
    let rule = json!({"timeouts": {"backendRequest": "2s", "request": "2s"}, "retries": {"maxRetries": 0}});
    let (stand, token) = before(&h2c(&upstream.url()), &rule)?;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            (0..3)
                .map(|_| stand.get("/", &token).map(|answer| answer.status))
                .collect()
        });
        let mut first = upstream.accept()?;
        first.send(frames::SETTINGS)?;
        let statuses: Vec<Result<u16>> = asking.join().expect("no panic");
        for status in statuses {
            assert_eq!(status?, 504);
        }
        let again = scope.spawn(|| stand.get("/", &token));
        let mut second = upstream.accept()?;
        second.send(frames::SETTINGS)?;
        second.until(frames::REQUEST)?;
        second.send(frames::OK)?;
        assert_eq!(again.join().expect("no panic")?.status, 200);
        anyhow::Ok(())
    })
}

#[test]
fn who_does_not_speak_http_2_is_a_bad_gateway() -> Result<()> {
    let stand = Stand::built(
        |to| {
            let rules = json!([{"name": "api", "backendRefs": [h2c(&to.upstream)]}]);
            Route::new(&to.issuer, &to.upstream)
                .spec(&json!({"rules": rules}))
                .into()
        },
        |gateway| gateway,
    )?;
    let token = stand.token(&json!({}))?;
    stand
        .upstream
        .answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let answer = stand.get("/", &token)?;
    ensure!([502, 504].contains(&answer.status), "{}", answer.status);
    Ok(())
}

#[test]
fn trailers_pass_both_ways_but_not_what_means_something_as_a_header() -> Result<()> {
    let upstream = Http2Upstream::start()?;
    let rule = json!({
        "claimsToHeaders": [{"claim": "sub", "header": "X-User"}],
        "requestHeaders": {"set": [{"name": "X-Ours", "value": "1"}], "remove": ["X-Unwanted"]},
    });
    let (stand, token) = before(&h2c(&upstream.url()), &rule)?;
    upstream.answer(Reply::Whole(
        200,
        Vec::new(),
        vec![(Duration::ZERO, Bytes::from_static(b"ok"))],
        vec![("x-sum", "2".to_owned()), ("set-cookie", "a=b".to_owned())],
    ));
    let mut client = Http2::connect(stand.gateway.address())?;
    let bearer = format!("Bearer {}", token.opaque);
    let auth = [("authorization", bearer.as_str()), ("te", "trailers")];
    // Both ends at once: the answer comes when the body has ended.
    let names = [
        "x-sum",
        "authorization",
        "host",
        "content-length",
        "cookie",
        "x-forwarded-for",
        "x-user",
        "x-ours",
        "x-unwanted",
        "x_user",
        "forwarded",
    ];
    let trailers = names
        .iter()
        .map(|name| (name.parse().expect("a name"), "1".parse().expect("a value")));
    let frames = vec![
        Frame::data(Bytes::from_static(b"hello")),
        Frame::trailers(trailers.collect()),
    ];
    let (_, trailers) = client.send(&target(&stand, "/"), &auth, frames)?.rest()?;
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert_eq!(field(&trailers, "x-sum")?, "2");
    let seen = upstream.last()?;
    assert_eq!(seen.body, b"hello");
    assert_eq!(seen.trailers.len(), 1, "{:?}", seen.trailers);
    assert_eq!(field(&seen.trailers, "x-sum")?, "1");
    assert_eq!(field(&seen.headers, "te")?, "trailers");
    assert_eq!(field(&seen.headers, "x-user")?, "mallory");
    Ok(())
}
