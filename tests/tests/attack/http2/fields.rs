//! Header fields that HTTP/1.1 could not have sent, or that would mean something else there.

use anyhow::Result;
use splittoken_tests::frames::Frame;

use super::Verdict::{Ended, Reset, Served, Status};
use super::{Attempt, Hall, Verdict, data, encoded};

fn one(name: &str, verdict: Verdict, block: Vec<u8>) -> Attempt {
    Attempt::new(name, verdict, vec![Frame::headers(1, block).last()])
}

#[test]
fn a_request_has_each_pseudo_field_once() -> Result<()> {
    let hall = Hall::open()?;
    let without = |name: &str| hall.changed(&[(name, None)]);
    let twice = |name: &str, value: &str| {
        let mut fields = hall.good();
        fields.insert(0, (name.to_owned(), value.to_owned()));
        encoded(&fields)
    };
    let late = |name: &str| {
        let mut fields = hall.good();
        let at = fields.iter().position(|(found, _)| found == name).unwrap_or(0);
        let field = fields.remove(at);
        fields.push(field);
        encoded(&fields)
    };
    let authority = hall.gate.stand.gateway.host();
    hall.judge(&[
        one("no method", Reset, without(":method")),
        one("no scheme", Reset, without(":scheme")),
        one("no path", Reset, without(":path")),
        one("neither authority nor host", Status(400), without(":authority")),
        one("two methods", Reset, twice(":method", "DELETE")),
        one("the same method twice", Reset, twice(":method", "GET")),
        one("two schemes", Reset, twice(":scheme", "https")),
        one("two paths", Reset, twice(":path", "/admin")),
        one("two authorities", Reset, twice(":authority", &authority)),
        one("a late method", Reset, late(":method")),
        one("a late path", Reset, late(":path")),
        one("a late authority", Reset, late(":authority")),
        one("an unknown one", Ended, twice(":evil", "x")),
        one("a response's", Reset, twice(":status", "200")),
        one("a protocol", Reset, twice(":protocol", "websocket")),
        one("in capitals", Ended, twice(":Method", "GET")),
        one("with a space", Ended, twice(": method", "GET")),
        one("an empty one", Ended, twice(":", "x")),
        one(
            "none at all",
            Reset,
            hall.changed(&[
                (":method", None),
                (":scheme", None),
                (":path", None),
                (":authority", None),
            ]),
        ),
        one("no fields", Reset, Vec::new()),
    ]);
    Ok(())
}

#[test]
fn a_path_is_a_path() -> Result<()> {
    let hall = Hall::open()?;
    let table = [
        ("", Reset),
        ("a", Reset),
        ("*", Status(400)),
        ("/a b", Reset),
        ("/a\r\nX: y", Reset),
        ("/a HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /admin", Reset),
        ("/a\n", Reset),
        ("/a\0", Reset),
        ("/a\t", Reset),
        ("/a\u{7f}", Reset),
        ("http://evil.example/a", Reset),
        ("/a/../admin", Status(400)),
        ("/./a", Status(400)),
        ("//evil.example/a", Status(400)),
        ("/a%2fb", Status(400)),
        ("/a%00", Status(400)),
        ("/a\\b", Status(400)),
        ("/admin", Status(403)),
        ("/%61dmin", Status(403)),
        ("/a;b", Status(400)),
        ("/a?access_token=x", Status(400)),
        ("/a?b c", Reset),
        ("/a?b\r\nX: y", Reset),
        ("/%61", Served("GET /a")),
    ];
    let attempts: Vec<Attempt> = table
        .iter()
        .map(|(path, verdict)| one(path, *verdict, hall.changed(&[(":path", Some(path))])))
        .collect();
    hall.judge(&attempts);
    Ok(())
}

#[test]
fn who_is_asked_is_said_once() -> Result<()> {
    let hall = Hall::open()?;
    let host = hall.gate.stand.gateway.host();
    let authority = |text: &str| hall.changed(&[(":authority", Some(text))]);
    let beside = |text: &str| hall.with(&[("host", text)]);
    hall.judge(&[
        one("another authority", Status(404), authority("evil.example")),
        one("a user", Status(400), authority(&format!("me@{host}"))),
        one("a path", Reset, authority(&format!("{host}/x"))),
        one("a space", Reset, authority("evil example")),
        one("a line end", Reset, authority(&format!("{host}\r\nX: y"))),
        one("a NUL", Reset, authority(&format!("{host}\0"))),
        one("an empty one", Reset, authority("")),
        one("a list", Reset, authority(&format!("{host}, {host}"))),
        one("another Host", Status(400), beside("evil.example")),
        one("an empty Host", Status(400), beside("")),
        one("another port", Status(400), beside("127.0.0.1:1")),
        one(
            "two Hosts",
            Status(400),
            hall.with(&[("host", &host), ("host", &host)]),
        ),
        one("Host with a line end", Ended, beside(&format!("{host}\r\nX: y"))),
        one("the same Host", Served("GET /a"), beside(&host)),
        one(
            "Host alone",
            Served("GET /a"),
            hall.changed(&[(":authority", None), ("host", Some(&host))]),
        ),
        one(
            "another Host alone",
            Status(404),
            hall.changed(&[(":authority", None), ("host", Some("evil.example"))]),
        ),
        one(
            "scheme file",
            Status(400),
            hall.changed(&[(":scheme", Some("file"))]),
        ),
        one(
            "an empty scheme",
            Status(400),
            hall.changed(&[(":scheme", Some(""))]),
        ),
        one(
            "a scheme with a space",
            Reset,
            hall.changed(&[(":scheme", Some("http evil"))]),
        ),
        one(
            "a scheme that is an URL",
            Reset,
            hall.changed(&[(":scheme", Some("http://evil.example/x?"))]),
        ),
    ]);
    Ok(())
}

#[test]
fn methods_are_words() -> Result<()> {
    let hall = Hall::open()?;
    let method = |text: &str| hall.changed(&[(":method", Some(text))]);
    let connect = |changes: &[(&str, Option<&str>)]| {
        let all = [&[(":method", Some("CONNECT"))], changes].concat();
        hall.changed(&all)
    };
    hall.judge(&[
        one("an empty one", Ended, method("")),
        one("with a path", Ended, method("GET /admin HTTP/1.1")),
        one("a line end", Ended, method("GET\r\nX: y")),
        one("a NUL", Ended, method("GET\0")),
        one("TRACE", Status(405), method("TRACE")),
        one(
            "CONNECT",
            Status(405),
            connect(&[(":scheme", None), (":path", None)]),
        ),
        one("CONNECT with a path", Reset, connect(&[])),
        one(
            "CONNECT elsewhere",
            Status(405),
            connect(&[
                (":scheme", None),
                (":path", None),
                (":authority", Some("evil.example:443")),
            ]),
        ),
        one("a small letter", Served("get /a"), method("get")),
    ]);
    Ok(())
}

#[test]
fn names_and_values_stay_what_they_are() -> Result<()> {
    let hall = Hall::open()?;
    let unreadable = [
        ("X-A", "b"),
        ("x-a\r\nx-b", "c"),
        ("x-a: b\r\nx-c", "d"),
        ("x-a\n", "b"),
        ("x-a\0", "b"),
        ("x a", "b"),
        ("x-a:", "b"),
        ("", "b"),
        (" x-a", "b"),
        ("x-\u{e9}", "b"),
        ("x-a", "b\r\nx-c: d"),
        (
            "x-a",
            "b\r\n\r\nGET /admin HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        ),
        ("x-a", "b\n"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x-a", "b\u{7f}c"),
        ("x-a", "\u{1b}[2J"),
    ];
    let refused = [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "authorization"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, chunked"),
        ("content-length", "5"),
        ("content-length", "x"),
        ("content-length", "-1"),
        ("content-length", "+0"),
        ("content-length", "18446744073709551616"),
    ];
    let mut attempts: Vec<Attempt> = refused
        .iter()
        .map(|(name, value)| {
            one(
                &format!("{name:?}: {value:?}"),
                Reset,
                hall.with(&[(name, value)]),
            )
        })
        .chain(unreadable.iter().map(|(name, value)| {
            one(
                &format!("{name:?}: {value:?}"),
                Ended,
                hall.with(&[(name, value)]),
            )
        }))
        .collect();
    for (name, value) in [
        ("x_user", "root"),
        ("x-user_id", "root"),
        ("authorization", "Bearer x"),
        ("authorization", ""),
    ] {
        attempts.push(one(
            &format!("{name}: {value}"),
            Status(400),
            hall.with(&[(name, value)]),
        ));
    }
    hall.judge(&attempts);
    Ok(())
}

/// What is a body's length is what comes of it.
#[test]
fn a_length_that_is_wrong_makes_no_request() -> Result<()> {
    let hall = Hall::open()?;
    let post = |more: &[(&str, &str)]| {
        let mut block = hall.changed(&[(":method", Some("POST"))]);
        block.extend(splittoken_tests::frames::block(more));
        block
    };
    let body = |name: &str, verdict: Verdict, fields: &[(&str, &str)], parts: &[&[u8]]| {
        let mut frames = vec![Frame::headers(1, post(fields))];
        frames.extend(parts.iter().map(|part| data(1, part)));
        let last = frames.pop().map(Frame::last);
        frames.extend(last);
        Attempt::new(name, verdict, frames)
    };
    let hidden = b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    hall.judge(&[
        body("too short", Reset, &[("content-length", "5")], &[b"abc"]),
        body("too long", Reset, &[("content-length", "3")], &[b"abcde"]),
        body(
            "too long, in pieces",
            Reset,
            &[("content-length", "3")],
            &[b"ab", b"cd"],
        ),
        body("nothing of it", Reset, &[("content-length", "5")], &[b""]),
        body("a body of none", Reset, &[("content-length", "0")], &[hidden]),
        body(
            "two that differ",
            Reset,
            &[("content-length", "3"), ("content-length", "5")],
            &[b"abc"],
        ),
        body("no number", Reset, &[("content-length", "3, 3")], &[b"abc"]),
        body(
            "chunked, too",
            Reset,
            &[("transfer-encoding", "chunked")],
            &[hidden],
        ),
        body("right", Served("POST /a"), &[("content-length", "3")], &[b"abc"]),
        body("none said", Served("POST /a"), &[], &[hidden]),
        Attempt::new(
            // The library does not look, and nobody else gets to.
            "trailers with a pseudo field",
            Served("POST /a"),
            vec![
                Frame::headers(1, post(&[])),
                data(1, b"abc"),
                Frame::headers(1, splittoken_tests::frames::block(&[(":path", "/admin")])).last(),
            ],
        ),
        Attempt::new(
            "trailers that are not the end",
            Reset,
            vec![
                Frame::headers(1, post(&[])),
                data(1, b"abc"),
                Frame::headers(1, splittoken_tests::frames::block(&[("x-a", "b")])),
            ],
        ),
        Attempt::new(
            "trailers of another request",
            Served("POST /a"),
            vec![
                Frame::headers(1, post(&[])),
                data(1, b"abc"),
                Frame::headers(
                    1,
                    splittoken_tests::frames::block(&[
                        ("authorization", "Bearer evil"),
                        ("host", "evil.example"),
                    ]),
                )
                .last(),
            ],
        ),
    ]);
    Ok(())
}

/// 32 KiB and a hundred fields, as for HTTP/1.1.
#[test]
fn a_header_list_has_an_end() -> Result<()> {
    let hall = Hall::open()?;
    let many = |number: usize| {
        let names: Vec<String> = (0..number).map(|number| format!("x-{number}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        hall.with(&fields)
    };
    let long = "x".repeat(12_000);
    hall.judge(&[
        one("101 fields", Status(431), many(100)),
        one("200 fields", Status(431), many(200)),
        one("36 kB in three", Status(431), hall.with(&[("x-a", &long)])).in_pieces(&hall.with(&[
            ("x-a", &long),
            ("x-b", &long),
            ("x-c", &long),
        ])),
        one("a megabyte", Ended, Vec::new()).in_pieces(&hall.with(&[("x-a", &"y".repeat(1_000_000))])),
    ]);
    Ok(())
}

impl Attempt {
    /// This block in place of its own, in as many frames as it needs.
    fn in_pieces(mut self, block: &[u8]) -> Self {
        self.frames = pieces(1, block);
        self
    }
}

/// A block that is larger than a frame may be.
fn pieces(stream: u32, block: &[u8]) -> Vec<Frame> {
    use splittoken_tests::frames::{CONTINUATION, END_HEADERS, HEADERS};
    let chunks: Vec<&[u8]> = block.chunks(16_384).collect();
    let frame = |(at, chunk): (usize, &&[u8])| {
        let frame = Frame::new(if at == 0 { HEADERS } else { CONTINUATION }, stream, *chunk);
        let frame = if at == 0 { frame.last() } else { frame };
        if at + 1 == chunks.len() {
            frame.flags(END_HEADERS)
        } else {
            frame
        }
    };
    chunks.iter().enumerate().map(frame).collect()
}
