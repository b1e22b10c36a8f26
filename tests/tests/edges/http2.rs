//! HTTP/2: the same rules as for HTTP/1.1, whatever form a request comes in.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::http2::Http2;
use splittoken_tests::stand::{Stand, Token};
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::stand;

/// A gateway that takes both versions on one port, and a token of it.
fn both() -> Result<(Stand, Token)> {
    let stand = stand(&["--http2-cleartext"])?;
    let token = stand.token(&json!({}))?;
    Ok((stand, token))
}

type Headers<'h> = Vec<(&'h str, &'h str)>;

fn target(stand: &Stand, path: &str) -> String {
    format!("http://{}{path}", stand.gateway.host())
}

#[test]
fn both_versions_are_served_on_one_port_where_that_is_wanted() -> Result<()> {
    let (stand, token) = both()?;
    let header = format!("Bearer {}", token.opaque);
    let mut client = Http2::connect(stand.gateway.address())?;
    let answer = client.get(&target(&stand, "/orders?a=b"), &[("authorization", &header)])?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let seen = stand.upstream.last()?;
    assert_eq!(seen.header("authorization"), Some(token.restored()));
    assert_eq!(seen.header("host"), Some(stand.gateway.host()));
    assert_eq!(seen.target(), "/orders?a=b");
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(stand.get("/orders", &token)?.status, 200);
    Ok(())
}

#[test]
fn without_the_setting_it_is_a_bad_request() -> Result<()> {
    let stand = stand(&[])?;
    let refused = Http2::connect(stand.gateway.address())
        .and_then(|mut client| client.get(&target(&stand, "/orders"), &[]));
    ensure!(refused.is_err(), "{refused:?}");
    ensure!(stand.upstream.requests().is_empty(), "it came through");
    Ok(())
}

#[test]
fn a_token_is_asked_for() -> Result<()> {
    let (stand, _) = both()?;
    let jwt = stand
        .key
        .token(&stand.provider.claims(&json!({"jti": "by HTTP/2"})))?;
    stand.provider.answer_token(&jwt);
    let mut client = Http2::connect(stand.gateway.address())?;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = client.call(
        "POST",
        &target(&stand, "/oauth/token"),
        &[form],
        "grant_type=client_credentials",
    )?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let header = format!("Bearer {}", answer.member("access_token")?);
    let called = client.get(&target(&stand, "/orders"), &[("authorization", &header)])?;
    assert_eq!(called.status, 200);
    assert_eq!(
        stand.upstream.last()?.header("authorization"),
        Some(format!("Bearer {jwt}"))
    );
    Ok(())
}

/// Each on a connection of its own, and a good one afterwards.
#[test]
fn the_gate_is_the_same() -> Result<()> {
    let (stand, token) = both()?;
    let bearer = format!("Bearer {}", token.opaque);
    let auth = ("authorization", bearer.as_str());
    let many: Vec<String> = (0..100).map(|number| format!("x-{number}")).collect();
    let mut many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(auth);
    let host = stand.gateway.host();
    let cases: Vec<(&str, u16, &str, String, Headers<'_>)> = vec![
        (
            "another Host",
            400,
            "GET",
            target(&stand, "/"),
            vec![auth, ("host", "other.example")],
        ),
        (
            "an empty Host",
            400,
            "GET",
            target(&stand, "/"),
            vec![auth, ("host", "")],
        ),
        (
            "a user in the authority",
            400,
            "GET",
            format!("http://me@{host}/"),
            vec![auth],
        ),
        (
            "an unknown host",
            404,
            "GET",
            "http://nobody.example/".to_owned(),
            vec![auth],
        ),
        (
            "two credentials",
            400,
            "GET",
            target(&stand, "/"),
            vec![auth, auth],
        ),
        (
            "an underscore",
            400,
            "GET",
            target(&stand, "/"),
            vec![auth, ("x_user", "root")],
        ),
        ("too many headers", 431, "GET", target(&stand, "/"), many),
        ("a dot segment", 400, "GET", target(&stand, "/a/../b"), vec![auth]),
        (
            "an encoded slash",
            400,
            "GET",
            target(&stand, "/a%2fb"),
            vec![auth],
        ),
        ("an empty segment", 400, "GET", target(&stand, "//a"), vec![auth]),
        (
            "a token in the query",
            400,
            "GET",
            target(&stand, "/?access_token=x"),
            vec![auth],
        ),
        ("TRACE", 405, "TRACE", target(&stand, "/"), vec![auth]),
        ("no credentials", 401, "GET", target(&stand, "/"), vec![]),
        (
            "a whole JWT",
            401,
            "GET",
            target(&stand, "/"),
            vec![("authorization", "Bearer a.b.c")],
        ),
        (
            "a token request by GET",
            405,
            "GET",
            target(&stand, "/oauth/token"),
            vec![],
        ),
    ];
    let at_root = target(&stand, "/");
    for (what, status, method, target, headers) in cases {
        let mut client = Http2::connect(stand.gateway.address())?;
        let answer = client.call(method, &target, &headers, "")?;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        ensure!(
            answer.header("connection").is_none(),
            "{what}: a Connection header"
        );
        ensure!(stand.upstream.take().is_empty(), "{what} came through");
        let good = client.get(&at_root, &[auth])?;
        assert_eq!(good.status, 200, "after {what}");
        ensure!(stand.upstream.take().len() == 1, "{what}");
    }
    Ok(())
}

#[test]
fn what_only_http_2_has_is_put_in_the_form_of_http_1() -> Result<()> {
    let (stand, token) = both()?;
    let bearer = format!("Bearer {}", token.opaque);
    let mut client = Http2::connect(stand.gateway.address())?;
    let headers = [
        ("authorization", bearer.as_str()),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let sent = vec![b'x'; 300_000];
    let answer = client.call("POST", &target(&stand, "/orders"), &headers, sent.clone())?;
    assert_eq!(answer.status, 200);
    let seen = stand.upstream.last()?;
    assert_eq!(seen.header("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(seen.header("te"), None);
    assert_eq!(seen.header("forwarded"), None);
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    ensure!(seen.body() == sent, "{} bytes", seen.body().len());
    Ok(())
}

#[test]
fn answers_come_back_as_they_are() -> Result<()> {
    let (stand, token) = both()?;
    let bearer = format!("Bearer {}", token.opaque);
    let auth = [("authorization", bearer.as_str())];
    let mut client = Http2::connect(stand.gateway.address())?;
    let large = "y".repeat(2_000_000);
    stand.upstream.answer(answer(
        "200 OK",
        &[("ETag", "\"e\""), ("Connection", "keep-alive")],
        &large,
    ));
    let all = client.get(&target(&stand, "/orders"), &auth)?;
    ensure!(all.text() == large, "{} bytes", all.body.len());
    assert_eq!(all.header("etag"), Some("\"e\""));
    assert_eq!(all.header("connection"), None);
    stand
        .upstream
        .answer(answer("304 Not Modified", &[("Content-Length", "5")], ""));
    let unchanged = client.get(&target(&stand, "/orders"), &auth)?;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    stand.upstream.answer(answer("200 OK", &[], "ok"));
    let head = client.call("HEAD", &target(&stand, "/orders"), &auth, "")?;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2")));
    Ok(())
}

#[test]
fn a_hundred_requests_go_side_by_side() -> Result<()> {
    let (stand, token) = both()?;
    let bearer = format!("Bearer {}", token.opaque);
    let slow = Duration::from_millis(300);
    stand
        .upstream
        .steps(vec![Step::Wait(slow), Step::send(answer("200 OK", &[], "ok"))]);
    let client = Http2::connect(stand.gateway.address())?;
    let start = std::time::Instant::now();
    let answers = client.get_all(250, &target(&stand, "/orders"), &[("authorization", &bearer)])?;
    for answer in answers {
        assert_eq!(answer?.status, 200);
    }
    // One after the other it would be more than a minute.
    println!("250 requests of 300 ms on one connection: {:?}", start.elapsed());
    ensure!(start.elapsed() < Duration::from_secs(30), "one after the other");
    Ok(())
}

/// Nobody waits for what nobody wants, and the connection is as good as before.
#[test]
fn a_request_that_is_given_up_ends_at_the_upstream_too() -> Result<()> {
    let (stand, token) = both()?;
    let bearer = format!("Bearer {}", token.opaque);
    let auth = [("authorization", bearer.as_str())];
    stand.upstream.steps(vec![Step::Hold]);
    let mut client = Http2::connect(stand.gateway.address())?;
    for _ in 0..5 {
        client.give_up(&target(&stand, "/orders"), &auth, Duration::from_millis(100))?;
    }
    stand.upstream.answer(answer("200 OK", &[], "ok"));
    assert_eq!(client.get(&target(&stand, "/orders"), &auth)?.status, 200);
    let in_use = || {
        stand
            .gateway
            .admin("/metrics")
            .map(|answer| answer.text())
            .unwrap_or_default()
    };
    wait::until_true(wait::START, "one connection to be open", || {
        in_use().contains("splittoken_gateway_connections 1")
    })
}
