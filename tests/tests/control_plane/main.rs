//! The operator and its gateways at a real API server: what `kubectl apply` sets in motion, and what the status says.
//!
//! One binary, so that most of these tests share one API server. Each has a class and namespaces of its own.

mod addresses;
mod class;
mod crds;
mod custody;
mod faults;
mod leaders;
mod neighbours;
mod permissions;
mod references;
mod refusals;
mod routes;
mod scale;
mod secrets;
mod status;
mod tenancy;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;
use splittoken_tests::mint::Mint;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wait;

/// An installation with a provider and an API, both outside of the cluster.
struct Stage {
    installation: Installation,
    mint: Mint,
    upstream: Upstream,
}

impl Stage {
    fn new() -> Result<Self> {
        Self::with(ApiServer::shared()?, Mint::start()?)
    }

    fn with(server: &ApiServer, mint: Mint) -> Result<Self> {
        Ok(Self {
            installation: Installation::at(server)?,
            mint,
            upstream: Upstream::start()?,
        })
    }

    /// A route in the installation's own namespace.
    fn route(&self, name: &str) -> Value {
        let backend = json!({"url": self.upstream.url()});
        self.installation
            .route(&self.installation.name, name, &self.mint.issuer(), &backend)
    }

    /// Applies a route and waits until its status says that it is served.
    fn served(&self, route: &Value) -> Result<Value> {
        let kube = &self.installation.kube;
        kube.apply(route)?;
        let text = |pointer: &str| route.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        kube.wait_for(
            "SplitTokenRoute",
            text("/metadata/namespace"),
            text("/metadata/name"),
            "Ready",
            "Ready",
        )
    }
}

/// Ten times the promise that what was granted is gone within a second.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A member of an object that is text.
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What stands in the cluster for one route.
#[derive(Debug, Clone, PartialEq)]
struct Rendered {
    object: String,
    version: String,
    config: String,
}

/// What stands for each route of an installation, by `namespace/name`.
fn rendered(plane: &Installation) -> Result<BTreeMap<String, Rendered>> {
    let objects = plane
        .kube
        .list("ConfigMap", &plane.name, "splittoken.dev/part=route")?;
    let one = |object: &Value| {
        let route = object["metadata"]["annotations"]["splittoken.dev/route"].as_str();
        let rendered = Rendered {
            object: text(object, "/metadata/name").to_owned(),
            version: text(object, "/metadata/resourceVersion").to_owned(),
            config: object["data"]["route.json"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        Ok((route.context("no route")?.to_owned(), rendered))
    };
    objects.iter().map(one).collect()
}

/// Waits until what stands for a route satisfies `check`; nothing stands for one that is not served.
fn wait_rendered(
    plane: &Installation,
    route: &str,
    what: &str,
    check: impl Fn(Option<&Rendered>) -> bool,
) -> Result<()> {
    wait::until_true(AT_ONCE, &format!("{route} to be {what}"), || {
        rendered(plane).is_ok_and(|all| check(all.get(route)))
    })
}

/// What a counter shows once it has stood still: a write is seen at the API server before it is counted.
fn quiet(count: impl Fn() -> Result<u64>) -> Result<u64> {
    let mut last = (count()?, Instant::now());
    wait::until(wait::START, "a counter to stand still", || {
        let now = count().ok()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(2)).then_some(now)
    })
}

/// Waits until a condition of an applied route has this reason.
fn expect(plane: &Installation, route: &Value, condition: &str, reason: &str) -> Result<Value> {
    let (namespace, name) = (text(route, "/metadata/namespace"), text(route, "/metadata/name"));
    plane
        .kube
        .wait_for(text(route, "/kind"), namespace, name, condition, reason)
}

/// Applies a route and waits until a condition has this reason.
fn apply_and_expect(plane: &Installation, route: &Value, condition: &str, reason: &str) -> Result<Value> {
    plane.kube.apply(route)?;
    expect(plane, route, condition, reason)
}

/// The policy of most tests: backends outside of the cluster are allowed, and providers and backends on this machine.
const URLS: &str = "urlBackends: true\nlocalAddresses: true";
