//! An operator that may not do everything, or finds something missing: it says what, waits, and goes on.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::{Installation, Operator, install_crds, install_reference_grants};
use splittoken_tests::link::Link;
use splittoken_tests::wait;

use super::{apply_and_expect, expect, rendered, wait_rendered};

/// Ten times the half a minute after which a watch that is refused is tried again.
const AGAIN: Duration = Duration::from_secs(300);

fn wait_told(operator: &mut Operator, words: &str) -> Result<()> {
    let found = wait::until_true(AGAIN, &format!("/readyz to say: {words}"), || {
        operator
            .admin("/readyz")
            .is_ok_and(|answer| answer.status == 503 && answer.text().contains(words))
    });
    ensure!(operator.process().is_running(), "it ended: {}", operator.text());
    found
}

fn wait_ready(operator: &Operator) -> Result<()> {
    wait::until_true(AGAIN, "the operator to be ready", || {
        operator.admin("/readyz").is_ok_and(|answer| answer.status == 200)
    })
}

/// Everything that an operator does, less what `without` names: resources, or `list leases`.
pub(super) fn role(plane: &Installation, without: &[&str]) -> Value {
    let all = [
        ("", "services", "list watch"),
        ("", "namespaces", "list watch"),
        ("", "pods", "list watch"),
        ("", "configmaps", "get list watch create patch delete"),
        ("", "secrets", "get list watch create patch delete"),
        ("coordination.k8s.io", "leases", "get create update"),
        ("coordination.k8s.io", "leases", "list"),
        ("discovery.k8s.io", "endpointslices", "list"),
        ("events.k8s.io", "events", "create patch"),
        ("gateway.networking.k8s.io", "referencegrants", "list watch"),
        ("splittoken.dev", "splittokenroutes", "list watch"),
        ("splittoken.dev", "splittokenissuers", "list watch"),
        ("splittoken.dev", "splittokenroutes/status", "patch"),
        ("splittoken.dev", "splittokenissuers/status", "patch"),
    ];
    let is_left_out = |resource: &str, verbs: &str| {
        let with_verbs = format!("{verbs} {resource}");
        without.contains(&resource) || without.contains(&with_verbs.as_str())
    };
    let rules = all
        .iter()
        .filter(|(_, resource, verbs)| !is_left_out(resource, verbs));
    let rules = rules.map(|(group, resource, verbs)| {
        json!({"apiGroups": [group], "resources": [resource], "verbs": verbs.split(' ').collect::<Vec<_>>()})
    });
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": plane.name}, "rules": rules.collect::<Vec<_>>(),
    })
}

/// Waits until the API server has noticed what whoever has this token may do now, in all namespaces.
fn wait_may(plane: &Installation, token: &str, verb: &str, resource: &str, may: bool) -> Result<()> {
    let somebody = plane.kube.as_bearer(token);
    wait::until_true(wait::START, &format!("{verb} {resource} to be {may}"), || {
        somebody.may(verb, resource, "").is_ok_and(|found| found == may)
    })
}

/// A `ServiceAccount` with that role; gives its token.
pub(super) fn account(plane: &Installation) -> Result<String> {
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator", "namespace": plane.name},
    }))?;
    plane.kube.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": plane.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": plane.name},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": plane.name}],
    }))?;
    let token = plane.kube.token_of(&plane.name, "operator")?;
    // No test takes that away.
    wait_may(plane, &token, "list", "namespaces", true)?;
    Ok(token)
}

/// An object that looks as if a route that is no more had left it.
fn orphan(plane: &Installation, route: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "route-orphan", "namespace": plane.name,
            "labels": {"splittoken.dev/class": plane.name, "splittoken.dev/part": "route"},
            "annotations": {"splittoken.dev/route": route},
        },
        "data": {"route.json": "{}"},
    })
}

#[test]
fn a_missing_permission_is_named_and_nothing_is_swept_before_it_comes() -> Result<()> {
    let server = ApiServer::shared()?;
    let plane = Installation::at(server)?;
    let kube = &plane.kube;
    kube.apply(&role(&plane, &["services", "leases"]))?;
    let credentials = server.kubeconfig_of(&account(&plane)?)?;
    kube.apply(&orphan(&plane, "no/where"))?;
    let backend = json!({"url": "http://upstream.example"});
    let route = plane.route(&plane.name, "orders", "https://iam.example", &backend);
    kube.apply(&route)?;
    let mut operator = plane.operator_of(&credentials, "urlBackends: true")?;
    wait_told(&mut operator, "services: not allowed to list and watch (RBAC)")?;
    wait_told(&mut operator, "leases.coordination.k8s.io")?;
    ensure!(rendered(&plane)?.contains_key("no/where"), "swept by half a view");

    kube.apply(&role(&plane, &["services"]))?;
    wait::until_true(AGAIN, "the operator to lead", || {
        operator
            .admin("/readyz")
            .is_ok_and(|answer| !answer.text().contains("leases"))
    })?;
    wait_told(&mut operator, "services: not allowed")?;
    ensure!(rendered(&plane)?.contains_key("no/where"), "swept by half a view");

    kube.apply(&role(&plane, &[]))?;
    wait_ready(&operator)?;
    wait_rendered(&plane, "no/where", "swept", |found| found.is_none())?;
    apply_and_expect(&plane, &route, "Accepted", "Accepted")?;
    let text = operator.text();
    let other = text
        .lines()
        .find(|line| line.contains("403") && !line.contains("services") && !line.contains("leases"));
    ensure!(other.is_none(), "the role is not enough: {other:?}");
    Ok(())
}

/// What was taken away shows when a watch has to be begun anew, at the latest after five minutes: here at once.
#[test]
fn a_permission_that_is_taken_away_shows_and_the_operator_is_not_ready_until_it_is_back() -> Result<()> {
    let server = ApiServer::shared()?;
    let plane = Installation::at(server)?;
    let kube = &plane.kube;
    kube.apply(&role(&plane, &[]))?;
    let link = Link::to(server.address())?;
    let token = account(&plane)?;
    let credentials = server.kubeconfig_by(&token, &link)?;
    let mut operator = plane.operator_of(&credentials, "urlBackends: true")?;
    wait_ready(&operator)?;
    let failing = |operator: &Operator, kind: &str| {
        operator.metric(&format!("failing{{kind=\"{kind}\",verb=\"watch\"}}"))
    };
    assert_eq!(failing(&operator, "Service")?, 0);

    kube.apply(&role(&plane, &["services"]))?;
    wait_may(&plane, &token, "list", "services", false)?;
    link.cut();
    wait::until_true(AGAIN, "the watch of services alone to fail", || {
        failing(&operator, "Service").is_ok_and(|value| value == 1)
            && failing(&operator, "SplitTokenRoute").is_ok_and(|value| value == 0)
    })?;
    assert_eq!(operator.admin("/readyz")?.status, 200, "not for a moment's fault");
    wait_told(&mut operator, "services: not allowed to list and watch (RBAC)")?;
    let told = operator.admin("/readyz")?.text();
    ensure!(!told.contains("splittokenroutes"), "{told}");

    kube.apply(&role(&plane, &[]))?;
    wait_ready(&operator)?;
    assert_eq!(failing(&operator, "Service")?, 0);
    operator.says("services: watched again")
}

#[test]
fn a_status_that_may_not_be_written_is_tried_less_and_less_often_and_at_once_when_it_is_touched() -> Result<()>
{
    let server = ApiServer::shared()?;
    let plane = Installation::at(server)?;
    let kube = &plane.kube;
    kube.apply(&role(&plane, &["splittokenroutes/status"]))?;
    let token = account(&plane)?;
    let credentials = server.kubeconfig_of(&token)?;
    let backend = json!({"url": "http://upstream.example"});
    let route = plane.route(&plane.name, "orders", "https://iam.example", &backend);
    kube.apply(&route)?;
    let operator = plane.operator_of(&credentials, "urlBackends: true")?;
    wait_ready(&operator)?;
    let is_failing = |value: u64| {
        let name = "failing{kind=\"SplitTokenRoute\",verb=\"patch status\"}";
        wait::until_true(AGAIN, "the metric to say how statuses go", || {
            operator.metric(name).is_ok_and(|found| found == value)
        })
    };
    is_failing(1)?;
    let before = operator.metric("failures_total")?;
    thread::sleep(Duration::from_secs(25));
    let tries = operator.metric("failures_total")? - before;
    ensure!((1..=3).contains(&tries), "{tries} tries");

    kube.apply(&role(&plane, &[]))?;
    wait_may(
        &plane,
        &token,
        "patch",
        "splittokenroutes.splittoken.dev/status",
        true,
    )?;
    let touched = json!({"metadata": {"annotations": {"again": "please"}}});
    kube.merge("SplitTokenRoute", &plane.name, "orders", &touched)?;
    expect(&plane, &route, "Accepted", "Accepted")?;
    is_failing(0)
}

/// Whose class it is has to be known once. What is known then holds.
#[test]
fn an_operator_that_cannot_see_whose_class_it_is_says_so_and_writes_no_status() -> Result<()> {
    let server = ApiServer::shared()?;
    let plane = Installation::at(server)?;
    let kube = &plane.kube;
    kube.apply(&role(&plane, &["list leases"]))?;
    let credentials = server.kubeconfig_of(&account(&plane)?)?;
    let backend = json!({"url": "http://upstream.example"});
    let route = |name: &str| plane.route(&plane.name, name, "https://iam.example", &backend);
    kube.apply(&route("a"))?;
    let mut operator = plane.operator_of(&credentials, "urlBackends: true")?;
    wait_told(
        &mut operator,
        "whose class it is: cannot list the Leases splittoken-operator-",
    )?;
    wait_told(&mut operator, "(RBAC)")?;
    let name = format!("{}/a", plane.name);
    wait_rendered(&plane, &name, "there", |found| found.is_some())?;
    assert_eq!(operator.metric("status_writes_total")?, 0);

    kube.apply(&role(&plane, &[]))?;
    wait_ready(&operator)?;
    expect(&plane, &route("a"), "Accepted", "Accepted")?;

    let before = operator.text().matches("cannot see whose class it is").count();
    kube.apply(&role(&plane, &["list leases"]))?;
    wait::until_true(AGAIN, "the operator to see that it may not list", || {
        operator.text().matches("cannot see whose class it is").count() > before
    })?;
    apply_and_expect(&plane, &route("b"), "Accepted", "Accepted")?;
    wait_ready(&operator)
}

/// Least privilege: outside of its own namespace an operator may read a Secret by its name, and if even that is
/// refused, a route that is served stays as it is.
#[test]
fn a_secret_that_cannot_be_read_takes_nothing_away() -> Result<()> {
    let server = ApiServer::shared()?;
    let plane = Installation::at(server)?;
    let team = plane.team("team", &json!({}))?;
    let kube = &plane.kube;
    kube.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hmac", "namespace": team},
        "stringData": {"hmac": "0123456789abcdef0123456789abcdef"},
    }))?;
    let backend = json!({"url": "http://upstream.example"});
    let mut route = plane.route(&team, "orders", "https://iam.example", &backend);
    route["spec"]["issuer"]["algorithms"] = json!(["HS256"]);
    route["spec"]["issuer"]["hmacSecretRef"] = json!({"name": "hmac"});
    let mut first = plane.operator("urlBackends: true")?;
    apply_and_expect(&plane, &route, "ResolvedRefs", "ResolvedRefs")?;
    let before = rendered(&plane)?;
    first.process().terminate()?;
    first.process().wait(AGAIN)?;

    // The next one may read the Secrets of its own namespace only.
    kube.apply(&role(&plane, &["secrets"]))?;
    let credentials = server.kubeconfig_of(&account(&plane)?)?;
    kube.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "own", "namespace": plane.name},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "create", "patch", "delete"]}],
    }))?;
    kube.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "own", "namespace": plane.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "own"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": plane.name}],
    }))?;
    let operator = plane.operator_of(&credentials, "urlBackends: true")?;
    wait_ready(&operator)?;
    // Others are served, and deleted, while this one waits.
    let other = plane.route(&plane.name, "other", "https://iam.example", &backend);
    apply_and_expect(&plane, &other, "Accepted", "Accepted")?;
    kube.delete("SplitTokenRoute", &plane.name, "other")?;
    let other = format!("{}/other", plane.name);
    wait_rendered(&plane, &other, "gone", |found| found.is_none())?;
    assert_eq!(rendered(&plane)?, before);
    assert_eq!(
        kube.condition("SplitTokenRoute", &team, "orders", "ResolvedRefs")?,
        ("True".to_owned(), "ResolvedRefs".to_owned())
    );
    operator.says("cannot be read")
}

#[test]
fn missing_definitions_are_named_and_may_come_later() -> Result<()> {
    // Nothing of Gateway API either, which is nobody's loss.
    let server = ApiServer::start()?;
    let plane = Installation::without_crds(&server)?;
    let mut operator = plane.operator_of(&server.kubeconfig(), "urlBackends: true")?;
    for resource in ["splittokenroutes", "splittokenissuers"] {
        wait_told(
            &mut operator,
            &format!("{resource}.splittoken.dev: no such resource (is the CRD installed?)"),
        )?;
    }
    // All of them are looked for at once: whose answer comes first is chance.
    wait::until_true(AGAIN, "grants that nobody can make to be no reason", || {
        let told = operator.admin("/readyz");
        told.is_ok_and(|answer| !answer.text().contains("referencegrants"))
    })?;
    install_crds(&plane.kube)?;
    wait_ready(&operator)?;
    let backend = json!({"url": "http://upstream.example"});
    let route = plane.route(&plane.name, "orders", "https://iam.example", &backend);
    apply_and_expect(&plane, &route, "Accepted", "Accepted")?;

    // Grants count as soon as there are any.
    let (shop, backends) = (
        plane.team("shop", &json!({}))?,
        plane.team("backends", &json!({}))?,
    );
    plane.kube.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders", "namespace": backends},
        "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80}]},
    }))?;
    let backend = json!({"name": "orders", "namespace": backends, "port": 80});
    let route = plane.route(&shop, "granted", "https://iam.example", &backend);
    apply_and_expect(&plane, &route, "ResolvedRefs", "RefNotPermitted")?;
    install_reference_grants(&plane.kube)?;
    plane.kube.apply(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": backends},
        "spec": {
            "from": [{"group": "splittoken.dev", "kind": "SplitTokenRoute", "namespace": shop}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }))?;
    wait::until_true(AGAIN, "the grant to be seen", || {
        let found = plane
            .kube
            .condition("SplitTokenRoute", &shop, "granted", "ResolvedRefs");
        found.is_ok_and(|(status, _)| status == "True")
    })
}
