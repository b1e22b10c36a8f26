//! What runs in the tests' pods, as objects for the API server. All of it keeps to restricted Pod Security.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::certs::{Authority, Certified};
use crate::oidc::Registration;
use crate::redis::DOCUMENTED_ACL;

/// A Deployment, with a Service of the same name where it listens.
#[derive(Debug, Clone)]
pub struct Workload {
    name: String,
    image: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    replicas: u8,
    port: Option<u16>,
    probe: Value,
    /// By name: a Secret of the workload's name with these entries is at `/secret`.
    secret: BTreeMap<&'static str, String>,
}

impl Workload {
    /// An API at port 80 that answers with what it was asked, and with `message`.
    pub fn echo(name: &str, message: &str) -> Self {
        Self {
            port: Some(8080),
            probe: json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}),
            ..Self::pod(name, &["echo", "-message", message])
        }
    }

    /// A place in the cluster to call from.
    pub fn client(name: &str) -> Self {
        Self::pod(name, &["idle"])
    }

    /// Four clients that call without a pause, half of them on new connections, until they are deleted.
    pub fn load(name: &str, arguments: &[&str]) -> Self {
        Self::pod(name, &[&["load"], arguments].concat())
    }

    /// A Redis at port 6379 that keeps nothing when its pod goes.
    pub fn redis(name: &str) -> Self {
        Self {
            image: "redis",
            port: Some(6379),
            probe: json!({"tcpSocket": {"port": 6379}, "periodSeconds": 1}),
            ..Self::pod(name, &["--protected-mode", "no", "--save", ""])
        }
    }

    /// A Redis with this certificate, speaking TLS only, with clients that have one of the same authority, and with one
    /// user, `gateway`, who may do what the README says.
    pub fn redis_with_tls(
        name: &str,
        authority: &Authority,
        certificate: &Certified,
        password: &str,
    ) -> Self {
        let settings = [
            "port 0",
            "tls-port 6379",
            "tls-cert-file /secret/tls.crt",
            "tls-key-file /secret/tls.key",
            "tls-ca-cert-file /secret/ca.crt",
            "tls-auth-clients yes",
            "user default off",
            &format!("user gateway on >{password} {}", DOCUMENTED_ACL.join(" ")),
        ];
        Self {
            arguments: ["/secret/redis.conf", "--save", ""].map(str::to_owned).to_vec(),
            secret: BTreeMap::from([
                ("redis.conf", settings.join("\n")),
                ("ca.crt", authority.pem().to_owned()),
                ("tls.crt", certificate.pem.clone()),
                ("tls.key", certificate.key_pem.clone()),
            ]),
            ..Self::redis(name)
        }
    }

    /// npm's oidc-provider at port 80, in `namespace`, with one client for `client_credentials`. Its issuer is
    /// [`Self::issuer`].
    pub fn provider(name: &str, namespace: &str, client: &Registration) -> Self {
        let clients = json!([{
            "client_id": client.id, "client_secret": client.secret, "grant_types": ["client_credentials"],
            "redirect_uris": [], "response_types": [],
        }]);
        Self {
            image: "oidc-provider",
            port: Some(8080),
            probe: json!({
                "httpGet": {"path": "/.well-known/openid-configuration", "port": 8080}, "periodSeconds": 1,
            }),
            environment: vec![
                ("OIDC_ISSUER".to_owned(), Self::issuer(name, namespace)),
                ("OIDC_CLIENTS".to_owned(), clients.to_string()),
            ],
            ..Self::pod(name, &[])
        }
    }

    /// The name by which the whole cluster knows a provider.
    pub fn issuer(name: &str, namespace: &str) -> String {
        format!("http://{name}.{namespace}.svc.cluster.local")
    }

    /// The full name of an image of `tests/cluster/images`.
    pub fn image(name: &str) -> String {
        format!("localhost/splittoken-tests/{name}:test")
    }

    /// How many pods.
    #[must_use]
    pub fn replicas(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The objects, without a namespace.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        if !self.secret.is_empty() {
            objects.push(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.name}, "stringData": self.secret,
            }));
        }
        objects.push(self.deployment());
        if let Some(port) = self.port {
            // What speaks HTTP is at HTTP's port.
            let outside = if port == 8080 { 80 } else { port };
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": self.name},
                "spec": {
                    "selector": {"app": self.name},
                    "ports": [{"name": "main", "port": outside, "targetPort": port}],
                },
            }));
        }
        objects
    }

    fn pod(name: &str, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            image: "pod",
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            replicas: 1,
            port: None,
            probe: Value::Null,
            secret: BTreeMap::new(),
        }
    }

    fn deployment(&self) -> Value {
        let environment: Vec<Value> = self
            .environment
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        let mut container = json!({
            "name": "main",
            "image": Self::image(self.image),
            "imagePullPolicy": "Never",
            "args": self.arguments,
            "env": environment,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        });
        if !self.probe.is_null() {
            container["readinessProbe"] = self.probe.clone();
        }
        let mut volumes = Vec::new();
        if !self.secret.is_empty() {
            container["volumeMounts"] = json!([{"name": "secret", "mountPath": "/secret"}]);
            volumes.push(json!({"name": "secret", "secret": {"secretName": self.name}}));
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {
                    "metadata": {"labels": {"app": self.name}},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "securityContext": {
                            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [container],
                        "volumes": volumes,
                    },
                },
            },
        })
    }
}
