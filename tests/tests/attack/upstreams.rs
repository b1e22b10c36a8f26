//! A hostile upstream: what it answers is one whole answer to the one who asked, or none.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::gate::{Gate, report};
use splittoken_tests::raw::{self, Answer};
use splittoken_tests::wire::{Step, answer};

use crate::witness::beside;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The client gets 502, and the upstream's connection is not used again.
    Refused,
    /// It arrives, with this body.
    Arrives(&'static str),
    /// Its head arrives, and then the connection is closed before it is whole.
    BreaksOff,
}
use Verdict::{Arrives, BreaksOff, Refused};

const OK: &str = "HTTP/1.1 200 OK\r\n";

struct Lie<'l> {
    name: &'l str,
    sent: String,
    verdict: Verdict,
}

fn lie(name: &str, verdict: Verdict, sent: impl Into<String>) -> Lie<'_> {
    let sent = sent.into();
    Lie { name, sent, verdict }
}

/// An answer with these fields and a body of five bytes.
fn with(fields: &str) -> String {
    format!("{OK}{fields}Content-Length: 5\r\n\r\nhello")
}

/// Lies to one client, and is honest to the next, on whatever connection it finds.
fn judge(lies: &[Lie<'_>]) -> Result<()> {
    let gate = Gate::open()?;
    println!("{} cases", lies.len());
    let failures = lies
        .iter()
        .filter_map(|lie| Some((lie.name, judged(&gate, lie).err()?)));
    report(failures.collect());
    Ok(())
}

fn judged(gate: &Gate, lie: &Lie<'_>) -> Result<()> {
    let sent = lie.sent.clone().into_bytes();
    gate.stand.upstream.script(move |request| {
        if request.target() == "/lie" {
            // The end of the connection is what some of them need to be whole.
            let rest = Step::Wait(Duration::from_millis(20));
            vec![Step::Send(sent.clone()), rest, Step::Close]
        } else {
            vec![Step::Send(answer("200 OK", &[], "ok"))]
        }
    });
    let mut client = raw::Client::connect(gate.stand.gateway.address())?;
    client.send(gate.bytes("GET /lie HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"))?;
    let got = client.read();
    match (lie.verdict, &got) {
        (BreaksOff, Err(_)) => {}
        (Refused, Ok(Some(answer))) => {
            ensure!(answer.status == 502, "{}: {}", answer.status, answer.text());
            is_clean(answer)?;
        }
        (Arrives(body), Ok(Some(answer))) => {
            ensure!(answer.text() == body, "{}: {:?}", answer.status, answer.text());
            is_clean(answer)?;
        }
        _ => anyhow::bail!("{got:?} in place of {:?}", lie.verdict),
    }
    if lie.verdict != BreaksOff {
        client.send(gate.bytes("GET /next HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎"))?;
        let next = client.read()?.context("closed before the next answer")?;
        ensure!(
            (next.status, next.text().as_str()) == (200, "ok"),
            "then {}: {}",
            next.status,
            next.text()
        );
    }
    // Whoever comes next, by the same connection to the upstream, gets what is meant for them.
    for _ in 0..3 {
        let other = gate.stand.get("/other", &gate.token)?;
        ensure!(
            (other.status, other.text().as_str()) == (200, "ok"),
            "others {}: {}",
            other.status,
            other.text()
        );
    }
    gate.stand.upstream.take();
    Ok(())
}

/// Nothing that was put in, and one framing.
fn is_clean(answer: &Answer) -> Result<()> {
    let head = String::from_utf8_lossy(&answer.head).into_owned();
    ensure!(!head.to_ascii_lowercase().contains("evil"), "{head}");
    ensure!(
        !head.replace("\r\n", "").contains(['\r', '\n', '\0', '\u{1b}']),
        "{head:?}"
    );
    let framings = answer.header_all("content-length").len() + answer.header_all("transfer-encoding").len();
    ensure!(framings <= 1, "{head}");
    Ok(())
}

#[test]
fn split_heads_are_refused() -> Result<()> {
    let many: String = (0..10_000).map(|number| format!("X-{number}: 1\r\n")).collect();
    judge(&[
        lie("CR in a value", Refused, with("X-A: b\rSet-Cookie: evil=1\r\n")),
        lie("NUL in a value", Refused, with("X-A: b\0evil\r\n")),
        lie("ESC in a value", Refused, with("X-A: \u{1b}[2Jevil\r\n")),
        lie("a vertical tab in a value", Refused, with("X-A: b\u{b}evil\r\n")),
        lie("DEL in a value", Refused, with("X-A: evil\u{7f}\r\n")),
        lie("a fold", Refused, with("X-A: b\r\n evil: c\r\n")),
        lie("a space in a name", Refused, with("X A: evil\r\n")),
        lie("a space before a colon", Refused, with("X-A : evil\r\n")),
        lie("no colon", Refused, with("evil\r\n")),
        lie("no name", Refused, with(": evil\r\n")),
        lie("CR in a name", Refused, with("X\rA: evil\r\n")),
        lie("10,000 fields", Refused, with(&many)),
        lie(
            "a field of 100 kB",
            Refused,
            with(&format!("X-A: {}\r\n", "y".repeat(100_000))),
        ),
        lie(
            "a head without an end",
            Refused,
            format!("{OK}X-A: {}", "y".repeat(200_000)),
        ),
        lie("half a head", Refused, "HTTP/1.1 200 OK\r\nX-A: evil"),
        lie("nothing", Refused, ""),
        lie(
            "CR in the reason",
            Refused,
            "HTTP/1.1 200 OK\rX-A: evil\r\nContent-Length: 0\r\n\r\n",
        ),
        lie(
            "NUL in the reason",
            Refused,
            "HTTP/1.1 200 evil\0\r\nContent-Length: 0\r\n\r\n",
        ),
        lie(
            "ESC in the reason",
            Refused,
            "HTTP/1.1 200 \u{1b}[2Jevil\r\nContent-Length: 0\r\n\r\n",
        ),
    ])
}

#[test]
fn status_lines_have_one_form() -> Result<()> {
    let of = |line: &str| format!("{line}\r\nContent-Length: 4\r\n\r\nevil");
    judge(&[
        lie("no HTTP at all", Refused, "evil\r\n\r\n"),
        lie("HTTP/0.9", Refused, "<html>evil</html>"),
        lie("HTTP/2", Refused, of("HTTP/2.0 200 OK")),
        lie("HTTP/1.2", Refused, of("HTTP/1.2 200 OK")),
        lie("ICY", Refused, of("ICY 200 OK")),
        lie("small letters", Refused, of("http/1.1 200 OK")),
        lie("no status", Refused, of("HTTP/1.1")),
        lie("a status of a letter", Refused, of("HTTP/1.1 2x0 OK")),
        lie("a status of two digits", Refused, of("HTTP/1.1 20 OK")),
        lie("a status of four digits", Refused, of("HTTP/1.1 2000 OK")),
        lie("a status of nothing", Refused, of("HTTP/1.1 000 OK")),
        lie("a negative status", Refused, of("HTTP/1.1 -20 OK")),
        lie(
            "another protocol",
            Refused,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\nevil",
        ),
    ])
}

#[test]
fn bodies_end_once() -> Result<()> {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let of = |fields: &str, body: &str| format!("{OK}{fields}\r\n{body}");
    judge(&[
        lie(
            "two lengths",
            Refused,
            of("Content-Length: 5\r\nContent-Length: 9\r\n", "hello"),
        ),
        lie(
            "a list of lengths",
            Refused,
            of("Content-Length: 5, 9\r\n", "hello"),
        ),
        lie(
            "a negative length",
            Refused,
            of("Content-Length: -5\r\n", "hello"),
        ),
        lie("a signed length", Refused, of("Content-Length: +5\r\n", "hello")),
        lie(
            "a length in hexadecimal",
            Refused,
            of("Content-Length: 0x5\r\n", "hello"),
        ),
        lie("no length", Refused, of("Content-Length:\r\n", "hello")),
        lie(
            "a length beyond all numbers",
            Refused,
            of("Content-Length: 18446744073709551616\r\n", "hello"),
        ),
        lie(
            "gzip for chunks",
            Refused,
            of("Transfer-Encoding: gzip\r\n", "hello"),
        ),
        lie(
            "gzip before chunks",
            Refused,
            of("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        lie(
            "identity behind chunks",
            Refused,
            of(
                "Transfer-Encoding: chunked, identity\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        lie(
            "an unknown coding",
            Refused,
            of("Transfer-Encoding: evil\r\n", "hello"),
        ),
        lie(
            "two codings",
            Refused,
            of(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        lie(
            "chunks of chunks",
            Refused,
            of(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        lie(
            "a length beside chunks",
            Arrives("hello"),
            of(
                &format!("{chunked}Content-Length: 3\r\n"),
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        lie(
            "the same length twice",
            Arrives("hello"),
            of("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ),
        lie(
            "a second answer behind the first",
            Arrives("hello"),
            of("Content-Length: 5\r\n", &format!("hello{second}")),
        ),
        lie(
            "a second answer behind chunks",
            Arrives("hello"),
            of(chunked, &format!("5\r\nhello\r\n0\r\n\r\n{second}")),
        ),
        lie(
            "a second answer behind nothing",
            Arrives(""),
            format!("HTTP/1.1 204 No Content\r\n\r\n{second}"),
        ),
        lie(
            "a second answer behind 304",
            Arrives(""),
            format!("HTTP/1.1 304 Not Modified\r\n\r\n{second}"),
        ),
        lie(
            "a body behind 204",
            Arrives(""),
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        ),
        lie(
            "a body behind 304",
            Arrives(""),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        ),
        lie("a body up to the end", Arrives("hello"), of("", "hello")),
        lie(
            "less than it said",
            BreaksOff,
            of("Content-Length: 9\r\n", "hello"),
        ),
        lie("chunks without an end", BreaksOff, of(chunked, "5\r\nhello\r\n")),
        lie("half a chunk", BreaksOff, of(chunked, "9\r\nhello")),
        lie(
            "a chunk of no number",
            BreaksOff,
            of(chunked, "5\r\nhello\r\nxyz\r\nevil\r\n0\r\n\r\n"),
        ),
        lie(
            "a chunk beyond all numbers",
            BreaksOff,
            of(chunked, "5\r\nhello\r\nfffffffffffffffff\r\n"),
        ),
        lie(
            "a chunk that is longer than it says",
            BreaksOff,
            of(chunked, "5\r\nhelloevil\r\n0\r\n\r\n"),
        ),
    ])
}

#[test]
fn what_is_of_one_hop_stays_there() -> Result<()> {
    judge(&[
        lie(
            "Connection",
            Arrives("hello"),
            with("Connection: x-a, close\r\nX-A: evil\r\n"),
        ),
        lie("Keep-Alive", Arrives("hello"), with("Keep-Alive: evil\r\n")),
        lie("Upgrade", Arrives("hello"), with("Upgrade: evil\r\n")),
        lie("Trailer", Arrives("hello"), with("Trailer: evil\r\n")),
        lie(
            "Proxy-Authenticate",
            Arrives("hello"),
            with("Proxy-Authenticate: Basic realm=evil\r\n"),
        ),
        lie(
            "Proxy-Connection",
            Arrives("hello"),
            with("Proxy-Connection: evil\r\n"),
        ),
        lie("TE", Arrives("hello"), with("TE: evil\r\n")),
        lie(
            "trailers",
            Arrives("hello"),
            format!(
                "{OK}Transfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n5\r\nhello\r\n0\r\nSet-Cookie: evil=1\r\nContent-Length: 9\r\n\r\n"
            ),
        ),
        lie(
            "interim answers",
            Arrives("hello"),
            format!(
                "{}{}",
                "HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n".repeat(50),
                with("")
            ),
        ),
        lie(
            "an interim answer with a length",
            Arrives("hello"),
            format!("HTTP/1.1 102 Processing\r\nContent-Length: 4\r\n\r\n{}", with("")),
        ),
    ])
}

/// Without an end: as long as the rule waits for an answer, and for nothing.
#[test]
fn floods_of_interim_answers_fill_nothing() -> Result<()> {
    let gate = Gate::open()?;
    let flood = "HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n".repeat(50_000);
    gate.stand.upstream.script(move |request| {
        if request.target() == "/lie" {
            vec![
                Step::send(&flood),
                Step::send(&flood),
                Step::send(&flood),
                Step::Close,
            ]
        } else {
            vec![Step::Send(answer("200 OK", &[], "ok"))]
        }
    });
    beside(&gate, "150,000 interim answers", || {
        let answer = gate.stand.get("/lie", &gate.token)?;
        ensure!(answer.status == 502, "{}", answer.status);
        Ok(())
    })
}
