//! Several messages in one write: a bad one ends the connection, and its bytes never become a request.

use anyhow::Result;
use splittoken_tests::gate::{Case, Gate};

const GOOD: &str = "GET /first HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
const LINE: &str = "GET /first HTTP/1.1";
const HIDDEN: &str = "GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";

/// What the gate or the parser refuses, each with something behind it.
const BAD: [(&str, &str); 14] = [
    ("no Host", "GET /open HTTP/1.1⏎⏎"),
    ("two Hosts", "GET /open HTTP/1.1⏎Host: {host}⏎Host: {host}⏎⏎"),
    ("a dot segment", "GET /open/../a HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"),
    ("two credentials", "GET /a HTTP/1.1⏎Host: {host}⏎{auth}⏎{auth}⏎⏎"),
    (
        "two lengths",
        "POST /open HTTP/1.1⏎Host: {host}⏎Content-Length: 0⏎Content-Length: 90⏎⏎",
    ),
    (
        "a length that is none",
        "POST /open HTTP/1.1⏎Host: {host}⏎Content-Length: 0x0⏎⏎",
    ),
    (
        "an unknown coding",
        "POST /open HTTP/1.1⏎Host: {host}⏎Transfer-Encoding: x⏎⏎",
    ),
    (
        "a coding twice",
        "POST /open HTTP/1.1⏎Host: {host}⏎Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎⏎0⏎⏎",
    ),
    ("a fold", "GET /open HTTP/1.1⏎Host: {host}⏎X: y⏎ z⏎⏎"),
    ("a NUL", "GET /open HTTP/1.1⏎Host: {host}⏎X: \u{0}⏎⏎"),
    ("an unknown version", "GET /open HTTP/1.7⏎Host: {host}⏎⏎"),
    ("HTTP/0.9", "GET /open⏎⏎"),
    ("an underscore", "GET /open HTTP/1.1⏎Host: {host}⏎X_Y: z⏎⏎"),
    ("no request at all", "(((⏎⏎"),
];

#[test]
fn a_bad_request_behind_a_good_one_is_the_last() -> Result<()> {
    let cases: Vec<Case> = BAD
        .iter()
        .map(|(name, bad)| {
            Case::answered(*name, &[200, 400], format!("{GOOD}{bad}{HIDDEN}")).arriving(&[LINE])
        })
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn a_good_request_behind_a_bad_one_is_not_served() -> Result<()> {
    let cases: Vec<Case> = BAD
        .iter()
        .map(|(name, bad)| Case::refused(*name, 400, format!("{bad}{HIDDEN}")))
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

/// What looks like a request within a body stays there.
#[test]
fn bodies_are_not_looked_into() -> Result<()> {
    let body = "GET /smuggled HTTP/1.1⏎Host: a.example⏎⏎";
    let length = body.replace('⏎', "\r\n").len();
    let rest = "GET /last HTTP/1.1⏎Host: {host}⏎{auth}⏎Connection: close⏎⏎";
    let post =
        |fields: &str, body: &str| format!("POST /first HTTP/1.1⏎Host: {{host}}⏎{fields}⏎⏎{body}{rest}");
    let by_length = format!("Content-Length: {length}");
    let chunk = format!("{length:x}⏎{body}⏎0⏎⏎");
    let lines = ["POST /first HTTP/1.1", "GET /last HTTP/1.1"];
    let cases = [
        Case::answered("by its length", &[200, 200], post(&format!("{{auth}}⏎{by_length}"), body)).arriving(&lines),
        Case::answered("by chunks", &[200, 200], post("{auth}⏎Transfer-Encoding: chunked", &chunk)).arriving(&lines),
        Case::answered("refused, by its length", &[401, 200], post(&by_length, body)).arriving(&lines[1..]),
        Case::answered("refused, by chunks", &[401, 200], post("Transfer-Encoding: chunked", &chunk))
            .arriving(&lines[1..]),
        Case::answered(
            "unasked for",
            &[404, 200],
            format!("POST /first HTTP/1.1⏎Host: other.example⏎{by_length}⏎⏎{body}{rest}"),
        )
        .arriving(&lines[1..]),
        Case::answered(
            "an upgrade that nobody makes",
            &[200],
            format!("GET /first HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Connection: Upgrade⏎Upgrade: h2c⏎⏎PRI * HTTP/2.0⏎⏎SM⏎⏎{rest}"),
        )
        .arriving(&[LINE]),
    ];
    Gate::open()?.judge(&cases);
    Ok(())
}
