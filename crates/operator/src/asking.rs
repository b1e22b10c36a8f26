//! A task that keeps asking the gateway pods what they serve: often while they are about to change, seldom else.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep_until};

use crate::pods::{Asker, Digest, Pod, Report, Revisions};

/// While a pod does not serve the newest set, and it is new.
const OFTEN: Duration = Duration::from_millis(200);
/// While a pod does not serve the newest set, and should for long.
const LAGGING: Duration = Duration::from_secs(1);
/// For how long a set is new.
const NEW: Duration = Duration::from_secs(10);
/// While all is well.
const SELDOM: Duration = Duration::from_secs(5);
/// At most one page of all routes in so long: with ten thousand it is megabytes, and while many routes are applied a pod
/// goes from one set to the next all the time.
const PAGES: Duration = Duration::from_secs(2);
/// A pod that has never answered counts after this long. Before, a scale-up would touch the status of every route.
const GRACE: Duration = Duration::from_secs(10);
/// How many pods are asked at a time.
const AT_ONCE: usize = 32;

/// What the pods say, by name; `None` for one that does not answer. Pods that say the same share a report.
pub(crate) type Reports = BTreeMap<String, Option<Arc<Report>>>;

/// The newest set of routes: what every pod is to serve.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) digest: String,
    pub(crate) revisions: Arc<Revisions>,
    pub(crate) since: Instant,
}

impl Wanted {
    /// No routes at all.
    pub(crate) fn nothing() -> Self {
        Self {
            digest: String::new(),
            revisions: Arc::default(),
            since: Instant::now(),
        }
    }
}

/// What is known of one pod.
#[derive(Clone, Debug)]
struct Known {
    pod: Pod,
    since: Instant,
    asked_at: Option<Instant>,
    /// When its page of all routes was read last.
    page_at: Option<Instant>,
    report: Option<Arc<Report>>,
    answered: bool,
    is_asked: bool,
}

/// Asks until nobody listens. Each pod has its own pace: one that hangs keeps nobody from hearing of the others.
pub(crate) async fn run(
    asker: Asker,
    mut pods: watch::Receiver<BTreeMap<String, Pod>>,
    mut wanted: watch::Receiver<Arc<Wanted>>,
    reports: watch::Sender<Arc<Reports>>,
) {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    while !reports.is_closed() {
        follow(&mut known, &pods.borrow_and_update());
        let newest = Arc::clone(&wanted.borrow_and_update());
        let now = Instant::now();
        for (name, pod) in &mut known {
            if under_way.len() < AT_ONCE && pod.due(&newest).is_some_and(|due| due <= now) {
                pod.is_asked = true;
                pod.asked_at = Some(now);
                let asking = ask(asker.clone(), name.clone(), pod.clone(), Arc::clone(&newest));
                under_way.push(asking);
            }
        }
        publish(&known, &reports);
        let next = known.values().filter_map(|pod| pod.due(&newest)).min();
        // With as many on their way as may be, the next answer comes first.
        let next = next.filter(|_| under_way.len() < AT_ONCE).unwrap_or(now + SELDOM);
        tokio::select! {
            Some((name, was, report)) = under_way.next(), if !under_way.is_empty() => {
                settle(&mut known, &name, &was, report);
            }
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
            page_at: None,
            report: None,
            answered: false,
            is_asked: false,
        }
    }

    /// When it is to be asked; `None` while it is being asked.
    fn due(&self, wanted: &Wanted) -> Option<Instant> {
        if self.is_asked {
            return None;
        }
        let report = self.report.as_ref();
        let is_quiet =
            report.is_some_and(|report| report.digest == wanted.digest && !report.issuers.is_asking);
        let pace = match is_quiet {
            true => SELDOM,
            false if wanted.since.elapsed() < NEW || self.since.elapsed() < NEW => OFTEN,
            false => LAGGING,
        };
        Some(self.asked_at.map_or(self.since, |at| at + pace))
    }
}

/// Where the routes of a pod are known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// It serves exactly the newest set, which is known here.
    Wanted,
    /// Nothing has changed since it was asked last, or what has will change again.
    Known,
    /// It has to be asked for all of them.
    Page,
}

/// Decides what has to be read of a pod that says this of itself.
fn from(digest: &Digest, known: &Known, wanted: &Wanted) -> From {
    if digest.faults.is_empty() && digest.of_routes == wanted.digest {
        return From::Wanted;
    }
    let Some(report) = &known.report else {
        return From::Page;
    };
    let is_same = report.digest == digest.of_routes && report.faults == digest.faults;
    let is_soon = known.page_at.is_some_and(|at| at.elapsed() < PAGES);
    if is_same || is_soon {
        From::Known
    } else {
        From::Page
    }
}

/// Pods come and go, and one of the same name with another address is another pod.
fn follow(known: &mut BTreeMap<String, Known>, current: &BTreeMap<String, Pod>) {
    known.retain(|name, known| current.get(name) == Some(&known.pod));
    for (name, pod) in current {
        known.entry(name.clone()).or_insert_with(|| Known::new(pod));
    }
}

async fn ask(
    asker: Asker,
    name: String,
    mut known: Known,
    wanted: Arc<Wanted>,
) -> (String, Known, Option<Arc<Report>>) {
    let report = report(&asker, &mut known, &wanted).await;
    (name, known, report)
}

/// What a pod serves, read as far as it is not known.
async fn report(asker: &Asker, known: &mut Known, wanted: &Wanted) -> Option<Arc<Report>> {
    let digest = asker.digest(&known.pod).await?;
    let before = known.report.as_deref();
    let issuers = match before.filter(|before| before.issuers.digest == digest.issuers) {
        Some(before) => Arc::clone(&before.issuers),
        None => Arc::new(asker.issuers(&known.pod).await?),
    };
    let routes = match from(&digest, known, wanted) {
        From::Wanted => Report {
            digest: digest.of_routes,
            revisions: Arc::clone(&wanted.revisions),
            ..Report::default()
        },
        From::Known => before.cloned()?,
        From::Page => {
            let page = asker.routes(&known.pod, digest.faults).await?;
            known.page_at = Some(Instant::now());
            page
        }
    };
    let report = Report {
        issuers,
        keyring: digest.keyring,
        ..routes
    };
    let same = known.report.as_ref().filter(|before| ***before == report);
    Some(same.cloned().unwrap_or_else(|| Arc::new(report)))
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
    pod.page_at = was.page_at;
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
    use crate::pods::{Issuers, KeyringReport};

    fn wanted(digest: &str) -> Wanted {
        Wanted {
            digest: digest.to_owned(),
            ..Wanted::nothing()
        }
    }

    fn says(digest: &str, faults: &str) -> Digest {
        Digest {
            of_routes: digest.to_owned(),
            faults: faults.to_owned(),
            issuers: String::new(),
            keyring: KeyringReport::default(),
        }
    }

    #[test]
    fn the_page_of_all_routes_is_read_only_where_nothing_else_tells() {
        let mut known = Known::new(&pods(&["a"])["a"]);
        let new = wanted("new");
        assert_eq!(
            from(&says("new", ""), &known, &new),
            From::Wanted,
            "even of a stranger"
        );
        assert_eq!(from(&says("old", ""), &known, &new), From::Page);
        known.report = Some(report("old", false));
        assert_eq!(from(&says("old", ""), &known, &new), From::Known);
        assert_eq!(from(&says("old", "refuses a route"), &known, &new), From::Page);
        assert_eq!(from(&says("new", "refuses a route"), &known, &new), From::Page);
        assert_eq!(from(&says("between", ""), &known, &new), From::Page);
        known.page_at = Some(Instant::now());
        assert_eq!(
            from(&says("between", ""), &known, &new),
            From::Known,
            "it is on its way"
        );
        known.page_at = Instant::now().checked_sub(PAGES);
        assert_eq!(from(&says("between", ""), &known, &new), From::Page);
    }

    #[test]
    fn a_pod_that_lags_for_long_is_asked_less_often() {
        let mut known = Known::new(&pods(&["a"])["a"]);
        let asked_at = Instant::now();
        (known.asked_at, known.report) = (Some(asked_at), Some(report("old", false)));
        assert_eq!(known.due(&wanted("new")), Some(asked_at + OFTEN));
        known.since -= NEW;
        assert_eq!(known.due(&wanted("new")), Some(asked_at + OFTEN));
        let old = Wanted {
            since: Instant::now().checked_sub(NEW).unwrap(),
            ..wanted("new")
        };
        assert_eq!(known.due(&old), Some(asked_at + LAGGING));
    }

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
            issuers: Arc::new(Issuers {
                is_asking,
                ..Issuers::default()
            }),
            ..Report::default()
        })
    }

    #[test]
    fn a_pod_that_serves_the_newest_set_is_asked_seldom() {
        let mut known = BTreeMap::new();
        follow(&mut known, &pods(&["a"]));
        let first = known["a"].due(&wanted("new")).unwrap();
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
            assert_eq!(pod.due(&wanted("new")), Some(asked_at + pace));
        }
        known.get_mut("a").unwrap().is_asked = true;
        assert_eq!(known["a"].due(&wanted("newer")), None, "it is being asked");
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
