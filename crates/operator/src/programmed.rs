//! Which routes the gateway pods really serve, as they say themselves.

use crate::{asking::Reports, pods::Report};

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
}

/// Looks at what the pods say about a revision of a route, which is `object` in the cluster. `None` stands for a pod
/// that has not answered.
pub(crate) fn programmed(route: &str, object: &str, revision: &str, pods: &Reports) -> Programmed {
    if pods.is_empty() {
        return Programmed::NoPods;
    }
    let reports = || pods.values().flatten();
    let refusal = reports().find_map(|report| {
        // A pod that cannot read which route it is can only name the object.
        let rejected = report.rejected.get(route).or_else(|| report.rejected.get(object));
        rejected.filter(|rejected| rejected.is_of(revision))
    });
    if let Some(rejected) = refusal {
        return Programmed::Rejected(rejected.message.clone());
    }
    let is_there = |report: &Report| {
        report
            .revisions
            .get(route)
            .is_some_and(|served| served == revision)
    };
    let problem = reports()
        .filter(|report| !is_there(report))
        .find_map(|report| report.problem.as_ref());
    if let Some(problem) = problem {
        return Programmed::Rejected(problem.clone());
    }
    let served = reports().filter(|report| is_there(report)).count();
    if served == pods.len() {
        Programmed::Everywhere(served)
    } else {
        Programmed::Pending(served, pods.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::pods::Rejected;

    fn serving(revision: &str) -> Report {
        Report {
            revisions: BTreeMap::from([("shop/orders".to_owned(), revision.to_owned())]),
            ..Report::default()
        }
    }

    fn pods(reports: impl IntoIterator<Item = Option<Report>>) -> Reports {
        let numbered = reports.into_iter().enumerate();
        numbered
            .map(|(number, report)| (format!("pod-{number}"), report.map(Arc::new)))
            .collect()
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
            assert_eq!(
                programmed("shop/orders", "route-1", "new", &pods(reports)),
                expected
            );
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
        assert_eq!(
            programmed("shop/orders", "route-1", "new", &pods([rejecting(Some("new"))])),
            refused
        );
        assert_eq!(
            programmed("shop/orders", "route-1", "new", &pods([rejecting(None)])),
            refused
        );
        let mut unread = serving("old");
        let nameless = Rejected {
            revision: None,
            message: "has format 2".to_owned(),
        };
        unread.rejected.insert("route-1".to_owned(), nameless);
        assert_eq!(
            programmed("shop/orders", "route-1", "new", &pods([Some(unread)])),
            refused
        );
        let older = pods([rejecting(Some("older"))]);
        assert_eq!(
            programmed("shop/orders", "route-1", "new", &older),
            Programmed::Pending(0, 1)
        );
    }
    #[test]
    fn a_pod_that_refuses_the_whole_set_says_why_of_what_it_does_not_serve() {
        let stuck = |revision: &str| {
            let mut report = serving(revision);
            report.problem = Some("too many hosts".to_owned());
            pods([Some(report), Some(serving("new"))])
        };
        assert_eq!(
            programmed("shop/orders", "route-1", "new", &stuck("old")),
            Programmed::Rejected("too many hosts".to_owned())
        );
        let served = programmed("shop/orders", "route-1", "new", &stuck("new"));
        assert_eq!(served, Programmed::Everywhere(2));
    }
}
