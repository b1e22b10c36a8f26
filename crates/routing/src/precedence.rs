use std::cmp::Ordering;

use crate::RouteName;

/// What decides between two matches of the same path on the same host: Gateway API's order for `HTTPRoute`.
///
/// A match with a method comes first, then the one with more headers, then the older route, then the route
/// whose `namespace/name` sorts first, then the place in the route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Precedence {
    pub(crate) has_method: bool,
    pub(crate) headers: usize,
    pub(crate) created: i64,
    pub(crate) route: RouteName,
    pub(crate) rule: usize,
    pub(crate) alternative: usize,
}

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .has_method
            .cmp(&self.has_method)
            .then(other.headers.cmp(&self.headers))
            .then(self.created.cmp(&other.created))
            .then_with(|| self.route.cmp(&other.route))
            .then(self.rule.cmp(&other.rule))
            .then(self.alternative.cmp(&other.alternative))
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
