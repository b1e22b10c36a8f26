//! What a status says of the gateway pods, and how seldom it is written.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;
use splittoken_tests::mint::Mint;
use splittoken_tests::wait;

use super::{AT_ONCE, Stage, URLS, apply_and_expect, expect, quiet, rendered};

/// How many edits there may be until one is taken over within a second.
const EDITS: usize = 10;

pub(crate) fn condition<'o>(object: &'o Value, kind: &str) -> Result<&'o Value> {
    let conditions = object["status"]["conditions"]
        .as_array()
        .context("no conditions")?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .context("no such condition")
}

#[test]
fn a_route_is_programmed_only_when_every_ready_pod_serves_it() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    let route = stage.route("orders");
    apply_and_expect(plane, &route, "Programmed", "NoGatewayPods")?;
    let mut pods = [plane.pod(1)?, plane.pod(2)?];
    expect(plane, &route, "Ready", "Ready")?;
    wait::until_true(AT_ONCE, "both pods to be counted", || {
        operator
            .metric("gateway_pods_programmed")
            .is_ok_and(|pods| pods == 2)
    })?;

    pods[1].process().pause()?;
    let late = stage.route("late");
    apply_and_expect(plane, &late, "Programmed", "Pending")?;
    // At first the other one may not serve it either; a count is written every five seconds at most, and ten times that
    // is enough.
    wait::until_true(AT_ONCE * 5, "one of both pods to serve it", || {
        expect(plane, &late, "Programmed", "Pending").is_ok_and(|told| {
            let message = condition(&told, "Programmed").map(|said| said["message"].clone());
            message.is_ok_and(|message| message == "1 of 2 gateway pods serve this revision")
                && condition(&told, "Ready").is_ok_and(|ready| ready["reason"] == "Pending")
        })
    })?;
    pods[1].process().resume()?;
    expect(plane, &late, "Ready", "Ready")?;

    // One that is not ready gets no traffic, and nobody waits for it.
    pods[1].announce(false)?;
    pods[1].process().pause()?;
    stage.served(&stage.route("later"))?;
    pods[0].announce(false)?;
    expect(plane, &route, "Programmed", "NoGatewayPods")?;
    Ok(())
}

/// Answers as the admin server of a gateway of another version that cannot read a route.
fn play_pod(address: SocketAddr, object: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    let keyring = json!({"write": 1, "ids": [1]});
    let digest = json!({"digest": "none", "faults": "one", "issuers": "none", "keyring": keyring});
    let issuers = json!({"digest": "none", "issuers": []});
    let rejected = json!({"route": object, "revision": null, "reason": "wire_format", "message": "has format 2, this gateway reads 1"});
    let config = json!({"digest": "none", "problem": null, "routes": [], "rejected": [rejected]});
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let asks = |page: &str| request[..length].starts_with(format!("GET {page} ").as_bytes());
            let pages = [("/config/digest", &digest), ("/config/issuers", &issuers)];
            let page = pages.into_iter().find(|(page, _)| asks(page));
            let body = page.map_or(&config, |(_, body)| body).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            // The operator asks again.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    Ok(())
}

#[test]
fn a_route_that_leaves_the_class_is_not_ready_any_more_and_left_alone() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let mut operator = plane.operator(URLS)?;
    let _pod = plane.pod(1)?;
    let mut route = stage.route("orders");
    let mut unseen = stage.route("unseen");
    stage.served(&route)?;
    let told = stage.served(&unseen)?;
    assert_eq!(told["status"]["className"], plane.class.as_str());
    route["spec"]["className"] = json!("nobody");
    let told = apply_and_expect(plane, &route, "Accepted", "OtherClass")?;
    assert_eq!(condition(&told, "Ready")?["status"], "False");
    // One that leaves while no operator runs is told by the next.
    operator.process().terminate()?;
    operator.process().wait(AT_ONCE)?;
    unseen["spec"]["className"] = json!("nobody");
    plane.kube.apply(&unseen)?;
    let _operator = plane.operator(URLS)?;
    expect(plane, &unseen, "Accepted", "OtherClass")?;
    // Whoever serves it now has the last word.
    let theirs = json!({"className": "nobody", "observedGeneration": 2, "conditions": []});
    plane
        .kube
        .merge_status("SplitTokenRoute", &plane.name, "orders", &theirs)?;
    stage.served(&stage.route("later"))?;
    let found = plane
        .kube
        .find("SplitTokenRoute", &plane.name, "orders")?
        .context("gone")?;
    assert_eq!(found["status"]["conditions"], json!([]));
    Ok(())
}

#[test]
fn a_pod_that_refuses_a_route_says_why() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let _pod = plane.pod(1)?;
    let (route, other) = (stage.route("orders"), stage.route("other"));
    stage.served(&route)?;
    stage.served(&other)?;
    let object = rendered(plane)?[&format!("{}/orders", plane.name)].object.clone();
    play_pod(plane.admin_of(9), &object)?;
    plane.announce(9, true)?;
    let told = expect(plane, &route, "Programmed", "Rejected")?;
    assert_eq!(
        condition(&told, "Programmed")?["message"],
        "has format 2, this gateway reads 1"
    );
    // The others it has not got, which is all that is known of them.
    expect(plane, &other, "Programmed", "Pending")?;
    plane.announce(9, false)?;
    expect(plane, &route, "Ready", "Ready")?;
    Ok(())
}

/// A gateway without certificate authorities cannot set up a provider that is reached by TLS, whatever its route says.
#[test]
fn an_issuer_that_a_pod_cannot_set_up_hurts_its_own_routes_only() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let pod = plane.pod_without_roots(1)?;
    let served = stage.route("served");
    stage.served(&served)?;
    let token = pod.token(&plane.host("served"))?;
    let backend = json!({"url": stage.upstream.url()});
    let refused = |name: &str, instead: &str| {
        let route = plane.route(&plane.name, name, "https://iam.example", &backend);
        let told = apply_and_expect(plane, &route, "Programmed", "Rejected")?;
        let message = condition(&told, "Programmed")?["message"].to_string();
        ensure!(message.contains("root certificates"), "{message}");
        ensure!(message.contains(instead), "{message}");
        assert_eq!(condition(&told, "Ready")?["reason"], "Rejected");
        Ok(())
    };
    // One that never was, and one that was.
    refused("bad", "answered with 503")?;
    refused("served", "its former settings stay in force")?;
    assert_eq!(pod.call(&plane.host("bad"), "/", Some(&token))?, 503);
    assert_eq!(pod.call(&plane.host("served"), "/", Some(&token))?, 200);
    pod.token(&plane.host("served"))?;

    // Whatever comes after takes effect, a mended one too.
    for name in ["other", "served", "bad"] {
        stage.served(&stage.route(name))?;
        pod.token(&plane.host(name))?;
    }
    let told = pod.text().matches("issuer SplitTokenRoute").count();
    assert_eq!(told, 2, "each failure is logged once: {}", pod.text());
    Ok(())
}

pub(crate) fn issuer(plane: &Installation, name: &str, url: &str) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
        "metadata": {"name": name, "namespace": plane.name},
        "spec": {"className": plane.name, "url": url, "transport": "PlainHTTPAllowed"},
    })
}

pub(crate) fn with_issuer(mut route: Value, name: &str) -> Value {
    if let Some(spec) = route["spec"].as_object_mut() {
        spec.remove("issuer");
        spec.insert("issuerRef".to_owned(), json!({"name": name}));
    }
    route
}

#[test]
fn an_issuer_is_reachable_when_the_gateways_reach_it() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let _pods = [plane.pod(1)?, plane.pod(2)?];
    let (good, dead) = (
        issuer(plane, "good", &stage.mint.issuer()),
        issuer(
            plane,
            "dead",
            &format!("http://127.0.0.1:{}", splittoken_tests::ports::free()?),
        ),
    );
    apply_and_expect(plane, &good, "Reachable", "NoRoutes")?;
    plane.kube.apply(&dead)?;
    for name in ["good", "dead"] {
        stage.served(&with_issuer(stage.route(name), name))?;
    }
    let told = expect(plane, &good, "Reachable", "Reachable")?;
    assert_eq!(told["status"]["attachedRoutes"], 1);
    expect(plane, &good, "Ready", "Ready")?;
    let told = expect(plane, &dead, "Reachable", "Unreachable")?;
    let message = condition(&told, "Reachable")?["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(!message.is_empty(), "nothing is said of why");
    println!("of a dead issuer: {message}");
    plane.kube.delete("SplitTokenRoute", &plane.name, "good")?;
    expect(plane, &good, "Reachable", "NoRoutes")?;
    Ok(())
}

#[test]
fn statuses_and_events_are_for_transitions() -> Result<()> {
    // Namespaces and Services of other tests would be a reason to look at all routes.
    let server = ApiServer::start()?;
    let stage = Stage::with(&server, Mint::start()?)?;
    let plane = &stage.installation;
    let operator = plane.operator(URLS)?;
    let _pods = [plane.pod(1)?, plane.pod(2)?];
    let shared = issuer(plane, "login", &stage.mint.issuer());
    plane.kube.apply(&shared)?;
    let mut routes: Vec<Value> = (0..10)
        .map(|number| with_issuer(stage.route(&format!("route-{number}")), "login"))
        .collect();
    for route in &routes {
        stage.served(route)?;
    }
    expect(plane, &shared, "Ready", "Ready")?;
    // A count is written every five seconds at most.
    wait::until_true(AT_ONCE * 5, "the count of routes", || {
        let found = plane.kube.find("SplitTokenIssuer", &plane.name, "login");
        found.is_ok_and(|issuer| issuer.is_some_and(|issuer| issuer["status"]["attachedRoutes"] == 10))
    })?;
    let versions = || {
        let mut versions = BTreeMap::new();
        for kind in ["SplitTokenRoute", "SplitTokenIssuer"] {
            for object in plane.kube.list(kind, &plane.name, "")? {
                let metadata = &object["metadata"];
                versions.insert(metadata["name"].to_string(), metadata["resourceVersion"].clone());
            }
        }
        anyhow::Ok(versions)
    };
    let find = |name: &str| {
        let found = plane.kube.find("SplitTokenRoute", &plane.name, name)?;
        found.context("gone")
    };
    let events = |name: &str| {
        let events = plane.kube.list("Event", &plane.name, "")?;
        let of_it = events.iter().filter(|event| event["regarding"]["name"] == name);
        anyhow::Ok(of_it.map(|event| event["reason"].to_string()).collect::<Vec<_>>())
    };
    let writes = quiet(|| operator.metric("status_writes_total"))?;
    let before = versions()?;
    println!("{writes} status writes for ten routes and an issuer");
    let is_of_transitions = |events: &[String]| {
        // Of a busy machine it may be told first that pods have not taken it over yet.
        events == ["\"Ready\""]
            || events == ["\"Pending\"", "\"Ready\""]
            || events == ["\"Ready\"", "\"Pending\""]
    };
    let of_another = events("route-1")?;
    for events in [&events("route-0")?, &of_another] {
        ensure!(is_of_transitions(events), "{events:?}");
    }
    let written = find("route-0")?;
    let fields = written["metadata"]["managedFields"]
        .as_array()
        .context("no fields")?;
    let status = fields.iter().find(|fields| fields["subresource"] == "status");
    assert_eq!(status.context("no status")?["manager"], "splittoken-operator");

    // A scale-up is no transition of anything.
    let _third = plane.pod(3)?;
    wait::until_true(AT_ONCE, "the third pod to be counted", || {
        operator
            .metric("gateway_pods_programmed")
            .is_ok_and(|pods| pods == 3)
    })?;
    // Long enough for a full report of it, with its issuers.
    let reconciles = operator.metric("reconciles_total")?;
    thread::sleep(Duration::from_secs(6));
    assert_eq!(operator.metric("status_writes_total")?, writes);
    assert_eq!(versions()?, before);
    // Nothing has changed that routes depend on: neither a renewed lease nor a pod is a reason to look at all of them.
    let looks = operator.metric("reconciles_total")? - reconciles;
    assert!(looks <= 1, "{looks} looks meanwhile");

    // An edit that all pods take over within a second is one write of one status, no Event, and no new time. A busy machine
    // may take longer, which is told: then another edit has to do.
    let times = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .map(|condition| condition["lastTransitionTime"].clone())
            .collect::<Vec<_>>()
    };
    let mut then = None;
    for number in 0..EDITS {
        let writes = quiet(|| operator.metric("status_writes_total"))?;
        let (before, told) = (find("route-0")?, events("route-0")?);
        routes[0]["spec"]["rules"][0]["authorization"] = json!({"scopes": [format!("scope-{number}")]});
        let now = stage.served(&routes[0])?;
        let more = quiet(|| operator.metric("status_writes_total"))? - writes;
        if more == 1 {
            assert_eq!(times(&now), times(&before));
            assert_eq!(events("route-0")?, told);
            then = Some(before);
            break;
        }
        ensure!(
            times(&now)[3] != times(&before)[3],
            "{more} writes of nothing new"
        );
    }
    let then = then.context("every edit was told to be pending")?;

    // What is a transition is told, of the one object.
    routes[0]["spec"]["issuerRef"] = json!({"name": "nobody"});
    let now = apply_and_expect(plane, &routes[0], "Ready", "IssuerNotFound")?;
    assert_eq!(
        condition(&now, "Accepted")?["lastTransitionTime"],
        times(&then)[0]
    );
    ensure!(condition(&now, "Ready")?["lastTransitionTime"] != times(&then)[3]);
    wait::until_true(AT_ONCE, "an Event", || {
        events("route-0").is_ok_and(|events| events.contains(&"\"IssuerNotFound\"".to_owned()))
    })?;
    assert_eq!(events("route-1")?, of_another);
    Ok(())
}
