//! Idle connections are closed just when their clients ask again. HTTP/1.1 has no way to make this safe for a request
//! that is on its way while the close is; but what has arrived is answered, and what was not answered was not served.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::stand::request;
use splittoken_tests::upstream::Upstream;

use super::{LATE, ended_well, open, timed};

const ROUNDS: usize = 4;
const CONNECTIONS: usize = 400;
const MIN_DRAIN: Duration = Duration::from_millis(300);
/// The clients ask one after the other in these times, the close being somewhere in them. In the shorter ones requests
/// come faster than one thread serves them: many are there and not read yet when it is time to close.
const SPREADS: [Duration; ROUNDS] = [
    Duration::from_millis(40),
    Duration::from_millis(40),
    Duration::from_millis(200),
    Duration::from_millis(200),
];

/// What a client saw.
enum Outcome {
    /// 200.
    Answered,
    /// The close, before it asked.
    ClosedBefore,
    /// The close, after it had asked.
    Unanswered(String),
}

/// One request and its answer on a connection of its own, which then lies idle.
fn idle(gateway: &Gateway) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway.address())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LATE * 2))?;
    stream.write_all(&request(&gateway.host(), "GET /before", &[], ""))?;
    let answer = read(&mut stream)?.context("no answer")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(stream)
}

/// An answer with the body `ok`, or `None` for the close before its first byte. One that breaks off is an error.
fn read(stream: &mut TcpStream) -> Result<Option<String>> {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) if text.is_empty() => return Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionReset && text.is_empty() => return Ok(None),
            Ok(count @ 1..) => text += &String::from_utf8_lossy(&chunk[..count]),
            outcome => anyhow::bail!("{outcome:?} after {text:?}"),
        }
        if text.ends_with("\r\n\r\nok") {
            return Ok(Some(text));
        }
    }
}

fn ask(stream: &mut TcpStream, host: &str, path: String) -> Result<Outcome> {
    stream.set_nonblocking(true)?;
    let is_closed = match stream.peek(&mut [0]) {
        Err(error) => error.kind() != ErrorKind::WouldBlock,
        Ok(_) => true,
    };
    stream.set_nonblocking(false)?;
    if is_closed {
        return Ok(Outcome::ClosedBefore);
    }
    let sent = stream.write_all(&request(host, &format!("GET {path}"), &[], ""));
    let answer = match sent {
        Ok(()) => read(stream)?,
        Err(_) => None,
    };
    Ok(match answer {
        Some(answer) => {
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Outcome::Answered
        }
        None => Outcome::Unanswered(path),
    })
}

/// One gateway's end: what its clients saw, and how many of those that saw none were served all the same.
fn round(number: usize, spread: Duration) -> Result<(Vec<Outcome>, usize)> {
    let upstream = Upstream::start()?;
    // One thread, so that it takes a while until the last connection is closed.
    let mut gateway = timed(open(&upstream.url(), "1"), "300ms", "30s").start()?;
    let mut clients = (0..CONNECTIONS)
        .map(|_| idle(&gateway))
        .collect::<Result<Vec<_>>>()?;
    let host = gateway.host();
    let start = Instant::now();
    gateway.terminate()?;
    // Around the moment of the close, each at a time of its own.
    let first = start + MIN_DRAIN.saturating_sub(spread / 4);
    let outcomes = thread::scope(|scope| {
        let clients: Vec<_> = clients
            .iter_mut()
            .zip(0u32..)
            .map(|(stream, index)| {
                let (host, path) = (&host, format!("/race-{number}-{index}"));
                let at = first + spread * index / u32::try_from(CONNECTIONS).unwrap_or(1);
                scope.spawn(move || {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    ask(stream, host, path)
                })
            })
            .collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<Outcome>>| {
            client.join().ok().context("a client panicked")?
        };
        clients.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    ended_well(&mut gateway, start, LATE)?;
    let served: HashSet<String> = upstream
        .requests()
        .iter()
        .map(splittoken_tests::wire::Request::target)
        .collect();
    let is_lost = |outcome: &&Outcome| matches!(outcome, Outcome::Unanswered(path) if served.contains(path));
    let lost = outcomes.iter().filter(is_lost).count();
    Ok((outcomes, lost))
}

#[test]
fn a_request_that_meets_the_close_is_answered_or_was_not_served() -> Result<()> {
    let (mut answered, mut before, mut unanswered) = (0, 0, 0);
    for (number, spread) in SPREADS.into_iter().enumerate() {
        let (outcomes, lost) = round(number, spread)?;
        ensure!(lost == 0, "{lost} requests were served and their answers lost");
        for outcome in outcomes {
            match outcome {
                Outcome::Answered => answered += 1,
                Outcome::ClosedBefore => before += 1,
                Outcome::Unanswered(_) => unanswered += 1,
            }
        }
    }
    eprintln!(
        "{} requests around the close: {answered} answered, {before} not sent because the close was there, \
         {unanswered} crossed it and were not served",
        ROUNDS * CONNECTIONS
    );
    ensure!(answered > 0 && before > 0, "the requests did not meet the close");
    // Between a look at the socket and its close lie some microseconds; a loaded machine may stretch a few of them.
    ensure!(
        unanswered <= ROUNDS * CONNECTIONS / 100,
        "{unanswered} crossed the close"
    );
    Ok(())
}
