use std::sync::Arc;

use splittoken_api::Verdict;

use super::*;
use crate::{
    pods::{Issuers, Report},
    status::of_left,
};

fn statuses() -> Statuses {
    // Nothing here asks anybody: a client is only there for Events.
    let config = kube::Config::new("http://127.0.0.1:1/".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    Statuses::new(&client, "ours", "test")
}

fn verdict(kind: &str) -> Verdict {
    Verdict {
        object: ObjectName::new(kind, "shop", "orders"),
        generation: Some(1),
        problems: Vec::new(),
        warnings: Vec::new(),
    }
}

fn object() -> Object {
    Object {
        generation: 1,
        uid: "uid".to_owned(),
        ..Object::default()
    }
}

fn report(ready: bool) -> IssuerReport {
    IssuerReport {
        ready,
        message: (!ready).then(|| "refused".to_owned()),
    }
}

#[tokio::test]
async fn an_issuer_is_given_a_moment_until_the_first_pod_has_asked_it() {
    let mut statuses = statuses();
    let verdict = verdict("SplitTokenIssuer");
    let (_, settles) = statuses.issuer(&verdict, &object(), &[], 1);
    assert!(settles.is_some(), "its first pod is asking it just now");
    let good = report(true);
    assert!(statuses.issuer(&verdict, &object(), &[&good], 1).1.is_none());
    assert!(
        statuses.issuer(&verdict, &object(), &[], 0).1.is_none(),
        "nobody will ask it"
    );
}

#[tokio::test]
async fn a_form_is_settled_a_second_after_it_was_seen_first() {
    let mut statuses = statuses();
    let name = verdict("SplitTokenRoute").object;
    let first = statuses.settled(&name, "a");
    assert_eq!(statuses.settled(&name, "a"), first, "seen before");
    assert!(statuses.settled(&name, "b") > first);
}

#[tokio::test]
async fn the_moment_of_a_form_begins_when_its_turn_has_come() {
    let mut statuses = statuses();
    let name = verdict("SplitTokenRoute").object;
    let first = statuses.settled(&name, "a");
    let waiting = statuses.settles_anew(&name);
    assert!(waiting > first);
    assert!(statuses.settled(&name, "a") >= waiting);
}

#[tokio::test]
async fn a_status_that_was_just_written_is_not_written_again_before_the_watch_brings_it() {
    let mut statuses = statuses();
    let name = ObjectName::new("SplitTokenIssuer", "shop", "orders");
    let (verdict, good, mut object) = (verdict("SplitTokenIssuer"), report(true), object());
    let status = || of_issuer(&verdict, 1, &[&good], 1);
    let Task::Write(news) = statuses.task(&name, &object, status()) else {
        panic!("it was never written");
    };
    let patch = news.patch;
    let written = Instant::now();
    let told = Told {
        uid: "uid".to_owned(),
        status: status(),
        written,
        found: None,
    };
    statuses.told.insert(name.clone(), told);
    let Task::Later(at) = statuses.task(&name, &object, status()) else {
        panic!("it was written a moment ago");
    };
    assert!(at <= written + COUNTS);
    object.status = patch["status"].to_string().into();
    for time in ["compared", "known"] {
        let task = statuses.task(&name, &object, status());
        assert!(matches!(task, Task::Nothing), "{time}");
    }
    // Whoever wrote over it meanwhile has to wait a little for the right one to come back.
    object.status = "{}".into();
    assert!(matches!(statuses.task(&name, &object, status()), Task::Later(_)));
    // One that was made anew under the name was never told anything.
    object.uid = "another".to_owned();
    assert!(matches!(statuses.task(&name, &object, status()), Task::Write(_)));
}

#[tokio::test]
async fn counts_of_pods_are_written_seldom_and_reasons_at_once() {
    let mut statuses = statuses();
    let name = ObjectName::new("SplitTokenRoute", "shop", "orders");
    let verdict = verdict("SplitTokenRoute");
    let status = |programmed: Programmed| of_route(&verdict, 1, Some(&programmed), None);
    let told = Told {
        uid: "uid".to_owned(),
        status: status(Programmed::Pending(0, 3)),
        written: Instant::now(),
        found: None,
    };
    statuses.told.insert(name.clone(), told);
    assert!(
        statuses
            .is_too_soon(&name, &status(Programmed::Pending(1, 3)))
            .is_some()
    );
    for other in [
        Programmed::Everywhere(3),
        Programmed::NoPods,
        Programmed::Pending(0, 3),
    ] {
        assert!(
            statuses.is_too_soon(&name, &status(other.clone())).is_none(),
            "{other:?}"
        );
    }
}

#[test]
fn what_pods_say_of_issuers_is_gathered_by_issuer() {
    let pod = |ready: bool| {
        Some(Arc::new(Report {
            issuers: Arc::new(Issuers {
                asked: BTreeMap::from([("SplitTokenIssuer/id/login".to_owned(), report(ready))]),
                ..Issuers::default()
            }),
            ..Report::default()
        }))
    };
    let reports = BTreeMap::from([
        ("a".to_owned(), pod(true)),
        ("b".to_owned(), pod(false)),
        ("c".to_owned(), None),
    ]);
    let gathered = by_issuer(&reports);
    let said: Vec<bool> = gathered["SplitTokenIssuer/id/login"]
        .iter()
        .map(|said| said.ready)
        .collect();
    assert_eq!(said, [true, false]);
}

#[tokio::test]
async fn statuses_that_fail_wait_and_come_after_all_others() {
    let mut statuses = statuses();
    let names = ["a", "b", "c"].map(|name| ObjectName::new("SplitTokenRoute", "shop", name));
    let (verdict, object) = (verdict("SplitTokenRoute"), object());
    let status = || of_route(&verdict, 1, None, None);
    let now = Instant::now();
    let before = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
    for (name, seconds) in names.iter().zip([10, 20]) {
        statuses.failed.failed(name, true, before(seconds));
        // Nor does it make anybody look at all others in a while.
        let task = statuses.task(name, &object, status());
        assert!(matches!(task, Task::Nothing), "{name}");
    }
    assert_eq!(
        statuses.retried(now),
        BTreeSet::from([names[0].clone(), names[1].clone()])
    );
    let mut due: Vec<News<'_>> = Vec::new();
    for name in &names {
        let Task::Write(news) = statuses.task(name, &object, status()) else {
            panic!("{name} is due");
        };
        due.push(news);
    }
    statuses.hopeful_first(&mut due);
    let order: Vec<&str> = due.iter().map(|news| news.name.name.as_str()).collect();
    assert_eq!(order, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_status_that_stands_after_all_has_not_failed() {
    let mut statuses = statuses();
    let name = verdict("SplitTokenRoute").object;
    let status = || of_route(&verdict("SplitTokenRoute"), 1, None, None);
    let mut object = object();
    let Task::Write(news) = statuses.task(&name, &object, status()) else {
        panic!("it was never written");
    };
    let said = news.patch["status"].to_string();
    let now = Instant::now();
    statuses.failed.failed(&name, true, now);
    assert_eq!(statuses.failing().count(), 1);
    object.status = said.into();
    statuses.retried(statuses.due().unwrap());
    assert!(matches!(statuses.task(&name, &object, status()), Task::Nothing));
    assert_eq!((statuses.failing().count(), statuses.due()), (0, None));
}

#[test]
fn an_object_that_left_the_class_is_told_once_and_only_while_our_words_stand() {
    let name = verdict("SplitTokenRoute").object;
    let left = Object {
        class: "other".into(),
        told_by: "ours".into(),
        generation: 2,
        ..object()
    };
    let last = |object: &Object| {
        let news = farewell(&name, object, None, "ours");
        news.map(|news| news.patch["status"].to_string())
    };
    let said = last(&left).unwrap();
    assert!(said.contains("OtherClass") && said.contains("not ours"), "{said}");
    let with = |change: &dyn Fn(&mut Object)| {
        let mut object = left.clone();
        change(&mut object);
        last(&object)
    };
    assert_eq!(with(&|object| object.class = "ours".into()), None);
    for somebody in ["other", ""] {
        assert_eq!(with(&|object| object.told_by = somebody.into()), None);
    }
    let is_said = with(&|object| object.status = said.as_str().into());
    assert_eq!(is_said, None, "it is said");
    // Of a status that names nobody, whoever said it knows.
    let unnamed = Object {
        told_by: "".into(),
        ..left.clone()
    };
    let told = |uid: &str| Told {
        uid: uid.to_owned(),
        status: of_left("ours", 1),
        written: Instant::now(),
        found: None,
    };
    assert!(farewell(&name, &unnamed, Some(&told(&left.uid)), "ours").is_some());
    assert!(farewell(&name, &unnamed, Some(&told("another")), "ours").is_none());
}
