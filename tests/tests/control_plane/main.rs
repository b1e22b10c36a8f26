//! The operator and its gateways at a real API server: what `kubectl apply` sets in motion, and what the status says.
//!
//! One binary, so that most of these tests share one API server. Each has a class and namespaces of its own.

mod crds;
mod routes;

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;
use splittoken_tests::mint::Mint;
use splittoken_tests::upstream::Upstream;

/// An installation with a provider and an API, both outside of the cluster.
struct Stage {
    installation: Installation,
    mint: Mint,
    upstream: Upstream,
}

impl Stage {
    fn new() -> Result<Self> {
        Ok(Self {
            installation: Installation::at(ApiServer::shared()?)?,
            mint: Mint::start()?,
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

/// The policy of most tests: backends outside of the cluster are allowed.
const URLS: &str = "urlBackends: true";
