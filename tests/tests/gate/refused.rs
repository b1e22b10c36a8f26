//! Who is asked, with what credential, and which header fields may come.

use anyhow::Result;

use super::Gate;

#[test]
fn a_request_names_one_host_and_only_one() -> Result<()> {
    Gate::open()?.refuses(&[
        ("no Host", 400, "GET / HTTP/1.1⏎{auth}⏎⏎"),
        ("no Host, HTTP/1.0", 400, "GET / HTTP/1.0⏎{auth}⏎⏎"),
        (
            "no Host, absolute target",
            400,
            "GET http://{host}/ HTTP/1.1⏎{auth}⏎⏎",
        ),
        (
            "the same Host twice",
            400,
            "GET / HTTP/1.1⏎Host: {host}⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "two Hosts",
            400,
            "GET / HTTP/1.1⏎Host: {host}⏎Host: other.example⏎{auth}⏎⏎",
        ),
        (
            "a list of Hosts",
            400,
            "GET / HTTP/1.1⏎Host: {host}, {host}⏎{auth}⏎⏎",
        ),
        ("an empty Host", 400, "GET / HTTP/1.1⏎Host:⏎{auth}⏎⏎"),
        (
            "a Host with an empty label",
            400,
            "GET / HTTP/1.1⏎Host: .wild.example⏎{auth}⏎⏎",
        ),
        (
            "a Host with a user",
            400,
            "GET / HTTP/1.1⏎Host: me@{host}⏎{auth}⏎⏎",
        ),
        (
            "a Host with a path",
            400,
            "GET / HTTP/1.1⏎Host: {host}/x⏎{auth}⏎⏎",
        ),
        (
            "a Host with a space",
            400,
            "GET / HTTP/1.1⏎Host: 127.0.0.1 x⏎{auth}⏎⏎",
        ),
        (
            "a Host with a byte over 127",
            400,
            "GET / HTTP/1.1⏎Host: 127.0.0.1é⏎{auth}⏎⏎",
        ),
        (
            "a port that is none",
            400,
            "GET / HTTP/1.1⏎Host: 127.0.0.1:99999⏎{auth}⏎⏎",
        ),
        (
            "a port with a sign",
            400,
            "GET / HTTP/1.1⏎Host: 127.0.0.1:+80⏎{auth}⏎⏎",
        ),
        (
            "brackets around no address",
            400,
            "GET / HTTP/1.1⏎Host: [127.0.0.1]⏎{auth}⏎⏎",
        ),
        (
            "a target of another host",
            400,
            "GET http://other.example/ HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "a target of another port",
            400,
            "GET http://127.0.0.1:1/ HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "a target with a user",
            400,
            "GET http://me@{host}/ HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "a target of another scheme",
            400,
            "GET ftp://{host}/ HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "a target that is a host",
            400,
            "GET {host} HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        ("an asterisk", 400, "OPTIONS * HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
        (
            "a host that no route names",
            404,
            "GET / HTTP/1.1⏎Host: other.example⏎{auth}⏎⏎",
        ),
    ]);
    Ok(())
}

#[test]
fn a_credential_comes_once_and_in_its_place() -> Result<()> {
    Gate::open()?.refuses(&[
        (
            "the same twice",
            400,
            "GET / HTTP/1.1⏎Host: {host}⏎{auth}⏎{auth}⏎⏎",
        ),
        (
            "two of them",
            400,
            "GET / HTTP/1.1⏎Host: {host}⏎{auth}⏎Authorization: Basic YTpi⏎⏎",
        ),
        (
            "the bad one first",
            400,
            "GET / HTTP/1.1⏎Host: {host}⏎authorization: Bearer x⏎{auth}⏎⏎",
        ),
        (
            "twice where none is needed",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎{auth}⏎{auth}⏎⏎",
        ),
        (
            "in the query",
            400,
            "GET /?access_token=x HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "in the query, later",
            400,
            "GET /?a=b&access_token=x HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "in the query, encoded",
            400,
            "GET /?%61ccess%5Ftoken=x HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "in the query, without a value",
            400,
            "GET /?access_token HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "in two places",
            400,
            "GET /?access_token=x HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
    ]);
    Ok(())
}

#[test]
fn a_token_in_the_query_is_an_invalid_request() -> Result<()> {
    let gate = Gate::open()?;
    let path = format!("GET /?access_token={}", gate.token.opaque);
    let answer = gate.stand.ask(&path, &[])?;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()?["error"], "invalid_request");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("error=\"invalid_request\""), "{challenge}");
    assert!(
        !answer.text().contains(&gate.token.opaque),
        "the answer repeats the token"
    );
    assert_eq!(gate.good_request()?, []);
    Ok(())
}

#[test]
fn connect_and_trace_are_not_served() -> Result<()> {
    let gate = Gate::open()?;
    gate.refuses(&[
        ("CONNECT", 405, "CONNECT {host} HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
        (
            "CONNECT elsewhere",
            405,
            "CONNECT other.example:443 HTTP/1.1⏎Host: other.example:443⏎⏎",
        ),
        ("TRACE", 405, "TRACE / HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
        (
            "TRACE where no token is needed",
            405,
            "TRACE /open HTTP/1.1⏎Host: {host}⏎⏎",
        ),
    ]);
    // RFC 9110 section 15.5.6: such an answer says what is allowed.
    let answer = gate.stand.ask("TRACE /", &[])?;
    assert!(answer.header("allow").is_some(), "{:?}", answer.headers);
    Ok(())
}

#[test]
fn connection_cannot_take_away_what_is_not_hop_by_hop() -> Result<()> {
    let gate = Gate::open()?;
    let names = [
        "Authorization",
        "authorization",
        "Host",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "x-forwarded-anything",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "CONTENT-SECURITY-POLICY",
    ];
    let mut cases = Vec::new();
    for name in names {
        for value in [
            name.to_owned(),
            format!("close, {name}"),
            format!("keep-alive ,\t{name},"),
        ] {
            cases.push((
                value.clone(),
                format!("GET /open HTTP/1.1⏎Host: {{host}}⏎Connection: {value}⏎⏎"),
            ));
        }
    }
    cases.push((
        "in a second field".to_owned(),
        "GET /open HTTP/1.1⏎Host: {host}⏎Connection: keep-alive⏎Connection: Cookie⏎⏎".to_owned(),
    ));
    cases.push((
        "a malformed list".to_owned(),
        "GET /open HTTP/1.1⏎Host: {host}⏎Connection: a b⏎⏎".to_owned(),
    ));
    let table: Vec<_> = cases
        .iter()
        .map(|(name, case)| (name.as_str(), 400, case.as_str()))
        .collect();
    gate.refuses(&table);
    Ok(())
}

#[test]
fn header_names_have_one_reading() -> Result<()> {
    Gate::open()?.refuses(&[
        (
            "an underscore",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X_User: root⏎⏎",
        ),
        (
            "an underscore at the end",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎Authorization_: x⏎⏎",
        ),
        (
            "a space before the colon",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A : b⏎⏎",
        ),
        (
            "a space in the name",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X A: b⏎⏎",
        ),
        ("no name", 400, "GET /open HTTP/1.1⏎Host: {host}⏎: b⏎⏎"),
        ("no colon", 400, "GET /open HTTP/1.1⏎Host: {host}⏎X-A⏎⏎"),
        (
            "a control character in the name",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-\u{1}A: b⏎⏎",
        ),
        (
            "a byte over 127 in the name",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-é: b⏎⏎",
        ),
        (
            "a folded value",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b⏎ c⏎⏎",
        ),
        (
            "white space before the first name",
            400,
            "GET /open HTTP/1.1⏎ X-A: b⏎Host: {host}⏎⏎",
        ),
    ]);
    Ok(())
}

#[test]
fn control_characters_come_nowhere() -> Result<()> {
    Gate::open()?.refuses(&[
        (
            "NUL in a value",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b\u{0}c⏎⏎",
        ),
        (
            "ESC in a value",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b\u{1b}c⏎⏎",
        ),
        (
            "DEL in a value",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b\u{7f}c⏎⏎",
        ),
        (
            "a lone CR in a value",
            400,
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b\rX-B: c⏎⏎",
        ),
        ("NUL in the path", 400, "GET /open\u{0} HTTP/1.1⏎Host: {host}⏎⏎"),
        ("a tab in the path", 400, "GET /open\t HTTP/1.1⏎Host: {host}⏎⏎"),
        ("DEL in the path", 400, "GET /open\u{7f} HTTP/1.1⏎Host: {host}⏎⏎"),
        (
            "a lone CR in the path",
            400,
            "GET /open\r HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "a byte over 127 in the path",
            400,
            "GET /open/é HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "ESC in the query",
            400,
            "GET /open?a=\u{1b} HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "DEL in the query",
            400,
            "GET /open?a=\u{7f} HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "a byte over 127 in the query",
            400,
            "GET /open?a=é HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "a space in the target",
            400,
            "GET /open x HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "a control character in the method",
            400,
            "G\u{1}T /open HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        ("a version that is none", 400, "GET /open HTTP/1.2⏎Host: {host}⏎⏎"),
        ("HTTP/0.9", 400, "GET /open⏎⏎"),
    ]);
    Ok(())
}
