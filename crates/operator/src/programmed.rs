//! Which routes the gateway pods really serve, as they say themselves.

use crate::{
    asking::Reports,
    pods::{Rejected, Report},
};

/// What is known of one route on all ready pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Programmed {
    /// Every ready pod serves this revision.
    Everywhere(usize),
    /// Some do not yet: how many do, of how many.
    Pending(usize, usize),
    /// There is no ready pod.
    NoPods,
    /// A pod refuses it, and says why.
    Rejected(String),
    /// It is not there for any pod: the API server refuses it, and says why.
    NotWritten(String),
}

/// The ready pods by what they say: of a hundred that serve the same, ten thousand routes ask one.
pub(crate) struct Fleet<'r> {
    pods: usize,
    /// With how many pods say so.
    reports: Vec<(&'r Report, usize)>,
}

impl<'r> Fleet<'r> {
    /// Pods that say the same share a report; `None` stands for one that has not answered.
    pub(crate) fn of(reports: &'r Reports) -> Self {
        let mut distinct: Vec<(&Report, usize)> = Vec::new();
        for report in reports.values().flatten() {
            match distinct
                .iter_mut()
                .find(|(known, _)| std::ptr::eq(*known, &raw const **report))
            {
                Some((_, pods)) => *pods += 1,
                None => distinct.push((report, 1)),
            }
        }
        Self {
            pods: reports.len(),
            reports: distinct,
        }
    }

    fn reports(&self) -> impl Iterator<Item = &'r Report> {
        self.reports.iter().map(|(report, _)| *report)
    }

    /// What a pod says against a route. One that cannot read which route it is can only name the object.
    fn refusal(&self, route: &str, object: impl Fn() -> String, revision: &str) -> Option<&'r Rejected> {
        let refusing = self.reports().filter(|report| !report.rejected.is_empty());
        refusing
            .filter_map(|report| {
                let by_route = report.rejected.get(route);
                by_route.or_else(|| report.rejected.get(&object()))
            })
            .find(|rejected| rejected.is_of(revision))
    }
}

/// Looks at what the pods say about a revision of a route, which is `object` in the cluster.
pub(crate) fn programmed(
    route: &str,
    object: impl Fn() -> String,
    revision: &str,
    fleet: &Fleet<'_>,
) -> Programmed {
    if fleet.pods == 0 {
        return Programmed::NoPods;
    }
    if let Some(rejected) = fleet.refusal(route, object, revision) {
        return Programmed::Rejected(rejected.message.clone());
    }
    let is_there = |report: &Report| {
        report
            .revisions
            .get(route)
            .is_some_and(|served| served == revision)
    };
    let mut without = fleet.reports().filter(|report| !is_there(report));
    if let Some(problem) = without.find_map(|report| report.problem.as_ref()) {
        return Programmed::Rejected(problem.clone());
    }
    let with = fleet.reports.iter().filter(|(report, _)| is_there(report));
    let served = with.map(|(_, pods)| pods).sum();
    if served == fleet.pods {
        Programmed::Everywhere(served)
    } else {
        Programmed::Pending(served, fleet.pods)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::pods::Rejected;

    fn serving(revision: &str) -> Report {
        Report {
            revisions: Arc::new(BTreeMap::from([("shop/orders".to_owned(), revision.to_owned())])),
            ..Report::default()
        }
    }

    fn pods(reports: impl IntoIterator<Item = Option<Report>>) -> Reports {
        let numbered = reports.into_iter().enumerate();
        numbered
            .map(|(number, report)| (format!("pod-{number}"), report.map(Arc::new)))
            .collect()
    }

    fn programmed(pods: &Reports) -> Programmed {
        let object = || "route-1".to_owned();
        super::programmed("shop/orders", object, "new", &Fleet::of(pods))
    }

    #[test]
    fn pods_that_share_a_report_count_one_by_one() {
        let report = Arc::new(serving("new"));
        let names = ["a", "b", "c"].map(str::to_owned);
        let pods: Reports = names.map(|name| (name, Some(Arc::clone(&report)))).into();
        assert_eq!(Fleet::of(&pods).reports.len(), 1);
        assert_eq!(programmed(&pods), Programmed::Everywhere(3));
    }

    #[test]
    fn a_route_is_programmed_when_every_pod_serves_its_newest_revision() {
        for (reports, expected) in [
            (vec![], Programmed::NoPods),
            (vec![Some(serving("new"))], Programmed::Everywhere(1)),
            (
                vec![Some(serving("new")), Some(serving("old"))],
                Programmed::Pending(1, 2),
            ),
            (vec![Some(serving("new")), None], Programmed::Pending(1, 2)),
            (
                vec![Some(serving("new")), Some(Report::default())],
                Programmed::Pending(1, 2),
            ),
            (
                vec![Some(serving("new")), Some(serving("new"))],
                Programmed::Everywhere(2),
            ),
        ] {
            assert_eq!(programmed(&pods(reports)), expected);
        }
    }

    #[test]
    fn a_pod_s_own_reason_comes_before_any_count() {
        let rejecting = |revision: Option<&str>| {
            let rejected = Rejected {
                revision: revision.map(str::to_owned),
                message: "has format 2".to_owned(),
            };
            let mut report = serving("old");
            report.rejected.insert("shop/orders".to_owned(), rejected);
            Some(report)
        };
        let refused = Programmed::Rejected("has format 2".to_owned());
        assert_eq!(programmed(&pods([rejecting(Some("new"))])), refused);
        assert_eq!(programmed(&pods([rejecting(None)])), refused);
        let mut unread = serving("old");
        let nameless = Rejected {
            revision: None,
            message: "has format 2".to_owned(),
        };
        unread.rejected.insert("route-1".to_owned(), nameless);
        assert_eq!(programmed(&pods([Some(unread)])), refused);
        let older = pods([rejecting(Some("older"))]);
        assert_eq!(programmed(&older), Programmed::Pending(0, 1));
    }
    #[test]
    fn a_pod_that_refuses_the_whole_set_says_why_of_what_it_does_not_serve() {
        let stuck = |revision: &str| {
            let mut report = serving(revision);
            report.problem = Some("too many hosts".to_owned());
            pods([Some(report), Some(serving("new"))])
        };
        assert_eq!(
            programmed(&stuck("old")),
            Programmed::Rejected("too many hosts".to_owned())
        );
        let served = programmed(&stuck("new"));
        assert_eq!(served, Programmed::Everywhere(2));
    }
}
