//! Two installations of one class: the older one says how its routes fare, and the other says whose class it is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, Operator};
use splittoken_tests::wait;

use super::{expect, rendered, text};

/// A Lease counts for 25 s after it was renewed last, and is looked at every 5 s: ten times that.
const TAKEN_OVER: Duration = Duration::from_secs(300);
/// Longer than from one look of anybody to the next.
const LOOKS: Duration = Duration::from_secs(12);

/// An operator that is not ready because of another one's class.
fn wait_told(operator: &Operator, words: &str) -> Result<()> {
    wait::until_true(TAKEN_OVER, &format!("/readyz to say: {words}"), || {
        operator
            .admin("/readyz")
            .is_ok_and(|answer| answer.status == 503 && answer.text().contains(words))
    })
    .with_context(|| operator.text())
}

fn wait_owner(operator: &mut Operator) -> Result<Duration> {
    let start = Instant::now();
    wait::until_true(TAKEN_OVER, "the other installation to have the class", || {
        operator.metric("class_owner").is_ok_and(|owner| owner == 1)
    })
    .with_context(|| operator.text())?;
    operator.wait_ready()?;
    Ok(start.elapsed())
}

fn version(plane: &Installation, route: &Value) -> Result<String> {
    let (namespace, name) = (text(route, "/metadata/namespace"), text(route, "/metadata/name"));
    let found = plane.kube.find("SplitTokenRoute", namespace, name)?;
    Ok(text(&found.context("no route")?, "/metadata/resourceVersion").to_owned())
}

/// How often an object is written within this time, as far as looks every 10 ms can tell.
fn writes_within(time: Duration, plane: &Installation, route: &Value) -> Result<usize> {
    let (start, mut last, mut writes) = (Instant::now(), version(plane, route)?, 0);
    while start.elapsed() < time {
        let now = version(plane, route)?;
        writes += usize::from(now != last);
        last = now;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(writes)
}

/// The two have other policies, so that each would say something else.
#[test]
fn the_older_installation_of_a_class_writes_and_the_other_waits_for_it_to_go() -> Result<()> {
    let server = ApiServer::shared()?;
    let older = Installation::at(server)?;
    let younger = older.beside(server)?;
    let route = older.route(
        &older.name,
        "orders",
        "https://iam.example",
        &json!({"url": "http://upstream.example"}),
    );
    let (lax, strict) = ("urlBackends: true", "urlBackends: false");
    let mut first = older.operator(lax)?;
    older.kube.apply(&route)?;
    expect(&older, &route, "Accepted", "Accepted")?;
    assert_eq!(first.metric("class_owner")?, 1);
    // Leases of the same second are told apart by their names.
    std::thread::sleep(Duration::from_millis(1100));

    // Both render for their own gateways, and one writes.
    let mut second = younger.operator_of(&server.kubeconfig(), strict)?;
    wait_told(&second, &belongs(&older))?;
    wait::until_true(TAKEN_OVER, "the second to lead", || {
        second.metric("leads").is_ok_and(|leads| leads == 1)
    })?;
    assert_eq!(writes_within(LOOKS, &older, &route)?, 0);
    assert_eq!(
        (
            second.metric("class_owner")?,
            second.metric("status_writes_total")?
        ),
        (0, 0)
    );
    assert_eq!(
        (first.metric("class_owner")?, first.admin("/readyz")?.status),
        (1, 200)
    );
    ensure!(first.metric("status_writes_total")? > 0);
    assert_eq!(
        second.text().matches(&belongs(&older)).count(),
        1,
        "{}",
        second.text()
    );

    // Its Lease is listed for ever, with the last holder.
    first.process().kill()?;
    println!(
        "the other installation has the class after {:?}",
        wait_owner(&mut second)?
    );
    expect(&older, &route, "Accepted", "UnsupportedValue")?;
    let before = version(&older, &route)?;

    // Whoever comes back lets the other see it first: both would write otherwise.
    let mut first = older.operator_of(&server.kubeconfig(), lax)?;
    let coming = format!(
        "the class {} is taken over from the installation in namespace {}",
        older.class, younger.name
    );
    wait_told(&first, &coming)?;
    wait_told(&second, &belongs(&older))?;
    assert_eq!(version(&older, &route)?, before);
    println!("it has it back after {:?}", wait_owner(&mut first)?);
    expect(&older, &route, "Accepted", "Accepted")?;
    assert_eq!(writes_within(LOOKS, &older, &route)?, 0);
    assert_eq!(
        (
            second.metric("class_owner")?,
            second.metric("status_writes_total")?
        ),
        (0, 1)
    );
    Ok(())
}

fn belongs(owner: &Installation) -> String {
    format!(
        "the class {} belongs to the installation in namespace {}",
        owner.class, owner.name
    )
}

/// Gateways can be moved before the class is: whoever does not write still renders.
#[test]
fn an_installation_without_its_class_serves_and_follows_edits() -> Result<()> {
    let server = ApiServer::shared()?;
    let older = Installation::at(server)?;
    let younger = older.beside(server)?;
    let policy = "urlBackends: true";
    let mut first = older.operator(policy)?;
    std::thread::sleep(Duration::from_millis(1100));
    let mut second = younger.operator_of(&server.kubeconfig(), policy)?;
    wait_told(&second, &belongs(&older))?;
    let route = older.route(
        &older.name,
        "orders",
        "https://iam.example",
        &json!({"url": "http://upstream.example"}),
    );
    older.kube.apply(&route)?;
    expect(&older, &route, "Accepted", "Accepted")?;
    let name = format!("{}/orders", older.name);
    super::wait_rendered(&younger, &name, "there", |found| found.is_some())?;
    ensure!(rendered(&older)?.contains_key(&name));
    older.kube.delete("SplitTokenRoute", &older.name, "orders")?;
    super::wait_rendered(&younger, &name, "gone", |found| found.is_none())?;
    assert_eq!(second.metric("status_writes_total")?, 0);

    // The move is complete when the first has gone for good, and the second has nothing to take back.
    first.process().terminate()?;
    first.process().wait(TAKEN_OVER)?;
    older.kube.delete(
        "Lease",
        &older.name,
        &format!("splittoken-operator-{}", older.class),
    )?;
    println!("it has moved after {:?}", wait_owner(&mut second)?);
    older.kube.apply(&route)?;
    expect(&older, &route, "Accepted", "Accepted").map(drop)
}
