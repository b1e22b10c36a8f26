//! Edits of the watched file: what was cached before is judged by what is written now.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::raw::Client;
use splittoken_tests::stand::{Addresses, Stand, Token, request};
use splittoken_tests::wait;

use super::{Outcome, file, route, rule};

/// Promised: an edit takes effect within a second. Ten times that is a bound for a busy machine.
const PROMISE: Duration = Duration::from_secs(1);

fn routes(to: &Addresses, members: &Value) -> String {
    file(&[route(to, "shop", &["127.0.0.1"], &[rule(to, "api", members)])])
}

fn scopes(scopes: &[&str]) -> Value {
    json!({"authorization": {"scopes": scopes}})
}

/// Calls on one connection until the status is `wanted`; how long that took. Nothing but `before` may come until then.
fn until(stand: &Stand, token: &Token, before: u16, wanted: u16) -> Result<Duration> {
    let start = Instant::now();
    let mut client = Client::connect(stand.gateway.address())?;
    loop {
        client.send(request(&stand.gateway.host(), "GET /", &[&token.header()], ""))?;
        let answer = client.read()?.context("a request was dropped")?;
        let took = start.elapsed();
        if answer.status == wanted {
            eprintln!("{before} became {wanted} {took:?} after the edit");
            return Ok(took);
        }
        ensure!(answer.status == before, "{}: {}", answer.status, answer.text());
        ensure!(took < PROMISE * 10, "still {before} after {took:?}");
    }
}

#[test]
fn a_cached_token_is_held_against_the_newest_rules() -> Result<()> {
    let stand = Stand::built(|to| routes(to, &scopes(&["read"])), |gateway| gateway.log("info"))?;
    let to = stand.addresses();
    let token = stand.token(&json!({"scope": "read"}))?;
    for _ in 0..2 {
        assert_eq!(stand.get("/", &token)?.status, 200);
    }
    let hits = "splittoken_gateway_token_lookups_total{outcome=\"cache\"}";
    let metric = splittoken_tests::shop::metric(&stand.gateway, hits)?;
    assert_eq!(metric, 1, "it is not in the cache");
    stand
        .gateway
        .write_routes(&routes(&to, &scopes(&["read", "write"])))?;
    until(&stand, &token, 200, 403)?;
    // And nothing of it came through from then on.
    let outcome = Outcome::of(&stand, "GET /", &[&token.header()])?;
    assert_eq!(outcome.rule(), "403");
    stand.gateway.write_routes(&routes(&to, &scopes(&["read"])))?;
    until(&stand, &token, 403, 200)?;
    Ok(())
}

#[test]
fn every_policy_is_read_anew() -> Result<()> {
    let stand = Stand::built(|to| routes(to, &json!({})), |gateway| gateway.log("info"))?;
    let to = stand.addresses();
    let token =
        stand.token(&json!({"scope": "read", "aud": "shop", "client_id": "till", "tenant": "acme"}))?;
    for authorization in [
        json!({"audiences": ["bank"]}),
        json!({"anyScopes": ["write"]}),
        json!({"clientIDs": ["kiosk"]}),
        json!({"claims": [{"name": "tenant", "operator": "NotIn", "values": ["acme"]}]}),
    ] {
        assert_eq!(stand.get("/", &token)?.status, 200, "before {authorization}");
        stand
            .gateway
            .write_routes(&routes(&to, &json!({"authorization": authorization})))?;
        until(&stand, &token, 200, 403).with_context(|| authorization.to_string())?;
        stand.gateway.write_routes(&routes(&to, &json!({})))?;
        until(&stand, &token, 403, 200).with_context(|| authorization.to_string())?;
    }
    Ok(())
}

#[test]
fn claim_headers_and_edits_follow_too() -> Result<()> {
    let stand = Stand::start()?;
    let to = stand.addresses();
    let token = stand.token(&json!({"sub": "alice"}))?;
    assert_eq!(stand.get("/", &token)?.status, 200);
    let members = json!({
        "claimsToHeaders": [{"claim": "sub", "header": "X-User"}], "pathRewrite": {"replacePrefixMatch": "/v2"},
    });
    // The name of the route stays, and so do its issuer and the tokens of it.
    stand.gateway.write_routes(&routes(&to, &members))?;
    wait::until_true(PROMISE * 10, "the new rules", || {
        let outcome = Outcome::of(&stand, "GET /a", &[&token.header(), "X-User: root"]);
        outcome.is_ok_and(|outcome| {
            let request = outcome.request.as_ref();
            request.is_some_and(|request| {
                request.target() == "/v2/a" && request.header_all("x-user") == ["alice"]
            })
        })
    })
}

#[test]
fn a_bad_edit_changes_nothing_and_shows() -> Result<()> {
    let stand = Stand::built(|to| routes(to, &scopes(&["read"])), |gateway| gateway.log("info"))?;
    let to = stand.addresses();
    let token = stand.token(&json!({"scope": "read"}))?;
    let before = stand.gateway.admin("/config")?.json()?;
    assert_eq!(before["problem"], Value::Null);
    let failing = "splittoken_gateway_config_failing";
    for (bad, says) in [
        (
            routes(&to, &json!({"authentication": "Sometimes"})),
            "spec.rules[0].authentication",
        ),
        ("{".to_owned(), "yaml"),
        (
            routes(&to, &json!({"backendRefs": [{"name": "orders", "port": 80}]})),
            "BackendNotFound",
        ),
    ] {
        stand.gateway.write_routes(&bad)?;
        wait::until_true(PROMISE * 10, says, || {
            let config = stand.gateway.admin("/config").and_then(|answer| answer.json());
            config.is_ok_and(|config| config["problem"]["message"].to_string().contains(says))
        })?;
        assert_eq!(
            splittoken_tests::shop::metric(&stand.gateway, failing)?,
            1,
            "{says}"
        );
        assert_eq!(stand.get("/", &token)?.status, 200, "{says}");
        assert_eq!(
            stand.gateway.admin("/config")?.json()?["digest"],
            before["digest"],
            "{says}"
        );
    }
    stand.gateway.write_routes(&routes(&to, &scopes(&["write"])))?;
    until(&stand, &token, 200, 403)?;
    // That is said a moment after it is served.
    wait::until_true(PROMISE * 10, "no problem in /config", || {
        let config = stand.gateway.admin("/config").and_then(|answer| answer.json());
        config.is_ok_and(|config| config["problem"].is_null())
    })?;
    assert_eq!(splittoken_tests::shop::metric(&stand.gateway, failing)?, 0);
    Ok(())
}

#[test]
fn a_host_that_is_taken_away_is_gone() -> Result<()> {
    let both = |to: &Addresses| {
        let second = route(
            to,
            "second",
            &["second.example"],
            &[rule(to, "second", &json!({}))],
        );
        format!("{}{}", routes(to, &json!({})), file(&[second]))
    };
    let stand = Stand::with(both)?;
    let token = stand.token_at("second.example", &json!({}))?;
    let ask =
        || Ok::<_, anyhow::Error>(Outcome::at(&stand, "second.example", "GET /", &[&token.header()])?.rule());
    assert_eq!(ask()?, "second");
    stand
        .gateway
        .write_routes(&routes(&stand.addresses(), &json!({})))?;
    wait::until_true(PROMISE * 10, "a 404", || ask().is_ok_and(|got| got == "404"))?;
    stand.gateway.write_routes(&both(&stand.addresses()))?;
    // An inline issuer is named after its route: its tokens are good again.
    wait::until_true(PROMISE * 10, "the route", || {
        ask().is_ok_and(|got| got == "second")
    })
}
