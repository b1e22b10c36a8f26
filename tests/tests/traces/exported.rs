//! What spans say, how they hang together, and what must never be in them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::http2::Http2;
use splittoken_tests::raw::Client;
use splittoken_tests::secret;
use splittoken_tests::stand::request;
use splittoken_tests::wire::Step;

use crate::{PARENT, TRACE, Traced, only, parts, traceparent};

#[test]
fn a_request_leaves_a_server_span_and_a_client_span() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    let token = stand.token(&json!({"scope": "read"}))?;
    collector.wait_for(2)?;
    let parent = format!("traceparent: {}", traceparent("00"));
    let state = "tracestate: congo=t61rcWkgMzE";
    let answer = stand.ask("GET /orders/7?a=b", &[&token.header(), &parent, state])?;
    assert_eq!(answer.status, 200);
    let spans = collector.wait_for(4)?;
    let (server, client) = (only(&spans, TRACE, "SERVER"), only(&spans, TRACE, "CLIENT"));
    assert_eq!(
        (server.parent.as_str(), client.parent.as_str()),
        (PARENT, server.id.as_str())
    );
    // The upstream is the client span's child.
    let seen = stand.upstream.last()?;
    let told = seen
        .header("traceparent")
        .context("the upstream was told nothing")?;
    assert_eq!(
        parts(&told),
        (TRACE.to_owned(), client.id.clone(), "01".to_owned())
    );
    assert_eq!(seen.header_all("tracestate"), ["congo=t61rcWkgMzE"]);
    assert_eq!(server.name, "GET /orders");
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/orders"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("splittoken.route", "default/shop"),
        ("splittoken.rule", "orders"),
        ("url.scheme", "http"),
    ];
    let attributes: Vec<(&str, &str)> = server
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(attributes, expected);
    assert_eq!(client.name, "GET");
    assert_eq!(
        client.get("server.address"),
        stand.addresses().upstream.strip_prefix("http://")
    );
    assert_eq!(client.get("http.response.status_code"), Some("200"));
    assert!(!server.is_error && !client.is_error && client.took <= server.took);
    Ok(())
}

#[test]
fn a_token_request_leaves_a_client_span_for_its_provider() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    stand.token(&json!({}))?;
    let spans = collector.wait_for(2)?;
    let server = spans
        .iter()
        .find(|span| span.kind == "SERVER")
        .context("no server span")?;
    let client = only(&spans, &server.trace, "CLIENT");
    assert_eq!(
        (server.parent.as_str(), client.parent.as_str()),
        ("", server.id.as_str())
    );
    assert_eq!(
        (server.name.as_str(), server.get("splittoken.rule")),
        ("POST /oauth/token", None)
    );
    assert_eq!(server.get("http.route"), Some("/oauth/token"));
    let issuer = stand.gateway.admin("/config")?.json()?["issuers"][0]["name"].clone();
    assert_eq!(client.get("splittoken.issuer"), issuer.as_str());
    let asked = stand.provider.requests("/token").pop().context("not asked")?;
    let told = asked
        .header("traceparent")
        .context("the provider was told nothing")?;
    assert_eq!(
        parts(&told),
        (server.trace.clone(), client.id.clone(), "01".to_owned())
    );
    Ok(())
}

#[test]
fn failures_say_why() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    for (line, status, reason, is_error, spans_more) in [
        ("GET /nobody", 502, "upstream_connect", true, 2),
        ("GET /orders", 401, "no_credentials", false, 1),
        ("GET /nowhere", 404, "no_route", false, 1),
        ("GET /a/../b", 400, "path_dot_segment", false, 1),
    ] {
        let before = collector.spans()?.len();
        assert_eq!(stand.ask(line, &[])?.status, status, "{line}");
        let spans = collector.wait_for(before + spans_more)?;
        let server = spans.iter().skip(before).find(|span| span.kind == "SERVER");
        let server = server.with_context(|| format!("no span of {line}"))?;
        assert_eq!(server.get("error.type"), Some(reason), "{line}");
        assert_eq!(
            server.get("http.response.status_code"),
            Some(&*status.to_string())
        );
        assert_eq!(server.is_error, is_error, "{line}");
        assert_eq!(spans.len(), before + spans_more, "{line}");
    }
    let spans = collector.spans()?;
    let client = spans
        .iter()
        .find(|span| span.kind == "CLIENT")
        .context("no client span")?;
    assert_eq!(
        (client.get("error.type"), client.is_error),
        (Some("upstream_connect"), true)
    );
    Ok(())
}

#[test]
fn a_span_lasts_to_the_end_of_the_answer_however_it_ends() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    let wait = Duration::from_secs(2);
    let whole = vec![
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12"),
        Step::Wait(wait),
        Step::send("34"),
    ];
    let broken = vec![
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12"),
        Step::Wait(wait),
        Step::Close,
    ];
    for (steps, why) in [(whole, None), (broken, Some("broken_off"))] {
        let before = collector.spans()?.len();
        stand.upstream.steps(steps);
        let mut client = Client::connect(stand.gateway.address())?;
        client.send(request(&stand.gateway.host(), "GET /open", &[], ""))?;
        // The broken one is an error here too.
        let _ = client.read();
        let spans = collector.wait_for(before + 2)?;
        let of = |kind: &str| spans.iter().skip(before).find(|span| span.kind == kind).cloned();
        let (server, client) = (
            of("SERVER").context("no server span")?,
            of("CLIENT").context("no client span")?,
        );
        ensure!(server.took >= wait && client.took < wait, "{server:?} {client:?}");
        assert_eq!(server.get("error.type"), why);
    }
    Ok(())
}

#[test]
fn it_is_the_same_by_http2() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    let mut client = Http2::connect(stand.gateway.address())?;
    let target = format!("http://{}/also", stand.gateway.host());
    let value = traceparent("01");
    assert_eq!(client.get(&target, &[("traceparent", &value)])?.status, 200);
    let spans = collector.wait_for(2)?;
    let (server, client) = (only(&spans, TRACE, "SERVER"), only(&spans, TRACE, "CLIENT"));
    assert_eq!(server.get("network.protocol.version"), Some("2"));
    // A rule for several paths has none of them.
    assert_eq!((server.name.as_str(), server.get("http.route")), ("GET", None));
    let told = stand.upstream.last()?.header("traceparent").context("nothing")?;
    assert_eq!(parts(&told).1, client.id);
    Ok(())
}

/// Letters only, so that it can be a method, a name and a label of a host.
fn mark() -> String {
    let text = secret::text().replace(|c: char| !c.is_ascii_alphabetic(), "q");
    format!("m{}", text.to_ascii_lowercase())
}

#[test]
fn nothing_that_a_client_or_a_provider_says_is_in_a_span() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    let mut marks: Vec<String> = Vec::new();
    let mut new = || {
        let mark = mark();
        marks.push(mark.clone());
        mark
    };
    let claims = json!({"sub": new(), "client_id": new(), "scope": format!("read {}", new())});
    let token = stand.token(&claims)?;
    let host = stand.gateway.host();
    let wild = format!("{}.wild.example", new());
    let path = format!("/open/{}?{}={}", new(), new(), new());
    let headers = [
        token.header(),
        format!("User-Agent: {}", new()),
        format!("X-Own: {}", new()),
        format!("Cookie: a={}", new()),
        format!("tracestate: {}={}", new(), new()),
        format!("traceparent: {}", traceparent("01")),
        format!("baggage: a={}", new()),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut number = 2;
    let mut ask = |host: &str, line: &str, headers: &[&str], spans: usize| -> Result<()> {
        stand.ask_at(host, line, headers)?;
        number += spans;
        Ok(())
    };
    ask(&host, &format!("GET {path}"), &headers, 2)?;
    ask(&host, "GET /orders", &headers, 2)?;
    ask(&wild, "GET /open", &headers, 2)?;
    ask(&host, &format!("{} /open", new().to_uppercase()), &headers, 2)?;
    ask(
        &host,
        "GET /orders",
        &[&format!("Authorization: Bearer {}", new())],
        1,
    )?;
    ask(&format!("{}.example", new()), "GET /", &[], 1)?;
    ask(&host, "GET /open", &[&format!("traceparent: {}", new())], 2)?;
    let form = format!("grant_type=password&client_id={}&username={}", new(), new());
    let length = format!("Content-Length: {}", form.len());
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let basic = format!("Authorization: Basic {}", new());
    stand.gateway.exchange(request(
        &host,
        "POST /oauth/token",
        &[kind, &length, &basic],
        &form,
    ))?;
    number += 2;
    let spans = collector.wait_for(number)?;
    assert_eq!(spans.len(), number);
    marks.extend([token.opaque.clone(), token.jwt.clone(), token.jwt[..8].to_owned()]);
    marks.extend(marks.clone().iter().map(|mark| mark.to_uppercase()));
    for request in collector.requests() {
        for bytes in [request.head(), request.body()] {
            for mark in &marks {
                ensure!(
                    memchr::memmem::find(bytes, mark.as_bytes()).is_none(),
                    "{mark} is in a span: {}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }
    let of = |name: &str| -> BTreeSet<String> {
        let values = spans.iter().filter_map(|span| span.get(name));
        values.map(str::to_owned).collect()
    };
    assert!(of("server.address").contains("*.wild.example"));
    assert!(of("http.request.method").contains("_OTHER"));
    Ok(())
}

#[test]
fn a_rule_that_says_what_its_upstream_hears_of_traces_is_obeyed() -> Result<()> {
    let Traced { stand, collector } = Traced::start()?;
    let to = stand.addresses();
    let rule = json!({
        "authentication": "Disabled",
        "requestHeaders": {"remove": ["traceparent", "tracestate"]},
    });
    let route = splittoken_tests::route::Route::new(&to.issuer, &to.upstream).rule(&rule);
    stand.gateway.write_routes(&String::from(route))?;
    let parent = format!("traceparent: {}", traceparent("01"));
    splittoken_tests::wait::until_true(Duration::from_secs(10), "the rule", || {
        let answer = stand.ask("GET /any", &[&parent, "tracestate: a=b"]);
        answer.is_ok_and(|answer| answer.status == 200)
    })?;
    let seen = stand.upstream.last()?;
    assert_eq!(
        (seen.header("traceparent"), seen.header("tracestate")),
        (None, None)
    );
    collector.wait_for(2)?;
    Ok(())
}
