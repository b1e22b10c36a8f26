//! One canonical path: what has two readings is refused, and what was matched is what is forwarded.

use anyhow::{Result, ensure};

use super::{Gate, report};

#[test]
fn paths_of_two_readings_are_refused() -> Result<()> {
    let paths = [
        "/a/..",
        "/a/../b",
        "/../a",
        "/..",
        "/.",
        "/./a",
        "/a/./b",
        "/a/.",
        "/%2e%2e/a",
        "/a/%2E%2e/b",
        "/a/.%2e/b",
        "/a/%2e./b",
        "/a/%2e/b",
        "/a/%2e",
        "/open/../secret",
        "/open/%2e%2e/secret",
        "/open/..;/secret",
        "/open/..;a=b/secret",
        "/open/.;/x",
        "/open/%2e%2e%3b/secret",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/open//secret",
        "/a\\b",
        "/\\a",
        "/open\\..\\secret",
        "/a%5cb",
        "/a%5Cb",
        "/open/..%5csecret",
        "/a%2fb",
        "/a%2Fb",
        "/%2f",
        "/%2fa",
        "/open%2f..%2fsecret",
        "/open/..%2fsecret",
        "/a%00",
        "/%00",
        "/a%00b",
        "/open%00.html",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%4g",
        "/%",
        "/%%",
        "/a%u0041",
        "/a%+4",
        "/a%-1",
        "/a\"b",
        "/a<b",
        "/a>b",
        "/a`b",
        "/a{b}",
        "/a|b",
        "/a^b",
        "/[a]",
    ];
    let gate = Gate::open()?;
    let cases: Vec<_> = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎"))
        .collect();
    let table: Vec<_> = paths
        .iter()
        .zip(&cases)
        .map(|(path, case)| (*path, 400, case.as_str()))
        .collect();
    gate.refuses(&table);
    Ok(())
}

#[test]
fn a_semicolon_is_refused_where_a_token_is_required_and_only_there() -> Result<()> {
    let gate = Gate::open()?;
    gate.refuses(&[
        ("plain", 400, "GET /a;b HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
        (
            "as a parameter",
            400,
            "GET /a;x=1/b HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        ("encoded", 400, "GET /a%3bb HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
        (
            "encoded, upper case",
            400,
            "GET /a%3Bb HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        (
            "after the open rule's path",
            400,
            "GET /open;/b HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎",
        ),
        ("without a token", 400, "GET /a;b HTTP/1.1⏎Host: {host}⏎⏎"),
    ]);
    let request = gate.passes("GET /open/a;x=1/b HTTP/1.1⏎Host: {host}⏎⏎")?;
    assert_eq!(request.target(), "/open/a;x=1/b");
    let request = gate.passes("GET /a?b;c HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎")?;
    assert_eq!(request.target(), "/a?b;c");
    Ok(())
}

#[test]
fn equivalent_spellings_arrive_as_one() -> Result<()> {
    let table = [
        ("/", "/"),
        ("/orders/1", "/orders/1"),
        ("/%61", "/a"),
        ("/%6frders", "/orders"),
        ("/%7Eme", "/~me"),
        ("/a%2Db%2d%5F", "/a-b-_"),
        ("/a%3ab", "/a%3Ab"),
        ("/a%20b", "/a%20b"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%25", "/a%25"),
        ("/a%2561", "/a%2561"),
        ("/a%252e%252e/b", "/a%252e%252e/b"),
        ("/a%3f", "/a%3F"),
        ("/a%23b", "/a%23b"),
        ("/...", "/..."),
        ("/..a", "/..a"),
        ("/a..", "/a.."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/", "/a/"),
        ("/a!$&'()*+,=:@-._~b", "/a!$&'()*+,=:@-._~b"),
        ("/%61?b=%61&c=%2f%5c..//%00", "/a?b=%61&c=%2f%5c..//%00"),
        ("/a?", "/a?"),
        ("/a??b=/../x", "/a??b=/../x"),
    ];
    let gate = Gate::open()?;
    let failures = table.iter().filter_map(|(path, expected)| {
        let arrives = || {
            let request = gate.passes(&format!("GET {path} HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎"))?;
            ensure!(request.target() == *expected, "{} arrived", request.target());
            Ok(())
        };
        Some((*path, arrives().err()?))
    });
    report(failures.collect());
    Ok(())
}

/// A rule of another path must not be reached by another spelling of it, nor left.
#[test]
fn rules_match_every_spelling_of_their_path() -> Result<()> {
    let gate = Gate::open()?;
    for path in ["/open", "/%6fpen", "/op%65n/x", "/open/"] {
        let request = gate.passes(&format!("GET {path} HTTP/1.1⏎Host: {{host}}⏎⏎"))?;
        assert!(request.target().starts_with("/open"), "{}", request.target());
    }
    gate.refuses(&[
        ("another case", 401, "GET /OPEN HTTP/1.1⏎Host: {host}⏎⏎"),
        (
            "the beginning of a segment",
            401,
            "GET /openly HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        ("encoded twice", 401, "GET /%256fpen HTTP/1.1⏎Host: {host}⏎⏎"),
        (
            "a question mark, encoded",
            401,
            "GET /open%3f/x HTTP/1.1⏎Host: {host}⏎⏎",
        ),
    ]);
    Ok(())
}

/// RFC 9112 has no fragment in a target. What two programs could cut in two places must not be passed on.
#[test]
fn fragments_never_travel() -> Result<()> {
    let gate = Gate::open()?;
    for case in [
        "GET /open#/../secret HTTP/1.1⏎Host: {host}⏎⏎",
        "GET /open?a#b HTTP/1.1⏎Host: {host}⏎⏎",
        "GET http://{host}/open#b HTTP/1.1⏎Host: {host}⏎⏎",
    ] {
        let (answer, requests) = gate.send(case)?;
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, Some(400 | 200)), "{status:?}");
        for request in requests {
            assert!(!request.line().contains('#'), "{}", request.line());
            assert!(!request.line().contains("secret"), "{}", request.line());
        }
    }
    Ok(())
}
