use std::collections::HashMap;

use splittoken_routing::{Cors, Hostname, RouteName, TokenEndpoint};

use crate::object::ObjectName;

/// What accepted routes have taken so far. Routes come oldest first, so what is taken is taken for good.
#[derive(Default)]
pub(super) struct Claims {
    hosts: HashMap<Place, Owner>,
    endpoints: HashMap<(Place, String), Endpoint>,
    exact_paths: HashMap<(Place, String), RouteName>,
    matches: HashMap<(Place, MatchKey), (RouteName, String)>,
    paths: HashMap<(Place, PathKey), Vec<RouteName>>,
    accepted: usize,
}

/// A hostname, as text, in the eyes of one class. Classes are separate installations.
pub(super) type Place = (String, String);

/// A match in a form that is equal where the same requests match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MatchKey {
    pub(super) exact: bool,
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    pub(super) headers: Vec<(String, String)>,
}

/// A path, and whether what lies below it counts too.
type PathKey = (String, bool);

/// The token endpoint of an accepted route, and the shared issuer whose tokens it gives, if it is shared.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) route: RouteName,
    pub(super) issuer: Option<ObjectName>,
    pub(super) config: TokenEndpoint,
    pub(super) cors: Option<Cors>,
}

#[derive(Clone)]
struct Owner {
    age: usize,
    route: RouteName,
}

impl Claims {
    /// The route of another namespace that owns `hostname`: the oldest one that names it or covers it.
    ///
    /// A younger wildcard takes nothing away from an older exact name, because the most specific hostname
    /// alone serves a request; so it is no conflict.
    pub(super) fn foreign_owner(
        &self,
        class: &str,
        hostname: &Hostname,
        namespace: &str,
    ) -> Option<&RouteName> {
        let owners = places_above(class, hostname);
        let owners = owners.iter().filter_map(|place| self.hosts.get(place));
        let oldest = owners.min_by_key(|owner| owner.age)?;
        (oldest.route.namespace != namespace).then_some(&oldest.route)
    }

    /// The older route of another namespace that has this path on the host, or one above it, and that path.
    pub(super) fn foreign_path(
        &self,
        class: &str,
        hostname: &Hostname,
        path: &str,
        namespace: &str,
    ) -> Option<(&RouteName, String)> {
        let above = std::iter::successors(Some(path.trim_end_matches('/')), |path| {
            path.rfind('/').map(|slash| &path[..slash])
        });
        let mut keys: Vec<PathKey> = above.map(|path| (path.to_owned(), true)).collect();
        keys.push((path.to_owned(), false));
        for place in places_above(class, hostname) {
            for key in &keys {
                let owners = self
                    .paths
                    .get(&(place.clone(), key.clone()))
                    .into_iter()
                    .flatten();
                let foreign = owners.into_iter().find(|owner| owner.namespace != namespace);
                if let Some(owner) = foreign {
                    let path = if key.0.is_empty() { "/" } else { &key.0 };
                    return Some((owner, path.to_owned()));
                }
            }
        }
        None
    }

    /// The token endpoint that an older route has at this path.
    pub(super) fn endpoint(&self, place: &Place, path: &str) -> Option<&Endpoint> {
        self.endpoints.get(&(place.clone(), path.to_owned()))
    }

    /// The older route that has a rule for exactly this path.
    pub(super) fn exact_path(&self, place: &Place, path: &str) -> Option<&RouteName> {
        self.exact_paths.get(&(place.clone(), path.to_owned()))
    }

    /// Takes the hostnames of an accepted route.
    pub(super) fn take_hosts(&mut self, route: &RouteName, places: &[Place]) {
        self.accepted += 1;
        for place in places {
            let owner = Owner {
                age: self.accepted,
                route: route.clone(),
            };
            self.hosts.entry(place.clone()).or_insert(owner);
        }
    }

    /// Takes the token endpoint of an accepted route.
    pub(super) fn take_endpoint(&mut self, place: &Place, path: &str, endpoint: Endpoint) {
        self.take_path(place, (path.to_owned(), false), &endpoint.route);
        self.endpoints
            .entry((place.clone(), path.to_owned()))
            .or_insert(endpoint);
    }

    /// Takes a match of an accepted route. If it was taken before, says by which route and rule.
    pub(super) fn take_match(
        &mut self,
        place: &Place,
        key: MatchKey,
        route: &RouteName,
        rule: &str,
    ) -> Option<(RouteName, String)> {
        self.take_path(place, (key.path.clone(), !key.exact), route);
        if key.exact {
            self.exact_paths
                .entry((place.clone(), key.path.clone()))
                .or_insert_with(|| route.clone());
        }
        match self.matches.entry((place.clone(), key)) {
            std::collections::hash_map::Entry::Occupied(taken) => Some(taken.get().clone()),
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((route.clone(), rule.to_owned()));
                None
            }
        }
    }

    /// Remembers who has a path: the oldest route of each namespace.
    fn take_path(&mut self, place: &Place, key: PathKey, route: &RouteName) {
        let owners = self.paths.entry((place.clone(), key)).or_default();
        if owners.iter().all(|owner| owner.namespace != route.namespace) {
            owners.push(route.clone());
        }
    }
}

/// A hostname and every wildcard that covers it.
fn places_above(class: &str, hostname: &Hostname) -> Vec<Place> {
    let text = hostname.to_string();
    let name = text.strip_prefix("*.").unwrap_or(&text);
    let wildcards = name
        .match_indices('.')
        .map(|(dot, _)| format!("*{}", &name[dot..]));
    let hosts = std::iter::once(text.clone()).chain(wildcards);
    hosts.map(|host| (class.to_owned(), host)).collect()
}
