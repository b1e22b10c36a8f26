//! What a request costs in the gateway beside a plain nginx, in one run: `just bench`.
//!
//! CPU time of the proxy's processes for each request, because that holds on a busy machine; rate and latency beside
//! it. All peers get the same requests, over as many connections, towards the same upstream, in turn. Started by
//! `cargo test`, each runs for a second, to see that the benchmark itself works.

#[path = "../stage/mod.rs"]
mod stage;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use splittoken_tests::nginx::Nginx;
use splittoken_tests::shop::connected;
use splittoken_tests::wrk::{Run, Wrk, exact};
use splittoken_tests::{cpu, wait};

/// Every peer gets as many threads or processes.
const WORKERS: usize = 2;
const CONNECTIONS: usize = 64;

/// How long and how often.
struct Plan {
    tokens: usize,
    rounds: usize,
    warm_up: Duration,
    measured: Duration,
}

/// One proxy.
pub(crate) struct Peer {
    name: &'static str,
    address: SocketAddr,
    pids: Vec<u32>,
    rounds: Vec<Round>,
}

/// What one run of it cost.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Microseconds of the proxy's CPU time for each request.
    cpu: f64,
    /// The same of Redis.
    redis: f64,
    run: Run,
}

fn main() -> Result<()> {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let plan = if is_bench {
        Plan {
            tokens: 10_000,
            rounds: 3,
            warm_up: Duration::from_secs(3),
            measured: Duration::from_secs(8),
        }
    } else {
        Plan {
            tokens: 100,
            rounds: 1,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(1),
        }
    };
    let upstream = Nginx::answering(1, &"x".repeat(stage::ANSWER))?;
    let shop = stage::shop()?;
    let gateway = stage::gateway(&shop, upstream.address()).start()?;
    connected(&gateway, wait::START)?;
    let tokens = stage::issue(&gateway, plan.tokens)?;
    let wrk = Wrk::new(CONNECTIONS, &tokens)?;
    let nginx = Nginx::proxy(WORKERS, upstream.address())?;
    let mut peers = [
        Peer::new("nginx, plain `proxy_pass`", nginx.address(), nginx.pids()),
        Peer::new(
            "**Split Token Gateway**, tokens in the near cache",
            gateway.address(),
            vec![gateway.pid()],
        ),
    ];
    for _ in 0..plan.rounds {
        for peer in &mut peers {
            let round = measure(peer, &wrk, &plan, shop.redis.pid())?;
            peer.rounds.push(round);
        }
    }
    table::print(&peers, &plan_in_words(&plan));
    if is_bench {
        let bytes = cpu::memory(gateway.pid())?;
        println!(
            "\nMemory of the gateway after that: {:.0} MB.",
            exact(bytes) / 1e6
        );
    } else {
        // The line by which a test runner's result is known.
        println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    }
    Ok(())
}

fn measure(peer: &Peer, wrk: &Wrk, plan: &Plan, redis: u32) -> Result<Round> {
    wrk.run(peer.address, plan.warm_up)?;
    let (before, redis_before) = (cpu::time(&peer.pids)?, cpu::time(&[redis])?);
    let run = wrk.run(peer.address, plan.measured)?;
    let (after, redis_after) = (cpu::time(&peer.pids)?, cpu::time(&[redis])?);
    ensure!(
        run.failures == 0,
        "{}: {} of {} requests failed",
        peer.name,
        run.failures,
        run.requests
    );
    let each = |time: Duration| time.as_secs_f64() * 1e6 / exact(run.requests);
    Ok(Round {
        cpu: each(after.saturating_sub(before)),
        redis: each(redis_after.saturating_sub(redis_before)),
        run,
    })
}

fn plan_in_words(plan: &Plan) -> String {
    format!(
        "{CONNECTIONS} keep-alive connections of wrk, {} RS256 tokens at random, 1 KB answers from nginx, {WORKERS} workers \
         each, {} rounds of {} s in turn; medians",
        plan.tokens,
        plan.rounds,
        plan.measured.as_secs()
    )
}

impl Peer {
    fn new(name: &'static str, address: SocketAddr, pids: Vec<u32>) -> Self {
        Self {
            name,
            address,
            pids,
            rounds: Vec::new(),
        }
    }
}
