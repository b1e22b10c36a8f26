//! Routes are edited while the gateway serves: good edits take effect within a second and drop no request, bad ones
//! change nothing and say so.
//!
//! Bounds are ten times what is promised; what was measured is printed (`cargo test -- --nocapture`).

mod bad_edits;
mod edits;
mod folders;
mod issuers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::load::{Load, Sample};
use splittoken_tests::raw;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand, Token, request};
use splittoken_tests::wait;

/// Promised: an edit takes effect within a second.
const EFFECT: Duration = Duration::from_secs(10);

/// A stand that logs as it would in production: some of these tests make thousands of requests.
fn stand(routes: impl FnOnce(&Addresses) -> String) -> Result<Stand> {
    Stand::built(routes, |gateway| {
        gateway.log("info").arguments(&["--threads", "2"])
    })
}

/// [`stand`] with [`Route::new`].
fn plain() -> Result<Stand> {
    stand(|to| route(to).into())
}

fn route(to: &Addresses) -> Route {
    Route::new(&to.issuer, &to.upstream)
}

/// Edits the file and waits until another set is served; how long that took.
fn edit(gateway: &Gateway, routes: impl Into<String>) -> Result<Duration> {
    changed(gateway, || gateway.write_routes(&routes.into()))
}

/// Waits until `change` has led to another set; how long that took.
fn changed(gateway: &Gateway, change: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let before = digest(gateway)?;
    let start = Instant::now();
    change()?;
    wait::until_true(EFFECT, "another configuration", || {
        digest(gateway).is_ok_and(|digest| digest != before)
    })?;
    Ok(start.elapsed())
}

fn config(gateway: &Gateway) -> Result<Value> {
    gateway.admin("/config")?.json()
}

fn digest(gateway: &Gateway) -> Result<String> {
    Ok(config(gateway)?["digest"].to_string())
}

/// The revision of each route that is served.
fn revisions(gateway: &Gateway) -> Result<BTreeMap<String, String>> {
    let config = config(gateway)?;
    let routes = config["routes"].as_array().context("no routes in /config")?;
    Ok(routes
        .iter()
        .map(|route| (text(&route["name"]), text(&route["revision"])))
        .collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What `/config` says is wrong with the newest edit: reason and message.
fn problem(gateway: &Gateway) -> Result<Option<(String, String)>> {
    let problem = config(gateway)?["problem"].take();
    Ok((!problem.is_null()).then(|| (text(&problem["reason"]), text(&problem["message"]))))
}

/// Waits until nothing is wrong with the newest edit: that is said a moment after it is served.
fn recovered(gateway: &Gateway) -> Result<()> {
    wait::until_true(EFFECT, "no problem in /config", || {
        problem(gateway).is_ok_and(|problem| problem.is_none())
    })
}

/// Clients at work, each on one connection: what breaks it shows as a failed call, and ends them.
fn clients(stand: &Stand, number: usize) -> Result<Load> {
    let tokens = (0..number).map(|_| tokens(stand, 5)).collect::<Result<_>>()?;
    Load::start(&stand.gateway, tokens)
}

fn tokens(stand: &Stand, number: usize) -> Result<Vec<String>> {
    let claims = serde_json::json!({"scope": "orders:read"});
    (0..number).map(|_| Ok(stand.token(&claims)?.opaque)).collect()
}

/// All calls got 200.
fn all_well(samples: &[Sample]) -> Result<()> {
    let failed: Vec<_> = samples.iter().filter(|sample| sample.status != 200).collect();
    ensure!(
        failed.is_empty(),
        "{} of {} failed: {failed:?}",
        failed.len(),
        samples.len()
    );
    Ok(())
}

/// A client on one connection, for any host.
struct Kept(raw::Client);

impl Kept {
    fn connect(gateway: &Gateway) -> Result<Self> {
        Ok(Self(raw::Client::connect(gateway.address())?))
    }

    /// The status of GET `path` at `host`.
    fn get(&mut self, host: &str, path: &str, token: &Token) -> Result<u16> {
        self.0
            .send(request(host, &format!("GET {path}"), &[&token.header()], ""))?;
        let answer = self.0.read()?.context("the connection was closed")?;
        ensure!(answer.header("connection").is_none(), "the client is sent away");
        Ok(answer.status)
    }
}
