//! A task that keeps asking the gateway pods what they serve: often while they are about to change, seldom else.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tokio::{sync::watch, time::sleep};

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

/// What the pods say, by name; `None` for one that does not answer.
pub(crate) type Reports = BTreeMap<String, Option<Report>>;

/// What is known of one pod.
#[derive(Clone, Debug)]
struct Known {
    pod: Pod,
    since: Instant,
    full_at: Option<Instant>,
    report: Option<Report>,
    answered: bool,
}

/// Asks until nobody listens.
pub(crate) async fn run(
    asker: Asker,
    mut pods: watch::Receiver<BTreeMap<String, Pod>>,
    mut wanted: watch::Receiver<String>,
    reports: watch::Sender<Arc<Reports>>,
) {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    while !reports.is_closed() {
        let current = pods.borrow_and_update().clone();
        let digest = wanted.borrow_and_update().clone();
        follow(&mut known, &current);
        ask_all(&asker, &mut known).await;
        let all: Reports = known
            .iter()
            .filter(|(_, pod)| pod.answered || pod.since.elapsed() > GRACE)
            .map(|(name, pod)| (name.clone(), pod.report.clone()))
            .collect();
        let agree = known.values().all(|pod| {
            pod.report
                .as_ref()
                .is_some_and(|report| report.digest == digest && !report.is_asking)
        });
        reports.send_if_modified(|before| {
            let is_new = **before != all;
            if is_new {
                *before = Arc::new(all);
            }
            is_new
        });
        tokio::select! {
            () = sleep(if agree { SELDOM } else { OFTEN }) => {}
            changed = pods.changed() => if changed.is_err() { return },
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// Pods come and go, and one of the same name with another address is another pod.
fn follow(known: &mut BTreeMap<String, Known>, current: &BTreeMap<String, Pod>) {
    known.retain(|name, known| current.get(name) == Some(&known.pod));
    for (name, pod) in current {
        known.entry(name.clone()).or_insert_with(|| Known {
            pod: pod.clone(),
            since: Instant::now(),
            full_at: None,
            report: None,
            answered: false,
        });
    }
}

async fn ask_all(asker: &Asker, known: &mut BTreeMap<String, Known>) {
    let answers = stream::iter(std::mem::take(known))
        .map(|(name, known)| ask(asker.clone(), name, known))
        .buffer_unordered(AT_ONCE);
    *known = answers.collect().await;
}

async fn ask(asker: Asker, name: String, mut known: Known) -> (String, Known) {
    let is_asking = known.report.as_ref().is_some_and(|report| report.is_asking);
    let is_due = is_asking || known.full_at.is_none_or(|at| at.elapsed() > FULL);
    let report = asker.ask(&known.pod, known.report.as_ref(), is_due).await;
    if is_due && report.is_some() {
        known.full_at = Some(Instant::now());
    }
    known.answered |= report.is_some();
    known.report = report;
    (name, known)
}
