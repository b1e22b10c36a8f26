//! The token endpoint: what is no token request does not reach the provider, and one is one.

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Gate, report};
use splittoken_tests::raw;

use super::strict_and_lenient;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// What the provider has been asked at its token endpoint so far.
fn asked(gate: &Gate) -> usize {
    gate.stand.provider.requests("/token").len()
}

/// Sends it; the first answer is this, and neither provider nor upstream hears of it.
fn refused(gate: &Gate, sent: &str, status: u16) -> Result<()> {
    let before = asked(gate);
    let (answer, arrived) = gate.send(sent)?;
    let got = answer.map(|answer| answer.status);
    ensure!(got == Some(status), "{got:?} in place of {status}");
    ensure!(arrived.is_empty(), "the upstream got {arrived:?}");
    ensure!(asked(gate) == before, "the provider was asked");
    Ok(())
}

#[test]
fn what_is_no_token_request_reaches_no_provider() -> Result<()> {
    let gate = strict_and_lenient()?;
    let post = |path: &str, fields: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1⏎Host: {{host}}⏎{fields}⏎Content-Length: {length}⏎⏎{body}")
    };
    let good = "grant_type=client_credentials";
    let at = |fields: &str, body: &str| post("/oauth/token", fields, body);
    let framed = |fields: &str, body: &str| {
        format!("POST /oauth/token HTTP/1.1⏎Host: {{host}}⏎{FORM}⏎{fields}⏎⏎{body}")
    };
    let large = format!("{good}&x={}", "y".repeat(70_000));
    let cases: Vec<(&str, u16, String)> = vec![
        ("GET", 405, "GET /oauth/token HTTP/1.1⏎Host: {host}⏎⏎".to_owned()),
        (
            "PUT",
            405,
            format!("PUT /oauth/token HTTP/1.1⏎Host: {{host}}⏎{FORM}⏎Content-Length: 29⏎⏎{good}"),
        ),
        (
            "post in small letters",
            405,
            format!("post /oauth/token HTTP/1.1⏎Host: {{host}}⏎{FORM}⏎Content-Length: 29⏎⏎{good}"),
        ),
        (
            "GET that means POST",
            405,
            format!(
                "GET /oauth/token HTTP/1.1⏎Host: {{host}}⏎X-HTTP-Method-Override: POST⏎{FORM}⏎Content-Length: 29⏎⏎{good}"
            ),
        ),
        (
            "in the query",
            400,
            post("/oauth/token?grant_type=client_credentials", FORM, good),
        ),
        ("a query of nothing", 400, post("/oauth/token?x", FORM, good)),
        (
            "JSON",
            400,
            at(
                "Content-Type: application/json",
                "{\"grant_type\":\"client_credentials\"}",
            ),
        ),
        ("no type", 400, at("X: y", good)),
        (
            "a type that begins well",
            400,
            at("Content-Type: application/x-www-form-urlencodedx", good),
        ),
        (
            "two types",
            400,
            at(&format!("{FORM}⏎Content-Type: application/json"), good),
        ),
        (
            "a list of types",
            400,
            at(&format!("{FORM}, application/json"), good),
        ),
        ("EBCDIC", 400, at(&format!("{FORM}; charset=ibm037"), good)),
        ("UTF-16", 400, at(&format!("{FORM}; charset=utf-16"), good)),
        ("UTF-7", 400, at(&format!("{FORM};charset=\"utf-7\""), good)),
        (
            "two charsets",
            400,
            at(&format!("{FORM}; charset=utf-8; charset=ibm037"), good),
        ),
        (
            "two grants",
            400,
            at(FORM, "grant_type=client_credentials&grant_type=password"),
        ),
        (
            "the same grant twice",
            400,
            at(
                FORM,
                "grant_type=client_credentials&grant_type=client_credentials",
            ),
        ),
        (
            "a grant that is spelled in two ways",
            400,
            at(FORM, "grant_type=client_credentials&grant%5ftype=password"),
        ),
        ("no grant", 400, at(FORM, "client_id=x")),
        ("nothing", 400, at(FORM, "")),
        ("too much", 413, at(FORM, &large)),
        (
            "too much, in chunks",
            413,
            framed(
                "Transfer-Encoding: chunked",
                &format!("{:x}⏎{large}⏎0⏎⏎", large.len()),
            ),
        ),
        (
            "two lengths",
            400,
            framed("Content-Length: 29⏎Content-Length: 5", good),
        ),
        ("an unknown coding", 400, framed("Transfer-Encoding: x", good)),
        (
            "broken chunks",
            400,
            framed("Transfer-Encoding: chunked", &format!("xyz⏎{good}⏎0⏎⏎")),
        ),
        (
            "two credentials",
            400,
            at(
                &format!("{FORM}⏎Authorization: Basic YTpi⏎Authorization: Basic YTpi"),
                good,
            ),
        ),
        (
            "a credential that Connection takes away",
            400,
            at(
                &format!("{FORM}⏎Authorization: Basic YTpi⏎Connection: authorization"),
                good,
            ),
        ),
    ];
    println!("{} cases", cases.len());
    let failures = cases
        .iter()
        .filter_map(|(name, status, sent)| Some((*name, refused(&gate, sent, *status).err()?)));
    report(failures.collect());
    Ok(())
}

/// Other spellings of its path are other paths, for which a token is needed.
#[test]
fn other_spellings_are_not_the_token_endpoint() -> Result<()> {
    let gate = strict_and_lenient()?;
    let table = [
        ("/oauth/token/", 401),
        ("/oauth/token/x", 401),
        ("/OAuth/Token", 401),
        ("/oauth/tokens", 401),
        ("/oauth%2ftoken", 400),
        ("/oauth/./token", 400),
        ("/x/../oauth/token", 400),
        ("//oauth/token", 400),
        ("/oauth/token;x", 400),
        ("/oauth/token%00", 400),
        ("/oauth/token%20", 401),
        ("/oauth/%2574oken", 401),
    ];
    println!("{} cases", table.len());
    let failures = table.iter().filter_map(|(path, status)| {
        let body = "grant_type=client_credentials";
        let sent = format!(
            "POST {path} HTTP/1.1⏎Host: {{host}}⏎{FORM}⏎Content-Length: {}⏎⏎{body}",
            body.len()
        );
        Some((*path, refused(&gate, &sent, *status).err()?))
    });
    report(failures.collect());
    Ok(())
}

/// What the provider gets is the body and what belongs to it, and nothing that would mean something else to it.
#[test]
fn the_provider_gets_one_request() -> Result<()> {
    let gate = strict_and_lenient()?;
    let body = "grant_type=client_credentials";
    let fields = [
        "X-Forwarded-For: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Real-Ip: 6.6.6.6",
        "Transfer-Encoding: chunked",
        "X-HTTP-Method-Override: GET",
        "X-Original-Url: /evil",
        "Cookie: evil=1",
        "Connection: close, x-evil⏎X-Evil: evil",
        "Expect: 100-continue",
        "TE: evil",
        "Proxy-Authorization: Basic evil",
        "Client-Cert: :evil:",
    ];
    println!("{} cases", fields.len());
    let failures = fields.iter().filter_map(|field| {
        let one = || {
            let before = asked(&gate);
            let (framing, sent) = if field.starts_with("Transfer") {
                (String::new(), format!("{:x}⏎{body}⏎0⏎⏎", body.len()))
            } else {
                (format!("⏎Content-Length: {}", body.len()), body.to_owned())
            };
            let hidden = "GET /smuggled HTTP/1.1⏎Host: evil.example⏎⏎";
            let case =
                format!("POST /oauth/token HTTP/1.1⏎Host: {{host}}⏎{FORM}⏎{field}{framing}⏎⏎{sent}{hidden}");
            let mut client = raw::Client::connect(gate.stand.gateway.address())?;
            client.send(gate.bytes(&case))?;
            while client.read()?.is_some_and(|answer| answer.status == 100) {}
            let asked = gate.stand.provider.requests("/token");
            ensure!(asked.len() == before + 1, "asked {} times", asked.len() - before);
            let request = asked
                .last()
                .map(|request| request.raw.clone())
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            ensure!(
                !text.contains("evil") && !text.contains("6.6.6.6") && !text.contains("smuggled"),
                "{text}"
            );
            ensure!(
                !text.contains("chunked") && text.matches("content-length").count() == 1,
                "{text}"
            );
            ensure!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
            gate.good_request().map(drop)
        };
        Some((*field, one().err()?))
    });
    report(failures.collect());
    Ok(())
}
