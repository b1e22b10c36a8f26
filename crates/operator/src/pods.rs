//! The gateway pods, and what they say of themselves on their admin ports.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::{error::OperatorError, rotation::Key};

/// A pod in the same cluster answers in milliseconds; one that does not is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A gateway pod that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) ip: IpAddr,
}

/// The routes of a set, each with its revision.
pub(crate) type Revisions = BTreeMap<String, String>;

/// What a pod serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Names the set of all routes with their revisions.
    pub(crate) digest: String,
    /// That set; pods that serve the newest one share it.
    pub(crate) revisions: Arc<Revisions>,
    /// Stands for `rejected` and `problem`; empty where there is neither.
    pub(crate) faults: String,
    /// By route.
    pub(crate) rejected: BTreeMap<String, Rejected>,
    /// Why it has not taken over the newest set at all.
    pub(crate) problem: Option<String>,
    /// How its issuers fare.
    pub(crate) issuers: Arc<Issuers>,
    /// The keys of its keyring, and which of them it writes with.
    pub(crate) keyring: KeyringReport,
}

/// The issuers of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Issuers {
    /// Stands for all the rest.
    pub(crate) digest: String,
    /// Those that the pod has asked.
    pub(crate) asked: BTreeMap<String, IssuerReport>,
    /// Whether there are others, which it is asking just now.
    pub(crate) is_asking: bool,
}

/// A route that a pod refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The revision that it refuses; `None` where it could not even read that.
    pub(crate) revision: Option<String>,
    /// Why.
    pub(crate) message: String,
}

/// An issuer as a pod sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerReport {
    /// Whether its documents could be fetched.
    pub(crate) ready: bool,
    /// Why not.
    pub(crate) message: Option<String>,
}

/// The keyring of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct KeyringReport {
    pub(crate) write: u8,
    /// What tells a key from another of the same id. Gateways of older versions do not say.
    #[serde(default)]
    pub(crate) marks: BTreeMap<u8, String>,
}

impl KeyringReport {
    /// Whether it holds this very key.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.marks.get(&key.id) == Some(&key.mark)
    }

    /// Whether it writes with this very key.
    pub(crate) fn writes(&self, key: &Key) -> bool {
        self.write == key.id && self.holds(key)
    }
}

impl Pod {
    /// Name and address of a pod that is ready and not on its way out.
    pub(crate) fn ready(raw: &Value) -> Option<(String, Self)> {
        let name = raw["metadata"]["name"].as_str()?;
        if !raw["metadata"]["deletionTimestamp"].is_null() {
            return None;
        }
        let conditions = raw["status"]["conditions"].as_array()?;
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let ip = raw["status"]["podIP"].as_str()?.parse().ok()?;
        conditions
            .iter()
            .any(is_ready)
            .then(|| (name.to_owned(), Self { ip }))
    }
}

impl Rejected {
    /// Whether this is about that revision, as far as can be told.
    pub(crate) fn is_of(&self, revision: &str) -> bool {
        self.revision.as_deref().is_none_or(|refused| refused == revision)
    }
}

/// Asks pods.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    http: Client,
    port: u16,
}

/// The page `/config/digest`: what the others hold, each in a few characters.
#[derive(Deserialize)]
pub(crate) struct Digest {
    #[serde(rename = "digest")]
    pub(crate) of_routes: String,
    pub(crate) faults: String,
    pub(crate) issuers: String,
    pub(crate) keyring: KeyringReport,
}

/// The page `/config`, as far as it is about routes.
#[derive(Deserialize)]
struct Config {
    digest: String,
    problem: Option<ProblemView>,
    routes: Vec<RouteView>,
    rejected: Vec<RejectedView>,
}

/// The page `/config/issuers`.
#[derive(Deserialize)]
struct IssuersPage {
    digest: String,
    issuers: Vec<IssuerView>,
}

#[derive(Deserialize)]
struct ProblemView {
    message: String,
}

#[derive(Deserialize)]
struct RouteView {
    name: String,
    revision: String,
}

#[derive(Deserialize)]
struct RejectedView {
    route: String,
    revision: Option<String>,
    message: String,
}

#[derive(Deserialize)]
struct IssuerView {
    name: String,
    /// `None` where none is wanted.
    discovery: Option<DocumentView>,
    /// `None` where no published key is needed.
    jwks: Option<DocumentView>,
}

#[derive(Deserialize)]
struct DocumentView {
    ok: bool,
    error: Option<String>,
}

impl Asker {
    pub(crate) fn new(port: u16) -> Result<Self, OperatorError> {
        let http = Client::builder().no_proxy().timeout(PATIENCE).build();
        Ok(Self {
            http: http.map_err(OperatorError::Http)?,
            port,
        })
    }

    /// The few characters that tell whether there is anything new to read.
    pub(crate) async fn digest(&self, pod: &Pod) -> Option<Digest> {
        self.get(pod, "/config/digest").await
    }

    /// All that a pod says of its routes: some hundred bytes for each.
    pub(crate) async fn routes(&self, pod: &Pod, faults: String) -> Option<Report> {
        let config: Config = self.get(pod, "/config").await?;
        Some(config.report(faults))
    }

    /// All that a pod says of its issuers.
    pub(crate) async fn issuers(&self, pod: &Pod) -> Option<Issuers> {
        let page: IssuersPage = self.get(pod, "/config/issuers").await?;
        Some(page.into())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, pod: &Pod, path: &str) -> Option<T> {
        let host = match pod.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let url = format!("http://{host}:{}{path}", self.port);
        let answer = async {
            self.http
                .get(&url)
                .send()
                .await?
                .error_for_status()?
                .bytes()
                .await
        };
        match answer.await.map(|body| serde_json::from_slice(&body)) {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(url, %error, "a gateway pod says something else than expected");
                None
            }
            Err(error) => {
                tracing::debug!(url, %error, "a gateway pod does not answer");
                None
            }
        }
    }
}

impl IssuerView {
    /// `None` where the pod has not tried yet.
    fn report(self) -> Option<(String, IssuerReport)> {
        let documents = [self.discovery, self.jwks];
        let missing: Vec<DocumentView> = documents
            .into_iter()
            .flatten()
            .filter(|document| !document.ok)
            .collect();
        let is_ready = missing.is_empty();
        let message = missing.into_iter().find_map(|document| document.error);
        (is_ready || message.is_some()).then(|| {
            let report = IssuerReport {
                ready: is_ready,
                message,
            };
            (self.name, report)
        })
    }
}

impl From<IssuersPage> for Issuers {
    fn from(page: IssuersPage) -> Self {
        let all = page.issuers.len();
        let asked: BTreeMap<String, IssuerReport> =
            page.issuers.into_iter().filter_map(IssuerView::report).collect();
        Self {
            digest: page.digest,
            is_asking: asked.len() < all,
            asked,
        }
    }
}

impl Config {
    fn report(self, faults: String) -> Report {
        let rejected = self.rejected.into_iter().map(|view| {
            let rejected = Rejected {
                revision: view.revision,
                message: view.message,
            };
            (view.route, rejected)
        });
        let revisions = self.routes.into_iter().map(|route| (route.name, route.revision));
        Report {
            digest: self.digest,
            revisions: Arc::new(revisions.collect()),
            faults,
            rejected: rejected.collect(),
            problem: self.problem.map(|problem| problem.message),
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_that_a_pod_has_not_asked_yet_is_neither_here_nor_there() {
        let page = json!({
            "digest": "d",
            "issuers": [
                {"name": "new", "discovery": {"ok": false, "error": null}, "jwks": {"ok": false, "error": null}},
                {"name": "bad", "discovery": {"ok": false, "error": "refused"}, "jwks": {"ok": false, "error": null}},
                {"name": "good", "discovery": {"ok": true, "error": null}, "jwks": null},
            ],
        });
        let issuers = Issuers::from(serde_json::from_value::<IssuersPage>(page).unwrap());
        assert!(issuers.is_asking);
        let said: Vec<_> = issuers
            .asked
            .iter()
            .map(|(name, said)| (name.as_str(), said.ready))
            .collect();
        assert_eq!(said, [("bad", false), ("good", true)]);
        assert_eq!(issuers.asked["bad"].message.as_deref(), Some("refused"));
    }

    #[test]
    fn only_pods_that_are_ready_and_stay_count() {
        let pod = json!({
            "metadata": {"name": "a"},
            "status": {"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert_eq!(Pod::ready(&pod).unwrap().1.ip.to_string(), "10.0.0.7");
        for (pointer, value) in [
            ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
            (
                "/status/conditions",
                json!([{"type": "Ready", "status": "False"}]),
            ),
            ("/status/podIP", json!(null)),
            ("/status/conditions", json!(null)),
        ] {
            let mut other = pod.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            other.pointer_mut(parent).unwrap()[name] = value;
            assert!(Pod::ready(&other).is_none(), "{pointer}");
        }
    }
}
