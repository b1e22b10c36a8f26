use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch::Sender, time::sleep};
use zeroize::Zeroizing;

use splittoken_api::rendered::{CLASS_LABEL, CONFIG_ENTRY, PART_LABEL, PART_ROUTE, SECRETS_ENTRY};

use super::{
    ClusterFeed,
    kept::{self, Kept},
    objects::{Objects, Texts},
};
use crate::state::FeedState;

/// Changes that come together make one set: an edit of many routes, or a Secret and its `ConfigMap`.
const TOGETHER: Duration = Duration::from_millis(20);

/// An event of either kind of object.
enum Either {
    Config(Event<ConfigMap>),
    Secret(Event<Secret>),
}

/// Follows both kinds of objects until nobody listens.
pub(super) async fn run(feed: ClusterFeed, client: Client, sender: Sender<Arc<FeedState>>) {
    let mut state = Following::start(&feed, sender);
    let config =
        watcher::Config::default().labels(&format!("{CLASS_LABEL}={},{PART_LABEL}={PART_ROUTE}", feed.class));
    let namespace = feed
        .namespace
        .unwrap_or_else(|| client.default_namespace().to_owned());
    let configs = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let secrets = Api::<Secret>::namespaced(client, &namespace);
    let configs = watcher(configs, config.clone()).default_backoff();
    let secrets = watcher(secrets, config).default_backoff();
    let mut events = pin!(stream::select(
        configs.map(|event| event.map(Either::Config)),
        secrets.map(|event| event.map(Either::Secret)),
    ));
    while let Some(event) = events.next().await {
        state.take(event);
        // What else has come by then belongs to the same set.
        let mut wait = pin!(sleep(TOGETHER));
        loop {
            tokio::select! {
                biased;
                Some(event) = events.next() => state.take(event),
                () = &mut wait => break,
            }
        }
        if state.sender.is_closed() {
            return;
        }
        state.publish();
    }
}

/// What was seen so far.
struct Following {
    objects: Objects,
    /// Lists on their way.
    configs: Option<BTreeMap<String, String>>,
    secrets: Option<BTreeMap<String, Zeroizing<String>>>,
    has_configs: bool,
    has_secrets: bool,
    changed: bool,
    /// Keeps every set, if there is a place for it.
    keep: Option<Sender<BTreeMap<String, Texts>>>,
    sender: Sender<Arc<FeedState>>,
}

impl Following {
    fn start(feed: &ClusterFeed, sender: Sender<Arc<FeedState>>) -> Self {
        let kept = feed.keep.as_deref().map(Kept::in_folder);
        if let Some(kept) = &kept {
            kept.tidy();
        }
        let objects = kept
            .as_ref()
            .map_or_else(Objects::default, |kept| match kept.read() {
                Ok(texts) => Objects::of_kept(texts),
                Err(error) => {
                    tracing::warn!(%error, "the kept routes cannot be read: starting without");
                    Objects::default()
                }
            });
        let following = Self {
            objects,
            configs: None,
            secrets: None,
            has_configs: false,
            has_secrets: false,
            changed: false,
            keep: kept.map(kept::keeping),
            sender,
        };
        if !following.objects.routes().is_empty() {
            tracing::info!("serving the kept routes until the API server has been asked");
            following.send();
        }
        following
    }

    fn take(&mut self, event: Result<Either, watcher::Error>) {
        match event {
            Ok(Either::Config(event)) => self.take_config(event),
            Ok(Either::Secret(event)) => self.take_secret(event),
            Err(error) => tracing::warn!(%error, "cannot watch the rendered routes: trying again"),
        }
    }

    fn take_config(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.configs = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let (name, text) = (object.name_any(), config_of(object));
                self.configs.get_or_insert_default().insert(name, text);
            }
            Event::InitDone => {
                let all = self.configs.take().unwrap_or_default();
                self.objects.replace_configs(all);
                self.has_configs = true;
                self.changed = true;
            }
            Event::Apply(object) => {
                let name = object.name_any();
                self.objects.put_config(&name, config_of(object));
                self.changed = true;
            }
            Event::Delete(object) => {
                self.objects.remove_config(&object.name_any());
                self.changed = true;
            }
        }
    }

    fn take_secret(&mut self, event: Event<Secret>) {
        match event {
            Event::Init => self.secrets = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let (name, text) = (object.name_any(), secrets_of(object));
                self.secrets.get_or_insert_default().insert(name, text);
            }
            Event::InitDone => {
                let all = self.secrets.take().unwrap_or_default();
                self.objects.replace_secrets(all);
                self.has_secrets = true;
                self.changed = true;
            }
            Event::Apply(object) => {
                let name = object.name_any();
                self.objects.put_secrets(&name, secrets_of(object));
                self.changed = true;
            }
            Event::Delete(object) => {
                self.objects.remove_secrets(&object.name_any());
                self.changed = true;
            }
        }
    }

    /// Tells what can be served now. Before both lists were read there is nothing to tell.
    fn publish(&mut self) {
        if !(self.changed && self.has_configs && self.has_secrets) {
            return;
        }
        self.changed = false;
        // Serving nothing would be ready for traffic.
        if self.sender.borrow().generation == 0 && self.objects.await_the_operator() {
            tracing::warn!(
                "all routes are of another version: waiting until the operator has rendered them anew"
            );
            return;
        }
        self.send();
        if let Some(keep) = &self.keep {
            keep.send_replace(self.objects.texts());
        }
    }

    fn send(&self) {
        let generation = self.sender.borrow().generation + 1;
        self.sender.send_replace(Arc::new(FeedState {
            routes: Arc::new(self.objects.routes()),
            generation,
            rejected: Arc::new(self.objects.rejected()),
            ..FeedState::default()
        }));
    }
}

/// The visible half; an object without one holds no route, and says so when it is read.
fn config_of(object: ConfigMap) -> String {
    object
        .data
        .unwrap_or_default()
        .remove(CONFIG_ENTRY)
        .unwrap_or_default()
}

fn secrets_of(object: Secret) -> Zeroizing<String> {
    let bytes = object.data.unwrap_or_default().remove(SECRETS_ENTRY);
    Zeroizing::new(
        bytes
            .and_then(|bytes| String::from_utf8(bytes.0).ok())
            .unwrap_or_default(),
    )
}
