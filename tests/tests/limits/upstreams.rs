//! What an upstream is burdened with: how much at a time, and how much once it fails.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::ports;
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::come_late;

/// A stand with two upstreams: `/orders` leads to its own, `/others` to another.
struct Two {
    stand: Stand,
    other: Upstream,
    /// Where nobody listens yet, and where `/late` leads.
    port: u16,
    token: Token,
}

/// Longer than the longest rest that these tests come to, ten times.
const BOUND: Duration = Duration::from_secs(30);
/// What a refusal may take, ten times and more.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Two {
    fn start(arguments: &[&str]) -> Result<Self> {
        let (other, port) = (Upstream::start()?, ports::free()?);
        let stand = Stand::built(
            |to| {
                let rule = |name: &str, timeouts, url: &str| {
                    let path = format!("/{name}");
                    json!({
                        "name": name, "matches": [{"path": {"value": path}}], "timeouts": timeouts,
                        "backendRefs": [{"url": url}],
                    })
                };
                let late = format!("http://127.0.0.1:{port}");
                let mut either = rule("either", json!({}), "");
                // The one that is never there is the first choice but for one request in a million.
                either["backendRefs"] = json!([
                    {"url": late, "weight": 1_000_000},
                    {"url": other.url(), "weight": 2},
                    {"url": to.upstream, "weight": 1},
                ]);
                let rules = json!([
                    either,
                    rule("orders", json!({}), &to.upstream),
                    rule(
                        "hasty",
                        json!({"request": "100ms", "backendRequest": "100ms"}),
                        &to.upstream
                    ),
                    rule(
                        "patient",
                        json!({"request": "1200ms", "backendRequest": "1200ms"}),
                        &to.upstream
                    ),
                    rule("others", json!({}), &other.url()),
                    rule("late", json!({}), &late),
                ]);
                let route = Route::new(&to.issuer, &to.upstream);
                route.spec(&json!({"rules": rules})).into()
            },
            |gateway| gateway.arguments(arguments),
        )?;
        let token = stand.token(&json!({}))?;
        Ok(Self {
            stand,
            other,
            port,
            token,
        })
    }

    fn get(&self, path: &str) -> Result<Answer> {
        self.stand.get(path, &self.token)
    }

    /// The answer to a request that takes less than a second.
    fn at_once(&self, path: &str) -> Result<Answer> {
        let start = Instant::now();
        let answer = self.get(path)?;
        ensure!(start.elapsed() < AT_ONCE, "{path} took {:?}", start.elapsed());
        Ok(answer)
    }

    fn failures(&self, reason: &str) -> Result<u64> {
        let line = format!("splittoken_gateway_failures_total{{reason=\"{reason}\"}}");
        metric(&self.stand.gateway, &line)
    }

    fn resting(&self) -> Result<u64> {
        metric(
            &self.stand.gateway,
            "splittoken_gateway_resting{kind=\"upstream\"}",
        )
    }

    /// How many tries found nobody to connect to.
    fn failed_tries(&self) -> u64 {
        let line = "splittoken_gateway_upstream_failures_total{reason=\"upstream_connect\"}";
        metric(&self.stand.gateway, line).unwrap_or_default()
    }

    fn breaks(&self) {
        self.stand.upstream.answer("nonsense\r\n\r\n");
    }

    fn works(&self) {
        self.stand.upstream.answer(answer("200 OK", &[], "ok"));
    }
}

#[test]
fn so_many_requests_wait_for_an_upstream() -> Result<()> {
    let two = Two::start(&["--max-upstream-requests", "2"])?;
    two.stand.upstream.steps(vec![
        Step::Wait(Duration::from_secs(6)),
        Step::Send(answer("200 OK", &[], "late")),
    ]);
    let call = request(
        &two.stand.gateway.host(),
        "GET /orders",
        &[&two.token.header()],
        "",
    );
    let mut waiting = Vec::new();
    for count in 1..=2 {
        let mut client = Client::connect(two.stand.gateway.address())?;
        client.send(&call)?;
        waiting.push(client);
        wait::until_true(BOUND, "the upstream to hear of it", || {
            two.stand.upstream.requests().len() == count
        })?;
    }
    let refused = two.at_once("/orders")?;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()?["error"], "temporarily_unavailable");
    assert_eq!(two.failures("upstream_busy")?, 1);
    assert_eq!(two.at_once("/others")?.status, 200, "another upstream");
    for mut client in waiting {
        assert_eq!(client.read()?.context("no answer")?.text(), "late");
    }
    two.works();
    assert_eq!(two.get("/orders")?.status, 200);
    Ok(())
}

#[test]
fn a_request_whose_body_is_still_coming_does_not_count() -> Result<()> {
    let two = Two::start(&["--max-upstream-requests", "2"])?;
    two.stand.upstream.script(|request| {
        if request.body().is_empty() {
            vec![Step::Send(answer("200 OK", &[], "ok"))]
        } else {
            vec![Step::Hold]
        }
    });
    let headers = [&two.token.header(), "Content-Length: 10"];
    let begun = request(&two.stand.gateway.host(), "POST /orders", &headers, "a");
    let mut uploads = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(two.stand.gateway.address())?;
        client.send(&begun)?;
        uploads.push(client);
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(two.at_once("/orders")?.status, 200);
    // The rest of two of them: now these wait.
    for client in &mut uploads[..2] {
        client.send("bcdefghij")?;
    }
    wait::until_true(BOUND, "them to wait", || {
        two.get("/orders").is_ok_and(|answer| answer.status == 503)
    })?;
    drop(uploads);
    wait::until_true(BOUND, "room for another", || {
        two.get("/orders").is_ok_and(|answer| answer.status == 200)
    })
}

#[test]
fn a_body_that_goes_on_does_not_count() -> Result<()> {
    let two = Two::start(&["--max-upstream-requests", "1"])?;
    two.stand.upstream.steps(vec![
        Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
        Step::Hold,
    ]);
    let call = request(
        &two.stand.gateway.host(),
        "GET /orders",
        &[&two.token.header()],
        "",
    );
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = splittoken_tests::hand::Peer::connect(two.stand.gateway.address())?;
        stream.send(&call)?;
        stream.until("\r\n\r\nab")?;
        streams.push(stream);
    }
    Ok(())
}

#[test]
fn an_upstream_that_cannot_be_reached_is_left_alone_and_comes_back() -> Result<()> {
    let two = Two::start(&["--breaker-failures", "4"])?;
    let start = Instant::now();
    // Two tries each.
    for _ in 0..2 {
        assert_eq!(two.get("/late")?.status, 502);
    }
    // On a busy machine its rest of a second may be over by now; then one more failure makes it longer.
    let (retries, resting) = wait::until(BOUND, "the upstream to be left alone", || {
        let retries = metric(&two.stand.gateway, "splittoken_gateway_upstream_retries_total").ok()?;
        let answer = two.at_once("/late").ok()?;
        let is_resting = two.failures("upstream_resting").is_ok_and(|number| number == 1);
        is_resting.then_some((retries, answer))
    })?;
    assert_eq!((resting.status, resting.header("retry-after")), (503, Some("1")));
    let after = metric(&two.stand.gateway, "splittoken_gateway_upstream_retries_total")?;
    assert_eq!(after, retries, "nothing was sent");
    assert_eq!((two.resting()?, two.at_once("/others")?.status), (1, 200));
    come_late(two.port, answer("200 OK", &[], "ok"))?;
    wait::until_true(BOUND, "the upstream to be asked again", || {
        two.get("/late").is_ok_and(|answer| answer.status == 200)
    })?;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "a rest is a second at least");
    println!("an upstream that could not be reached is in use again after {took:?}");
    assert_eq!(two.resting()?, 0);
    assert_eq!(two.get("/late")?.status, 200);
    Ok(())
}

#[test]
fn what_a_request_may_be_to_blame_for_closes_nothing() -> Result<()> {
    let two = Two::start(&["--breaker-failures", "2"])?;
    two.breaks();
    for _ in 0..6 {
        assert_eq!(two.get("/orders")?.status, 502);
    }
    two.stand.upstream.steps(vec![Step::Hold]);
    for path in ["/hasty", "/hasty", "/hasty", "/patient", "/patient", "/patient"] {
        assert_eq!(two.get(path)?.status, 504);
    }
    assert_eq!(two.resting()?, 0);
    two.works();
    assert_eq!(two.at_once("/orders")?.status, 200);
    Ok(())
}

#[test]
fn retries_end_where_most_requests_fail() -> Result<()> {
    let two = Two::start(&["--breaker-failures", "0", "--threads", "1"])?;
    two.breaks();
    for _ in 0..200 {
        assert_eq!(two.get("/orders")?.status, 502);
    }
    let asked = two.stand.upstream.take().len();
    // Each of 200, and a retry for each of the first ones: of the budget of 50 failures, two a request.
    assert!((220..=230).contains(&asked), "asked {asked} times");
    println!("200 requests to an upstream that always fails: asked {asked} times");
    two.works();
    for _ in 0..600 {
        assert_eq!(two.get("/orders")?.status, 200);
    }
    two.stand.upstream.take();
    two.breaks();
    assert_eq!(two.get("/orders")?.status, 502);
    assert_eq!(two.stand.upstream.take().len(), 2, "retries are back");
    Ok(())
}

#[test]
fn a_rule_that_waits_too_briefly_takes_no_retries_from_others() -> Result<()> {
    let two = Two::start(&["--breaker-failures", "0"])?;
    two.stand.upstream.steps(vec![Step::Hold]);
    let hasty = |_| {
        thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| two.get("/hasty"))).collect();
            calls.into_iter().try_for_each(|call| {
                let answer = call.join().expect("a call that does not panic")?;
                ensure!(answer.status == 504, "{}", answer.status);
                Ok(())
            })
        })
    };
    (0..8).try_for_each(hasty)?;
    two.breaks();
    two.stand.upstream.take();
    for (path, tries) in [("/hasty", 1), ("/orders", 2)] {
        assert_eq!(two.get(path)?.status, 502);
        assert_eq!(two.stand.upstream.take().len(), tries, "{path}");
    }
    Ok(())
}

#[test]
fn the_last_try_before_a_rest_is_made_again_elsewhere() -> Result<()> {
    let two = Two::start(&["--breaker-failures", "1"])?;
    // The try itself has made it rest, and that it rests is no answer to what has been tried.
    assert_eq!(two.get("/late")?.status, 502);
    assert_eq!((two.failures("upstream_connect")?, two.failed_tries()), (1, 1));
    let retries = metric(&two.stand.gateway, "splittoken_gateway_upstream_retries_total")?;
    assert_eq!(retries, 0, "nothing was sent");
    wait::until_true(
        BOUND,
        "a test of the place that rests, made again elsewhere",
        || {
            let before = two.failed_tries();
            let answer = two.get("/either");
            answer.is_ok_and(|answer| answer.status == 200) && two.failed_tries() > before
        },
    )?;
    // Its share goes to the others by their weights.
    two.stand.upstream.take();
    two.other.take();
    for _ in 0..150 {
        assert_eq!(two.get("/either")?.status, 200);
    }
    let (own, other) = (two.stand.upstream.take().len(), two.other.take().len());
    println!("of 150 requests for a place that rests, the others got {own} and {other}");
    ensure!(own >= 20 && other > own, "{own} and {other}");
    Ok(())
}

#[test]
fn many_clients_of_a_hung_upstream_are_told_so_at_once() -> Result<()> {
    let two = Two::start(&["--max-upstream-requests", "50"])?;
    two.stand.upstream.steps(vec![Step::Hold]);
    let call = request(
        &two.stand.gateway.host(),
        "GET /orders",
        &[&two.token.header()],
        "",
    );
    let address = two.stand.gateway.address();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(address)?;
        client.send(&call)?;
        waiting.push(client);
    }
    wait::until_true(BOUND, "the upstream to be full", || {
        two.stand.upstream.requests().len() == 50
    })?;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let call = call.clone();
            thread::spawn(move || -> Result<Vec<Duration>> {
                let mut client = Client::connect(address)?;
                let mut times = Vec::new();
                for _ in 0..50 {
                    let start = Instant::now();
                    let answer = super::answered(&mut client, &call)?;
                    ensure!(answer.status == 503, "{}", answer.status);
                    times.push(start.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??,
        );
    }
    times.sort_unstable();
    println!("200 refusals: p50 {:?}, longest {:?}", times[100], times[199]);
    assert!(times[199] < AT_ONCE);
    assert_eq!(two.at_once("/others")?.status, 200);
    drop(waiting);
    Ok(())
}
