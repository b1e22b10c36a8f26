//! What an edit means for issuers: those that stay the same stay as they are, those that change are believed anew.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::certs::Authority;
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::load::Load;
use splittoken_tests::route::Route;
use splittoken_tests::scene::Scene;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::Stand;
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

use super::{EFFECT, Kept, all_well, clients, config, edit, plain, recovered, route, stand};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/jwks";

fn fetches(provider: &Hostile) -> (usize, usize) {
    (provider.requests(DISCOVERY).len(), provider.requests(JWKS).len())
}

#[test]
fn an_issuer_that_stays_the_same_keeps_its_keys() -> Result<()> {
    let stand = plain()?;
    stand.token(&json!({}))?;
    ensure!(
        fetches(&stand.provider) == (1, 1),
        "{:?}",
        fetches(&stand.provider)
    );
    let paths = ["/orders/a", "/orders/b", "/orders/c", "/orders/d"];
    for path in paths {
        let rule = json!({"name": "api", "matches": [{"path": {"value": path}}],
                          "backendRefs": [{"url": stand.upstream.url()}]});
        edit(
            &stand.gateway,
            route(&stand.addresses()).spec(&json!({"rules": [rule]})),
        )?;
        let token = stand.token(&json!({}))?;
        ensure!(stand.get(path, &token)?.status == 200, "not served");
    }
    ensure!(
        fetches(&stand.provider) == (1, 1),
        "asked again: {:?}",
        fetches(&stand.provider)
    );
    // An issuer that changes is a new one.
    edit(
        &stand.gateway,
        route(&stand.addresses()).issuer(&json!({"clockSkew": "29s"})),
    )?;
    wait::until_true(EFFECT, "discovery and keys of the changed issuer", || {
        fetches(&stand.provider) == (2, 2)
    })
}

/// Its keys are fetched while clients wait: no request fails.
#[test]
fn an_issuer_that_changes_under_load_fails_no_request() -> Result<()> {
    let stand = plain()?;
    let load = clients(&stand, 4)?;
    for skew in ["29s", "28s", "27s"] {
        edit(
            &stand.gateway,
            route(&stand.addresses()).issuer(&json!({"clockSkew": skew})),
        )?;
        let seen = load.samples().len();
        wait::until_true(wait::START, "more calls", || load.samples().len() > seen + 100)?;
    }
    // Nobody has to wait for them.
    wait::until_true(EFFECT, "the keys of the newest issuer", || {
        let (discovery, keys) = fetches(&stand.provider);
        discovery >= 4 && keys >= 4
    })?;
    all_well(&load.finish())?;
    let fetched = fetches(&stand.provider);
    ensure!(fetched == (4, 4), "{fetched:?}");
    Ok(())
}

/// What an edit says of other things than the source of the keys leaves them known: API traffic does not need a
/// provider that is down, not even then.
#[test]
fn an_issuer_that_changes_while_its_provider_is_down_is_served() -> Result<()> {
    let stand = plain()?;
    let load = clients(&stand, 2)?;
    let uncached = stand.token(&json!({}))?;
    let down = vec![Step::send(answer("503 Service Unavailable", &[], ""))];
    stand.provider.discovery_steps(down.clone());
    stand.provider.jwks_steps(down);
    edit(
        &stand.gateway,
        route(&stand.addresses()).issuer(&json!({"clockSkew": "29s"})),
    )?;
    ensure!(stand.get("/orders", &uncached)?.status == 200, "not served");
    let seen = load.samples().len();
    wait::until_true(wait::START, "more calls", || load.samples().len() > seen + 50)?;
    all_well(&load.finish())?;
    // Keys that came from elsewhere are worth nothing: here, keys that were read from another URL.
    let elsewhere = json!({"endpoints": {"jwks": format!("{}/other", stand.provider.issuer())}});
    edit(&stand.gateway, route(&stand.addresses()).issuer(&elsewhere))?;
    let status = stand.get("/orders", &uncached)?.status;
    ensure!(status == 503, "{status} with keys from elsewhere");
    Ok(())
}

/// What is well written may still be too much for a machine: without certificate authorities nothing is reached by TLS.
#[test]
fn an_issuer_that_cannot_be_set_up_hurts_its_own_routes_only() -> Result<()> {
    let stand = Stand::built(
        |to| route(to).into(),
        |gateway| gateway.log("info").without_roots(),
    )?;
    let token = stand.token(&json!({}))?;
    let over_tls = json!({"url": "https://iam.example"});
    let good = |rule: &str| {
        let rules = json!([{"name": rule, "backendRefs": [{"url": stand.upstream.url()}]}]);
        String::from(route(&stand.addresses()).spec(&json!({"rules": rules})))
    };
    let bad = route(&stand.addresses()).named("bad").issuer(&over_tls);
    let bad = String::from(bad.spec(&json!({"hostnames": ["bad.example"]})));
    // The metric follows a moment after the edit.
    let rejected = || {
        wait::until(EFFECT, "the metric to say what /config says", || {
            let rejected = config(&stand.gateway).ok()?["rejected"].take();
            let failing = metric(&stand.gateway, "splittoken_gateway_config_failing").ok()?;
            let number = rejected.as_array().map_or(0, Vec::len);
            (failing == u64::from(number > 0)).then(|| (number, rejected[0].clone()))
        })
    };
    edit(&stand.gateway, good("edited") + &bad)?;
    let (number, one) = rejected()?;
    assert_eq!((number, &one["route"]), (1, &json!("default/bad")));
    let message = one["message"].as_str().unwrap_or_default();
    ensure!(message.contains("root certificates"), "{message}");
    let rules = config(&stand.gateway)?["routes"].to_string();
    ensure!(rules.contains("edited"), "{rules}");
    let mut client = Kept::connect(&stand.gateway)?;
    assert_eq!(client.get("bad.example", "/orders", &token)?, 503);
    assert_eq!(client.get("127.0.0.1", "/orders", &token)?, 200);

    // One that there was goes on as it was.
    edit(&stand.gateway, route(&stand.addresses()).issuer(&over_tls))?;
    assert_eq!(rejected()?.1["route"], "default/shop");
    assert_eq!(client.get("127.0.0.1", "/orders", &token)?, 200);
    stand.token(&json!({}))?;
    edit(&stand.gateway, good("mended"))?;
    assert_eq!(rejected()?.0, 0);
    recovered(&stand.gateway)
}

/// What a machine lacked may come: nobody has to edit a route for that.
#[test]
fn an_issuer_that_could_not_be_set_up_is_tried_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, "")?;
    let bad = |to: &_| {
        let bad = route(to)
            .named("bad")
            .issuer(&json!({"url": "https://iam.example"}));
        String::from(bad.spec(&json!({"hostnames": ["bad.example"]})))
    };
    let stand = Stand::built(
        |to| String::from(route(to)) + &bad(to),
        |gateway| gateway.log("info").roots_of(&roots),
    )?;
    let rejected = || anyhow::Ok(config(&stand.gateway)?["rejected"].as_array().map_or(0, Vec::len));
    assert_eq!(rejected()?, 1);
    fs::write(&roots, Authority::new()?.pem())?;
    // Ten times the half minute between two tries.
    wait::until_true(Duration::from_secs(300), "the issuer to be set up", || {
        rejected().is_ok_and(|number| number == 0)
    })
}

/// Whoever serves two hosts by two issuers, one of which is removed, asks nobody for that one's keys any more.
#[test]
fn a_removed_issuer_is_asked_no_more() -> Result<()> {
    let often = json!({"jwks": {"refreshInterval": "1s", "minRefreshInterval": "1s"}});
    let key = Key::es256()?;
    let gone = Hostile::start(&[&key])?;
    let other = |upstream: &str| {
        String::from(Route::new(&gone.issuer(), upstream).issuer(&often))
            .replace("\"shop\"", "\"gone\"")
            .replace("\"127.0.0.1\"", "\"gone.example\"")
    };
    let stand = stand(|to| String::from(route(to).issuer(&often)) + &other(&to.upstream))?;
    wait::until_true(EFFECT, "both to be asked", || {
        gone.requests(JWKS).len() > 1 && stand.provider.requests(JWKS).len() > 1
    })?;
    edit(&stand.gateway, route(&stand.addresses()).issuer(&often))?;
    // One fetch may have been under way.
    let (before, others) = (gone.requests(JWKS).len(), stand.provider.requests(JWKS).len());
    wait::until_true(wait::START, "three more rounds", || {
        stand.provider.requests(JWKS).len() >= others + 4
    })?;
    let after = gone.requests(JWKS).len();
    ensure!(after <= before + 1, "asked {} times more", after - before);
    Ok(())
}

fn hmac(key: &Key) -> Result<impl Fn(Route) -> Route + use<>> {
    let secret = key.hmac_secret().context("not an HMAC key")?.to_vec();
    let members: Value = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing"}});
    Ok(move |route: Route| route.issuer(&members).secret("signing", "hmac", &secret))
}

/// Only the Secret document changes. A token that the old key vouched for is refused from then on, although it was
/// used a moment ago and lies in the cache.
#[test]
fn another_hmac_secret_takes_effect_at_once() -> Result<()> {
    let (old, new) = (Key::hs256(), Key::hs256());
    let (by_old, by_new) = (hmac(&old)?, hmac(&new)?);
    let scene = Scene::of(Hostile::start(&[])?, old, &by_old, |gateway| gateway.log("info"))?;
    let base = || Route::new(&scene.provider.issuer(), &scene.upstream.url());
    let first = scene.works()?;
    let opaque = jwt::signature(&first)?.to_owned();
    let mut caller = Caller::of(&scene.gateway)?;
    ensure!(caller.status(&opaque)? == 200, "a good token is refused");

    let took = edit(&scene.gateway, by_new(base()))?;
    eprintln!("another HMAC secret was in force after {took:?}");
    ensure!(caller.status(&opaque)? == 401, "the old secret still vouches");
    let second = new.token(&scene.provider.claims(&json!({"jti": "second"})))?;
    scene.provider.answer_token(&second);
    ensure!(scene.ask()?.status == 200, "the new secret is not in force");
    scene.restores(jwt::signature(&second)?, &second)?;
    scene.provider.answer_token(&scene.jwt(&json!({}))?);
    ensure!(
        scene.ask()?.status == 502,
        "the old secret is still good for new tokens"
    );

    edit(&scene.gateway, by_old(base()))?;
    ensure!(
        caller.status(&opaque)? == 200,
        "the first secret is not in force again"
    );
    recovered(&scene.gateway)
}

/// The same for other settings: what was verified before is looked at again under the new ones.
#[test]
fn an_issuer_that_wants_another_audience_refuses_cached_tokens() -> Result<()> {
    let stand = plain()?;
    let token = stand.token(&json!({"aud": "orders"}))?;
    ensure!(stand.get("/orders", &token)?.status == 200, "not served");
    for (audience, status) in [("orders", 200), ("billing", 401), ("orders", 200)] {
        edit(
            &stand.gateway,
            route(&stand.addresses()).issuer(&json!({"audiences": [audience]})),
        )?;
        ensure!(
            stand.get("/orders", &token)?.status == status,
            "{audience}: not {status}"
        );
    }
    // No edit, no look: the cache is used as before.
    let load = Load::start(&stand.gateway, vec![vec![token.opaque.clone()]])?;
    wait::until_true(wait::START, "some calls", || load.samples().len() > 20)?;
    all_well(&load.finish())
}
