//! How much a client may send before it is known, and how slowly.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Gate;
use splittoken_tests::hand::Peer;
use splittoken_tests::wire::{Step, answer};

/// Ten times what a header block may take.
const SLOW: Duration = Duration::from_secs(50);

#[test]
fn a_hundred_headers_pass_and_one_more_does_not() -> Result<()> {
    let gate = Gate::open()?;
    let case = |count: usize| {
        // Host is one of them.
        let more: String = (1..count)
            .map(|number| format!("X-N{number}: {number}⏎"))
            .collect();
        format!("GET /open HTTP/1.1⏎Host: {{host}}⏎{more}⏎")
    };
    let request = gate.passes(&case(100))?;
    assert_eq!(request.header("x-n99").as_deref(), Some("99"));
    gate.refuses(&[("101", 431, &case(101)), ("1000", 431, &case(1000))]);
    Ok(())
}

#[test]
fn a_header_block_has_32_kib() -> Result<()> {
    let gate = Gate::open()?;
    let head = "GET /open HTTP/1.1⏎Host: {host}⏎X-Long: ";
    let room = 32 * 1024 - gate.bytes(head).len() - 4;
    let case = |length: usize| format!("{head}{}⏎⏎", "x".repeat(length));
    let request = gate.passes(&case(room))?;
    assert_eq!(request.header("x-long").map(|value| value.len()), Some(room));
    let spread: String = (0..60)
        .map(|number| format!("X-N{number}: {}⏎", "y".repeat(600)))
        .collect();
    gate.refuses(&[
        ("one byte more", 431, &case(room + 1)),
        ("twice as much", 431, &case(2 * room)),
        ("without an end", 431, &format!("{head}{}", "x".repeat(200_000))),
        (
            "in many headers",
            431,
            &format!("GET /open HTTP/1.1⏎Host: {{host}}⏎{spread}⏎"),
        ),
    ]);
    Ok(())
}

#[test]
fn a_long_target_is_refused() -> Result<()> {
    let gate = Gate::open()?;
    let case = format!("GET /open/{} HTTP/1.1⏎Host: {{host}}⏎⏎", "x".repeat(40_000));
    let (answer, requests) = gate.send(&case)?;
    let status = answer.context("closed without an answer")?.status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(requests, []);
    Ok(())
}

/// All of them at once: each takes the limit's five seconds.
#[test]
fn slow_header_blocks_are_cut_off() -> Result<()> {
    let gate = Gate::open()?;
    let cases = [
        ("nothing at all", ""),
        ("half a request line", "GET /op"),
        (
            "no end of the header block",
            "GET /open HTTP/1.1⏎Host: {host}⏎X-A: b",
        ),
    ];
    thread::scope(|scope| {
        let slow: Vec<_> = cases
            .iter()
            .map(|(name, case)| (*name, scope.spawn(|| cut_off(&gate, case, false))))
            .chain([(
                "a byte each second",
                scope.spawn(|| cut_off(&gate, "GET /open HTTP/1.1⏎X-A: ", true)),
            )])
            .collect();
        for (name, thread) in slow {
            let took = thread.join().expect("no panic").with_context(|| name)?;
            println!("{name}: cut off after {took:?}");
        }
        anyhow::Ok(())
    })?;
    assert_eq!(gate.good_request()?, []);
    Ok(())
}

#[test]
fn a_pipelined_beginning_is_cut_off_too() -> Result<()> {
    let gate = Gate::open()?;
    let case = "GET /open HTTP/1.1⏎Host: {host}⏎⏎GET /open HT";
    println!("cut off after {:?}", cut_off(&gate, case, false)?);
    assert_eq!(gate.good_request()?.len(), 1);
    Ok(())
}

/// Sends a case, and then a byte each second if asked to; gives how long the gateway let it go on.
fn cut_off(gate: &Gate, case: &str, drips: bool) -> Result<Duration> {
    let started = Instant::now();
    let mut client = Peer::connect(gate.stand.gateway.address())?.patience(Duration::from_secs(1))?;
    client.send(gate.bytes(case))?;
    loop {
        if client.rest().is_ok() {
            // Five seconds are promised to those that are slow for a reason.
            ensure!(
                started.elapsed() > Duration::from_secs(4),
                "after {:?}",
                started.elapsed()
            );
            return Ok(started.elapsed());
        }
        ensure!(
            started.elapsed() < SLOW,
            "still open after {:?}",
            started.elapsed()
        );
        if drips && client.send("x").is_err() {
            return Ok(started.elapsed());
        }
    }
}

/// The limit is for the header block alone.
#[test]
fn slow_bodies_and_slow_answers_are_not_cut_off() -> Result<()> {
    let gate = Gate::open()?;
    let pause = Duration::from_secs(8);
    gate.stand.upstream.script(move |request| {
        let slowly = request.target() == "/open/slowly";
        let wait = if slowly { pause } else { Duration::ZERO };
        vec![Step::Wait(wait), Step::Send(answer("200 OK", &[], "done"))]
    });
    thread::scope(|scope| {
        let body = scope.spawn(|| {
            let mut client = Peer::connect(gate.stand.gateway.address())?;
            client.send(gate.bytes("POST /open/body HTTP/1.1⏎Host: {host}⏎Content-Length: 2⏎⏎a"))?;
            thread::sleep(pause);
            client.send("b")?;
            client.until("done")
        });
        let answer = scope.spawn(|| {
            let mut client = Peer::connect(gate.stand.gateway.address())?;
            client.send(gate.bytes("GET /open/slowly HTTP/1.1⏎Host: {host}⏎⏎"))?;
            client.until("done")
        });
        body.join().expect("no panic").context("a slow body")?;
        answer.join().expect("no panic").context("a slow answer")
    })?;
    Ok(())
}
