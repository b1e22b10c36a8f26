//! Two operators: one writes, and the other takes over.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, Operator};
use splittoken_tests::wait;

use super::{apply_and_expect, text};

/// A lease lives for 15 s; this is for the clocks of a busy machine.
const LIFE: Duration = Duration::from_secs(60);
/// A lease that was given back is free: nobody waits for its end.
const GIVEN_BACK: Duration = Duration::from_secs(10);

fn leads(operator: &Operator) -> bool {
    operator.metric("leads").is_ok_and(|leads| leads == 1)
}

fn wait_leader(operator: &Operator, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(limit, "the other operator to lead", || leads(operator))?;
    Ok(start.elapsed())
}

fn holder(plane: &Installation) -> Result<String> {
    let name = format!("splittoken-operator-{}", plane.name);
    let lease = plane
        .kube
        .find("Lease", &plane.name, &name)?
        .context("no lease")?;
    Ok(text(&lease, "/spec/holderIdentity").to_owned())
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
    second.process().terminate()?;
    let handed_over = wait_leader(&third, GIVEN_BACK)?;
    println!("after SIGTERM the other operator leads after {handed_over:?}");
    let status = second.process().wait(GIVEN_BACK)?;
    ensure!(status.success(), "{status}: {}", second.text());
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
    ensure!(
        operator.text().contains("the lease is lost"),
        "{}",
        operator.text()
    );
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
    ensure!(
        operator.text().contains("the lease is lost"),
        "{}",
        operator.text()
    );
    server.resume()
}
