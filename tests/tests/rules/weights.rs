//! Several backends of one rule, each with its share.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::raw::Client;
use splittoken_tests::stand::{Addresses, request};
use splittoken_tests::upstream::Upstream;

use super::{file, route, rule};

const REQUESTS: usize = 3000;

/// A gateway whose one rule has these backends. It logs as in production: thousands of requests are coming.
fn gateway(backends: &Value) -> Result<Gateway> {
    let to = Addresses {
        issuer: "http://127.0.0.1:1".to_owned(),
        upstream: String::new(),
    };
    let rule = rule(
        &to,
        "api",
        &json!({"authentication": "Disabled", "backendRefs": backends}),
    );
    let route = route(&to, "shop", &["127.0.0.1"], &[rule]);
    Gateway::builder(file(&[route]))
        .log("info")
        .arguments(&["--threads", "2"])
        .start()
}

/// Sends that many requests on a few connections, all of which must be answered well.
fn send(gateway: &Gateway, number: usize) -> Result<()> {
    let mut clients = (0..4)
        .map(|_| Client::connect(gateway.address()))
        .collect::<Result<Vec<_>>>()?;
    for turn in 0..number {
        let client = &mut clients[turn % 4];
        client.send(request(&gateway.host(), "GET /", &[], ""))?;
        let status = client.read()?.context("no answer")?.status;
        ensure!(status == 200, "request {turn}: {status}");
    }
    Ok(())
}

/// Five standard deviations of a binomial distribution: of two million runs, one is wrong to complain.
fn bounds(weight: u32, total: u32) -> (f64, f64) {
    let (number, share) = (
        f64::from(u32::try_from(REQUESTS).unwrap_or(u32::MAX)),
        f64::from(weight) / f64::from(total),
    );
    let (mean, deviation) = (number * share, (number * share * (1.0 - share)).sqrt());
    (mean - 5.0 * deviation, mean + 5.0 * deviation)
}

#[test]
fn each_backend_gets_its_share() -> Result<()> {
    let weights = [1, 0, 2, 7];
    let upstreams = weights.map(|_| Upstream::start());
    let upstreams = upstreams.into_iter().collect::<Result<Vec<_>>>()?;
    let backend = |(upstream, weight): (&Upstream, u32)| json!({"url": upstream.url(), "weight": weight});
    let backends: Vec<Value> = upstreams.iter().zip(weights).map(backend).collect();
    let gateway = gateway(&json!(backends))?;
    send(&gateway, REQUESTS)?;
    let got: Vec<usize> = upstreams
        .iter()
        .map(|upstream| upstream.requests().len())
        .collect();
    eprintln!("{REQUESTS} requests to backends of the weights {weights:?}: {got:?}");
    assert_eq!(got.iter().sum::<usize>(), REQUESTS);
    for (weight, got) in weights.into_iter().zip(&got) {
        let (least, most) = bounds(weight, 10);
        let got = f64::from(u32::try_from(*got)?);
        assert!(
            least <= got && got <= most,
            "weight {weight}: {got} is not in {least:.0}..{most:.0}"
        );
    }
    assert_eq!(got[1], 0, "a backend of the weight 0 was asked");
    Ok(())
}

/// Weights count, not places: those of one rule need not add up to anything.
#[test]
fn without_weights_all_are_equal() -> Result<()> {
    let upstreams = [Upstream::start()?, Upstream::start()?];
    let gateway = gateway(&json!(
        upstreams
            .each_ref()
            .map(|upstream| json!({"url": upstream.url()}))
    ))?;
    send(&gateway, REQUESTS)?;
    let (least, most) = bounds(1, 2);
    let first = f64::from(u32::try_from(upstreams[0].requests().len())?);
    assert!(
        least <= first && first <= most,
        "{first} is not in {least:.0}..{most:.0}"
    );
    Ok(())
}

#[test]
fn without_any_weight_there_is_nobody_to_ask() -> Result<()> {
    let upstream = Upstream::start()?;
    let gateway =
        gateway(&json!([{"url": upstream.url(), "weight": 0}, {"url": upstream.url(), "weight": 0}]))?;
    let answer = gateway
        .exchange(request(&gateway.host(), "GET /", &[], ""))?
        .context("no answer")?;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()?["error"], "no_backend");
    assert_eq!(upstream.connections(), 0);
    // Whoever wrote that was told.
    gateway.says("every backend has the weight 0")
}

/// A backend that is down has its share still; what may be tried again is tried at one that is up.
#[test]
fn a_dead_backend_s_share_is_tried_again_elsewhere() -> Result<()> {
    let upstream = Upstream::start()?;
    let dead = format!("http://127.0.0.1:{}", splittoken_tests::ports::free()?);
    let gateway = gateway(&json!([{"url": upstream.url(), "weight": 1000}, {"url": dead, "weight": 100}]))?;
    let mut answered = 0;
    for _ in 0..300 {
        let answer = gateway.exchange(request(&gateway.host(), "GET /", &[], ""))?;
        match answer.context("no answer")?.status {
            200 => answered += 1,
            502 => {}
            other => anyhow::bail!("{other}"),
        }
    }
    eprintln!("one backend of eleven is down: {answered} of 300 requests were answered");
    // A request fails where both its tries go there: one in 121, so 2.5 of 300 and hardly ever 15. Without a second
    // try it would be one in 11: 27 of 300, and hardly ever as few as 15.
    assert!(answered >= 285, "{answered} of 300");
    assert_eq!(upstream.requests().len(), answered);
    Ok(())
}
