//! Time limits of rules. Bounds are ten times the promise.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::gateway::{Gateway, smallest_route};
use splittoken_tests::hand::Peer;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::wait;
use splittoken_tests::wire::Step;

use super::stand;

/// Ten times the rules' 500 ms.
const HALF_SECOND: Duration = Duration::from_secs(5);
/// Ten times the rule's second.
const SECOND: Duration = Duration::from_secs(10);

#[test]
fn an_upstream_that_says_nothing_is_a_504() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    stand.upstream.steps(vec![Step::Hold]);
    timed(&stand, &token, "GET /quick", 1)?;
    stand.upstream.take();
    // One try with a limit of its own, and two more.
    timed(&stand, &token, "GET /tries", 3)?;
    stand.upstream.take();
    // What may have happened once must not happen twice.
    timed(&stand, &token, "POST /tries", 1)
}

/// A 504 in time, after so many tries.
fn timed(stand: &Stand, token: &Token, line: &str, tries: u32) -> Result<()> {
    let start = Instant::now();
    let answer = stand.ask(line, &[&token.header()])?;
    let took = start.elapsed();
    println!("{line}: 504 after {took:?}");
    assert_eq!(answer.status, 504, "{line}");
    // The upstream may get to read what it was sent after it was given up.
    let seen = || stand.upstream.requests().len();
    wait::until_true(HALF_SECOND, "all tries at the upstream", || {
        seen() >= tries as usize
    })?;
    assert_eq!(seen(), usize::try_from(tries)?, "{line}");
    ensure!(
        took >= Duration::from_millis(450) * tries,
        "{line}: too early, after {took:?}"
    );
    ensure!(took < HALF_SECOND * tries, "{line}: too late, after {took:?}");
    Ok(())
}

#[test]
fn half_a_head_is_no_answer() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    stand
        .upstream
        .steps(vec![Step::send("HTTP/1.1 200 OK\r\nContent-Le"), Step::Hold]);
    timed(&stand, &token, "GET /quick", 1)
}

#[test]
fn the_limit_of_a_request_ends_with_its_answers_head() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let mut steps = vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")];
    for _ in 0..8 {
        steps.extend([Step::Wait(Duration::from_millis(300)), Step::send("x")]);
    }
    stand.upstream.steps(steps);
    let answer = stand.get("/head", &token)?;
    assert_eq!(answer.text(), "xxxxxxxx");
    Ok(())
}

#[test]
fn an_answer_that_stops_coming_is_broken_off() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    stand.upstream.steps(vec![
        Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
        Step::Hold,
    ]);
    let mut client = Peer::connect(stand.gateway.address())?;
    client.send(request(
        &stand.gateway.host(),
        "GET /idle",
        &[&token.header()],
        "",
    ))?;
    client.until("first")?;
    let start = Instant::now();
    let all = client.rest().context("the answer is still open")?;
    println!("broken off after {:?}", start.elapsed());
    assert!(!all.ends_with(b"0\r\n\r\n"), "a broken answer looks whole");
    ensure!(start.elapsed() < SECOND, "after {:?}", start.elapsed());
    Ok(())
}

/// The limit is for one silence, not for the whole.
#[test]
fn a_slow_answer_that_goes_on_is_not_broken_off() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let mut steps = vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")];
    for _ in 0..6 {
        steps.extend([Step::Wait(Duration::from_millis(800)), Step::send("x")]);
    }
    stand.upstream.steps(steps);
    assert_eq!(stand.get("/patient", &token)?.text(), "xxxxxx");
    Ok(())
}

#[test]
fn a_request_that_stops_coming_is_given_up() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let mut client = Peer::connect(stand.gateway.address())?;
    let headers = [&token.header(), "Content-Length: 10"];
    client.send(request(&stand.gateway.host(), "POST /idle", &headers, "first"))?;
    let start = Instant::now();
    let all = String::from_utf8_lossy(&client.rest().context("the request is still open")?).into_owned();
    println!(
        "given up after {:?} with {:?}",
        start.elapsed(),
        all.lines().next()
    );
    ensure!(start.elapsed() < SECOND, "after {:?}", start.elapsed());
    assert!(all.starts_with("HTTP/1.1 400 "), "{all}");
    assert_eq!(stand.upstream.requests(), [], "half a request became a whole one");
    Ok(())
}

#[test]
fn an_upstream_that_takes_no_connection_is_a_504() -> Result<()> {
    let full = Full::start()?;
    let provider = splittoken_tests::hostile::Hostile::start(&[])?;
    let routes = smallest_route(&provider.issuer(), &format!("http://{}", full.address)).replace(
        "  - name: api\n",
        "  - name: api\n    authentication: Disabled\n    timeouts: {connect: 500ms}\n    retries: {maxRetries: 0}\n",
    );
    let gateway = Gateway::start(routes)?;
    let start = Instant::now();
    let answer = gateway
        .exchange(request(&gateway.host(), "GET /", &[], ""))?
        .context("no answer")?;
    println!("{} after {:?}", answer.status, start.elapsed());
    assert_eq!(answer.status, 504);
    ensure!(start.elapsed() < HALF_SECOND, "after {:?}", start.elapsed());
    Ok(())
}

/// A listener whose queue is full: the system answers no further SYN.
struct Full {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Full {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", splittoken_tests::ports::free()?))?;
        rustix::net::listen(&listener, 0)?;
        let address = listener.local_addr()?;
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
            ensure!(waiting.len() < 10_000, "the queue does not fill");
        }
        Ok(Self {
            address,
            _listener: listener,
            _waiting: waiting,
        })
    }
}
