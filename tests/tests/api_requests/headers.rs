//! Which header fields travel on, in both directions.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::raw;
use splittoken_tests::stand::{Stand, request};

use super::{routes, stand};

/// Names by which upstreams know a person, where a request came from or where it goes.
const SPOOFED: [&str; 28] = [
    "X-Shop-User",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Prefix",
    "X-Forwarded-Port",
    "X-Real-IP",
    "Forwarded",
    "Remote-User",
    "X-Remote-User",
    "X-WebAuth-User",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Authenticated-Scope",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Userinfo",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Original-URL",
    "X-Rewrite-URL",
];

#[test]
fn what_only_the_gateway_may_say_is_taken_from_clients() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({"sub": "alice"}))?;
    let mut lines: Vec<_> = SPOOFED.iter().map(|name| format!("{name}: root")).collect();
    lines.extend(
        SPOOFED
            .iter()
            .map(|name| format!("{}: root", name.to_uppercase())),
    );
    lines.push(token.header());
    let headers: Vec<_> = lines.iter().map(String::as_str).collect();
    // With a rule that sets one of them, without, and where no token is asked for.
    for (path, user) in [
        ("/claims", &["alice"][..]),
        ("/orders", &[]),
        ("/open", &[]),
        ("/maybe", &[]),
    ] {
        assert_eq!(stand.ask(&format!("GET {path}"), &headers)?.status, 200);
        let request = stand.upstream.last()?;
        assert_eq!(request.header_all("x-shop-user"), user, "{path}");
        let spoofed: Vec<_> = request
            .headers()
            .into_iter()
            .filter(|(_, value)| value.contains("root"))
            .collect();
        assert_eq!(spoofed, [], "{path}");
    }
    Ok(())
}

#[test]
fn clients_are_not_believed_about_themselves() -> Result<()> {
    let stand = stand()?;
    let claims = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-For: 7.7.7.7",
    ];
    assert_eq!(stand.ask("GET /open", &claims)?.status, 200);
    let request = stand.upstream.last()?;
    assert_eq!(request.header_all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.header_all("x-forwarded-proto"), ["http"]);
    assert_eq!(request.header_all("x-forwarded-host"), [stand.gateway.host()]);
    Ok(())
}

#[test]
fn trusted_proxies_are() -> Result<()> {
    let stand = Stand::built(routes, |gateway| {
        gateway.arguments(&["--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"])
    })?;
    let claims = [
        "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
        "X-Forwarded-For: 192.0.2.3",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: www.example",
        "X-Forwarded-User: root",
        "X-Real-IP: 6.6.6.6",
    ];
    assert_eq!(stand.ask("GET /open", &claims)?.status, 200);
    let request = stand.upstream.last()?;
    assert_eq!(
        request.header_all("x-forwarded-for"),
        ["192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1"]
    );
    assert_eq!(request.header_all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.header_all("x-forwarded-host"), ["www.example"]);
    // Trust in an address is no trust in a name of a person.
    assert_eq!(request.header("x-forwarded-user"), None);
    assert_eq!(request.header("x-real-ip"), None);
    Ok(())
}

#[test]
fn a_proxy_that_is_not_on_the_list_is_a_client() -> Result<()> {
    let stand = Stand::built(routes, |gateway| {
        gateway.arguments(&["--trusted-proxies", "10.0.0.0/8,::1/128"])
    })?;
    assert_eq!(stand.ask("GET /open", &["X-Forwarded-For: 6.6.6.6"])?.status, 200);
    assert_eq!(
        stand.upstream.last()?.header_all("x-forwarded-for"),
        ["127.0.0.1"]
    );
    Ok(())
}

#[test]
fn hop_by_hop_headers_end_at_the_gateway() -> Result<()> {
    let stand = stand()?;
    let headers = [
        "Connection: keep-alive, X-Once , x-twice",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X-Sum",
        "Upgrade: h2c",
        "X-Once: 1",
        "X-Twice: 2",
        "X-Stays: 3",
    ];
    assert_eq!(stand.ask("GET /open", &headers)?.status, 200);
    let request = stand.upstream.last()?;
    assert_eq!(request.header("x-stays").as_deref(), Some("3"));
    for name in [
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "x-once",
        "x-twice",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    Ok(())
}

#[test]
fn hop_by_hop_headers_of_answers_end_there_too() -> Result<()> {
    let stand = stand()?;
    stand.upstream.answer(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Once\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         Upgrade: h2c\r\nProxy-Connection: close\r\nX-Once: 1\r\nX-Stays: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let mut client = raw::Client::connect(stand.gateway.address())?;
    for _ in 0..2 {
        client.send(request(&stand.gateway.host(), "GET /open", &[], ""))?;
        let answer = client
            .read()?
            .expect("the upstream's close must not close the client's connection");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-stays"), Some("2"));
        assert_eq!(answer.header_all("set-cookie"), ["a=1", "b=2"]);
        for name in [
            "keep-alive",
            "proxy-authenticate",
            "upgrade",
            "proxy-connection",
            "x-once",
        ] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        assert!(
            !answer.header_all("connection").contains(&"close"),
            "{:?}",
            answer.headers
        );
    }
    Ok(())
}

#[test]
fn other_headers_travel_as_they_are_and_in_their_order() -> Result<()> {
    let stand = stand()?;
    let sent = [
        "Accept: text/html;q=0.9, */*",
        "X-Many: one",
        "X-Many: two, three",
        "X-Empty:",
        "X-Latin: caf\u{e9}",
        "User-Agent: curl/8.0",
        "Content-Language: en",
        "Range: bytes=0-1",
        "If-None-Match: \"tag\"",
    ];
    assert_eq!(stand.ask("GET /open?q=%20x", &sent)?.status, 200);
    let request = stand.upstream.last()?;
    assert_eq!(request.target(), "/open?q=%20x");
    assert_eq!(request.header_all("x-many"), ["one", "two, three"]);
    assert_eq!(request.header_all("host"), [stand.gateway.host()]);
    for line in sent {
        let (name, value) = line.split_once(':').expect("a header line");
        assert!(
            request.header_all(name).iter().any(|found| found == value.trim()),
            "{line}"
        );
    }
    Ok(())
}

#[test]
fn answers_travel_as_they_are() -> Result<()> {
    let stand = stand()?;
    for status in [
        "200 OK",
        "201 Created",
        "301 Moved Permanently",
        "404 Not Found",
        "418 Short and Stout",
        "503 Later",
        "599 Odd",
    ] {
        stand.upstream.answer(splittoken_tests::wire::answer(
            status,
            &[
                ("Location", "http://127.0.0.1:1/x"),
                ("WWW-Authenticate", "Basic realm=\"api\""),
                ("ETag", "\"1\""),
            ],
            "body",
        ));
        let answer = stand.ask("GET /open", &[])?;
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/x"));
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"api\""));
        assert_eq!(answer.header("etag"), Some("\"1\""));
        assert_eq!(answer.text(), "body");
    }
    Ok(())
}
