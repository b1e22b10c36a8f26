//! Where a request ends: nothing may be a body to the gateway and a request to the upstream, or the other way round.

use anyhow::{Result, ensure};

use super::{Gate, report};
use splittoken_tests::hand::Peer;

#[test]
fn transfer_encoding_is_chunked_or_nothing() -> Result<()> {
    let values = [
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "gzip",
        "\"chunked\"",
        "chunked,",
        ", chunked",
        "chun ked",
        "",
    ];
    let body = "0⏎⏎GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
    let mut cases: Vec<_> = values
        .iter()
        .map(|value| {
            let case = format!("POST / HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Transfer-Encoding: {value}⏎⏎{body}");
            ((*value).to_owned(), case)
        })
        .collect();
    for (name, headers) in [
        ("twice", "Transfer-Encoding: chunked⏎Transfer-Encoding: chunked"),
        ("gzip first", "Transfer-Encoding: gzip⏎Transfer-Encoding: chunked"),
        ("gzip last", "Transfer-Encoding: chunked⏎Transfer-Encoding: gzip"),
        ("a space before the colon", "Transfer-Encoding : chunked"),
        ("folded", "Transfer-Encoding:⏎ chunked"),
        ("a control character", "Transfer-Encoding: \u{b}chunked"),
    ] {
        cases.push((
            name.to_owned(),
            format!("POST / HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{headers}⏎⏎{body}"),
        ));
    }
    cases.push((
        "HTTP/1.0".to_owned(),
        format!("POST / HTTP/1.0⏎Host: {{host}}⏎{{auth}}⏎Transfer-Encoding: chunked⏎⏎{body}"),
    ));
    let table: Vec<_> = cases
        .iter()
        .map(|(name, case)| (name.as_str(), 400, case.as_str()))
        .collect();
    Gate::open()?.refuses(&table);
    Ok(())
}

#[test]
fn content_length_is_one_plain_number() -> Result<()> {
    let mut cases = Vec::new();
    for value in [
        "+5",
        "-1",
        "5x",
        "0x5",
        "",
        "5 5",
        "5.0",
        "18446744073709551616",
        "5;5",
        "\"5\"",
    ] {
        cases.push((
            value.to_owned(),
            format!("POST / HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Content-Length: {value}⏎⏎hello"),
        ));
    }
    cases.push((
        "two that differ".to_owned(),
        "POST / HTTP/1.1⏎Host: {host}⏎{auth}⏎Content-Length: 5⏎Content-Length: 6⏎⏎hello!".to_owned(),
    ));
    cases.push((
        "a list that differs".to_owned(),
        "POST / HTTP/1.1⏎Host: {host}⏎{auth}⏎Content-Length: 5, 6⏎⏎hello!".to_owned(),
    ));
    let table: Vec<_> = cases
        .iter()
        .map(|(name, case)| (name.as_str(), 400, case.as_str()))
        .collect();
    Gate::open()?.refuses(&table);
    Ok(())
}

/// RFC 9112 section 6.3 lets a server refuse such a request, or serve it as chunked and close.
#[test]
fn a_length_beside_chunked_smuggles_nothing() -> Result<()> {
    let gate = Gate::open()?;
    let hidden = "GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
    for fields in [
        "Transfer-Encoding: chunked⏎Content-Length: 4",
        "Content-Length: 4⏎Transfer-Encoding: chunked",
        "Content-Length: 200⏎Transfer-Encoding: chunked",
        "Content-Length: 0⏎Transfer-Encoding: chunked",
        "Content-Length: 4⏎transfer-encoding: CHUNKED",
    ] {
        let case = format!("POST /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{fields}⏎⏎3⏎abc⏎0⏎⏎{hidden}");
        let mut client = Peer::connect(gate.stand.gateway.address())?;
        client.send(gate.bytes(&case))?;
        let answers = String::from_utf8_lossy(&client.rest()?).into_owned();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{fields}: {answers}");
        let requests = gate.good_request()?;
        match answers.get(9..12) {
            Some("400") => assert_eq!(requests, [], "{fields}"),
            Some("200") => {
                assert_eq!(requests.len(), 1, "{fields}: {requests:?}");
                assert_eq!(requests[0].header("content-length"), None, "{fields}");
                assert_eq!(
                    requests[0].header_all("transfer-encoding"),
                    ["chunked"],
                    "{fields}"
                );
                assert_eq!(requests[0].body(), b"3\r\nabc\r\n0\r\n\r\n", "{fields}");
            }
            _ => panic!("{fields}: {answers}"),
        }
    }
    Ok(())
}

/// Broken chunks: the upstream may see the beginning, but never a whole request, and never what follows.
#[test]
fn broken_chunks_end_a_request_and_start_none() -> Result<()> {
    let hidden = "GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
    let gate = Gate::open()?;
    let bodies = [
        "3⏎abcd⏎0⏎⏎",
        "3x⏎abc⏎0⏎⏎",
        "0x3⏎abc⏎0⏎⏎",
        "+3⏎abc⏎0⏎⏎",
        "-1⏎abc⏎0⏎⏎",
        "⏎3⏎abc⏎0⏎⏎",
        "3\nabc\n0\n\n",
        "fffffffffffffffff⏎abc⏎0⏎⏎",
        "3⏎abc0⏎⏎",
        "3\rabc⏎0⏎⏎",
    ];
    let failures = bodies.iter().filter_map(|body| {
        let ends = || {
            let case = format!(
                "POST /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Transfer-Encoding: chunked⏎⏎{body}{hidden}"
            );
            let mut client = Peer::connect(gate.stand.gateway.address())?;
            client.send(gate.bytes(&case))?;
            let answers = String::from_utf8_lossy(&client.rest()?).into_owned();
            ensure!(answers.matches("HTTP/1.1 ").count() <= 1, "{answers}");
            // The client's fault, and neither the upstream's nor ours.
            ensure!(answers.starts_with("HTTP/1.1 400 "), "{answers}");
            let requests = gate.good_request()?;
            ensure!(requests.is_empty(), "the upstream got {requests:?}");
            Ok(())
        };
        Some((*body, ends().err()?))
    });
    report(failures.collect());
    Ok(())
}

#[test]
fn requests_are_framed_anew() -> Result<()> {
    let gate = Gate::open()?;
    let table = [
        ("a length", "Content-Length: 5⏎⏎hello", "hello"),
        (
            "the same length twice",
            "Content-Length: 5⏎Content-Length: 5⏎⏎hello",
            "hello",
        ),
        (
            "a length with zeros before it",
            "Content-Length: 0005⏎⏎hello",
            "hello",
        ),
        ("chunks", "Transfer-Encoding: chunked⏎⏎2⏎he⏎3⏎llo⏎0⏎⏎", "hello"),
        (
            "chunks in capitals",
            "Transfer-Encoding: CHUNKED⏎⏎5⏎hello⏎0⏎⏎",
            "hello",
        ),
        (
            "chunks with extensions",
            "Transfer-Encoding: chunked⏎⏎5;name=value⏎hello⏎0;last⏎⏎",
            "hello",
        ),
        (
            "chunks with a trailer",
            "Transfer-Encoding: chunked⏎Trailer: X-Sum⏎⏎5⏎hello⏎0⏎X-Sum: 1⏎⏎",
            "hello",
        ),
        ("no body", "Content-Length: 0⏎⏎", ""),
        ("no chunk", "Transfer-Encoding: chunked⏎⏎0⏎⏎", ""),
    ];
    let failures = table.iter().filter_map(|(name, rest, body)| {
        let arrives = || {
            let request = gate.passes(&format!("POST /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{rest}"))?;
            let (length, encoding) = (
                request.header_all("content-length"),
                request.header_all("transfer-encoding"),
            );
            ensure!(
                length.len() + encoding.len() <= 1,
                "two framings: {length:?}, {encoding:?}"
            );
            ensure!(
                length.iter().all(|length| *length == body.len().to_string()),
                "{length:?}"
            );
            let raw = String::from_utf8_lossy(request.body()).into_owned();
            ensure!(!raw.contains("name=value") && !raw.contains("X-Sum"), "{raw}");
            let plain: String = raw
                .split("\r\n")
                .filter(|line| usize::from_str_radix(line, 16).is_err())
                .collect();
            ensure!(plain == *body, "{raw:?}");
            ensure!(request.header("trailer").is_none());
            Ok(())
        };
        Some((*name, arrives().err()?))
    });
    report(failures.collect());
    Ok(())
}

#[test]
fn a_refused_request_takes_its_body_with_it() -> Result<()> {
    let gate = Gate::open()?;
    let hidden = "GET /smuggled HTTP/1.1⏎Host: {host}⏎{auth}⏎⏎";
    let length = gate.bytes(hidden).len();
    let by_length = format!("POST /a;b HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎Content-Length: {length}⏎⏎{hidden}");
    let by_chunks =
        format!("POST /a HTTP/1.1⏎Host: {{host}}⏎Transfer-Encoding: chunked⏎⏎{length:x}⏎{hidden}⏎0⏎⏎");
    let two_places =
        format!("POST /a HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎{{auth}}⏎Content-Length: {length}⏎⏎{hidden}");
    gate.refuses(&[
        ("by its length", 400, &by_length),
        ("by its chunks", 401, &by_chunks),
        ("refused at the gate", 400, &two_places),
    ]);
    Ok(())
}
