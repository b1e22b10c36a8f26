//! HTTP/1.1 in great number. Others are served meanwhile, and memory stays bounded.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use splittoken_tests::gate::Gate;
use splittoken_tests::wire::{Step, answer};

use crate::witness::beside;

/// Writes `head`, and then the same bytes so many times, as long as they are taken; and stays for a moment.
fn pour(gate: &Gate, head: &[u8], chunk: &[u8], times: usize) -> Result<()> {
    let mut stream = TcpStream::connect(gate.stand.gateway.address())?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(head)?;
    let taken = (0..times).take_while(|_| stream.write_all(chunk).is_ok()).count();
    println!("{taken} of {times} were taken");
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

#[test]
fn requests_whose_answers_nobody_reads_are_not_taken() -> Result<()> {
    let gate = Gate::open()?;
    let large = answer("200 OK", &[], vec![b'x'; 100_000]);
    gate.stand.upstream.script(move |request| {
        let is_attack = request.target() == "/open/flood";
        vec![Step::Send(if is_attack {
            large.clone()
        } else {
            answer("200 OK", &[], "ok")
        })]
    });
    for (name, case) in [
        ("large ones", "GET /open/flood HTTP/1.1⏎Host: {host}⏎⏎"),
        ("small ones", "GET /open/x HTTP/1.1⏎Host: {host}⏎⏎"),
        ("refusals", "GET /a HTTP/1.1⏎Host: {host}⏎⏎"),
    ] {
        let chunk = gate.bytes(case).repeat(100);
        beside(&gate, &format!("requests in a row, {name}"), || {
            pour(&gate, b"", &chunk, 200)
        })?;
        gate.stand.upstream.take();
    }
    Ok(())
}

#[test]
fn heads_end() -> Result<()> {
    let gate = Gate::open()?;
    for (name, head, chunk) in [
        ("empty lines", "", "\r\n".repeat(1000)),
        ("line feeds", "", "\n".repeat(1000)),
        ("a method", "", "G".repeat(1000)),
        ("a target", "GET /", "a".repeat(1000)),
        ("fields", "GET / HTTP/1.1\r\n", "X: y\r\n".repeat(200)),
        (
            "fields without a value",
            "GET / HTTP/1.1\r\n",
            "X:\r\n".repeat(200),
        ),
        ("a field", "GET / HTTP/1.1\r\nX: ", "y".repeat(1000)),
        ("a name", "GET / HTTP/1.1\r\n", "y".repeat(1000)),
        ("white space", "GET / HTTP/1.1\r\nX:", " ".repeat(1000)),
    ] {
        beside(&gate, &format!("{name} without an end"), || {
            pour(&gate, head.as_bytes(), chunk.as_bytes(), 20_000)
        })?;
    }
    let arrived = gate.good_request()?;
    let others = arrived.iter().filter(|request| request.target() != "/good");
    ensure!(others.count() == 0, "something arrived: {arrived:?}");
    Ok(())
}

#[test]
fn bodies_cost_what_they_are() -> Result<()> {
    let gate = Gate::open()?;
    let chunked = gate.bytes("POST /open HTTP/1.1⏎Host: {host}⏎Transfer-Encoding: chunked⏎⏎");
    let denied = gate.bytes("POST /a HTTP/1.1⏎Host: {host}⏎Transfer-Encoding: chunked⏎⏎");
    let sized = gate.bytes("POST /a HTTP/1.1⏎Host: {host}⏎Content-Length: 99999999999⏎⏎");
    for (name, head, chunk, times) in [
        ("chunks of a byte", &chunked, "1\r\nx\r\n".repeat(1000), 200),
        (
            "chunks with extensions",
            &chunked,
            "1;x=y\r\nx\r\n".repeat(1000),
            200,
        ),
        (
            "chunks that nobody asked for",
            &denied,
            "1\r\nx\r\n".repeat(1000),
            1000,
        ),
        ("a body that nobody asked for", &sized, "x".repeat(10_000), 2000),
    ] {
        beside(&gate, name, || pour(&gate, head, chunk.as_bytes(), times))?;
    }
    Ok(())
}
