//! A response that goes on and on ends when its token does: it expires, or somebody revokes it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::hostile;
use splittoken_tests::raw::Client;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::wire::Step;

use super::stand;

/// Events for half a minute, a piece each 200 ms.
fn events() -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::send(head)];
    for _ in 0..150 {
        steps.push(Step::send("8\r\ndata: x\n\r\n"));
        steps.push(Step::Wait(Duration::from_millis(200)));
    }
    steps.push(Step::send("0\r\n\r\n"));
    steps
}

/// How long a stream went on, and whether it came to its own end.
fn listen(stand: &Stand, token: &Token) -> Result<(Duration, bool)> {
    let start = Instant::now();
    let mut client = Client::connect(stand.gateway.address())?;
    client.send(request(
        &stand.gateway.host(),
        "GET /events",
        &[&token.header()],
        "",
    ))?;
    let is_whole = client.read().is_ok_and(|answer| answer.is_some());
    Ok((start.elapsed(), is_whole))
}

#[test]
fn a_stream_ends_when_its_token_expires() -> Result<()> {
    let stand = stand(&[])?;
    let (short, long) = (
        stand.token(&json!({"exp": hostile::now() + 10}))?,
        stand.token(&json!({}))?,
    );
    stand.upstream.steps(events());
    let (ended, whole) = std::thread::scope(|scope| {
        let ended = scope.spawn(|| listen(&stand, &short));
        let whole = scope.spawn(|| listen(&stand, &long));
        (ended.join(), whole.join())
    });
    let (Ok(ended), Ok(whole)) = (ended, whole) else {
        anyhow::bail!("a client panicked");
    };
    let (took, is_whole) = ended?;
    println!("a stream whose token had 10 s ended after {took:?}");
    ensure!(!is_whole && took < Duration::from_secs(25), "{took:?}");
    let (took, is_whole) = whole?;
    ensure!(
        is_whole && took > Duration::from_secs(25),
        "the other one ended after {took:?}"
    );
    Ok(())
}
