//! The programs with the accounts, arguments and files that the chart gives them: enough to work, and not more.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::helm::{Helm, RELEASE, Rendered, chart};
use splittoken_tests::http::Client;
use splittoken_tests::installation::Installation;
use splittoken_tests::kube::Kube;
use splittoken_tests::kubelet::{Kubelet, Started};
use splittoken_tests::mint::Mint;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::{gateway, parts, ports, wait};

use super::lifecycle::there;
use super::{everything, install_monitoring_kinds};

/// A release whose pods the test runs.
struct Release {
    server: &'static ApiServer,
    /// A namespace, which is also the class.
    installation: Installation,
    helm: Helm,
    /// Where the store listens outside of the cluster.
    store: u16,
}

impl Release {
    fn install(values: Value) -> Result<Self> {
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
        Ok(release)
    }

    fn upgrade(&self, mut values: Value) -> Result<()> {
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

    fn kube(&self) -> &Kube {
        &self.installation.kube
    }

    fn namespace(&self) -> &str {
        &self.installation.name
    }

    fn token(&self, component: &str) -> Result<String> {
        self.kube()
            .token_of(self.namespace(), &format!("{RELEASE}-{component}"))
    }

    fn account(&self, component: &str) -> Result<Kube> {
        self.server.as_bearer(&self.token(component)?)
    }

    fn pod(&self, kind: &str, component: &str) -> Result<Value> {
        let name = format!("{RELEASE}-{component}");
        let object = self.kube().find(kind, self.namespace(), &name)?;
        Ok(object.with_context(|| name.clone())?["spec"]["template"].clone())
    }

    /// Runs what `helm test` runs.
    fn test_pod(&self, operator: IpAddr, gateway: IpAddr) -> Result<Started> {
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
    fn start(&self, kind: &str, component: &str, program: PathBuf, address: IpAddr) -> Result<Started> {
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

/// An alert of a metric with another name would never fire.
fn every_alert_is_of_metrics_that_there_are(metrics: &str) -> Result<()> {
    let values = json!({"metrics": {"prometheusRule": {"enabled": true}}});
    let rendered = Helm::newest()?.template(&values)?;
    let rule = rendered.get("PrometheusRule", RELEASE)?.to_string();
    let words = rule.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("splittoken_")).collect();
    ensure!(names.len() > 4, "{names:?}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme)?;
    for name in names {
        let family = format!("# TYPE {} ", name.trim_end_matches("_total"));
        // A metric with labels is there once there is something to count; README.md's table is checked elsewhere.
        let is_known = metrics.contains(&family) || readme.contains(&format!("| `{name}` |"));
        ensure!(is_known, "{name} is not in {metrics}");
    }
    Ok(())
}

/// Loopback is 127.0.0.0/8. Ports of pods are always the same, so each gets an address that no other process has.
fn address(number: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, high | 128, low, number])
}

fn wait_ready(started: &mut Started, address: IpAddr) -> Result<()> {
    let (http, url) = (
        Client::new()?,
        format!("http://{}/readyz", SocketAddr::new(address, 9090)),
    );
    started.process.ready(wait::START, |_| {
        http.get(&url).ok().filter(|answer| answer.status == 200)
    })?;
    Ok(())
}

#[test]
fn the_programs_work_together_with_what_the_chart_gives_them_and_leave_nothing() -> Result<()> {
    let release = Release::install(json!({"policy": {"urlBackends": true}}))?;
    let (kube, namespace) = (release.kube(), release.namespace());
    let binary = gateway::binary()?;
    let mut operator = release.start("Deployment", "operator", binary.clone(), address(1))?;
    wait_ready(&mut operator, address(1))?;
    // The Secrets that these two wait for were made by the operator.
    let redis = parts::path("SPLITTOKEN_REDIS_SERVER")?;
    let mut store = release.start("StatefulSet", "store", redis, address(2))?;
    store.process.ready(wait::START, |text| {
        text.contains("Ready to accept connections").then_some(())
    })?;
    let mut gateway = release.start("Deployment", "gateway", binary, address(3))?;
    wait_ready(&mut gateway, address(3))?;
    let template = release.pod("Deployment", "gateway")?;
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "gateway", "namespace": namespace, "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    }))?;
    let status = json!({
        "podIP": address(3).to_string(),
        "podIPs": [{"ip": address(3).to_string()}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    kube.merge_status("Pod", namespace, "gateway", &status)?;

    install_monitoring_kinds(kube)?;
    let (mint, upstream) = (Mint::start()?, Upstream::start()?);
    let shop = release.installation.team("shop", &json!({}))?;
    let backend = json!({"url": upstream.url()});
    let route = release
        .installation
        .route(&shop, "orders", &mint.issuer(), &backend);
    kube.apply(&route)?;
    let ready = kube.wait_for("SplitTokenRoute", &shop, "orders", "Ready", "Ready");
    ready.with_context(|| format!("{}\n{}", operator.process.text(), gateway.process.text()))?;
    wait::until_true(wait::START, "an Event of the route", || {
        kube.list("Event", &shop, "")
            .is_ok_and(|events| !events.is_empty())
    })?;

    let http = Client::new()?;
    let at = |path: &str| format!("http://{}{path}", SocketAddr::new(address(3), 8080));
    let host = release.installation.host("orders");
    let form = [("grant_type", "client_credentials")];
    let request = http.inner().post(at("/oauth/token")).header("Host", &host);
    let answer = request.basic_auth("shop", Some("secret")).form(&form).send()?;
    let answer: Value = serde_json::from_str(&answer.text()?)?;
    let token = answer["access_token"]
        .as_str()
        .with_context(|| format!("{answer}\n{}", gateway.process.text()))?;
    let call = http.inner().get(at("/orders")).header("Host", &host);
    assert_eq!(call.bearer_auth(token).send()?.status(), 200);

    release
        .test_pod(address(1), address(3))?
        .process
        .finish(wait::START)?;
    let metrics = [address(1), address(3)].map(|pod| {
        let url = format!("http://{}/metrics", SocketAddr::new(pod, 9090));
        http.get(&url).map(|answer| answer.text())
    });
    let [of_operator, of_gateway] = metrics;
    every_alert_is_of_metrics_that_there_are(&format!("{}{}", of_operator?, of_gateway?))?;

    let keyring = || {
        let secret = kube.find("Secret", namespace, "splittoken-keyring")?;
        anyhow::Ok(secret.context("no keyring")?["data"]["keyring.json"].clone())
    };
    let before = keyring()?;
    let wanted = json!({"metadata": {"annotations": {"splittoken.dev/rotate-keyring": "now"}}});
    kube.merge("Secret", namespace, "splittoken-keyring", &wanted)?;
    wait::until_true(wait::START, "a new key", || {
        keyring().is_ok_and(|now| now != before)
    })
    .with_context(|| operator.process.text())?;

    // Nobody may do more than that at the store, and without its password nothing at all.
    let mut stranger = splittoken_tests::redis::Connection::open(([127, 0, 0, 1], release.store).into())?;
    ensure!(stranger.command(&["GET", "st1:x"]).is_err());

    release
        .helm
        .run(&["uninstall", RELEASE, "--namespace", namespace], &Value::Null)?;
    kube.delete("Pod", namespace, "gateway")?;
    // There is no garbage collector here: what it would leave is what has no owner, or one that is still there.
    let owned = |object: &Value| object["metadata"]["ownerReferences"][0]["name"] == RELEASE;
    // What belongs to no namespace is called after the release's.
    let ours =
        |name: &str, object: &Value| object["metadata"]["namespace"] == namespace || name.contains(namespace);
    let left: Vec<String> = there(kube, namespace)?
        .into_iter()
        .filter(|(name, object)| ours(name, object) && !owned(object))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(left, [""; 0]);
    Ok(())
}

/// The sessions in a Redis that stays are of no use without it. It can be decided later, and anew.
#[test]
fn a_keyring_that_is_to_be_kept_belongs_to_nobody() -> Result<()> {
    let release = Release::install(json!({}))?;
    let owners = |name: &str| {
        let secret = release.kube().find("Secret", release.namespace(), name)?;
        anyhow::Ok(secret.with_context(|| name.to_owned())?["metadata"]["ownerReferences"].clone())
    };
    let mut keyrings = BTreeSet::new();
    for (number, keep) in [(4, false), (5, true), (6, false)] {
        release.upgrade(json!({"keyring": {"keep": keep}}))?;
        let mut operator = release.start("Deployment", "operator", gateway::binary()?, address(number))?;
        wait_ready(&mut operator, address(number))?;
        let owner = owners("splittoken-keyring")?[0]["name"].clone();
        assert_eq!(owner, if keep { Value::Null } else { json!(RELEASE) });
        assert_eq!(owners("splittoken-store")?[0]["name"], RELEASE);
        let secret = release
            .kube()
            .find("Secret", release.namespace(), "splittoken-keyring")?;
        keyrings.insert(secret.context("no keyring")?["data"].to_string());
    }
    assert_eq!(keyrings.len(), 1, "the keyring itself stays as it is");
    Ok(())
}

/// What the schema of the values accepts, the operator accepts too.
#[test]
fn the_operator_takes_a_policy_with_everything_in_it() -> Result<()> {
    let installation = Installation::at(ApiServer::shared()?)?;
    for values in [everything(), Value::Null] {
        let rendered = Helm::newest()?.template(&values)?;
        let policy = &rendered.get("ConfigMap", "splittoken-policy")?["data"]["policy.yaml"];
        installation.operator(policy.as_str().context("no policy")?)?;
    }
    Ok(())
}

#[test]
fn nobody_may_do_more_than_their_work() -> Result<()> {
    let release = Release::install(json!({}))?;
    let other = release.installation.team("other", &json!({}))?;
    let (operator, gateway) = (release.account("operator")?, release.account("gateway")?);
    let own = release.namespace();
    let cases = [
        // Not at all: everything is open to whoever can do one of these.
        ("create", "pods", own),
        ("update", "secrets", own),
        ("create", "roles.rbac.authorization.k8s.io", own),
        ("create", "serviceaccounts/token", own),
        ("impersonate", "users", ""),
        ("*", "*.*", ""),
        // Others' Secrets: by name, and never all of them.
        ("list", "secrets", &other),
        ("watch", "secrets", &other),
        ("list", "secrets", ""),
        ("list", "configmaps", &other),
        ("create", "secrets", &other),
        ("patch", "secrets", &other),
        ("delete", "configmaps", &other),
        ("list", "pods", &other),
        // What teams write is theirs.
        ("patch", "splittokenroutes.splittoken.dev", &other),
        ("delete", "splittokenissuers.splittoken.dev", &other),
        ("update", "leases.coordination.k8s.io", &other),
    ];
    for (verb, resource, namespace) in cases {
        ensure!(
            !operator.may(verb, resource, namespace)?,
            "the operator may {verb} {resource} in {namespace:?}"
        );
        ensure!(
            !gateway.may(verb, resource, namespace)?,
            "a gateway may {verb} {resource} in {namespace:?}"
        );
    }
    ensure!(
        operator.may("get", "secrets", &other)?,
        "that is how it reads what routes name"
    );
    // Not of any Lease, but of its own.
    ensure!(!operator.may("update", "leases.coordination.k8s.io", own)?);

    // A gateway reads its own namespace, and writes nothing anywhere.
    ensure!(gateway.may("watch", "secrets", own)? && gateway.may("list", "configmaps", own)?);
    ensure!(!gateway.may("get", "secrets", &other)?);
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        for resource in [
            "configmaps",
            "secrets",
            "events.events.k8s.io",
            "leases.coordination.k8s.io",
            "splittokenroutes.splittoken.dev/status",
        ] {
            ensure!(
                !gateway.may(verb, resource, own)?,
                "a gateway may {verb} {resource}"
            );
        }
    }
    Ok(())
}
