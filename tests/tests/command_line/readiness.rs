//! The order in which things come and go, as `/readyz` tells it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::http::Client;
use splittoken_tests::process::Process;
use splittoken_tests::raw;
use splittoken_tests::redis::Redis;
use splittoken_tests::wait;

use super::{Desk, PATIENCE, ROUTES, address, command, start};

/// So many issuers, each with a client of its own, take a moment to be made.
const ISSUERS: usize = 400;

fn many_routes() -> String {
    let route = |number: usize| {
        let text = ROUTES
            .replace("name: shop", &format!("name: shop-{number}"))
            .replace("127.0.0.1]", &format!("h{number}.example]"));
        format!("---\n{text}")
    };
    (0..ISSUERS).map(route).collect()
}

fn ask(address: &str, host: &str, path: &str) -> Result<raw::Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    raw::exchange(address.parse()?, request)?.context("no answer")
}

#[test]
fn readyz_names_what_is_missing_and_is_true_from_its_first_yes() -> Result<()> {
    let desk = Desk::new()?;
    let routes = desk.put("many.yaml", many_routes())?;
    // On a busy machine it may be ready before this gets its turn to ask.
    for _ in 0..10 {
        let said = said_before_the_first_yes(&routes)?;
        for text in &said {
            let missing = text
                .trim_end()
                .strip_prefix("503 not ready: ")
                .with_context(|| text.clone())?;
            let known = missing
                .split(", ")
                .all(|what| ["configuration", "listener", "store"].contains(&what));
            assert!(known, "{text}");
        }
        if said.iter().any(|text| text.contains("configuration")) {
            return Ok(());
        }
    }
    anyhow::bail!("it never said that it waits for its configuration")
}

/// Starts a gateway, and gives what `/readyz` said of it until it was ready, and then was.
fn said_before_the_first_yes(routes: &str) -> Result<Vec<String>> {
    let (listen, admin) = (address()?, address()?);
    let arguments = [
        "gateway", "--routes", routes, "--listen", &listen, "--admin", &admin,
    ];
    let mut gateway = Process::start(
        "splittoken gateway",
        &command(&arguments, &[("RUST_LOG", "error")])?,
    )?;
    let mut said = Vec::new();
    let start = Instant::now();
    loop {
        ensure!(
            gateway.is_running() && start.elapsed() < PATIENCE * 3,
            "not ready: {said:?} {}",
            gateway.text()
        );
        // Nobody listens there at first.
        let Ok(answer) = ask(&admin, "admin", "/readyz") else {
            continue;
        };
        if answer.status == 200 {
            break;
        }
        said.push(format!("{} {}", answer.status, answer.text()));
        ensure!(
            ask(&admin, "admin", "/healthz")?.status == 200,
            "not alive while it starts"
        );
    }
    // The last host of all is served at once: 401 is its rule's answer, 404 would be nobody's.
    let answer = ask(&listen, &format!("h{}.example", ISSUERS - 1), "/")?;
    assert_eq!(answer.status, 401, "after {said:?}");
    said.dedup();
    eprintln!(
        "ready {:?} after the start; until then it said {said:?}",
        start.elapsed()
    );
    Ok(said)
}

/// A gateway with a store at this address, not waited for.
fn with_store(desk: &Desk, admin: &str, store: &str) -> Result<Process> {
    let (routes, keyring) = (desk.at("routes.yaml"), desk.at("keyring.json"));
    let store = format!("redis://{store}");
    let arguments = [
        "gateway",
        "--routes",
        &routes,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        admin,
        "--store",
        &store,
        "--keyring",
        &keyring,
    ];
    Process::start("splittoken gateway", &command(&arguments, &[])?)
}

/// Waits until `/readyz` names the store, and nothing but the store, as missing.
fn wait_storeless(admin: &str) -> Result<()> {
    wait::until_true(PATIENCE, "the store to be all that is missing", || {
        ask(admin, "admin", "/readyz").is_ok_and(|answer| answer.text() == "not ready: store\n")
    })
}

#[test]
fn a_start_waits_for_the_store_for_a_while_and_for_no_provider() -> Result<()> {
    let desk = Desk::new()?;
    let (admin, nobody) = (address()?, address()?);
    let start = Instant::now();
    let _gateway = with_store(&desk, &admin, &nobody)?;
    wait_storeless(&admin)?;
    wait::until_true(PATIENCE * 3, "it to be ready without", || {
        ask(&admin, "admin", "/readyz").is_ok_and(|answer| answer.status == 200)
    })?;
    let waited = start.elapsed();
    println!("ready without its store after {waited:?}");
    ensure!(waited >= Duration::from_secs(15), "it gave up after {waited:?}");
    let config = Client::new()?.get(&format!("http://{admin}/config"))?.json()?;
    assert_eq!(config["store"]["workers_up"], 0);
    assert_eq!(config["issuers"][0]["discovery"]["ok"], false);
    Ok(())
}

#[test]
fn whoever_waits_for_ready_finds_the_store_reached_and_an_outage_later_changes_nothing() -> Result<()> {
    let desk = Desk::new()?;
    let admin = address()?;
    let mut redis = Redis::start()?;
    redis.kill()?;
    let gateway = with_store(&desk, &admin, &redis.address().to_string())?;
    wait_storeless(&admin)?;
    redis.restart()?;
    wait::until_true(PATIENCE, "it to be ready", || {
        ask(&admin, "admin", "/readyz").is_ok_and(|answer| answer.status == 200)
    })?;
    let config = Client::new()?.get(&format!("http://{admin}/config"))?.json()?;
    assert_eq!(config["store"]["workers_up"], config["store"]["workers"]);
    redis.kill()?;
    wait::until_true(PATIENCE, "the outage to be noticed", || {
        ask(&admin, "admin", "/metrics")
            .is_ok_and(|answer| answer.text().contains("splittoken_gateway_store_up 0"))
    })?;
    assert_eq!(ask(&admin, "admin", "/readyz")?.status, 200);
    drop(gateway);
    Ok(())
}

#[test]
fn a_folder_without_routes_is_served_as_such_and_watched() -> Result<()> {
    let desk = Desk::new()?;
    let (listen, admin, folder) = (address()?, address()?, desk.folder("routes")?);
    let arguments = [
        "gateway", "--routes", &folder, "--listen", &listen, "--admin", &admin,
    ];
    let gateway = start(&arguments, &[], &admin)?;
    assert_eq!(ask(&listen, "127.0.0.1", "/")?.status, 404);
    // Whoever mistyped the folder finds it in the log.
    wait::until_true(PATIENCE, "the log to tell of no route", || {
        gateway.text().contains("no route in --routes")
    })?;
    std::fs::write(format!("{folder}/routes.yaml"), ROUTES)?;
    wait::until_true(Duration::from_secs(10), "the new route", || {
        ask(&listen, "127.0.0.1", "/").is_ok_and(|answer| answer.status == 401)
    })
}

#[test]
fn leaving_is_said_first_and_done_later() -> Result<()> {
    let desk = Desk::new()?;
    let (listen, admin, routes) = (address()?, address()?, desk.at("routes.yaml"));
    let arguments = [
        "gateway",
        "--routes",
        &routes,
        "--listen",
        &listen,
        "--admin",
        &admin,
        "--min-drain",
        "4s",
        "--drain",
        "2s",
    ];
    let mut gateway = start(&arguments, &[], &admin)?;
    let before = Instant::now();
    gateway.terminate()?;
    wait::until_true(PATIENCE, "a word of it", || {
        ask(&admin, "admin", "/readyz").is_ok_and(|answer| answer.text() == "not ready: shutting down\n")
    })?;
    assert_eq!(ask(&admin, "admin", "/healthz")?.status, 200);
    // A load balancer that has not noticed yet is still served, and asked to come back elsewhere.
    let answer = ask(&listen, "127.0.0.1", "/")?;
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
    assert_eq!(gateway.wait(PATIENCE)?.code(), Some(0));
    assert!(
        before.elapsed() >= Duration::from_secs(4),
        "it left after {:?}",
        before.elapsed()
    );
    assert!(ask(&listen, "127.0.0.1", "/").is_err());
    Ok(())
}
