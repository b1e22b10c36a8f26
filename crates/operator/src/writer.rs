//! Everything that the operator writes. Only a leader gets here.

use std::sync::atomic::AtomicI64;

use futures_util::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;
use splittoken_api::ObjectName;
use splittoken_routing::CompiledRoute;

use crate::{
    anchor::Anchor,
    error::{OperatorError, in_time},
    kinds::Kind,
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
}

/// How a plan went.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) applied: usize,
    pub(crate) deleted: usize,
    pub(crate) failed: usize,
}

impl Writer {
    pub(crate) fn new(client: Client, frame: Frame, leads: Leads) -> Self {
        Self { client, frame, leads }
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

    /// Carries out a plan, and counts down what waits. What fails is logged and left for the next time; the rest goes on.
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
            let outcome = outcome.map(|object| object.settle(existing));
            if written.count(outcome, |written| &mut written.applied) {
                waiting.dec();
            }
        }
        for (kind, names) in [
            (Kind::Config, &plan.delete_configs),
            (Kind::Secret, &plan.delete_secrets),
        ] {
            for name in names {
                let outcome = self.delete(kind, name).await;
                if written.count(outcome, |written| &mut written.deleted) {
                    waiting.dec();
                    match kind {
                        Kind::Config => existing.configs.remove(name).is_some(),
                        _ => existing.secrets.remove(name).is_some(),
                    };
                }
            }
        }
        written
    }

    /// The Secret first: a gateway takes the route over when its `ConfigMap` comes.
    async fn apply_route(&self, route: &CompiledRoute) -> Result<Rendered, OperatorError> {
        let object = render(route)?;
        if let Some(secret) = object.secret(&self.frame) {
            self.apply(Kind::Secret, &object.name, &secret).await?;
        }
        self.apply(Kind::Config, &object.name, &object.config_map(&self.frame))
            .await?;
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

    /// Replaces the status of a route or an issuer, in the form of a merge patch that names all that is ours. An object
    /// that is gone needs none.
    pub(crate) async fn write_status(&self, name: &ObjectName, patch: &Value) -> Result<(), OperatorError> {
        self.may_write()?;
        let kind = if name.kind == Kind::Route.type_meta().1 {
            Kind::Route
        } else {
            Kind::Issuer
        };
        let resource = kind.api_resource();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let parameters = PatchParams::default();
        let patch = Patch::Merge(patch);
        let written = in_time(
            "write the status of",
            name,
            api.patch_status(&name.name, &parameters, &patch),
        )
        .await;
        unless_gone(written)
    }

    fn own(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.frame.namespace, &kind.api_resource())
    }
}

/// That something is not there any more is no failure for whoever deletes it or says something of it.
fn unless_gone<T>(outcome: Result<T, OperatorError>) -> Result<(), OperatorError> {
    match outcome {
        Err(OperatorError::Api {
            source: kube::Error::Api(status),
            ..
        }) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}

impl Written {
    /// Whether it went well; counted either way.
    fn count(
        &mut self,
        outcome: Result<(), OperatorError>,
        well: impl FnOnce(&mut Self) -> &mut usize,
    ) -> bool {
        match outcome {
            Ok(()) => {
                *well(self) += 1;
                true
            }
            // Said once, where the process ends, and not for each of ten thousand routes.
            Err(OperatorError::LeaseLost) => {
                self.failed += 1;
                false
            }
            Err(error) => {
                tracing::warn!(
                    reason = error.reason(),
                    error = error.chain(),
                    "left for the next time"
                );
                self.failed += 1;
                false
            }
        }
    }
}
