//! Two operators: one writes, and the other takes over.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, Operator};
use splittoken_tests::wait;

use super::{apply_and_expect, text};

/// Ten times the 15 s for which a lease lives.
const LIFE: Duration = Duration::from_secs(150);

fn leads(operator: &Operator) -> bool {
    operator.metric("leads").is_ok_and(|leads| leads == 1)
}

fn wait_leader(operator: &Operator, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(limit, "the other operator to lead", || leads(operator))?;
    Ok(start.elapsed())
}

fn lease(plane: &Installation) -> Result<Value> {
    let name = format!("splittoken-operator-{}", plane.name);
    let lease = plane.kube.find("Lease", &plane.name, &name)?;
    lease.context("no lease")
}

fn holder(plane: &Installation) -> Result<String> {
    Ok(text(&lease(plane)?, "/spec/holderIdentity").to_owned())
}

/// How often the lease has gone from one holder to another, or to nobody.
fn transitions(plane: &Installation) -> Result<i64> {
    let count = lease(plane)?["spec"]["leaseTransitions"].as_i64();
    count.context("no count")
}

#[test]
fn one_of_two_operators_writes_and_the_other_takes_over() -> Result<()> {
    let plane = Installation::at(ApiServer::shared()?)?;
    let policy = "urlBackends: true";
    let backend = serde_json::json!({"url": "http://upstream.example"});
    let route = |name: &str| plane.route(&plane.name, name, "https://iam.example", &backend);
    let mut first = plane.operator(policy)?;
    wait_leader(&first, LIFE)?;
    let second = plane.operator(policy)?;
    // The second is ready, and reads, and leaves writing to the first.
    apply_and_expect(&plane, &route("a"), "Accepted", "Accepted")?;
    wait::until_true(LIFE, "the second operator to have looked", || {
        second.metric("routes").is_ok_and(|routes| routes == 1)
    })?;
    ensure!(leads(&first) && !leads(&second));
    assert_eq!(
        (first.metric("writes_total")?, second.metric("writes_total")?),
        (1, 0)
    );
    assert_eq!(second.metric("status_writes_total")?, 0);
    let before = holder(&plane)?;

    first.process().kill()?;
    println!(
        "after a kill the other operator leads after {:?}",
        wait_leader(&second, LIFE)?
    );
    apply_and_expect(&plane, &route("b"), "Accepted", "Accepted")?;
    ensure!(holder(&plane)? != before);

    let third = plane.operator(policy)?;
    let mut second = second;
    ensure!(leads(&second) && !leads(&third));
    let before = transitions(&plane)?;
    second.process().terminate()?;
    let handed_over = wait_leader(&third, LIFE)?;
    println!("after SIGTERM the other operator leads after {handed_over:?}");
    let status = second.process().wait(LIFE)?;
    ensure!(status.success(), "{status}: {}", second.text());
    // Nobody had to wait for the end of a lease that was given back.
    assert_eq!(transitions(&plane)?, before + 2, "to nobody, and to the third");
    apply_and_expect(&plane, &route("c"), "Accepted", "Accepted")?;
    // What one has written, the next does not write again.
    assert_eq!(third.metric("writes_total")?, 1);
    Ok(())
}

#[test]
fn a_leader_whose_lease_was_taken_ends() -> Result<()> {
    let plane = Installation::at(ApiServer::shared()?)?;
    let mut operator = plane.operator("")?;
    wait_leader(&operator, LIFE)?;
    let name = format!("splittoken-operator-{}", plane.name);
    let taken = serde_json::json!({"spec": {"holderIdentity": "somebody-else"}});
    plane.kube.merge("Lease", &plane.name, &name, &taken)?;
    let status = operator.process().wait(LIFE)?;
    ensure!(!status.success(), "{status}");
    operator.says("the lease is lost")?;
    assert_eq!(holder(&plane)?, "somebody-else");
    Ok(())
}

/// Whoever hangs must have ended before another may begin, which is after 15 s.
#[test]
fn a_leader_that_gets_no_answers_ends_in_time() -> Result<()> {
    let server = ApiServer::start()?;
    let plane = Installation::at(&server)?;
    let mut operator = plane.operator("")?;
    wait_leader(&operator, LIFE)?;
    server.pause()?;
    let start = Instant::now();
    let status = operator.process().wait(LIFE)?;
    println!("a leader without answers ends after {:?}", start.elapsed());
    ensure!(
        !status.success() && start.elapsed() < Duration::from_secs(15),
        "{status}"
    );
    operator.says("the lease is lost")?;
    server.resume()
}
