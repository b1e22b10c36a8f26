//! Everything that the operator writes. Only a leader gets here.

use std::sync::atomic::AtomicI64;

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use splittoken_api::ObjectName;
use splittoken_routing::{CompiledRoute, wire};
use tokio::sync::watch;

use crate::{
    anchor::Anchor,
    error::{OperatorError, in_time},
    kinds::Kind,
    refusals::{Failed, Tried},
    rendered::{Existing, Frame, Plan, Rendered, render},
    term::Leads,
};

/// The field manager of everything that is applied.
const MANAGER: &str = "splittoken-operator";
/// How many objects are written at a time.
const AT_ONCE: usize = 16;

/// Writes to the API server.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    frame: Frame,
    leads: Leads,
    /// Whether the class is this installation's.
    owns: watch::Receiver<bool>,
}

/// How a plan went.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) applied: usize,
    pub(crate) deleted: usize,
    pub(crate) failed: Vec<Failed>,
}

impl Writer {
    pub(crate) fn new(client: Client, frame: Frame, leads: Leads, owns: watch::Receiver<bool>) -> Self {
        Self {
            client,
            frame,
            leads,
            owns,
        }
    }

    /// Whether statuses are written here at all: where they are another installation's, that one's words stand.
    pub(crate) fn writes_statuses(&self) -> bool {
        self.leads.now() && *self.owns.borrow()
    }

    /// Asked before each write: a plan takes a while, and the lease may be lost meanwhile.
    fn may_write(&self) -> Result<(), OperatorError> {
        if self.leads.now() {
            Ok(())
        } else {
            Err(OperatorError::LeaseLost)
        }
    }

    /// From now on everything goes with this.
    pub(crate) fn belongs_to(&mut self, owner: Option<Anchor>) {
        self.frame.owner = owner;
    }

    /// Carries out a plan, and counts down what waits. What fails is logged and given
    /// back; the rest goes on.
    pub(crate) async fn carry_out(
        &self,
        plan: &Plan<'_>,
        existing: &mut Existing,
        waiting: &Gauge<i64, AtomicI64>,
    ) -> Written {
        let mut written = Written::default();
        let mut applied = stream::iter(&plan.apply)
            .map(|route| self.apply_route(route))
            .buffer_unordered(AT_ONCE);
        while let Some(outcome) = applied.next().await {
            match outcome {
                Ok(object) => {
                    object.settle(existing);
                    waiting.dec();
                    written.applied += 1;
                }
                Err(failed) => written.failed.push(failed),
            }
        }
        for (kind, names) in [
            (Kind::Config, &plan.delete_configs),
            (Kind::Secret, &plan.delete_secrets),
        ] {
            for name in names {
                if let Err(error) = self.delete(kind, name).await {
                    let tried = Tried::Delete(kind, name.clone());
                    written.failed.push(failed(tried, "", kind, &error));
                    continue;
                }
                waiting.dec();
                written.deleted += 1;
                match kind {
                    Kind::Config => drop(existing.configs.remove(name)),
                    _ => drop(existing.secrets.remove(name)),
                }
            }
        }
        written
    }

    /// The Secret first: a gateway takes the route over when its `ConfigMap` comes.
    async fn apply_route(&self, route: &CompiledRoute) -> Result<Rendered, Failed> {
        let because = |kind: Kind| {
            let tried = Tried::Apply(wire::object_name(&route.config.name));
            move |error: OperatorError| failed(tried, &route.revision, kind, &error)
        };
        let object = render(route).map_err(because(Kind::Config))?;
        if let Some(secret) = object.secret(&self.frame) {
            let applied = self.apply(Kind::Secret, &object.name, &secret).await;
            applied.map_err(because(Kind::Secret))?;
        }
        let config = object.config_map(&self.frame);
        let applied = self.apply(Kind::Config, &object.name, &config).await;
        applied.map_err(because(Kind::Config))?;
        Ok(object)
    }

    async fn apply(&self, kind: Kind, name: &str, object: &Value) -> Result<(), OperatorError> {
        self.may_write()?;
        let parameters = PatchParams::apply(MANAGER).force();
        let what = format!("{} {name}", kind.resource());
        let api = self.own(kind);
        let patch = Patch::Apply(object);
        in_time("apply", what, api.patch(name, &parameters, &patch))
            .await
            .map(drop)
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<(), OperatorError> {
        self.may_write()?;
        let what = format!("{} {name}", kind.resource());
        let (api, parameters) = (self.own(kind), DeleteParams::default());
        unless_gone(in_time("delete", what, api.delete(name, &parameters)).await)
    }

    /// Replaces the status of a route or an issuer. Says whether that very object was still there: one that is gone needs
    /// none, and one that was made anew under its name gets its own. With a `version`, nothing may have happened to it
    /// since. Nor does anything happen where the class has gone to another installation meanwhile.
    pub(crate) async fn write_status(
        &self,
        name: &ObjectName,
        uid: &str,
        version: Option<&str>,
        status: &Value,
    ) -> Result<bool, OperatorError> {
        self.may_write()?;
        if !self.writes_statuses() {
            return Ok(false);
        }
        let kind = if name.kind == Kind::Route.type_meta().1 {
            Kind::Route
        } else {
            Kind::Issuer
        };
        let resource = kind.api_resource();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let what = || name.to_string();
        let patch = serde_json::from_value(only_of(uid, version, status)).map_err(|error| {
            OperatorError::api("write the status of", what())(kube::Error::SerdeError(error))
        })?;
        let patch = Patch::Json::<()>(patch);
        let written = in_time(
            "write the status of",
            what(),
            api.patch_status(&name.name, &parameters, &patch),
        );
        match written.await {
            Err(error) if error.is_not_found() || error.is_about_another() => Ok(false),
            outcome => outcome.map(|_| true),
        }
    }

    fn own(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.frame.namespace, &kind.api_resource())
    }
}

/// A JSON patch that sets the whole status, of the object with this `uid` alone. In a merge patch of a custom resource's
/// status the API server would take no notice of it.
fn only_of(uid: &str, version: Option<&str>, status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(members) = status.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
    if let Some(version) = version {
        patch.push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    }
    patch.push(json!({"op": "add", "path": "/status", "value": status}));
    patch.into()
}

/// That something is not there any more is no failure for whoever deletes it.
fn unless_gone<T>(outcome: Result<T, OperatorError>) -> Result<(), OperatorError> {
    match outcome {
        Err(OperatorError::Api {
            source: kube::Error::Api(status),
            ..
        }) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn failed(tried: Tried, revision: &str, kind: Kind, error: &OperatorError) -> Failed {
    // Said once, where the process ends, and not for each of ten thousand routes.
    if !matches!(error, OperatorError::LeaseLost) {
        tracing::warn!(
            reason = error.reason(),
            error = error.chain(),
            "left for a later time"
        );
    }
    Failed::new(tried, revision, kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_for_one_object_and_replaces_what_was_said() {
        let status = json!({"observedGeneration": 1, "conditions": [], "tokenEndpoint": null});
        let expected = json!([
            {"op": "test", "path": "/metadata/uid", "value": "uid-1"},
            {"op": "add", "path": "/status", "value": {"observedGeneration": 1, "conditions": []}},
        ]);
        assert_eq!(only_of("uid-1", None, &status), expected);
        let last = only_of("uid-1", Some("7"), &status);
        assert_eq!(
            last[1],
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"})
        );
    }
}
