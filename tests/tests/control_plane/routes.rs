//! The life of a route: applied, served, edited, deleted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::wait;

use super::{Stage, URLS};

/// Ten times the promise of a second.
const EDIT: Duration = Duration::from_secs(10);

#[test]
fn an_applied_route_is_served_and_its_status_says_so() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let pods = [plane.pod(1)?, plane.pod(2)?];
    let start = Instant::now();
    let object = stage.served(&stage.route("orders"))?;
    println!("ready {:?} after the apply", start.elapsed());

    let host = plane.host("orders");
    assert_eq!(
        object["status"]["tokenEndpoint"],
        format!("https://{host}/oauth/token")
    );
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    let conditions = object["status"]["conditions"]
        .as_array()
        .context("no conditions")?;
    let kinds: Vec<_> = conditions
        .iter()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    assert_eq!(kinds, ["Accepted", "ResolvedRefs", "Programmed", "Ready"]);

    for pod in &pods {
        let token = pod.token(&host)?;
        assert_eq!(pod.call(&host, "/orders", Some(&token))?, 200);
        let jwt = stage.mint.jwt_of(&token)?;
        assert_eq!(
            stage.upstream.last()?.header("authorization"),
            Some(format!("Bearer {jwt}"))
        );
        assert_eq!(pod.call(&host, "/orders", None)?, 401);
    }
    Ok(())
}

#[test]
fn an_edit_is_enforced_on_every_pod_within_a_second_and_a_deletion_too() -> Result<()> {
    let stage = Stage::new()?;
    let plane = &stage.installation;
    let _operator = plane.operator(URLS)?;
    let pods = [plane.pod(3)?, plane.pod(4)?];
    let mut route = stage.route("orders");
    stage.served(&route)?;
    let host = plane.host("orders");
    let tokens = pods
        .iter()
        .map(|pod| pod.token(&host))
        .collect::<Result<Vec<_>>>()?;
    let everywhere = |status: u16| {
        let limit = EDIT * 2;
        let start = Instant::now();
        wait::until_true(limit, &format!("{status} from every pod"), || {
            let each = pods.iter().zip(&tokens);
            each.into_iter().all(|(pod, token)| {
                pod.call(&host, "/", Some(token))
                    .is_ok_and(|found| found == status)
            })
        })?;
        anyhow::Ok(start.elapsed())
    };
    everywhere(200)?;
    let mut times = Vec::new();
    for round in 0..10 {
        // The provider's tokens say nothing of scopes.
        let rule = route["spec"]["rules"][0].as_object_mut().context("no rule")?;
        if round % 2 == 0 {
            rule.insert("authorization".to_owned(), json!({"scopes": ["orders:write"]}));
        } else {
            rule.remove("authorization");
        }
        plane.kube.apply(&route)?;
        times.push(everywhere(if round % 2 == 0 { 403 } else { 200 })?);
    }
    times.sort_unstable();
    println!(
        "edit to enforced on both pods: p50 {:?}, max {:?}",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    ensure!(times[times.len() - 1] < EDIT, "{times:?}");

    plane.kube.delete("SplitTokenRoute", &plane.name, "orders")?;
    println!("deletion to 404 on both pods: {:?}", everywhere(404)?);
    wait::until_true(EDIT, "the rendered route to go", || {
        plane
            .kube
            .list("ConfigMap", &plane.name, "splittoken.dev/part=route")
            .is_ok_and(|list| list.is_empty())
    })
}
