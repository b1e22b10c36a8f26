//! Smuggling: a message whose end two programs could see in two places.

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Case, Gate};
use splittoken_tests::wire::Request;

/// What an attacker would like the upstream to take for a request of its own.
const HIDDEN: &str = "GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";

fn post(fields: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{fields}⏎⏎{body}")
}

/// Both framings at once. The chunks count, the connection ends with that request, and what follows is nobody's.
#[test]
fn chunks_and_a_length_are_one_request_and_the_last() -> Result<()> {
    let bodies = [
        ("the length is shorter", format!("3⏎abc⏎0⏎⏎{HIDDEN}")),
        ("nothing but an end", format!("0⏎⏎{HIDDEN}")),
        (
            "a request as a chunk",
            "2b⏎GET /smuggled HTTP/1.1⏎Host: evil.test⏎⏎⏎0⏎⏎".to_owned(),
        ),
    ];
    let fields = [
        "Content-Length: 4⏎Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked⏎Content-Length: 4",
        "Transfer-Encoding: chunked⏎content-length: 0",
        "Content-Length: 9999⏎Transfer-Encoding:\tchunked",
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4⏎Transfer-Encoding: ChUnKeD",
    ];
    let mut cases = Vec::new();
    for fields in fields {
        for (what, body) in &bodies {
            let name = format!("{fields}, {what}");
            cases.push(Case::answered(name, &[200], post(fields, body)).arriving(&["POST /a HTTP/1.1"]));
        }
    }
    Gate::open()?.judge_with(&cases, |_, request| is_framed_anew(request));
    Ok(())
}

#[test]
fn obfuscated_codings_are_refused() -> Result<()> {
    let fields = [
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: \u{c}chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "Transfer-Encoding: chunked\u{85}",
        "Transfer-Encoding: x, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity⏎Content-Length: 4",
        "Transfer-Encoding: chunked⏎Transfer-Encoding: x",
        "Transfer-Encoding: x⏎Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked⏎Transfer-encoding: identity",
        "Transfer-Encoding: chunked⏎Transfer-Encoding:",
        "Transfer-Encoding:⏎Transfer-Encoding: chunked",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked;",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding: %63hunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: deflate, chunked",
        "Transfer-Encoding: trailers",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\u{0}: chunked",
        "Transfer Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer\u{ad}-Encoding: chunked",
        "Transfer-Encoding:⏎ chunked",
        "Transfer-Encoding:\n\tchunked",
        "X: y⏎ Transfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "\u{b}Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\rX: y",
        "Transfer-Encoding: \"chunked",
        "Transfer-Encoding:: chunked",
    ];
    let cases: Vec<Case> = fields
        .iter()
        .map(|fields| Case::refused(*fields, 400, post(fields, &format!("0⏎⏎{HIDDEN}"))))
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn one_length_and_a_plain_number() -> Result<()> {
    let lengths = [
        "4, 4",
        "4,5",
        "4;5",
        "4,",
        ",4",
        "+4",
        "-4",
        "-0",
        "0x4",
        "4e0",
        "4.",
        "4 0",
        "4\t0",
        "4_0",
        "4\u{0}",
        "4\u{b}",
        "\u{b}4",
        "\u{a0}4",
        "'4'",
        "\"4\"",
        "four",
        "\u{b2}4",
        "%34",
        "4⏎Content-Length: 5",
        "4⏎content-length: 0",
        "4⏎Content-Length:",
        "0⏎Content-Length: 4",
        "⏎ 4",
        "4⏎ 5",
        "18446744073709551616",
        "18446744073709551620",
        "99999999999999999999999999999999",
        "-18446744073709551612",
    ];
    let mut cases: Vec<Case> = lengths
        .iter()
        .map(|length| {
            let case = post(&format!("Content-Length: {length}"), &format!("abcd{HIDDEN}"));
            Case::refused(*length, 400, case)
        })
        .collect();
    // The parser's own limit, which it takes for one of the head.
    let largest = post("Content-Length: 18446744073709551615", &format!("abcd{HIDDEN}"));
    cases.push(Case::refused("the largest number", 431, largest));
    for field in [
        "Content-Length : 4",
        "Content-Length\t: 4",
        "Content-Length\u{0}: 4",
        "Content_Length: 4",
        "X: y⏎ Content-Length: 4",
        "X: y\rContent-Length: 4",
    ] {
        cases.push(Case::refused(field, 400, post(field, &format!("abcd{HIDDEN}"))));
    }
    Gate::open()?.judge(&cases);
    Ok(())
}

/// The body ends where its framing says, and what comes behind is a request of its own, or none.
#[test]
fn a_body_ends_where_its_length_says() -> Result<()> {
    let line = "POST /a HTTP/1.1";
    let next = "GET /next HTTP/1.1";
    let rest = format!("{next}⏎Host: {{host}}⏎{{auth}}⏎Connection: close⏎⏎");
    let both = [line, next];
    let cases = [
        Case::answered(
            "a length",
            &[200, 200],
            post("Content-Length: 4", &format!("abcd{rest}")),
        )
        .arriving(&both),
        Case::answered(
            "zeros before it",
            &[200, 200],
            post("Content-Length: 00004", &format!("abcd{rest}")),
        )
        .arriving(&both),
        Case::answered(
            "twice the same",
            &[200, 200],
            post("Content-Length: 4⏎Content-Length: 4", &format!("abcd{rest}")),
        )
        .arriving(&both),
        Case::answered("no body", &[200, 200], post("Content-Length: 0", &rest)).arriving(&both),
        Case::answered("nothing said", &[200, 200], post("X: y", &rest)).arriving(&both),
        Case::answered(
            "one byte too many",
            &[200, 400],
            post("Content-Length: 4", &format!("abcd\u{0}{rest}")),
        )
        .arriving(&[line]),
        Case::answered(
            "one letter too many",
            &[200, 400],
            post("Content-Length: 4", &format!("abcd ({rest}")),
        )
        .arriving(&[line]),
        Case::answered(
            "chunks",
            &[200, 200],
            post("Transfer-Encoding: chunked", &format!("4⏎abcd⏎0⏎⏎{rest}")),
        )
        .arriving(&both),
        Case::answered(
            "a length of a GET",
            &[200, 200],
            format!("GET /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Content-Length: 4⏎⏎abcd{rest}"),
        )
        .arriving(&["GET /a HTTP/1.1", next]),
        Case::broken_off(
            "a length that is never reached",
            post("Content-Length: 4294967296", &rest),
        ),
        Case::broken_off(
            "a length near the end of numbers",
            post("Content-Length: 9223372036854775807", &rest),
        ),
        Case::broken_off(
            "chunks without an end",
            post("Transfer-Encoding: chunked", "4⏎abcd⏎"),
        ),
        Case::broken_off(
            "a chunk that is never reached",
            post("Transfer-Encoding: chunked", "7fffffff⏎abcd⏎0⏎⏎"),
        ),
    ];
    Gate::open()?.judge(&cases);
    Ok(())
}

#[test]
fn broken_chunks_are_refused() -> Result<()> {
    let long = format!("3;{}⏎abc⏎0⏎⏎", "x".repeat(20_000));
    let trailers = format!("3⏎abc⏎0⏎{}⏎", "X: y⏎".repeat(10_000));
    let trailer = format!("3⏎abc⏎0⏎X: {}⏎⏎", "y".repeat(100_000));
    let bodies = [
        ("a sign", "+3⏎abc⏎0⏎⏎"),
        ("a minus", "-3⏎abc⏎0⏎⏎"),
        ("minus nothing", "-0⏎⏎"),
        ("0x", "0x3⏎abc⏎0⏎⏎"),
        ("a point", "3.0⏎abc⏎0⏎⏎"),
        ("an underscore", "0_3⏎abc⏎0⏎⏎"),
        ("no digit", "g⏎abc⏎0⏎⏎"),
        ("nothing", "⏎abc⏎0⏎⏎"),
        ("an extension alone", ";x⏎abc⏎0⏎⏎"),
        ("a space before it", " 3⏎abc⏎0⏎⏎"),
        ("a NUL", "3\u{0}⏎abc⏎0⏎⏎"),
        ("a vertical tab", "3\u{b}⏎abc⏎0⏎⏎"),
        ("superscript", "\u{b3}⏎abc⏎0⏎⏎"),
        ("two sizes", "3,3⏎abc⏎0⏎⏎"),
        ("two sizes with a space", "3 3⏎abc⏎0⏎⏎"),
        ("65 bits", "10000000000000003⏎abc⏎0⏎⏎"),
        ("64 bits and all of them", "ffffffffffffffff0⏎abc⏎0⏎⏎"),
        ("LF for CR LF after the size", "3\nabc⏎0⏎⏎"),
        ("CR for CR LF after the size", "3\rabc⏎0⏎⏎"),
        ("CR CR LF", "3\r⏎abc⏎0⏎⏎"),
        ("LF for CR LF after the data", "3⏎abc\n0⏎⏎"),
        ("CR for CR LF after the data", "3⏎abc\r0⏎⏎"),
        ("no line end after the data", "3⏎abc0⏎⏎"),
        ("two line ends after the data", "3⏎abc⏎⏎0⏎⏎"),
        ("more data than said", "3⏎abcd⏎0⏎⏎"),
        ("LF in an extension", "3;x\ny⏎abc⏎0⏎⏎"),
        ("CR in an extension", "3;x\ry⏎abc⏎0⏎⏎"),
        ("LF at the end of an extension", "3;x\nabc⏎0⏎⏎"),
        ("an endless extension", &long),
        ("LF for CR LF at the end", "3⏎abc⏎0\n\n"),
        ("LF after the last size", "3⏎abc⏎0\n⏎"),
        ("CR after the last size", "3⏎abc⏎0\r⏎"),
        ("a sign at the end", "3⏎abc⏎+0⏎⏎"),
        ("endless trailers", &trailers),
        ("an endless trailer", &trailer),
    ];
    let cases: Vec<Case> = bodies
        .iter()
        .map(|(name, body)| {
            Case::refused(
                *name,
                400,
                post("Transfer-Encoding: chunked", &format!("{body}{HIDDEN}")),
            )
        })
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

/// A trailer field is read after everything was decided: none may take the place of a header field.
#[test]
fn trailers_say_nothing() -> Result<()> {
    let trailers = [
        "Authorization: Bearer evil",
        "Host: evil.example",
        "Content-Length: 5",
        "Transfer-Encoding: evil",
        "X-Forwarded-For: 6.6.6.6",
        "X-User-Id: evil",
        "Cookie: evil=1",
        "Connection: close",
        "Content-Type: evil/evil",
        "X_Evil: evil",
        "X-HTTP-Method-Override: evil",
    ];
    let mut cases = Vec::new();
    for trailer in trailers {
        let name = trailer.split(':').next().unwrap_or_default();
        for fields in [
            "Transfer-Encoding: chunked".to_owned(),
            format!("Transfer-Encoding: chunked⏎TE: trailers⏎Trailer: {name}"),
        ] {
            let case = post(&fields, &format!("3⏎abc⏎0⏎{trailer}⏎⏎"));
            cases.push(Case::passed(
                format!("{fields}, {trailer}"),
                "POST /a HTTP/1.1",
                case,
            ));
        }
    }
    Gate::open()?.judge_with(&cases, |_, request| {
        let text = String::from_utf8_lossy(&request.raw).to_ascii_lowercase();
        ensure!(!text.contains("evil") && !text.contains("6.6.6.6"), "{text}");
        is_framed_anew(request)
    });
    Ok(())
}

#[test]
fn malformed_trailers_are_refused() -> Result<()> {
    let trailers = [
        "X : y",
        "X y",
        ": y",
        "X: y\u{0}",
        "X: y\rZ: w",
        " X: y",
        "X\u{0}: y",
        "X: y⏎ z",
    ];
    let cases: Vec<Case> = trailers
        .iter()
        .map(|trailer| {
            let case = post(
                "Transfer-Encoding: chunked",
                &format!("3⏎abc⏎0⏎{trailer}⏎⏎{HIDDEN}"),
            );
            Case::refused(*trailer, 400, case)
        })
        .collect();
    Gate::open()?.judge(&cases);
    Ok(())
}

/// One framing, the gateway's own, and as much body as it says.
fn is_framed_anew(request: &Request) -> Result<()> {
    let (lengths, codings) = (
        request.header_all("content-length"),
        request.header_all("transfer-encoding"),
    );
    ensure!(lengths.len() + codings.len() <= 1, "{lengths:?}, {codings:?}");
    ensure!(codings.iter().all(|coding| coding == "chunked"), "{codings:?}");
    ensure!(
        request.header("trailer").is_none() && request.header("te").is_none(),
        "{:?}",
        request.headers()
    );
    ensure!(
        request.body().ends_with(b"\r\n0\r\n\r\n") || request.body() == b"0\r\n\r\n",
        "{:?}",
        request.body()
    );
    Ok(())
}
