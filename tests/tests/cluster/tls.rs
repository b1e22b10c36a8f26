//! Gateways that speak TLS themselves, with the certificate of a Secret.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::certs::{Authority, Certified};
use splittoken_tests::cluster::{Release, Reply, SYSTEM, Workload};
use splittoken_tests::wait;

use crate::pages;
use crate::shop::{FIRST, Shop};

/// The Secret with the certificate.
const SECRET: &str = "edge-tls";

/// Ten times the minute or so after which a kubelet looks at Secrets, unless it is told otherwise; a gateway looks at its files
/// every two seconds.
const RENEWED: Duration = Duration::from_secs(600);

/// The protocol that a client asks for, what an answer then says, and the name of its load.
const PROTOCOLS: [(&str, &str, &str); 2] = [("h2", "HTTP/2.0", "load-2"), ("http/1.1", "HTTP/1.1", "load-1")];

/// A shop, and clients that trust an authority.
pub(crate) struct Edge {
    pub(crate) shop: Shop,
    pub(crate) token: String,
    authority: Authority,
}

impl Edge {
    /// The release with TLS, and the shop's route on it.
    fn open(release: &mut Release, shop: Shop) -> Result<(Self, Certified)> {
        let authority = Authority::new()?;
        let certified = authority.certify(&[&shop.host()])?;
        show(release, &certified)?;
        release.upgrade(&json!({"gateway": {"tls": {"certificateSecrets": [SECRET]}}}))?;
        release.is_changed();
        release.settled(2)?;
        shop.serve(&[])?;
        let token = shop.token("orders:read")?;
        let this = Self {
            shop,
            token,
            authority,
        };
        // kube-proxy lags behind the port of a Service that is new.
        for (protocol, ..) in PROTOCOLS {
            let arguments = this.arguments(protocol);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let namespace = &this.shop.namespace;
            namespace.wait_for(200, &FIRST.secure_url("/list"), &arguments)?;
        }
        Ok((this, certified))
    }

    /// Arguments of a client that calls with the token by this protocol.
    fn arguments(&self, protocol: &str) -> Vec<String> {
        let mut arguments = self.shop.headers(&self.token);
        arguments.extend(["-roots", self.authority.pem(), "-protocol", protocol].map(str::to_owned));
        arguments
    }

    /// One call of a URL with these arguments beside the route's host.
    pub(crate) fn call(&self, url: &str, arguments: &[&str]) -> Result<Reply> {
        let host = self.shop.host_header();
        let whole = ["-header", &host, "-roots", self.authority.pem()];
        let arguments = [&whole[..], arguments].concat();
        self.shop.namespace.get(url, &arguments)
    }

    /// One call of a URL with the token.
    fn get(&self, url: &str, protocol: &str) -> Result<Reply> {
        let arguments = self.arguments(protocol);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.shop.namespace.get(url, &arguments)
    }

    /// Clients that call all the time, by each protocol, half of them on connections that are kept.
    fn start_loads(&self) -> Result<()> {
        let url = FIRST.secure_url("/list");
        let loads = PROTOCOLS.map(|(protocol, _, load)| {
            let mut arguments = self.arguments(protocol);
            arguments.push(url.clone());
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            Workload::load(load, &arguments)
        });
        self.shop.namespace.run(&loads)
    }

    /// Every client has sent more requests by now, and none has failed so far.
    fn none_failed(&self, during: &str) -> Result<()> {
        for (protocol, _, load) in PROTOCOLS {
            let counts = self.shop.namespace.counts_after(load, 200)?;
            println!(
                "{during}: {} of {} requests by {protocol} failed",
                counts.failed, counts.sent
            );
            counts.expect_none_failed()?;
        }
        Ok(())
    }

    /// Waits until every gateway pod shows this certificate.
    fn shown(&self, certified: &Certified) -> Result<()> {
        for pod in self.shop.gateways()? {
            let url = secure_url_of(&pod);
            wait::until_true(RENEWED, "a pod to show the new certificate", || {
                self.get(&url, "h2")
                    .is_ok_and(|reply| reply.certificate.as_ref() == Some(&certified.pem))
            })?;
        }
        Ok(())
    }
}

/// The URL of one gateway pod.
pub(crate) fn secure_url_of(pod: &str) -> String {
    format!("https://{pod}:8443/list")
}

/// What the Secret holds from now on.
fn show(release: &Release, certified: &Certified) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": SYSTEM},
        "stringData": {"tls.crt": certified.pem, "tls.key": certified.key_pem},
    });
    release.cluster.apply(&[secret]).map(drop)
}

/// The Service takes both versions over TLS, with the certificate of the Secret, and nobody else's is trusted.
fn calls_arrive(edge: &Edge, certified: &Certified) -> Result<()> {
    let url = FIRST.secure_url("/list?of=orders");
    for (protocol, version, _) in PROTOCOLS {
        let reply = edge.get(&url, protocol)?;
        ensure!(
            reply.status == 200 && reply.protocol == version,
            "{protocol}: {reply:?}"
        );
        ensure!(
            reply.certificate.as_ref() == Some(&certified.pem),
            "another certificate: {reply:?}"
        );
        let seen: Value = serde_json::from_str(&reply.body)?;
        assert_eq!(seen["headers"]["X-Forwarded-Proto"][0], "https", "{seen}");
        assert_eq!(seen["path"], "/list?of=orders");
    }
    let stranger = Authority::new()?;
    let host = edge.shop.host_header();
    let distrusting = ["-header", &host, "-roots", stranger.pem()];
    let refused = edge.shop.namespace.get(&url, &distrusting).err();
    let refused = format!("{:#}", refused.context("any certificate will do")?);
    ensure!(refused.contains("certificate"), "{refused}");
    Ok(())
}

#[test]
fn renewed_certificates_and_new_pods_fail_no_request_and_pages_may_call() -> Result<()> {
    let shop = Shop::open("edge")?;
    let mut release = Release::installed()?;
    let (edge, first) = Edge::open(&mut release, shop)?;
    calls_arrive(&edge, &first)?;
    pages::may_call_where_the_route_says_so(&edge)?;

    edge.start_loads()?;
    edge.none_failed("before")?;
    let second = edge.authority.certify(&[&edge.shop.host()])?;
    let start = Instant::now();
    show(&release, &second)?;
    edge.shown(&second)?;
    println!(
        "a renewed Secret is shown by every pod after {:?}",
        start.elapsed()
    );
    edge.none_failed("renewal of the certificate")?;
    calls_arrive(&edge, &second)?;

    release.kubectl(&["rollout", "restart", "deployment/splittoken-gateway"])?;
    release.settled(2)?;
    edge.none_failed("rolling restart")?;
    calls_arrive(&edge, &second)?;

    release.upgrade(&Value::Null)?;
    release.settled(2)?;
    release.kubectl(&["delete", "secret", SECRET]).map(drop)
}
