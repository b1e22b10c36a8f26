//! Whose turn it is where more is to be written than at a time. Plain data: no clock, no client.

use std::collections::{BTreeMap, BTreeSet};

use splittoken_api::Compiled;
use splittoken_routing::{CompiledRoute, RouteName, wire};

use crate::{
    kinds::Kind,
    refusals::{Refusals, Tried},
    rendered::{Existing, Plan},
};

/// How many objects are written before changes are looked at again: neither an edit nor a deletion waits for ten thousand
/// routes that a shared issuer has made other than they were.
pub(crate) const AT_A_TIME: usize = 200;

/// What is known of routes beside what they are to be.
pub(crate) struct Turns<'t> {
    pub(crate) compiled: &'t Compiled,
    pub(crate) existing: &'t Existing,
    /// Routes whose own objects were changed.
    pub(crate) edited: &'t BTreeSet<RouteName>,
    pub(crate) refusals: &'t Refusals,
}

/// When a route is written, soonest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It stands, and somebody has changed it: something may have been taken away.
    Edited,
    /// It stands, and not all of it can be served.
    Broken,
    /// It does not stand yet.
    New,
    /// It itself is as it was. With how many of its issuer: an issuer of few routes does not wait for one of many.
    Again(usize),
    /// It has failed before.
    Refused,
}

/// What is done before changes are looked at again, in this order.
#[derive(Debug, Default)]
pub(crate) struct Part<'r> {
    pub(crate) apply_first: Vec<&'r CompiledRoute>,
    /// Names of `ConfigMap`s.
    pub(crate) delete_configs: Vec<String>,
    pub(crate) apply_then: Vec<&'r CompiledRoute>,
    /// Names of Secrets. A route that needs none any more says so before its own goes.
    pub(crate) delete_secrets: Vec<String>,
}

/// What is left for the next part.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) routes: BTreeSet<RouteName>,
    deletions: BTreeSet<Tried>,
}

impl Left {
    pub(crate) fn is_nothing(&self) -> bool {
        self.routes.is_empty() && self.deletions.is_empty()
    }

    /// All that was not tried.
    pub(crate) fn untried(&self) -> BTreeSet<Tried> {
        let routes = self.routes.iter();
        let routes = routes.map(|route| Tried::Apply(wire::object_name(route)));
        routes.chain(self.deletions.iter().cloned()).collect()
    }
}

impl Turns<'_> {
    /// The first part of a plan: what is to go, and then whatever takes or gives something before what is only written
    /// anew.
    pub(crate) fn first<'r>(&self, plan: Plan<'r>, at_most: usize) -> (Part<'r>, Left) {
        if plan.writes() <= at_most {
            // A route that takes the place of another is there before that one goes.
            let part = Part {
                apply_first: plan.apply,
                delete_configs: plan.delete_configs,
                apply_then: Vec::new(),
                delete_secrets: plan.delete_secrets,
            };
            return (part, Left::default());
        }
        let Plan {
            mut delete_configs,
            mut delete_secrets,
            ..
        } = plan;
        let mut routes = self.in_turn(plan.apply);
        // Nor does an edit wait for ten thousand deletions.
        let for_routes = if routes.is_empty() { 0 } else { at_most / 4 };
        let configs_left = cut(&mut delete_configs, at_most - for_routes);
        let room = at_most - delete_configs.len();
        let routes_left = cut(&mut routes, room);
        let secrets_left = cut(&mut delete_secrets, room - routes.len());
        let first = routes.partition_point(|(turn, _)| *turn <= Turn::New);
        let apply_then = routes.split_off(first);
        let deletions =
            |kind, names: Vec<String>| names.into_iter().map(move |name| Tried::Delete(kind, name));
        let left = Left {
            routes: names(routes_left),
            deletions: deletions(Kind::Config, configs_left)
                .chain(deletions(Kind::Secret, secrets_left))
                .collect(),
        };
        let part = Part {
            apply_first: without_turns(routes),
            delete_configs,
            apply_then: without_turns(apply_then),
            delete_secrets,
        };
        (part, left)
    }

    fn in_turn<'r>(&self, routes: Vec<&'r CompiledRoute>) -> Vec<(Turn, &'r CompiledRoute)> {
        let mut together: BTreeMap<&str, usize> = BTreeMap::new();
        for route in &routes {
            *together.entry(&route.config.issuer.name).or_default() += 1;
        }
        let broken = broken(self.compiled);
        let turn = |route: &CompiledRoute| {
            let name = &route.config.name;
            let object = wire::object_name(name);
            if self.refusals.is_known(&object) {
                Turn::Refused
            } else if !self.existing.configs.contains_key(&object) {
                Turn::New
            } else if self.edited.contains(name) {
                Turn::Edited
            } else if broken.contains(&(name.namespace.as_str(), name.name.as_str())) {
                Turn::Broken
            } else {
                let issuer = route.config.issuer.name.as_str();
                Turn::Again(together.get(issuer).copied().unwrap_or_default())
            }
        };
        let mut in_turn: Vec<_> = routes.into_iter().map(|route| (turn(route), route)).collect();
        // Those of one turn stay as they are, oldest first.
        in_turn.sort_by_key(|(turn, _)| *turn);
        in_turn
    }
}

/// Routes of which something is wrong, by namespace and name.
fn broken(compiled: &Compiled) -> BTreeSet<(&str, &str)> {
    let verdicts = compiled.verdicts.iter();
    let of_routes = verdicts.filter(|verdict| verdict.object.kind == Kind::Route.type_meta().1);
    let broken = of_routes.filter(|verdict| !verdict.problems.is_empty());
    broken
        .map(|verdict| (verdict.object.namespace.as_str(), verdict.object.name.as_str()))
        .collect()
}

/// Takes off what is more than fits.
fn cut<T>(all: &mut Vec<T>, room: usize) -> Vec<T> {
    all.split_off(room.min(all.len()))
}

fn without_turns(routes: Vec<(Turn, &CompiledRoute)>) -> Vec<&CompiledRoute> {
    routes.into_iter().map(|(_, route)| route).collect()
}

fn names(routes: Vec<(Turn, &CompiledRoute)>) -> BTreeSet<RouteName> {
    let routes = routes.into_iter();
    routes.map(|(_, route)| route.config.name.clone()).collect()
}

#[cfg(test)]
mod tests;
