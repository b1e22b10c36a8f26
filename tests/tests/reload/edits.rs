//! Good edits.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::hand::{Listener, Peer};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::Key;
use splittoken_tests::load::quantile;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, request};
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

use super::{EFFECT, Kept, all_well, clients, edit, plain, revisions, route, stand};

const ROUNDS: usize = 12;
const CLIENTS: usize = 4;

/// A rule that answers a path without a token: the effect of an edit can be seen by asking.
fn marked(mark: &str, upstream: &str, api: Value) -> Value {
    json!({"rules": [
        {"name": "mark", "matches": [{"path": {"type": "Exact", "value": mark}}], "authentication": "Disabled",
         "backendRefs": [{"url": upstream}]},
        api,
    ]})
}

/// The documents of edit number `round`: scopes, a hostname, the backend, or an issuer differ from the one before.
fn edited(stand: &Stand, round: usize, backends: &[String; 2], other_issuer: &str) -> String {
    let mut api = json!({"name": "api", "backendRefs": [{"url": backends[round / 3 % 2]}]});
    if round % 2 == 1 {
        api["authorization"] = json!({"scopes": ["orders:read"]});
    }
    let mut spec = marked(&format!("/mark-{round}"), &backends[0], api);
    if round % 3 == 1 {
        spec["hostnames"] = json!(["127.0.0.1", "shop.example"]);
    }
    let mut text = String::from(route(&stand.addresses()).spec(&spec));
    if round % 4 < 2 {
        let other = String::from(splittoken_tests::route::Route::new(other_issuer, &backends[1]));
        text += &other
            .replace("\"shop\"", "\"other\"")
            .replace("\"127.0.0.1\"", "\"other.example\"");
    }
    text
}

#[test]
fn edits_take_effect_within_a_second_and_drop_no_request() -> Result<()> {
    let stand = plain()?;
    let second = Upstream::start()?;
    let backends = [stand.upstream.url(), second.url()];
    let other = Hostile::start(&[&Key::es256()?])?;
    let load = clients(&stand, CLIENTS)?;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let mark = format!("GET /mark-{round}");
        ensure!(stand.ask(&mark, &[])?.status == 401, "in effect before the edit");
        let start = Instant::now();
        stand
            .gateway
            .write_routes(&edited(&stand, round, &backends, &other.issuer()))?;
        wait::until_true(EFFECT, "the edit's effect", || {
            stand.ask(&mark, &[]).is_ok_and(|answer| answer.status == 200)
        })?;
        times.push(start.elapsed());
    }
    // Other connections than those of the clients close a moment after their answers.
    wait::until_true(wait::START, "only the clients to be connected", || {
        metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == CLIENTS as u64)
    })?;
    let samples = load.finish();
    eprintln!(
        "{ROUNDS} edits, in effect after p50 {:?}, max {:?}; {} calls meanwhile, slowest {:?}",
        quantile(&times, 0.5),
        quantile(&times, 1.0),
        samples.len(),
        samples.iter().map(|sample| sample.took).max().unwrap_or_default(),
    );
    ensure!(quantile(&times, 1.0) < EFFECT, "{times:?}");
    ensure!(samples.len() > 200, "only {} calls", samples.len());
    all_well(&samples)
}

#[test]
fn a_removed_route_is_404_on_the_next_request_of_a_kept_connection() -> Result<()> {
    let stand = stand(|to| {
        route(to)
            .spec(&json!({"hostnames": ["127.0.0.1", "shop.example"]}))
            .into()
    })?;
    let token = stand.token(&json!({}))?;
    let mut kept = Kept::connect(&stand.gateway)?;
    ensure!(kept.get("shop.example", "/orders", &token)? == 200, "not served");
    let without = route(&stand.addresses());
    edit(&stand.gateway, without)?;
    ensure!(
        kept.get("shop.example", "/orders", &token)? == 404,
        "still served"
    );
    ensure!(
        kept.get(&stand.gateway.host(), "/orders", &token)? == 200,
        "the other host is not served"
    );
    edit(
        &stand.gateway,
        route(&stand.addresses()).spec(&json!({"hostnames": ["127.0.0.1", "shop.example"]})),
    )?;
    ensure!(
        kept.get("shop.example", "/orders", &token)? == 200,
        "not served again"
    );
    Ok(())
}

#[test]
fn a_request_in_flight_finishes_under_the_rules_with_which_it_began() -> Result<()> {
    let by_hand = Listener::start()?;
    let stand = plain()?;
    let mut old = stand.addresses();
    old.upstream = by_hand.url();
    edit(&stand.gateway, route(&old))?;
    let token = stand.token(&json!({}))?;
    let host = stand.gateway.host();
    let mut client = Peer::connect(stand.gateway.address())?;
    let length = "Content-Length: 10";
    client.send(request(
        &host,
        "POST /orders",
        &[&token.header(), length],
        "first",
    ))?;
    let mut upstream = by_hand.accept()?;
    upstream.until("first")?;

    // Meanwhile the rule asks for a scope that the token has not, and another backend serves it.
    let strict = json!({"rules": [{
        "name": "api", "authorization": {"scopes": ["admin"]}, "backendRefs": [{"url": stand.upstream.url()}],
    }]});
    edit(&stand.gateway, route(&stand.addresses()).spec(&strict))?;
    ensure!(
        stand.get("/orders", &token)?.status == 403,
        "the edit is not in effect"
    );

    client.send("last!")?;
    upstream.until("last!")?;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo")?;
    client.until("\r\n\r\ndo")?;
    // And once more while the answer is on its way: now nothing is served at all.
    edit(&stand.gateway, "")?;
    upstream.send("ne")?;
    client.until("\r\n\r\ndone")?;
    client.send(request(&host, "GET /orders", &[&token.header()], ""))?;
    client.until("HTTP/1.1 404")?;
    ensure!(!by_hand.has_another(), "the old backend got another connection");
    Ok(())
}

#[test]
fn revisions_change_exactly_for_the_routes_that_changed() -> Result<()> {
    let text = |stand: &Stand, third: &str| -> String {
        let named = |name: &str, path: &str| {
            String::from(route(&stand.addresses()).token(&json!({"path": path})))
                .replace("\"shop\"", &format!("\"{name}\""))
                .replace("\"127.0.0.1\"", &format!("\"{name}.example\""))
        };
        named("first", "/token") + &named("second", "/token") + &named("third", third)
    };
    let stand = plain()?;
    edit(&stand.gateway, text(&stand, "/token"))?;
    let before = revisions(&stand.gateway)?;
    ensure!(before.len() == 3, "{before:?}");
    edit(&stand.gateway, text(&stand, "/another"))?;
    let after = revisions(&stand.gateway)?;
    let differ: Vec<_> = after
        .iter()
        .filter(|(name, revision)| before.get(*name) != Some(revision))
        .collect();
    ensure!(differ.len() == 1 && differ[0].0.ends_with("third"), "{differ:?}");
    edit(&stand.gateway, text(&stand, "/token"))?;
    ensure!(
        revisions(&stand.gateway)? == before,
        "the same text has other revisions"
    );
    Ok(())
}

/// Edits come faster than they are read: the last one counts.
#[test]
fn a_flood_of_edits_ends_with_the_last_one() -> Result<()> {
    const EDITS: usize = 200;
    let stand = plain()?;
    let load = clients(&stand, 2)?;
    for number in 0..EDITS {
        let api = json!({"name": "api", "backendRefs": [{"url": stand.upstream.url()}]});
        let spec = marked(&format!("/mark-{number}"), &stand.upstream.url(), api);
        stand
            .gateway
            .write_routes(&String::from(route(&stand.addresses()).spec(&spec)))?;
    }
    let start = Instant::now();
    let last = format!("GET /mark-{}", EDITS - 1);
    wait::until_true(EFFECT, "the last edit's effect", || {
        stand.ask(&last, &[]).is_ok_and(|answer| answer.status == 200)
    })?;
    let took: Duration = start.elapsed();
    eprintln!("the last of {EDITS} edits was in effect after {took:?}");
    ensure!(stand.ask("GET /mark-0", &[])?.status == 401, "two edits at once");
    all_well(&load.finish())
}
