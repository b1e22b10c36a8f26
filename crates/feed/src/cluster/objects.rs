//! What the cluster's objects say, and what of it can be served. Plain data.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use splittoken_routing::{
    CompiledRoute, RouteTable,
    wire::{OTHER_FORMAT, Visible},
};
use zeroize::Zeroizing;

use crate::state::RejectedRoute;

/// The two texts of a rendered route. Shared: they are what came, what is served and what is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Texts {
    pub(super) config: Arc<str>,
    pub(super) secrets: Option<Arc<Zeroizing<String>>>,
}

/// All rendered routes, by the names of their objects.
#[derive(Debug, Default)]
pub(super) struct Objects {
    configs: BTreeMap<String, Arc<str>>,
    secrets: BTreeMap<String, Arc<Zeroizing<String>>>,
    served: BTreeMap<String, Served>,
    rejected: BTreeMap<String, RejectedRoute>,
}

/// The last good form of a route.
#[derive(Debug)]
struct Served {
    route: CompiledRoute,
    texts: Texts,
}

impl Objects {
    /// Those that an earlier process served. What cannot be read any more is left out.
    pub(super) fn of_kept(kept: BTreeMap<String, Texts>) -> Self {
        let mut objects = Self::default();
        for (name, texts) in kept {
            objects.configs.insert(name.clone(), texts.config);
            if let Some(secrets) = texts.secrets {
                objects.secrets.insert(name.clone(), secrets);
            }
            objects.settle(&name);
        }
        objects
    }

    /// Takes in a route's visible half.
    pub(super) fn put_config(&mut self, name: &str, text: String) {
        self.configs.insert(name.to_owned(), text.into());
        self.settle(name);
    }

    /// Takes in a route's other half.
    pub(super) fn put_secrets(&mut self, name: &str, text: Zeroizing<String>) {
        self.secrets.insert(name.to_owned(), Arc::new(text));
        self.settle(name);
    }

    /// The route is gone.
    pub(super) fn remove_config(&mut self, name: &str) {
        self.configs.remove(name);
        self.settle(name);
    }

    /// Its secrets are gone. If the route still needs them, what is served stays.
    pub(super) fn remove_secrets(&mut self, name: &str) {
        self.secrets.remove(name);
        self.settle(name);
    }

    /// All visible halves there are: every other route is gone.
    pub(super) fn replace_configs(&mut self, mut all: BTreeMap<String, String>) {
        let gone = self.configs.keys().filter(|name| !all.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.remove_config(&name);
        }
        all.retain(|name, text| self.configs.get(name).is_none_or(|known| **known != **text));
        for (name, text) in all {
            self.put_config(&name, text);
        }
    }

    /// All other halves there are.
    pub(super) fn replace_secrets(&mut self, mut all: BTreeMap<String, Zeroizing<String>>) {
        let gone = self.secrets.keys().filter(|name| !all.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.remove_secrets(&name);
        }
        all.retain(|name, text| self.secrets.get(name).is_none_or(|known| **known != *text));
        for (name, text) in all {
            self.put_secrets(&name, text);
        }
    }

    /// What can be served.
    pub(super) fn routes(&self) -> Vec<CompiledRoute> {
        self.served.values().map(|served| served.route.clone()).collect()
    }

    /// What cannot, although it is there.
    pub(super) fn rejected(&self) -> Vec<RejectedRoute> {
        self.rejected.values().cloned().collect()
    }

    /// Whether all that there is has a format that this gateway does not read, as in an upgrade until the operator has
    /// rendered everything anew.
    pub(super) fn await_the_operator(&self) -> bool {
        let is_of_another_format = |rejected: &RejectedRoute| rejected.reason == OTHER_FORMAT;
        self.served.is_empty() && self.rejected.values().any(is_of_another_format)
    }

    /// The texts of what can be served, to be kept.
    pub(super) fn texts(&self) -> BTreeMap<String, Texts> {
        self.served
            .iter()
            .map(|(name, served)| (name.clone(), served.texts.clone()))
            .collect()
    }

    /// Looks at one route anew. A form that cannot be served leaves the one that is.
    fn settle(&mut self, name: &str) {
        let Some(config) = self.configs.get(name) else {
            self.served.remove(name);
            self.rejected.remove(name);
            return;
        };
        let secrets = self.secrets.get(name);
        match read(config, secrets.map(|text| text.as_str())) {
            Ok(route) => {
                self.rejected.remove(name);
                let texts = Texts {
                    config: Arc::clone(config),
                    secrets: secrets.cloned(),
                };
                self.served.insert(name.to_owned(), Served { route, texts });
            }
            Err(rejected) => {
                let rejected = RejectedRoute {
                    object: name.to_owned(),
                    ..rejected
                };
                self.rejected.insert(name.to_owned(), rejected);
            }
        }
    }
}

/// Reads one route and tries whether a gateway can serve it.
fn read(config: &str, secrets: Option<&str>) -> Result<CompiledRoute, RejectedRoute> {
    let mut rejected = RejectedRoute::default();
    let visible = Visible::read(config).map_err(|error| rejected.because(error.reason(), &error))?;
    rejected.route = Some(visible.config.name.to_string());
    rejected.revision = Some(visible.revision.clone());
    let route = visible
        .join(secrets.map(str::as_bytes))
        .map_err(|error| rejected.because(error.reason(), &error))?;
    match RouteTable::build(std::slice::from_ref(&route)) {
        Ok(_) => Ok(route),
        Err(error) => Err(rejected.because(error.reason(), &error)),
    }
}

#[cfg(test)]
mod tests;
