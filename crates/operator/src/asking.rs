//! A task that keeps asking the gateway pods what they serve: often while they are about to change, seldom else.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep_until};

use crate::pods::{Asker, Pod, Report};

/// While some pod does not serve the newest set.
const OFTEN: Duration = Duration::from_millis(200);
/// While all do.
const SELDOM: Duration = Duration::from_secs(5);
/// How old a full report may be: the state of issuers is not part of the digest.
const FULL: Duration = Duration::from_secs(10);
/// A pod that has never answered counts after this long. Before, a scale-up would touch the status of every route.
const GRACE: Duration = Duration::from_secs(10);
/// How many pods are asked at a time.
const AT_ONCE: usize = 32;

/// What the pods say, by name; `None` for one that does not answer. Pods that say the same share a report.
pub(crate) type Reports = BTreeMap<String, Option<Arc<Report>>>;

/// What is known of one pod.
#[derive(Clone, Debug)]
struct Known {
    pod: Pod,
    since: Instant,
    asked_at: Option<Instant>,
    full_at: Option<Instant>,
    report: Option<Arc<Report>>,
    answered: bool,
    is_asked: bool,
}

/// Asks until nobody listens. Each pod has its own pace: one that hangs keeps nobody from hearing of the others.
pub(crate) async fn run(
    asker: Asker,
    mut pods: watch::Receiver<BTreeMap<String, Pod>>,
    mut wanted: watch::Receiver<String>,
    reports: watch::Sender<Arc<Reports>>,
) {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    while !reports.is_closed() {
        follow(&mut known, &pods.borrow_and_update());
        let digest = wanted.borrow_and_update().clone();
        let now = Instant::now();
        for (name, pod) in &mut known {
            if under_way.len() < AT_ONCE && pod.due(&digest).is_some_and(|due| due <= now) {
                pod.is_asked = true;
                pod.asked_at = Some(now);
                under_way.push(ask(asker.clone(), name.clone(), pod.clone()));
            }
        }
        publish(&known, &reports);
        let next = known.values().filter_map(|pod| pod.due(&digest)).min();
        // With as many on their way as may be, the next answer comes first.
        let next = next.filter(|_| under_way.len() < AT_ONCE).unwrap_or(now + SELDOM);
        tokio::select! {
            Some((name, was, report)) = under_way.next(), if !under_way.is_empty() => settle(&mut known, &name, &was, report),
            () = sleep_until(next.into()) => {}
            changed = pods.changed() => if changed.is_err() { return },
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

impl Known {
    fn new(pod: &Pod) -> Self {
        Self {
            pod: pod.clone(),
            since: Instant::now(),
            asked_at: None,
            full_at: None,
            report: None,
            answered: false,
            is_asked: false,
        }
    }

    /// When it is to be asked; `None` while it is being asked.
    fn due(&self, digest: &str) -> Option<Instant> {
        if self.is_asked {
            return None;
        }
        let is_quiet = self
            .report
            .as_ref()
            .is_some_and(|report| report.digest == digest && !report.is_asking);
        let pace = if is_quiet { SELDOM } else { OFTEN };
        Some(self.asked_at.map_or(self.since, |at| at + pace))
    }

    fn is_full_due(&self) -> bool {
        let is_asking = self.report.as_ref().is_some_and(|report| report.is_asking);
        is_asking || self.full_at.is_none_or(|at| at.elapsed() > FULL)
    }
}

/// Pods come and go, and one of the same name with another address is another pod.
fn follow(known: &mut BTreeMap<String, Known>, current: &BTreeMap<String, Pod>) {
    known.retain(|name, known| current.get(name) == Some(&known.pod));
    for (name, pod) in current {
        known.entry(name.clone()).or_insert_with(|| Known::new(pod));
    }
}

async fn ask(asker: Asker, name: String, known: Known) -> (String, Known, Option<Arc<Report>>) {
    let report = asker
        .ask(&known.pod, known.report.as_ref(), known.is_full_due())
        .await;
    (name, known, report)
}

/// Takes an answer in, if the pod is still the one that was asked.
fn settle(known: &mut BTreeMap<String, Known>, name: &str, was: &Known, report: Option<Arc<Report>>) {
    // Ten thousand routes on a hundred pods are the same ten thousand.
    let alike = report
        .as_ref()
        .and_then(|report| {
            known
                .values()
                .filter_map(|pod| pod.report.as_ref())
                .find(|known| *known == report)
        })
        .cloned();
    let report = alike.or(report);
    let Some(pod) = known
        .get_mut(name)
        .filter(|pod| pod.pod == was.pod && pod.since == was.since)
    else {
        return;
    };
    if was.is_full_due() && report.is_some() {
        pod.full_at = Some(Instant::now());
    }
    pod.is_asked = false;
    pod.answered |= report.is_some();
    pod.report = report;
}

fn publish(known: &BTreeMap<String, Known>, reports: &watch::Sender<Arc<Reports>>) {
    let all: Reports = known
        .iter()
        .filter(|(_, pod)| pod.answered || pod.since.elapsed() > GRACE)
        .map(|(name, pod)| (name.clone(), pod.report.clone()))
        .collect();
    reports.send_if_modified(|before| {
        let is_new = **before != all;
        if is_new {
            *before = Arc::new(all);
        }
        is_new
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(names: &[&str]) -> BTreeMap<String, Pod> {
        let pod = Pod {
            ip: "10.0.0.7".parse().unwrap(),
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), pod.clone()))
            .collect()
    }

    fn report(digest: &str, is_asking: bool) -> Arc<Report> {
        Arc::new(Report {
            digest: digest.to_owned(),
            is_asking,
            ..Report::default()
        })
    }

    #[test]
    fn a_pod_that_serves_the_newest_set_is_asked_seldom() {
        let mut known = BTreeMap::new();
        follow(&mut known, &pods(&["a"]));
        let first = known["a"].due("new").unwrap();
        assert!(first <= Instant::now(), "a new pod at once");
        let asked_at = Instant::now();
        for (report, pace) in [
            (None, OFTEN),
            (Some(report("old", false)), OFTEN),
            (Some(report("new", true)), OFTEN),
            (Some(report("new", false)), SELDOM),
        ] {
            let pod = known.get_mut("a").unwrap();
            pod.asked_at = Some(asked_at);
            pod.report = report;
            assert_eq!(pod.due("new"), Some(asked_at + pace));
        }
        known.get_mut("a").unwrap().is_asked = true;
        assert_eq!(known["a"].due("newer"), None, "it is being asked");
    }

    #[test]
    fn pods_that_say_the_same_share_a_report_and_strangers_are_ignored() {
        let mut known = BTreeMap::new();
        follow(&mut known, &pods(&["a", "b"]));
        for name in ["a", "b"] {
            let was = known[name].clone();
            settle(&mut known, name, &was, Some(report("new", false)));
        }
        let of = |name: &str| known[name].report.clone().unwrap();
        assert!(Arc::ptr_eq(&of("a"), &of("b")));
        // One that went and came again meanwhile has not said that.
        let was = known["a"].clone();
        known.remove("a");
        follow(&mut known, &pods(&["a", "b"]));
        settle(&mut known, "a", &was, Some(report("old", false)));
        assert!(known["a"].report.is_none() && !known["a"].answered);
    }

    #[test]
    fn a_pod_that_has_not_answered_yet_is_not_told_of() {
        let (sender, receiver) = watch::channel(Arc::default());
        let mut known = BTreeMap::new();
        follow(&mut known, &pods(&["a", "b"]));
        let was = known["a"].clone();
        settle(&mut known, "a", &was, Some(report("new", false)));
        publish(&known, &sender);
        assert_eq!(receiver.borrow().keys().collect::<Vec<_>>(), ["a"]);
        known.get_mut("b").unwrap().since -= GRACE + OFTEN;
        publish(&known, &sender);
        assert_eq!(receiver.borrow()["b"], None);
    }
}
