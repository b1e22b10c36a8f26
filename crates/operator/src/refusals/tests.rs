use kube::core::Status;

use super::*;

fn refused(code: u16, message: &str) -> OperatorError {
    let status = Status::failure(message, "Forbidden").with_code(code);
    OperatorError::api("apply", "configmaps route-1")(kube::Error::Api(Box::new(status)))
}

fn silence() -> OperatorError {
    OperatorError::Silence {
        verb: "apply",
        what: "configmaps route-1".to_owned(),
    }
}

fn apply() -> Tried {
    Tried::Apply("route-1".to_owned())
}

fn failed(error: &OperatorError) -> Failed {
    Failed::new(apply(), "new", Kind::Config, error)
}

fn of<'r>(refusals: &'r Refusals, revision: &str) -> Option<&'r str> {
    refusals.of(|| "route-1".to_owned(), revision)
}

#[test]
fn what_is_refused_is_tried_less_and_less_often() {
    let mut refusals = Refusals::default();
    let mut now = Instant::now();
    for seconds in [2, 4, 8, 16, 32, 60, 60] {
        refusals.settle(
            vec![failed(&refused(403, "exceeded quota"))],
            &BTreeSet::new(),
            now,
        );
        assert_eq!(refusals.due(), Some(now + Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
    }
    for _ in 0..2 {
        refusals.settle(vec![failed(&silence())], &BTreeSet::new(), now);
        assert_eq!(refusals.due(), Some(now + FIRST), "nobody said no");
        now += FIRST;
    }
    refusals.settle(Vec::new(), &BTreeSet::new(), now);
    assert_eq!(refusals.due(), None, "it was tried and went well");
}

#[test]
fn what_is_held_back_stays_known_until_it_is_due_or_not_planned_any_more() {
    let mut refusals = Refusals::default();
    let (now, name) = (Instant::now(), "route-1".to_owned());
    let gone = Tried::Delete(Kind::Config, name.clone());
    refusals.settle(
        vec![Failed::new(gone.clone(), "", Kind::Config, &refused(403, "no"))],
        &BTreeSet::new(),
        now,
    );
    let plan = || Plan {
        delete_configs: vec![name.clone()],
        ..Plan::default()
    };
    for (at, due) in [(now, 0), (now + FIRST, 1)] {
        let mut plan = plan();
        refusals.hold_back(&mut plan, at);
        assert_eq!(plan.delete_configs.len(), due);
    }
    refusals.settle(Vec::new(), &BTreeSet::new(), now);
    assert!(refusals.due().is_some(), "it was not tried");
    let untried = BTreeSet::from([gone]);
    for _ in 0..2 {
        refusals.settle(Vec::new(), &untried, now + FIRST);
        assert!(refusals.due().is_some(), "its turn has not come");
    }
    refusals.hold_back(&mut Plan::default(), now);
    assert_eq!(refusals.due(), None, "nobody wants it any more");
}

#[test]
fn the_words_of_the_api_server_are_for_the_revision_that_it_refuses() {
    let mut refusals = Refusals::default();
    let now = Instant::now();
    refusals.settle(
        vec![failed(&refused(403, "exceeded quota"))],
        &BTreeSet::new(),
        now,
    );
    let said = "the API server refuses the ConfigMap: exceeded quota";
    assert_eq!(of(&refusals, "new"), Some(said));
    assert_eq!(of(&refusals, "newer"), None);
    refusals.settle(vec![failed(&silence())], &BTreeSet::new(), now);
    assert_eq!(of(&refusals, "new"), None, "it said nothing");
    refusals.forget("route-1".to_owned());
    assert_eq!(refusals.due(), None);
}

#[test]
fn nothing_of_a_secret_is_repeated_and_nothing_is_long() {
    let error = refused(422, "key 0123456789abcdef is too short");
    let said = Failed::new(apply(), "new", Kind::Secret, &error).answer.unwrap();
    assert!(!said.contains("0123") && said.contains("422"), "{said}");
    let long = failed(&refused(422, &"x".repeat(5000))).answer.unwrap();
    assert!(long.len() < 1024);
}
