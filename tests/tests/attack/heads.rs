//! Request lines and header blocks that programs read in different ways.

use anyhow::Result;
use splittoken_tests::gate::{Case, Gate};

#[test]
fn request_lines_have_one_form() -> Result<()> {
    let lines = [
        "GET /open",
        "GET",
        "GET HTTP/1.1",
        "/open HTTP/1.1",
        "GET  /open HTTP/1.1",
        "GET /open  HTTP/1.1",
        "GET\t/open\tHTTP/1.1",
        "GET /open\u{b}HTTP/1.1",
        "GET /open\u{c}HTTP/1.1",
        "GET /open\u{a0}HTTP/1.1",
        " GET /open HTTP/1.1",
        "\tGET /open HTTP/1.1",
        "GET /open HTTP/1.1 ",
        "GET /open HTTP/1.1\u{0}",
        "GET /open HTTP/1.1 HTTP/1.1",
        "GET /open HTTP/1.1/smuggled",
        "GET /open http/1.1",
        "GET /open HTTP/1,1",
        "GET /open HTTP/01.1",
        "GET /open HTTP/1.10",
        "GET /open HTTP/1.2",
        "GET /open HTTP/1.",
        "GET /open HTTP/1",
        "GET /open HTTP/",
        "GET /open HTTP/ 1.1",
        "GET /open HTTP /1.1",
        "GET /open HTTP/0.9",
        "GET /open HTTP/2.0",
        "GET /open HTTP/2",
        "GET /open HTTP/3.0",
        "GET /open HTTP/-1.1",
        "GET /open HTTP/1.1.1",
        "GET /open HTTPS/1.1",
        "GET /open RTSP/1.0",
        "GET /open ICY/1.1",
        "GET,/open HTTP/1.1",
        "GET: /open HTTP/1.1",
        "G(T /open HTTP/1.1",
        "\"GET\" /open HTTP/1.1",
        "GET\u{0} /open HTTP/1.1",
        "G\u{e9}T /open HTTP/1.1",
        "GET open HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET open/../a HTTP/1.1",
        "GET :/open HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /open\" HTTP/1.1",
        "PRI * HTTP/2.0",
    ];
    let cases: Vec<Case> = lines
        .iter()
        .map(|line| Case::refused(*line, 400, format!("{line}⏎Host: {{host}}⏎{{auth}}⏎⏎")))
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn absolute_targets_name_the_host_and_no_other() -> Result<()> {
    let targets = [
        "http://evil.example/open",
        "http://{host}@evil.example/open",
        "http://evil.example@{host}/open",
        "http://{host}:80/open",
        "http:///open",
        "http://",
        "http:/open",
        "http:open",
        "//evil.example/open",
        "///open",
        "//{host}/open",
        "file:///open",
        "ftp://{host}/open",
        "gopher://{host}/open",
        "javascript:alert(1)",
        "ws://{host}/open",
        "unix:/run/x",
        "http://{host}%2eevil.example/open",
        "http://{host}%00.evil.example/open",
        "http://{host}\\@evil.example/open",
        "http://{host} .evil.example/open",
        "http://{host}.evil.example/open",
        "http://0x7f.1/open",
        "http://2130706433/open",
        "http://[::ffff:127.0.0.1]/open",
        "http://{host}/open/../admin",
        "http://{host}//admin",
        "http://{host}/open/..%2fadmin",
        "http://{host}/\\admin",
    ];
    let cases: Vec<Case> = targets
        .iter()
        .map(|target| {
            Case::refused(
                *target,
                400,
                format!("GET {target} HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎"),
            )
        })
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn header_fields_have_one_reading() -> Result<()> {
    let fields = [
        " X: y",
        "\tX: y",
        "X : y",
        "X\t: y",
        "X\u{0}: y",
        "X\u{b}: y",
        "X\u{7f}: y",
        "X\u{80}: y",
        ": y",
        "X",
        "X y",
        "X Y: z",
        "\"X\": y",
        "X(y): z",
        "X[y]: z",
        "X@y: z",
        "X,Y: z",
        "X/Y: z",
        "X: y\u{0}",
        "X: \u{0}y",
        "X: y\u{1}z",
        "X: y\u{8}z",
        "X: y\u{b}z",
        "X: y\u{c}z",
        "X: y\u{1b}[31mz",
        "X: y\u{7f}z",
        "X: y\rHost: evil.example",
        "X: y\r\rZ: w",
        "X: y⏎ z",
        "X: y⏎\tz",
        "X:⏎ y",
        "X: y\n z",
        "Host: evil.example",
        "host: {host}",
        "Host:⏎ evil.example",
        "X: y\rAuthorization: Bearer evil",
        "X_Y: z",
        "_: y",
        "Authorization_: x",
        "X-User_Id: root",
        "Content-Length_: 4",
        ":authority: evil.example",
        ":path: /admin",
        ":method: DELETE",
    ];
    let mut cases: Vec<Case> = fields
        .iter()
        .map(|field| {
            Case::refused(
                *field,
                400,
                format!("GET /open HTTP/1.1⏎Host: {{host}}⏎{field}⏎⏎"),
            )
        })
        .collect();
    // Before all others, where a fold would belong to the request line.
    for field in [
        " Host: {host}",
        "\tHost: {host}",
        "Host : {host}",
        "Host\u{0}: {host}",
        "\rHost: {host}",
    ] {
        let name = format!("first: {field}");
        cases.push(Case::refused(name, 400, format!("GET /open HTTP/1.1⏎{field}⏎⏎")));
    }
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn a_head_ends_at_an_empty_line() -> Result<()> {
    let refused = [
        ("CR alone", "GET /open HTTP/1.1\rHost: {host}\r\r"),
        ("LF CR", "GET /open HTTP/1.1\n\rHost: {host}\n\r\n\r"),
        ("a space for an empty line", "GET /open HTTP/1.1⏎Host: {host}⏎ ⏎⏎"),
        ("a NUL first", "\u{0}GET /open HTTP/1.1⏎Host: {host}⏎⏎"),
        (
            "a byte order mark",
            "\u{ef}\u{bb}\u{bf}GET /open HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        (
            "TLS",
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}⏎⏎",
        ),
        (
            "a PROXY header",
            "PROXY TCP4 6.6.6.6 127.0.0.1 1 2⏎GET /open HTTP/1.1⏎Host: {host}⏎⏎",
        ),
        ("SSH", "SSH-2.0-OpenSSH_9.2⏎⏎"),
        ("SMTP", "EHLO evil.example⏎⏎"),
        ("RESP", "*1⏎$4⏎PING⏎⏎"),
    ];
    let mut cases: Vec<Case> = refused
        .iter()
        .map(|(name, sent)| Case::refused(*name, 400, *sent))
        .collect();
    // Of a version that is not spoken here, and to which there is no answer that it would understand.
    cases.push(Case::answered("HTTP/2", &[], "PRI * HTTP/2.0⏎⏎SM⏎⏎"));
    for (name, sent) in [
        ("half a line", "GET /op"),
        ("half a head", "GET /open HTTP/1.1⏎Host: {host}⏎"),
        ("half an end", "GET /open HTTP/1.1⏎Host: {host}⏎\r"),
        ("nothing", ""),
        ("empty lines", "⏎⏎⏎⏎"),
    ] {
        cases.push(Case::broken_off(name, sent));
    }
    Gate::open()?.judge(&cases);
    Ok(())
}
