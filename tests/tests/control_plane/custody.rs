//! What the operator made and somebody takes away: the installation's Secrets, and the anchor that owns everything.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::installation::{Installation, Operator};
use splittoken_tests::wait;

use super::{AT_ONCE, Stage, URLS, rendered, text};

/// Ten times the five seconds between two looks at the Secrets.
const RESTORED: Duration = Duration::from_secs(50);
/// Whoever follows an operator that was killed waits for the end of its lease first, which is after 15 s: ten times that.
const FOLLOWED: Duration = Duration::from_secs(150);

fn secret(plane: &Installation, name: &str) -> Result<Option<Value>> {
    plane.kube.find("Secret", &plane.name, name)
}

/// Deletes a Secret and waits until it is there again.
fn delete_and_find_again(plane: &Installation, name: &str) -> Result<Value> {
    plane.kube.delete("Secret", &plane.name, name)?;
    wait::until(RESTORED, &format!("{name} to be back"), || {
        secret(plane, name).ok().flatten()
    })
}

#[test]
fn a_secret_that_is_deleted_comes_back_as_it_was() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    wait::until_true(AT_ONCE, "it to lead", || {
        operator.metric("leads").is_ok_and(|leads| leads == 1)
    })?;
    let revisions = format!("splittoken-revisions-{}", plane.name);
    for name in ["keyring", &revisions] {
        let before = secret(plane, name)?.with_context(|| format!("no {name}"))?;
        let after = delete_and_find_again(plane, name)?;
        ensure!(
            after["metadata"]["uid"] != before["metadata"]["uid"],
            "{name} was not deleted"
        );
        for member in ["data", "type"] {
            ensure!(after[member] == before[member], "{name} has another {member}");
        }
        assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"]);
    }
    operator.says("back as it was")?;
    wait::until_true(AT_ONCE, "an Event of both", || {
        let events = plane.kube.list("Event", &plane.name, "").unwrap_or_default();
        let told = events
            .iter()
            .filter(|event| event["reason"] == "SecretRestored" && event["type"] == "Warning");
        told.count() == 2
    })?;
    Ok(())
}

/// What was written while another operator led comes back, too, and not what the new leader found when it started.
#[test]
fn whoever_leads_next_puts_back_the_newest_form() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let leads = |operator: &Operator, is: u64| operator.metric("leads").is_ok_and(|leads| leads == is);
    let mut first = plane.operator(URLS)?;
    wait::until_true(AT_ONCE, "the first to lead", || leads(&first, 1))?;
    let second = plane.operator(URLS)?;
    ensure!(leads(&second, 0), "two lead");
    let newest = json!({"data": {"note": "bmV3ZXI="}});
    let newest = plane.kube.merge("Secret", &plane.name, "keyring", &newest)?;
    let is_remembered = || second.text().contains("a Secret holds something else now");
    wait::until_true(RESTORED, "the second to have seen it", is_remembered)?;

    first.process().kill()?;
    plane.kube.delete("Secret", &plane.name, "keyring")?;
    let after = wait::until(FOLLOWED + RESTORED, "the keyring to be back", || {
        secret(plane, "keyring").ok().flatten()
    })?;
    // Who looks after Secrets knows that before the metric does.
    wait::until_true(AT_ONCE, "the second to lead", || leads(&second, 1))?;
    assert_eq!(after["data"], newest["data"]);
    ensure!(after["metadata"]["uid"] != newest["metadata"]["uid"]);
    Ok(())
}

fn make_anchor(plane: &Installation) -> Result<String> {
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "anchor", "namespace": plane.name},
    }))?;
    let anchor = plane
        .kube
        .find("ConfigMap", &plane.name, "anchor")?
        .context("no anchor")?;
    Ok(text(&anchor, "/metadata/uid").to_owned())
}

/// The owner of everything that the operator has made, if it is the same everywhere.
fn owner(plane: &Installation) -> Result<String> {
    let mut objects = plane
        .kube
        .list("ConfigMap", &plane.name, "splittoken.dev/part=route")?;
    ensure!(!objects.is_empty(), "nothing is rendered");
    objects.extend(secret(plane, "keyring")?);
    let lease = format!("splittoken-operator-{}", plane.name);
    objects.extend(plane.kube.find("Lease", &plane.name, &lease)?);
    let mut owners: Vec<&str> = objects
        .iter()
        .map(|object| text(object, "/metadata/ownerReferences/0/uid"))
        .collect();
    owners.dedup();
    let [owner] = owners.as_slice() else {
        anyhow::bail!("several owners: {owners:?}")
    };
    Ok((*owner).to_owned())
}

/// The anchor is looked for every two seconds: ten times that.
fn wait_readyz(operator: &Operator, what: &str, status: u16) -> Result<String> {
    wait::until(AT_ONCE * 2, what, || {
        let answer = operator.admin("/readyz").ok()?;
        (answer.status == status).then(|| answer.text())
    })
}

#[test]
fn without_its_anchor_the_operator_writes_nothing_and_with_another_everything_is_its() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let first = make_anchor(plane)?;
    let operator = plane.operator_with_anchor(URLS, "anchor")?;
    let _pod = plane.pod(1)?;
    for name in ["orders", "payments"] {
        stage.served(&stage.route(name))?;
    }
    assert_eq!(owner(plane)?, first);
    let keyring = secret(plane, "keyring")?.context("no keyring")?;

    plane.kube.delete("ConfigMap", &plane.name, "anchor")?;
    let said = wait_readyz(&operator, "it to miss its anchor", 503)?;
    ensure!(said.contains("anchor") && said.contains("is gone"), "{said}");
    // What the cluster's garbage collector would do, which is not there: it takes one of the routes and the keyring.
    let objects = plane
        .kube
        .list("ConfigMap", &plane.name, "splittoken.dev/part=route")?;
    let gone = text(objects.first().context("no object")?, "/metadata/name").to_owned();
    plane.kube.delete("ConfigMap", &plane.name, &gone)?;
    plane.kube.delete("Secret", &plane.name, "keyring")?;
    let writes = operator.metric("writes_total")?;
    // A route that comes now is looked at, and not rendered.
    plane.kube.apply(&stage.route("later"))?;
    wait::until_true(AT_ONCE, "the new route to be looked at", || {
        operator.metric("routes").is_ok_and(|routes| routes == 3)
    })?;
    assert_eq!(operator.metric("writes_total")?, writes);
    ensure!(
        plane.kube.find("ConfigMap", &plane.name, &gone)?.is_none(),
        "{gone} was written"
    );

    let second = make_anchor(plane)?;
    assert_ne!(first, second);
    wait_readyz(&operator, "it to find the anchor", 200)?;
    wait::until_true(
        RESTORED,
        "all three routes and the rest to go with the new anchor",
        || {
            rendered(plane).is_ok_and(|routes| routes.len() == 3)
                && owner(plane).is_ok_and(|owner| owner == second)
                && secret(plane, "keyring").is_ok_and(|keyring| keyring.is_some())
        },
    )?;
    let after = secret(plane, "keyring")?.context("no keyring")?;
    assert_eq!(after["data"], keyring["data"]);
    Ok(())
}
