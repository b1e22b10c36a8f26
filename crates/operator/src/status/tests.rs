use std::{collections::BTreeSet, fs, path::Path};

use splittoken_api::{ObjectName, Reason};

use super::*;

const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-02-02T00:00:00Z";

fn clean() -> Verdict {
    Verdict {
        object: ObjectName::new("SplitTokenRoute", "shop", "orders"),
        generation: Some(3),
        problems: Vec::new(),
        warnings: Vec::new(),
    }
}

fn condition<'v>(patch: &'v Value, kind: &str) -> &'v Value {
    let conditions = patch["status"]["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap()
}

#[test]
fn a_route_is_ready_when_every_pod_serves_it() {
    for (programmed, ready, reason) in [
        (Programmed::Everywhere(3), "True", "Ready"),
        (Programmed::Pending(2, 3), "False", "Pending"),
        (Programmed::NoPods, "False", "NoGatewayPods"),
        (
            Programmed::Rejected("has format 2".to_owned()),
            "False",
            "Rejected",
        ),
        (
            Programmed::NotWritten("exceeded quota".to_owned()),
            "False",
            "NotWritten",
        ),
    ] {
        let patch = of_route(&clean(), 3, Some(&programmed), None)
            .patch("ours", &Value::Null, NOW)
            .unwrap();
        let condition = condition(&patch, "Ready");
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!(ready), &json!(reason))
        );
        assert_eq!(condition["observedGeneration"], 3);
    }
    let pending = of_route(&clean(), 3, Some(&Programmed::Pending(2, 3)), None);
    let patch = pending.patch("ours", &Value::Null, NOW).unwrap();
    assert_eq!(
        condition(&patch, "Programmed")["message"],
        "2 of 3 gateway pods serve this revision"
    );
}

#[test]
fn a_status_is_written_on_transitions_only() {
    let endpoint = Some("https://api.example.com/auth/token");
    let ready = of_route(&clean(), 3, Some(&Programmed::Everywhere(3)), endpoint);
    let written = ready.patch("ours", &Value::Null, THEN).unwrap()["status"].clone();
    assert_eq!(ready.patch("ours", &written, NOW), None, "nothing new");
    // Another number of pods is no transition.
    let scaled = of_route(&clean(), 3, Some(&Programmed::Everywhere(30)), endpoint);
    assert_eq!(scaled.patch("ours", &written, NOW), None);
    // What does not change keeps its time.
    let pending = of_route(&clean(), 4, Some(&Programmed::Pending(0, 3)), endpoint);
    let patch = pending.patch("ours", &written, NOW).unwrap();
    assert_eq!(condition(&patch, "Accepted")["lastTransitionTime"], THEN);
    assert_eq!(condition(&patch, "Programmed")["lastTransitionTime"], NOW);
    assert_eq!(patch["status"]["observedGeneration"], 4);
}

#[test]
fn an_issuer_is_reachable_as_the_gateways_see_it() {
    let good = IssuerReport {
        ready: true,
        message: None,
    };
    let bad = IssuerReport {
        ready: false,
        message: Some("the provider cannot be reached".to_owned()),
    };
    for (reports, routes, reason) in [
        (vec![], 0, "NoRoutes"),
        (vec![], 1, "NoGatewayPods"),
        (vec![&good, &good], 1, "Reachable"),
        (vec![&good, &bad], 1, "Unreachable"),
    ] {
        let patch = of_issuer(&clean(), 1, &reports, routes)
            .patch("ours", &Value::Null, NOW)
            .unwrap();
        assert_eq!(condition(&patch, "Reachable")["reason"], reason);
        assert_eq!(patch["status"]["attachedRoutes"], routes);
    }
}

/// Condition and reason of every row of the table in `docs/kubernetes.md`.
fn explained() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kubernetes.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| condition | reason |"))
        .skip(2);
    let mut explained = Vec::new();
    let mut condition = String::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 3 && !cells[2].is_empty(), "{row}");
        let code =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        if let Some(named) = code(cells[0]).into_iter().next() {
            condition = named;
        }
        explained.extend(
            code(cells[1])
                .into_iter()
                .map(|reason| (condition.clone(), reason)),
        );
    }
    explained
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let pair = |condition: &str, reason: &str| (condition.to_owned(), reason.to_owned());
    let mut said: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|reason| pair(reason.condition().name(), reason.name()))
        .collect();
    said.extend(
        Served::ALL
            .iter()
            .map(|reason| Said::served(*reason, ""))
            .chain(Reached::ALL.iter().map(|reason| Said::reached(*reason, "")))
            .chain(Left::ALL.iter().map(|reason| Said::left(*reason, String::new())))
            .chain([Said::ready(&[])])
            .map(|said| pair(said.kind, said.reason)),
    );
    let explained = explained();
    assert_eq!(explained.iter().cloned().collect::<BTreeSet<_>>(), said);
    assert_eq!(explained.len(), said.len(), "one is explained twice");
}

#[test]
fn a_warning_stands_in_the_condition_that_is_true_and_is_no_transition() {
    let endpoint: Option<&str> = None;
    let ready = |message: &str| {
        let condition = Condition {
            kind: splittoken_api::ConditionType::Accepted,
            status: true,
            reason: Reason::Accepted,
            message: message.to_owned(),
        };
        conclude(vec![Said::from(condition)], 3, ("tokenEndpoint", json!(endpoint)))
    };
    assert!(ready(&"x".repeat(5000)).conditions[0].message.len() < 1024);
    let written = ready("").patch("ours", &Value::Null, THEN).unwrap()["status"].clone();
    let warned = ready("spec.rules[1]: matches nothing");
    let patch = warned.patch("ours", &written, NOW).unwrap();
    assert_eq!(condition(&patch, "Accepted")["lastTransitionTime"], THEN);
    assert!(warned.ready().0 && !warned.is_transition_from(&written));
    assert_eq!(warned.patch("ours", &patch["status"], NOW), None);
}

/// One that was written before there was a class in it, or whose definition does not know it, stays as it is.
#[test]
fn a_status_names_the_class_but_is_not_written_for_that_alone() {
    let status = of_route(&clean(), 1, None, None);
    let mut written = status.patch("ours", &Value::Null, NOW).unwrap()["status"].clone();
    assert_eq!(written[CLASS], "ours");
    assert!(status.patch("other", &written, NOW).is_some(), "it is another's");
    written.as_object_mut().unwrap().remove(CLASS);
    assert_eq!(status.patch("ours", &written, NOW), None);
}
