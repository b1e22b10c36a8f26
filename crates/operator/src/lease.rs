//! Who writes: one operator of an installation, by a Lease of the API server.
//!
//! Others watch it and take it over when it was not renewed for its whole life, by their own clocks: what counts is when
//! a change was seen, never what a timestamp of another machine says. A leader that could not renew in time ends its
//! process, before anybody else may begin to write.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use splittoken_runtime::ReadyGuard;
use tokio::{
    sync::watch,
    time::{sleep, timeout_at},
};

use crate::{
    anchor::Owner,
    error::{OperatorError, in_full, in_time},
    term::Term,
};

/// How long a lease of ours lives that nobody renews (as in Kubernetes' own components).
pub(crate) const LIFE: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long gives up; well before others may begin.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the lease.
const EVERY: Duration = Duration::from_secs(2);

/// The lease as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    holder: String,
    life: Duration,
    /// When this form of it was seen first.
    since: Instant,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nobody has it, or its holder is gone.
    Acquire,
    /// It is ours.
    Renew,
    /// Another has it.
    Wait,
}

/// What `me` should do now.
pub(crate) fn evaluate(observed: Option<&Observed>, me: &str, now: Instant) -> Decision {
    match observed {
        None => Decision::Acquire,
        Some(lease) if lease.holder == me => Decision::Renew,
        Some(lease) if lease.holder.is_empty() => Decision::Acquire,
        Some(lease) if now.saturating_duration_since(lease.since) > lease.life => Decision::Acquire,
        Some(_) => Decision::Wait,
    }
}

/// What the Lease of a class is called, in the namespace of each installation.
pub(crate) fn name(class: &str) -> String {
    format!("splittoken-operator-{class}")
}

/// How long a lease lives that nobody renews.
pub(crate) fn life(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    seconds.map_or(LIFE, Duration::from_secs)
}

/// One operator's view of the lease.
pub(crate) struct Elector {
    api: Api<Lease>,
    name: String,
    me: String,
    owner: watch::Receiver<Owner>,
    lease: Option<Lease>,
    observed: Option<Observed>,
    /// Until the lease was looked at once.
    guard: Option<ReadyGuard>,
}

impl Elector {
    /// The lease goes with `owner`; `guard` until it was looked at once.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        class: &str,
        me: &str,
        owner: watch::Receiver<Owner>,
        guard: ReadyGuard,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name(class),
            me: me.to_owned(),
            owner,
            lease: None,
            observed: None,
            guard: Some(guard),
        }
    }

    /// Takes part in the election, and tells whether this process leads, until the lease is lost or `stop` completes.
    /// Asked to stop, a leader gives the lease back, so that nobody has to wait for its end.
    pub(crate) async fn run(
        mut self,
        term: Term,
        stop: impl Future<Output = ()>,
    ) -> Result<(), OperatorError> {
        let outcome = self.hold(&term, stop).await;
        // Before anything else: whatever waits to be written must not be.
        let led = term.end();
        outcome?;
        if led {
            self.write("").await?;
        }
        Ok(())
    }

    async fn hold(&mut self, term: &Term, stop: impl Future<Output = ()>) -> Result<(), OperatorError> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let outcome = match term.until() {
                // One that hangs must not lead on while it waits.
                Some(until) => timeout_at(until.into(), self.step())
                    .await
                    .map_err(|_| OperatorError::LeaseLost)?,
                None => self.step().await,
            };
            self.settle(outcome, term)?;
            tokio::select! {
                () = sleep(EVERY) => {}
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// What comes of a look; fails if the lease is lost.
    fn settle(
        &mut self,
        outcome: Result<Option<Instant>, OperatorError>,
        term: &Term,
    ) -> Result<(), OperatorError> {
        if outcome.is_ok() {
            self.guard = None;
        }
        match outcome {
            Ok(Some(asked)) => {
                let until = asked + DEADLINE;
                // One that took so long to get it must renew it first.
                if Instant::now() < until && term.lasts(until) {
                    tracing::info!(me = self.me, "leading");
                }
            }
            Ok(None) if term.until().is_some() => return Err(OperatorError::LeaseLost),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = error.chain(), "cannot look after the lease");
                if let Some(guard) = &self.guard {
                    guard.explain(in_full(&error));
                }
            }
        }
        Ok(())
    }

    /// One look and what follows from it. If the lease is ours now: since when at least, which is when that was asked for.
    /// Others count from when they see it, and that is later.
    async fn step(&mut self) -> Result<Option<Instant>, OperatorError> {
        let found = in_time("get", "the lease", self.api.get_opt(&self.name)).await?;
        self.observe(found);
        match evaluate(self.observed.as_ref(), &self.me, Instant::now()) {
            Decision::Wait => Ok(None),
            Decision::Acquire | Decision::Renew => {
                let me = self.me.clone();
                let asked = Instant::now();
                Ok(self.write(&me).await?.then_some(asked))
            }
        }
    }

    /// A form of the lease that was not seen before lives from now on.
    fn observe(&mut self, found: Option<Lease>) {
        if found == self.lease {
            return;
        }
        let spec = found.as_ref().and_then(|lease| lease.spec.clone());
        self.observed = spec.map(|spec| Observed {
            life: life(&spec),
            holder: spec.holder_identity.unwrap_or_default(),
            since: Instant::now(),
        });
        self.lease = found;
    }

    /// Writes the lease over the form that was seen. `false` if somebody else was faster.
    async fn write(&mut self, holder: &str) -> Result<bool, OperatorError> {
        let lease = self.next(holder);
        let parameters = PostParams::default();
        let written = match &self.lease {
            Some(_) => {
                in_time(
                    "write",
                    "the lease",
                    self.api.replace(&self.name, &parameters, &lease),
                )
                .await
            }
            None => in_time("write", "the lease", self.api.create(&parameters, &lease)).await,
        };
        match written {
            Ok(lease) => {
                self.observe(Some(lease));
                Ok(true)
            }
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn next(&self, holder: &str) -> Lease {
        let before = self
            .lease
            .as_ref()
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let now = Some(MicroTime(Timestamp::now()));
        let is_change = before.holder_identity.as_deref() != Some(holder);
        let transitions = before.lease_transitions.unwrap_or_default();
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: self
                    .lease
                    .as_ref()
                    .and_then(|lease| lease.metadata.resource_version.clone()),
                owner_references: self.owner.borrow().anchor().map(|owner| vec![owner.reference()]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(LIFE.as_secs()).ok(),
                acquire_time: if is_change {
                    now.clone()
                } else {
                    before.acquire_time
                },
                renew_time: now,
                lease_transitions: Some(transitions.saturating_add(i32::from(is_change))),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_was_not_renewed_for_its_life() {
        let since = Instant::now();
        let lease = |holder: &str| Observed {
            holder: holder.to_owned(),
            life: LIFE,
            since,
        };
        let later = |seconds| since + Duration::from_secs(seconds);
        for (observed, now, expected) in [
            (None, 0, Decision::Acquire),
            (Some(lease("me")), 0, Decision::Renew),
            // Ours, and nobody took it meanwhile.
            (Some(lease("me")), 60, Decision::Renew),
            (Some(lease("other")), 0, Decision::Wait),
            (Some(lease("other")), 15, Decision::Wait),
            (Some(lease("other")), 16, Decision::Acquire),
            (Some(lease("")), 0, Decision::Acquire),
        ] {
            assert_eq!(
                evaluate(observed.as_ref(), "me", later(now)),
                expected,
                "{observed:?} {now}"
            );
        }
        assert!(
            DEADLINE + EVERY < LIFE,
            "a leader must have ended before another begins"
        );
    }
}
