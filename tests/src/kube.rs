//! A client of a Kubernetes API server: objects as JSON, and what the server says as it says it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::wait;

/// For an operator to write a status. Most do at once; whoever follows one that was killed waits for the end of its
/// lease, which is after 15 s: ten times that.
const WRITTEN: Duration = Duration::from_secs(150);

/// Somebody at an API server.
#[derive(Debug, Clone)]
pub struct Kube {
    http: Client,
    url: String,
    token: String,
}

impl Kube {
    /// Whoever has this token.
    pub fn new(url: &str, ca_pem: &str, token: &str) -> Result<Self> {
        Ok(Self {
            http: Client::trusting(ca_pem)?,
            url: url.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Somebody else at the same API server.
    #[must_use]
    pub fn as_bearer(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// GET of any path.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.http.get_with(&format!("{}{path}", self.url), &self.token)
    }

    /// Applies an object server-side, as `kubectl apply --server-side --force-conflicts` does. What the server refuses is an error
    /// with its words.
    pub fn apply(&self, object: &Value) -> Result<Value> {
        self.patch(
            &path_of(object)?,
            "application/apply-patch+yaml",
            "?fieldManager=test&force=true",
            object,
        )
    }

    /// Applies all documents of a YAML text that was read into JSON.
    pub fn apply_all(&self, objects: &[Value]) -> Result<()> {
        objects.iter().try_for_each(|object| self.apply(object).map(drop))
    }

    /// Creates an object, with strict checks as `kubectl` asks for them.
    pub fn create(&self, object: &Value) -> Result<Value> {
        let path = path_of(object)?;
        let (collection, _) = path.rsplit_once('/').context("no collection")?;
        let url = format!("{}{collection}?fieldValidation=Strict", self.url);
        expect(self.http.post_json(&url, &self.token, object)?)
    }

    /// What the server would say to an object that is created, with strict checks; nothing is kept.
    pub fn try_create(&self, object: &Value) -> Result<Answer> {
        let path = path_of(object)?;
        let (collection, _) = path.rsplit_once('/').context("no collection")?;
        let url = format!("{}{collection}?fieldValidation=Strict&dryRun=All", self.url);
        self.http.post_json(&url, &self.token, object)
    }

    /// A list as `kubectl get` shows it: the names of its columns, with their priorities, and the cells of each row.
    pub fn table(&self, kind: &str, namespace: &str) -> Result<Value> {
        let path = path(kind, namespace, "")?;
        let url = format!("{}{}", self.url, path.trim_end_matches('/'));
        let request = self.http.inner().get(url).bearer_auth(&self.token);
        let request = request.header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
        Ok(serde_json::from_str(&request.send()?.text()?)?)
    }

    /// Merges members into an object.
    pub fn merge(&self, kind: &str, namespace: &str, name: &str, members: &Value) -> Result<Value> {
        self.patch(
            &path(kind, namespace, name)?,
            "application/merge-patch+json",
            "",
            members,
        )
    }

    /// Merges members into an object's status.
    pub fn merge_status(&self, kind: &str, namespace: &str, name: &str, status: &Value) -> Result<Value> {
        let path = format!("{}/status", path(kind, namespace, name)?);
        self.patch(
            &path,
            "application/merge-patch+json",
            "",
            &json!({"status": status}),
        )
    }

    /// An object; `None` where there is none.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        let answer = self.get(&path(kind, namespace, name)?)?;
        if answer.status == 404 {
            return Ok(None);
        }
        expect(answer).map(Some)
    }

    /// All objects of a kind in a namespace that a label selector picks; an empty one picks all.
    pub fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let path = path(kind, namespace, "")?;
        let path = path.trim_end_matches('/');
        let selector = selector.replace('=', "%3D").replace(',', "%2C");
        let list = expect(self.get(&format!("{path}?labelSelector={selector}"))?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Deletes an object that is there.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let url = format!("{}{}", self.url, path(kind, namespace, name)?);
        let answer = self.http.inner().delete(url).bearer_auth(&self.token).send()?;
        ensure!(
            answer.status().is_success(),
            "{}: {}",
            answer.status(),
            answer.text()?
        );
        Ok(())
    }

    /// A condition of an object's status: its status and its reason.
    pub fn condition(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        condition: &str,
    ) -> Result<(String, String)> {
        let object = self
            .find(kind, namespace, name)?
            .with_context(|| format!("no {kind} {namespace}/{name}"))?;
        let conditions = object["status"]["conditions"].as_array();
        let found = conditions
            .into_iter()
            .flatten()
            .find(|found| found["type"] == condition);
        let text = |member: &str| {
            found
                .and_then(|found| found[member].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        Ok((text("status"), text("reason")))
    }

    /// Waits until a condition of the newest generation has this reason; gives the object.
    pub fn wait_for(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        condition: &str,
        reason: &str,
    ) -> Result<Value> {
        let what = format!("{kind} {namespace}/{name} to have {condition} with {reason}");
        let mut last = Value::Null;
        let found = wait::until(WRITTEN, &what, || {
            let object = self.find(kind, namespace, name).ok()??;
            last = object["status"].clone();
            let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let conditions = object["status"]["conditions"].as_array()?;
            let has_it = conditions
                .iter()
                .any(|found| found["type"] == condition && found["reason"] == reason);
            (is_current && has_it).then_some(object)
        });
        found.with_context(|| format!("its status: {last:#}"))
    }

    /// A token of a `ServiceAccount`, as its pods get it.
    pub fn token_of(&self, namespace: &str, account: &str) -> Result<String> {
        let url = format!(
            "{}{}/token",
            self.url,
            path("ServiceAccount", namespace, account)?
        );
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = expect(self.http.post_json(&url, &self.token, &request)?)?;
        let token = answer["status"]["token"].as_str();
        token.map(str::to_owned).context("no token")
    }

    /// Whether whoever this is may do this; all namespaces are an empty one. A resource is `pods` or
    /// `leases.coordination.k8s.io`, with a subresource behind a slash.
    pub fn may(&self, verb: &str, resource: &str, namespace: &str) -> Result<bool> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource,
                "namespace": namespace,
            }},
        });
        let url = format!(
            "{}/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            self.url
        );
        let answer = expect(self.http.post_json(&url, &self.token, &review)?)?;
        answer["status"]["allowed"].as_bool().context("no answer")
    }

    fn patch(&self, path: &str, content_type: &str, query: &str, body: &Value) -> Result<Value> {
        let request = self.http.inner().patch(format!("{}{path}{query}", self.url));
        let request = request
            .bearer_auth(&self.token)
            .header("Content-Type", content_type);
        let answer = request.body(body.to_string()).send()?;
        let (status, body) = (answer.status(), answer.text()?);
        ensure!(status.is_success(), "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }
}

fn expect(answer: Answer) -> Result<Value> {
    ensure!(
        (200..300).contains(&answer.status),
        "{}: {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

/// The path of an object.
fn path_of(object: &Value) -> Result<String> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    path(text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// The path of an object of a kind that tests use. Kinds without namespaces ignore it.
fn path(kind: &str, namespace: &str, name: &str) -> Result<String> {
    let (group, plural, is_namespaced) = match kind {
        "Namespace" => ("api/v1", "namespaces", false),
        "Service" => ("api/v1", "services", true),
        "Secret" => ("api/v1", "secrets", true),
        "ConfigMap" => ("api/v1", "configmaps", true),
        "Pod" => ("api/v1", "pods", true),
        "Event" => ("apis/events.k8s.io/v1", "events", true),
        "ServiceAccount" => ("api/v1", "serviceaccounts", true),
        "EndpointSlice" => ("apis/discovery.k8s.io/v1", "endpointslices", true),
        "Lease" => ("apis/coordination.k8s.io/v1", "leases", true),
        "SplitTokenRoute" => ("apis/splittoken.dev/v1alpha1", "splittokenroutes", true),
        "SplitTokenIssuer" => ("apis/splittoken.dev/v1alpha1", "splittokenissuers", true),
        "ReferenceGrant" => ("apis/gateway.networking.k8s.io/v1beta1", "referencegrants", true),
        "ValidatingAdmissionPolicy" => (
            "apis/admissionregistration.k8s.io/v1",
            "validatingadmissionpolicies",
            false,
        ),
        "ValidatingAdmissionPolicyBinding" => (
            "apis/admissionregistration.k8s.io/v1",
            "validatingadmissionpolicybindings",
            false,
        ),
        "Deployment" => ("apis/apps/v1", "deployments", true),
        "StatefulSet" => ("apis/apps/v1", "statefulsets", true),
        "HorizontalPodAutoscaler" => ("apis/autoscaling/v2", "horizontalpodautoscalers", true),
        "PodDisruptionBudget" => ("apis/policy/v1", "poddisruptionbudgets", true),
        "NetworkPolicy" => ("apis/networking.k8s.io/v1", "networkpolicies", true),
        "ServiceMonitor" => ("apis/monitoring.coreos.com/v1", "servicemonitors", true),
        "PrometheusRule" => ("apis/monitoring.coreos.com/v1", "prometheusrules", true),
        "ClusterRole" => ("apis/rbac.authorization.k8s.io/v1", "clusterroles", false),
        "ClusterRoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", false),
        "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles", true),
        "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings", true),
        "CustomResourceDefinition" => ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", false),
        _ => bail!("tests do not know where {kind} is"),
    };
    Ok(if is_namespaced {
        format!("/{group}/namespaces/{namespace}/{plural}/{name}")
    } else {
        format!("/{group}/{plural}/{name}")
    })
}
