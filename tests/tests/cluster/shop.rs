//! A team's namespace on a cluster with the release: a provider, an API, and a route for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::cluster::{Cluster, Namespace, SYSTEM, Workload, finish_watching, pods};
use splittoken_tests::helm::RELEASE;
use splittoken_tests::oidc::Registration;

/// For kubectl to wait for a status. Most are written at once; an operator that follows one that was killed waits for the
/// end of its lease, which is after 15 s: ten times that.
pub(crate) const READY: &str = "--timeout=150s";

/// A release of the chart, as its users know it.
#[derive(Clone, Copy)]
pub(crate) struct Installation {
    pub(crate) release: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) class: &'static str,
}

/// The one that most tests use.
pub(crate) const FIRST: Installation = Installation {
    release: RELEASE,
    namespace: SYSTEM,
    class: "default",
};

impl Installation {
    /// A URL of the gateways' Service, as pods reach it.
    pub(crate) fn url(self, path: &str) -> String {
        format!("http://{}{path}", self.service())
    }

    /// The same where the gateways speak TLS.
    pub(crate) fn secure_url(self, path: &str) -> String {
        format!("https://{}{path}", self.service())
    }

    fn service(self) -> String {
        format!("{}-gateway.{}", self.release, self.namespace)
    }
}

/// A namespace with a provider, an API `orders`, and whatever is applied to it.
pub(crate) struct Shop {
    pub(crate) namespace: Namespace,
    client: Registration,
    at: Installation,
}

impl Shop {
    pub(crate) fn open(name: &str) -> Result<Self> {
        Self::open_at(FIRST, name)
    }

    /// One that another release is to serve.
    pub(crate) fn open_at(at: Installation, name: &str) -> Result<Self> {
        let namespace = Cluster::shared()?.namespace(name)?;
        let client = Registration::new("service");
        namespace.run(&[
            Workload::provider("provider", name, &client),
            Workload::echo("orders", "one").replicas(2),
        ])?;
        // A Service reaches its pods a moment after they are ready.
        let issuer = Workload::issuer("provider", name);
        namespace.wait_for(200, &format!("{issuer}/.well-known/openid-configuration"), &[])?;
        namespace.wait_for(200, "http://orders/", &[])?;
        Ok(Self {
            namespace,
            client,
            at,
        })
    }

    /// A URL of the gateways' Service.
    pub(crate) fn url(&self, path: &str) -> String {
        self.at.url(path)
    }

    /// The host of the shop's route.
    pub(crate) fn host(&self) -> String {
        format!("{}.example", self.namespace.name())
    }

    /// `-header 'Host: …'` for a client.
    pub(crate) fn host_header(&self) -> String {
        format!("Host: {}", self.host())
    }

    /// A route `orders` to the API, for tokens with these scopes; without any, for all tokens.
    pub(crate) fn route(&self, scopes: &[&str]) -> Value {
        let mut rule = json!({"name": "api", "backendRefs": [{"name": "orders", "port": 80}]});
        if !scopes.is_empty() {
            rule["authorization"] = json!({"scopes": scopes});
        }
        json!({
            "apiVersion": "splittoken.dev/v1alpha1",
            "kind": "SplitTokenRoute",
            "metadata": {"name": "orders"},
            "spec": {
                "className": self.at.class,
                "hostnames": [self.host()],
                "issuer": {
                    "url": Workload::issuer("provider", self.namespace.name()),
                    "transport": "PlainHTTPAllowed",
                },
                "tokenEndpoints": {"token": {}},
                "rules": [rule],
            },
        })
    }

    /// Applies the route, and waits until it is Ready and tokens are given, by each pod and by the Service. A gateway is ready
    /// without its store, and says 503 until it has reached that; kube-proxy lags behind pods that are ready.
    pub(crate) fn serve(&self, scopes: &[&str]) -> Result<()> {
        self.namespace.apply(&[self.route(scopes)])?;
        self.wait_ready()?;
        let arguments = self.token_arguments("orders:read");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut urls = pods(&self.gateways()?, "/oauth/token")?;
        urls.push(self.url("/oauth/token"));
        finish_watching(self.namespace.watch(200, &urls, &arguments)?).map(drop)
    }

    /// Waits as a user would.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        let wait = ["wait", "--for=condition=Ready", "splittokenroute/orders", READY];
        self.namespace.kubectl(&wait).map(drop).with_context(|| {
            let status = self
                .namespace
                .kubectl(&["get", "splittokenroute", "orders", "--output=yaml"]);
            status.unwrap_or_else(|error| error.to_string())
        })
    }

    /// A token by `client_credentials` through the gateway.
    pub(crate) fn token(&self, scope: &str) -> Result<String> {
        let arguments = self.token_arguments(scope);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = self.namespace.get(&self.url("/oauth/token"), &arguments)?;
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

    /// The arguments of a client that asks for a token.
    fn token_arguments(&self, scope: &str) -> [String; 6] {
        let basic = format!("Authorization: Basic {}", self.client.basic_credentials());
        let form = format!("grant_type=client_credentials&scope={scope}");
        ["-header", &self.host_header(), "-header", &basic, "-form", &form].map(str::to_owned)
    }

    /// `-header` arguments for calls with a token.
    pub(crate) fn headers(&self, token: &str) -> Vec<String> {
        let bearer = format!("Authorization: Bearer {token}");
        ["-header", &self.host_header(), "-header", &bearer]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts clients that call through the gateway all the time: [`Namespace::counts`] of `load`.
    pub(crate) fn start_load(&self, token: &str) -> Result<()> {
        let (headers, url) = (self.headers(token), self.url("/list"));
        let mut arguments: Vec<&str> = headers.iter().map(String::as_str).collect();
        arguments.push(&url);
        self.namespace.run(&[Workload::load("load", &arguments)])?;
        self.namespace.counts_after("load", 300)?.expect_none_failed()
    }

    /// What the API saw of a call through the gateway.
    pub(crate) fn call(&self, token: &str) -> Result<Value> {
        let bearer = format!("Authorization: Bearer {token}");
        let host = self.host_header();
        let arguments = ["-header", &host, "-header", &bearer];
        let answer = self.namespace.get(&self.url("/list?of=orders"), &arguments)?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// The addresses of the gateway pods that are ready.
    pub(crate) fn gateways(&self) -> Result<Vec<String>> {
        self.namespace
            .addresses_in(self.at.namespace, "app.kubernetes.io/component=gateway")
    }

    /// Does something, and gives when, in nanoseconds since 1970, each gateway pod first answered with `status` after that.
    pub(crate) fn after(
        &self,
        status: u16,
        token: &str,
        action: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<u64>> {
        let headers = self.headers(token);
        let arguments: Vec<&str> = headers.iter().map(String::as_str).collect();
        let urls = pods(&self.gateways()?, "/list")?;
        let watch = self.namespace.watch(status, &urls, &arguments)?;
        action()?;
        finish_watching(watch)
    }
}
