//! A release at a real API server, whose pods the test runs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::{Helm, RELEASE, Rendered, chart};
use splittoken_tests::http::Client;
use splittoken_tests::installation::Installation;
use splittoken_tests::kube::Kube;
use splittoken_tests::kubelet::{Kubelet, Started};
use splittoken_tests::{gateway, ports, wait};

/// A release whose pods the test runs.
pub(super) struct Release {
    server: &'static ApiServer,
    /// A namespace, which is also the class.
    pub(super) installation: Installation,
    pub(super) helm: Helm,
    /// Where the store listens outside of the cluster.
    pub(super) store: u16,
}

impl Release {
    pub(super) fn install(values: Value) -> Result<Self> {
        let server = ApiServer::shared()?;
        let installation = Installation::at(server)?;
        let helm = Helm::newest()?.at(server.kubeconfig());
        let release = Self {
            server,
            installation,
            helm,
            store: ports::free()?,
        };
        release.upgrade(values)?;
        release.wait_accounts()?;
        Ok(release)
    }

    /// Waits until the API server has noticed what the accounts may do, by each of the roles.
    fn wait_accounts(&self) -> Result<()> {
        let (operator, gateway) = (self.account("operator")?, self.account("gateway")?);
        let own = self.namespace();
        for (account, resource, namespace) in [
            (&operator, "configmaps", own),
            (&operator, "splittokenroutes.splittoken.dev", ""),
            (&operator, "endpointslices.discovery.k8s.io", "default"),
            (&gateway, "configmaps", own),
        ] {
            wait::until_true(wait::START, &format!("a permission to list {resource}"), || {
                account.may("list", resource, namespace).is_ok_and(|may| may)
            })?;
        }
        Ok(())
    }

    pub(super) fn upgrade(&self, mut values: Value) -> Result<()> {
        let chart = chart();
        let chart = chart.to_str().context("an odd path")?;
        values["className"] = json!(self.namespace());
        // They are there, and other tests need them too.
        values["crds"] = json!({"enabled": false});
        let command = [
            "upgrade",
            "--install",
            RELEASE,
            chart,
            "--namespace",
            self.namespace(),
        ];
        self.helm.run(&command, &values).map(drop)
    }

    pub(super) fn kube(&self) -> &Kube {
        &self.installation.kube
    }

    pub(super) fn namespace(&self) -> &str {
        &self.installation.name
    }

    fn token(&self, component: &str) -> Result<String> {
        self.kube()
            .token_of(self.namespace(), &format!("{RELEASE}-{component}"))
    }

    pub(super) fn account(&self, component: &str) -> Result<Kube> {
        self.server.as_bearer(&self.token(component)?)
    }

    pub(super) fn pod(&self, kind: &str, component: &str) -> Result<Value> {
        let name = format!("{RELEASE}-{component}");
        let object = self.kube().find(kind, self.namespace(), &name)?;
        Ok(object.with_context(|| name.clone())?["spec"]["template"].clone())
    }

    /// Runs what `helm test` runs.
    pub(super) fn test_pod(&self, operator: IpAddr, gateway: IpAddr) -> Result<Started> {
        let hooks = ["get", "hooks", RELEASE, "--namespace", self.namespace()];
        let rendered = Rendered::read(&self.helm.run(&hooks, &Value::Null)?)?;
        let service = |name: &str| format!("{RELEASE}-{name}.{}.svc", self.namespace());
        let kubelet = Kubelet {
            kube: self.kube(),
            namespace: self.namespace(),
            program: gateway::binary()?,
            kubeconfig: None,
            replace: vec![
                (service("operator"), operator.to_string()),
                (service("gateway-admin"), gateway.to_string()),
            ],
        };
        kubelet.start("helm test", &rendered.get("Pod", "splittoken-test")?["spec"])
    }

    /// Runs a component as its pod would run, at `address`.
    pub(super) fn start(
        &self,
        kind: &str,
        component: &str,
        program: PathBuf,
        address: IpAddr,
    ) -> Result<Started> {
        let store = format!("{RELEASE}-store.{}.svc:6379", self.namespace());
        let kubelet = Kubelet {
            kube: self.kube(),
            namespace: self.namespace(),
            program,
            kubeconfig: Some(match kind {
                "Deployment" => self.server.kubeconfig_of(&self.token(component)?)?,
                _ => PathBuf::new(),
            }),
            replace: vec![
                ("0.0.0.0".to_owned(), address.to_string()),
                (store, format!("127.0.0.1:{}", self.store)),
                ("6379".to_owned(), self.store.to_string()),
            ],
        };
        kubelet.start(component, &self.pod(kind, component)?["spec"])
    }
}

/// Loopback is 127.0.0.0/8. Ports of pods are always the same, so each gets an address that no other process has.
pub(super) fn address(number: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, high | 128, low, number])
}

pub(super) fn wait_ready(started: &mut Started, address: IpAddr) -> Result<()> {
    let (http, url) = (
        Client::new()?,
        format!("http://{}/readyz", SocketAddr::new(address, 9090)),
    );
    started.process.ready(wait::START, |_| {
        http.get(&url).ok().filter(|answer| answer.status == 200)
    })?;
    Ok(())
}
