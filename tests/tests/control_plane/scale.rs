//! Many routes: a thousand here, and as many as `SPLITTOKEN_SCALE` says (`just scale`).

use std::collections::BTreeMap;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::cpu;
use splittoken_tests::installation::Operator;
use splittoken_tests::mint::Mint;
use splittoken_tests::wait;

use super::{Rendered, Stage, URLS, quiet, rendered};

/// A route each 50 ms would be a slow day: a thousand in less than a minute, and a debug build's share.
const EACH: Duration = Duration::from_millis(150);
/// How many are applied at a time.
const HANDS: usize = 8;

/// Resident memory of a process in MiB.
fn memory(pid: u32) -> Result<u64> {
    Ok(cpu::memory(pid)? / 1024 / 1024)
}

/// What both processes hold and have used up to now.
fn print_costs(operator: u32, gateway: u32) -> Result<()> {
    for (name, pid) in [("operator", operator), ("gateway", gateway)] {
        println!(
            "  {name}: {} MiB, {:?} of CPU time so far",
            memory(pid)?,
            cpu::time(&[pid])?
        );
    }
    Ok(())
}

/// How many objects are still to be written.
fn waiting(operator: &Operator) -> Result<u64> {
    operator.metric("queue{of=\"objects\"}")
}

/// How many objects were written after that of this route. When a pod serves it says less: it has a thousand to take over.
fn written_after(all: &BTreeMap<String, Rendered>, route: &str) -> Result<usize> {
    let version = |rendered: &Rendered| anyhow::Ok(rendered.version.parse::<u64>()?);
    let own = version(all.get(route).context("not rendered")?)?;
    let versions = all.values().map(version).collect::<Result<Vec<_>>>()?;
    Ok(versions.into_iter().filter(|version| *version > own).count())
}

#[test]
fn a_thousand_routes_are_served_and_an_edit_of_one_stays_quick() -> Result<()> {
    let count: usize = env::var("SPLITTOKEN_SCALE").map_or(Ok(1000), |count| count.parse())?;
    let limit = EACH * u32::try_from(count)?;
    // The shared one holds the objects of all other tests.
    let server = ApiServer::start()?;
    let stage = Stage::with(&server, Mint::start()?)?;
    let plane = &stage.installation;
    let mut operator = plane.operator(URLS)?;
    let mut pod = plane.pod(1)?;
    let pids = (operator.process().pid(), pod.process().pid());
    let issuer = json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
        "metadata": {"name": "login", "namespace": plane.name},
        "spec": {"className": plane.name, "url": stage.mint.issuer(), "transport": "PlainHTTPAllowed"},
    });
    plane.kube.apply(&issuer)?;
    let routes: Vec<Value> = (0..count)
        .map(|number| {
            let mut route = stage.route(&format!("route-{number}"));
            if let Some(spec) = route["spec"].as_object_mut() {
                spec.remove("issuer");
                spec.insert("issuerRef".to_owned(), json!({"name": "login"}));
            }
            route
        })
        .collect();
    println!("with no routes:");
    print_costs(pids.0, pids.1)?;

    let start = Instant::now();
    thread::scope(|scope| {
        let chunks = routes.chunks(count.div_ceil(HANDS));
        let hands: Vec<_> = chunks
            .map(|chunk| scope.spawn(|| plane.kube.apply_all(chunk)))
            .collect();
        hands
            .into_iter()
            .try_for_each(|hand| hand.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
    })?;
    println!("{count} routes applied in {:?}", start.elapsed());
    let metric = |name: &str| operator.metric(name);
    wait::until_true(limit, "all routes to be rendered", || {
        metric("writes_total").is_ok_and(|writes| writes >= count as u64)
    })?;
    println!("all rendered after {:?}", start.elapsed());
    wait::until_true(limit, "the pod to serve all", || {
        metric("gateway_pods_programmed").is_ok_and(|pods| pods == 1)
    })?;
    println!("all served after {:?}", start.elapsed());
    wait::until_true(limit, "all routes to be ready", || {
        let text = operator
            .admin("/metrics")
            .map(|answer| answer.text())
            .unwrap_or_default();
        let ready = text.lines().find(|line| {
            line.starts_with("splittoken_operator_conditions{kind=\"SplitTokenRoute\"")
                && line.contains("reason=\"Ready\"")
        });
        let is_all = ready.is_some_and(|line| line.ends_with(&format!(" {count}")));
        // The count is of what is to be said; the writes are what was said.
        is_all && metric("status_writes_total").is_ok_and(|writes| writes >= count as u64)
    })?;
    println!(
        "all told to be ready after {:?}, {} status writes, {} looks",
        start.elapsed(),
        metric("status_writes_total")?,
        metric("reconciles_total")?
    );
    print_costs(pids.0, pids.1)?;
    let size = |path: &str| Ok::<_, anyhow::Error>(pod.admin(path)?.body.len());
    println!(
        "bytes at the pod: /config/digest {}, /config/issuers {}, /config {}, /metrics {}",
        size("/config/digest")?,
        size("/config/issuers")?,
        size("/config")?,
        size("/metrics")?
    );

    // A single edit among them.
    let host = plane.host("route-7");
    let token = pod.token(&host)?;
    let mut times = Vec::new();
    let before = (cpu::time(&[pids.0])?, cpu::time(&[pids.1])?);
    let mut route = routes[7].clone();
    for round in 0..5 {
        let rule = route["spec"]["rules"][0].as_object_mut().context("no rule")?;
        if round % 2 == 0 {
            rule.insert("authorization".to_owned(), json!({"scopes": ["orders:write"]}));
        } else {
            rule.remove("authorization");
        }
        let start = Instant::now();
        plane.kube.apply(&route)?;
        let expected = if round % 2 == 0 { 403 } else { 200 };
        wait::until_true(limit, "the edit to be enforced", || {
            pod.call(&host, "/", Some(&token))
                .is_ok_and(|status| status == expected)
        })?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!(
        "an edit of one of {count} is enforced after {:?}, at most {:?}",
        times[2], times[4]
    );
    println!(
        "CPU time for each edit: operator {:?}, gateway {:?}",
        cpu::time(&[pids.0])?.saturating_sub(before.0) / 5,
        cpu::time(&[pids.1])?.saturating_sub(before.1) / 5
    );
    // Ten times the promise of a second, for ten thousand.
    ensure!(times[4] < Duration::from_secs(10), "{times:?}");

    // And one while a change of their issuer makes all others be written anew.
    let mut turned = issuer.clone();
    turned["spec"]["clockSkew"] = json!("7s");
    let start = Instant::now();
    plane.kube.apply(&turned)?;
    wait::until_true(limit, "the routes to wait for their turn", || {
        waiting(&operator).is_ok_and(|waiting| waiting > 0)
    })?;
    let rule = route["spec"]["rules"][0].as_object_mut().context("no rule")?;
    rule.remove("authorization");
    let edit = Instant::now();
    plane.kube.apply(&route)?;
    wait::until_true(limit, "the edit to be enforced", || {
        pod.call(&host, "/", Some(&token))
            .is_ok_and(|status| status == 200)
    })?;
    let (took, still) = (edit.elapsed(), waiting(&operator)?);
    println!(
        "an edit of one while all are written anew is enforced after {took:?}, with {still} still waiting"
    );
    wait::until_true(limit, "all routes to be written anew", || {
        waiting(&operator).is_ok_and(|waiting| waiting == 0)
            && metric("gateway_pods_programmed").is_ok_and(|pods| pods == 1)
    })?;
    println!("all are written anew after {:?}", start.elapsed());
    let anew = rendered(plane)?;
    ensure!(anew.len() == count, "{} routes", anew.len());
    let old = anew
        .iter()
        .find(|(_, rendered)| !rendered.config.contains("\"clock_skew\":7"));
    ensure!(old.is_none(), "{old:?}");
    let name = format!("{}/route-7", plane.name);
    let after = written_after(&anew, &name)?;
    println!("{after} were written after it");
    ensure!(after > 0, "it came last");

    // Another pod has nothing to say that the statuses do not say already.
    wait::until_true(limit, "the status of the edited route", || {
        metric("gateway_pods_programmed").is_ok_and(|pods| pods == 1)
    })?;
    plane
        .kube
        .wait_for("SplitTokenRoute", &plane.name, "route-7", "Ready", "Ready")?;
    let told = quiet(|| metric("status_writes_total"))?;
    let start = Instant::now();
    let _second = plane.pod(2)?;
    println!("a second gateway is ready after {:?}", start.elapsed());
    wait::until_true(limit, "both pods to serve all", || {
        metric("gateway_pods_programmed").is_ok_and(|pods| pods == 2)
    })?;
    let more = quiet(|| metric("status_writes_total"))? - told;
    ensure!(more == 0, "a scale-up made {more} writes of statuses");
    print_costs(pids.0, pids.1)?;

    operator.process().kill()?;
    let start = Instant::now();
    let mut next = plane.operator(URLS)?;
    wait::until_true(limit, "the next operator to have looked", || {
        next.metric("gateway_pods_programmed").is_ok_and(|pods| pods == 2)
            && next.metric("leads").is_ok_and(|leads| leads == 1)
    })?;
    println!(
        "an operator that is started among them leads after {:?}",
        start.elapsed()
    );
    print_costs(next.process().pid(), pids.1)?;
    assert_eq!(
        (next.metric("writes_total")?, next.metric("status_writes_total")?),
        (0, 0)
    );
    Ok(())
}
