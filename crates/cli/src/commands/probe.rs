//! A small HTTP client for images that hold nothing else. It reads the first line of an answer, which says enough.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::arguments::ProbeArguments;

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(500);
/// One attempt: a server in the same cluster answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// No answer of ours is longer, and nobody else's is read further.
const MOST: u64 = 16 * 1024;

/// Asks each URL until it answers 2xx.
pub(super) fn run(arguments: &ProbeArguments) -> anyhow::Result<()> {
    let deadline = Instant::now() + arguments.within;
    for (host, path) in &arguments.urls {
        while let Err(error) = ask(host, path) {
            if Instant::now() >= deadline {
                return Err(error.context(format!("http://{host}{path}")));
            }
            sleep(AGAIN);
        }
    }
    Ok(())
}

fn ask(host: &str, path: &str) -> anyhow::Result<()> {
    let address = host.to_socket_addrs().context("no such host")?.next();
    let address = address.context("the host has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("cannot connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a server may answer and hang up as soon as it has read some.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("cannot send")?;
    let mut answer = BufReader::new(stream.take(MOST));
    let mut status = String::new();
    answer.read_line(&mut status).context("no answer")?;
    ensure!(status.starts_with("HTTP/1."), "no HTTP answer");
    if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        return Ok(());
    }
    // The body of /readyz says what is missing.
    let mut rest = String::new();
    answer
        .read_to_string(&mut rest)
        .context("the answer breaks off")?;
    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    bail!("{} {body}", status.trim());
}
