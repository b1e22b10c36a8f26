//! Gateways are replaced under load.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use splittoken_tests::caller::Caller;
use splittoken_tests::certs::Authority;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::ports;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::wait;

use super::lines::{Plain, Secure};
use super::roamers::{Connect, Done, Ready, Roamers};
use super::{LATE, ended_well, timed, unready};

const CLIENTS: usize = 8;
const MIN_DRAIN: Duration = Duration::from_secs(2);

/// For how long a balancer goes on sending clients to a gateway that leaves. The rest of the time is for clients that have
/// picked it and are slow to connect.
const LAG: Duration = Duration::from_millis(500);

/// How many gateways are replaced, one after the other.
const ROUNDS: usize = 4;

fn plain() -> Connect {
    Box::new(|address| Ok(Box::new(Plain::connect(address)?)))
}

fn gateway(shop: &Shop) -> Result<Gateway> {
    let gateway = timed(shop.builder(shop.route()), "2s", "20s").start()?;
    connected(&gateway, wait::START)?;
    Ok(gateway)
}

fn tokens(gateway: &Gateway, number: usize) -> Result<Vec<String>> {
    let mut caller = Caller::of(gateway)?;
    (0..number).map(|_| caller.issue()).collect()
}

fn more_requests(roamers: &Roamers, number: usize) -> Result<()> {
    let before = roamers.requests();
    wait::until_true(wait::START, "more requests", || {
        roamers.requests() >= before + number
    })
}

fn none_failed(done: &Done) -> Result<()> {
    ensure!(
        done.failed.is_empty(),
        "{} of {} failed: {:#?}",
        done.failed.len(),
        done.requests,
        &done.failed[..done.failed.len().min(10)]
    );
    Ok(())
}

#[test]
fn no_request_fails_while_a_gateway_leaves() -> Result<()> {
    let shop = Shop::start()?;
    let (mut leaving, staying) = (gateway(&shop)?, gateway(&shop)?);
    let ready = Ready::default();
    ready.add(leaving.address());
    let roamers = Roamers::start(&ready, plain(), CLIENTS, tokens(&leaving, 20)?);
    more_requests(&roamers, 200)?;

    let start = Instant::now();
    ready.add(staying.address());
    leaving.terminate()?;
    unready(&leaving)?;
    ready.remove(leaving.address());
    let took = ended_well(&mut leaving, start, MIN_DRAIN + LATE)?;
    more_requests(&roamers, 200)?;
    let done = roamers.finish();
    eprintln!(
        "{} requests on {} connections, {} failed; the gateway ended {took:?} after SIGTERM",
        done.requests,
        done.connections,
        done.failed.len()
    );
    ensure!(took >= MIN_DRAIN, "ended too early: {took:?}");
    none_failed(&done)?;
    // Each client moved once, or twice where it was sent away before the balancer noticed.
    ensure!(done.connections >= 2 * CLIENTS, "the clients did not move");
    Ok(())
}

/// A gateway, and where clients reach it.
type Replica = (Gateway, SocketAddr);

/// As a Deployment rolls: a new one is ready, an old one is asked to go, until all are new. Each new one serves the
/// tokens of the old ones from its first request.
fn replace_all(replica: impl Fn() -> Result<Replica>, connect: Connect) -> Result<()> {
    let ready = Ready::default();
    let mut replicas = vec![replica()?, replica()?];
    for (_, address) in &replicas {
        ready.add(*address);
    }
    let roamers = Roamers::start(&ready, connect, CLIENTS, tokens(&replicas[0].0, 20)?);
    for _ in 0..ROUNDS {
        let new = replica()?;
        ready.add(new.1);
        replicas.push(new);
        let (mut old, address) = replicas.remove(0);
        let start = Instant::now();
        old.terminate()?;
        unready(&old)?;
        // Until then new connections come here.
        thread::sleep((start + LAG).saturating_duration_since(Instant::now()));
        ready.remove(address);
        ended_well(&mut old, start, MIN_DRAIN + LATE)?;
    }
    more_requests(&roamers, 200)?;
    let done = roamers.finish();
    eprintln!(
        "{ROUNDS} replacements: {} requests on {} connections, {} failed",
        done.requests,
        done.connections,
        done.failed.len()
    );
    // At each replacement those clients move whose gateway leaves.
    ensure!(done.connections >= CLIENTS + ROUNDS, "the clients did not move");
    none_failed(&done)
}

#[test]
fn no_request_fails_while_all_gateways_are_replaced() -> Result<()> {
    let shop = Shop::start()?;
    let replica = || {
        let gateway = gateway(&shop)?;
        let address = gateway.address();
        Ok((gateway, address))
    };
    replace_all(replica, plain())
}

/// The same for clients by HTTP/2 over TLS, who hear of it by GOAWAY.
#[test]
fn nor_does_one_by_http2_over_tls() -> Result<()> {
    let (shop, folder, authority) = (Shop::start()?, tempfile::tempdir()?, Authority::new()?);
    authority.certify(&["127.0.0.1"])?.mount(folder.path())?;
    let certificates = folder.path().display().to_string();
    let replica = || {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let listen = address.to_string();
        let tls = ["--tls-listen", &listen, "--tls-certificates", &certificates];
        let builder = shop.builder(shop.route()).arguments(&tls);
        let gateway = timed(builder, "2s", "20s").start()?;
        connected(&gateway, wait::START)?;
        Ok((gateway, address))
    };
    let ca = authority.pem().to_owned();
    let connect: Connect = Box::new(move |address| Ok(Box::new(Secure::connect(address, &ca)?)));
    replace_all(replica, connect)
}

/// A token of one gateway is good on another in the next moment, also when its issuer is leaving.
#[test]
fn a_token_of_one_gateway_is_good_on_the_other_at_once() -> Result<()> {
    const TOKENS: usize = 300;
    let shop = Shop::start()?;
    let (mut first, second) = (gateway(&shop)?, gateway(&shop)?);
    let (mut here, mut there) = (Caller::of(&first)?, Caller::of(&second)?);
    for number in 0..TOKENS {
        let token = here.issue()?;
        known(&second, &mut there, &token).with_context(|| format!("token {number}"))?;
    }
    let start = Instant::now();
    first.terminate()?;
    unready(&first)?;
    let mut last = 0;
    while last == 0 || start.elapsed() < LAG {
        let mut leaving = Caller::of(&first)?;
        known(&second, &mut there, &leaving.issue()?).context("a token of the leaving one")?;
        last += 1;
    }
    eprintln!("{TOKENS} tokens, and {last} of a gateway that was leaving: all known at once");
    ended_well(&mut first, start, MIN_DRAIN + LATE)?;
    Ok(())
}

/// The other gateway serves this token. If not, the error says why: 401 breaks the promise, 503 says that the store
/// could not be asked.
fn known(gateway: &Gateway, caller: &mut Caller, token: &str) -> Result<()> {
    let answer = caller.api(token)?;
    if answer.status != 200 {
        let metrics = gateway.admin("/metrics")?.text();
        let lookups: Vec<_> = metrics
            .lines()
            .filter(|line| line.contains("token_lookups_total"))
            .collect();
        bail!("{} {}: {lookups:?}", answer.status, answer.text());
    }
    Ok(())
}
