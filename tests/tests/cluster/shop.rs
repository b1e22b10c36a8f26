//! A team's namespace on a cluster with the release: a provider, an API, and a route for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::cluster::{Cluster, GATEWAY, Namespace, SYSTEM, Workload, finish_watching, pods};
use splittoken_tests::oidc::Registration;

/// A namespace with a provider, an API `orders`, and whatever is applied to it.
pub(crate) struct Shop {
    pub(crate) namespace: Namespace,
    client: Registration,
}

impl Shop {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let namespace = Cluster::shared()?.namespace(name)?;
        let client = Registration::new("service");
        namespace.run(&[
            Workload::provider("provider", name, &client),
            Workload::echo("orders", "one").replicas(2),
        ])?;
        Ok(Self { namespace, client })
    }

    /// The host of the shop's route.
    pub(crate) fn host(&self) -> String {
        format!("{}.example", self.namespace.name())
    }

    /// `-header 'Host: …'` for a client.
    pub(crate) fn host_header(&self) -> String {
        format!("Host: {}", self.host())
    }

    /// A route `orders` to the API, for tokens with these scopes.
    pub(crate) fn route(&self, scopes: &[&str]) -> Value {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1",
            "kind": "SplitTokenRoute",
            "metadata": {"name": "orders"},
            "spec": {
                "hostnames": [self.host()],
                "issuer": {
                    "url": Workload::issuer("provider", self.namespace.name()),
                    "transport": "PlainHTTPAllowed",
                },
                "tokenEndpoints": {"token": {}},
                "rules": [{
                    "name": "api",
                    "authorization": {"scopes": scopes},
                    "backendRefs": [{"name": "orders", "port": 80}],
                }],
            },
        })
    }

    /// Applies the route and waits, as a user would, until it is Ready.
    pub(crate) fn serve(&self, scopes: &[&str]) -> Result<()> {
        self.namespace.apply(&[self.route(scopes)])?;
        let wait = [
            "wait",
            "--for=condition=Ready",
            "splittokenroute/orders",
            "--timeout=60s",
        ];
        self.namespace.kubectl(&wait).map(drop).with_context(|| {
            let status = self
                .namespace
                .kubectl(&["get", "splittokenroute", "orders", "--output=yaml"]);
            status.unwrap_or_else(|error| error.to_string())
        })
    }

    /// A token by `client_credentials` through the gateway.
    pub(crate) fn token(&self, scope: &str) -> Result<String> {
        let basic = format!("Authorization: Basic {}", self.client.basic_credentials());
        let form = format!("grant_type=client_credentials&scope={scope}");
        let host = self.host_header();
        let arguments = ["-header", &host, "-header", &basic, "-form", &form];
        let answer = self
            .namespace
            .get(&format!("{GATEWAY}/oauth/token"), &arguments)?;
        let body: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
        let token = body["access_token"]
            .as_str()
            .with_context(|| answer.body.clone())?;
        ensure!(
            !token.contains('.'),
            "not split: {} dots",
            token.matches('.').count()
        );
        Ok(token.to_owned())
    }

    /// What the API saw of a call through the gateway.
    pub(crate) fn call(&self, token: &str) -> Result<Value> {
        let bearer = format!("Authorization: Bearer {token}");
        let host = self.host_header();
        let arguments = ["-header", &host, "-header", &bearer];
        let answer = self
            .namespace
            .get(&format!("{GATEWAY}/list?of=orders"), &arguments)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// The addresses of the gateway pods that are ready.
    pub(crate) fn gateways(&self) -> Result<Vec<String>> {
        self.namespace
            .addresses_in(SYSTEM, "app.kubernetes.io/component=gateway")
    }

    /// Does something, and gives when, in nanoseconds since 1970, each gateway pod first answered with `status` after that.
    pub(crate) fn after(
        &self,
        status: u16,
        token: &str,
        action: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<u64>> {
        let bearer = format!("Authorization: Bearer {token}");
        let host = self.host_header();
        let urls = pods(&self.gateways()?, "/list")?;
        let watch = self
            .namespace
            .watch(status, &urls, &["-header", &host, "-header", &bearer])?;
        action()?;
        finish_watching(watch)
    }
}
