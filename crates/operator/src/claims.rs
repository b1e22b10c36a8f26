//! Whose class it is. Any number of installations may serve the routes of a class, but one of them says how they fare.
//!
//! Each installation holds a Lease of the same name in its own namespace. The class belongs to the oldest one that is
//! alive, by the time at which the API server made it. As with the own Lease, what counts is when a change was seen,
//! never what a clock of another machine says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};

use crate::lease;

/// A Lease is taken to be alive for so much longer than it says. An operator that is replaced has it back by then: an
/// upgrade does not move the class.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever had the class may write until it has looked again, which takes it less than this.
const HANDOVER: Duration = Duration::from_secs(15);

/// A Lease of the class, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    namespace: String,
    created: Timestamp,
    /// Empty if nobody has it.
    holder: String,
    renewed: Option<Timestamp>,
    life: Duration,
}

impl Claim {
    pub(crate) fn of(lease: Lease) -> Option<Self> {
        let spec = lease.spec?;
        Some(Self {
            namespace: lease.metadata.namespace?,
            created: lease.metadata.creation_timestamp?.0,
            // Whatever it says: one that nobody renews must not keep a class.
            life: lease::life(&spec).min(lease::LIFE),
            holder: spec.holder_identity.unwrap_or_default(),
            renewed: spec.renew_time.map(|time| time.0),
        })
    }
}

/// Whose the class is, as an installation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody's: no Lease of it is held, or our own is the oldest and not seen to be held yet.
    Free,
    Ours,
    /// Ours as soon as the installation in that namespace has had the time to see it.
    Coming {
        from: String,
        at: Instant,
    },
    /// Of the installation in that namespace.
    Theirs(String),
}

/// All Leases of the class, by namespace.
#[derive(Debug)]
pub(crate) struct Claims {
    own: String,
    me: String,
    seen: BTreeMap<String, Seen>,
    standing: Standing,
}

#[derive(Debug)]
struct Seen {
    claim: Claim,
    /// When this form of it was seen first.
    since: Instant,
    /// Our own counts once somebody is seen to hold it: others will not take the last form of one that has crashed for
    /// more than it is.
    counts: bool,
}

impl Seen {
    fn is_alive(&self, now: Instant) -> bool {
        self.counts && self.lasts(now)
    }

    /// Whether it may be alive, as far as its age goes.
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) <= self.claim.life.saturating_add(PATIENCE)
    }
}

impl Claims {
    /// What the installation in the namespace `own` knows before it has looked. This process holds Leases as `me`.
    pub(crate) fn new(own: &str, me: &str) -> Self {
        Self {
            own: own.to_owned(),
            me: me.to_owned(),
            seen: BTreeMap::new(),
            standing: Standing::Free,
        }
    }

    /// Takes a list of all Leases of the class in. One that was given back, or is gone, is alive until it would have ended.
    pub(crate) fn look(&mut self, listed: impl IntoIterator<Item = Claim>, now: Instant) -> Standing {
        let mut held = BTreeSet::new();
        for claim in listed.into_iter().filter(|claim| !claim.holder.is_empty()) {
            held.insert(claim.namespace.clone());
            let known = self.seen.get(&claim.namespace);
            if known.is_none_or(|seen| seen.claim != claim) {
                let counts = known.is_some() || claim.namespace != self.own || claim.holder == self.me;
                let seen = Seen {
                    claim,
                    since: now,
                    counts,
                };
                self.seen.insert(seen.claim.namespace.clone(), seen);
            }
        }
        // One that has ended may be listed for ever: forgotten, it would be a new one at the next look.
        self.seen
            .retain(|namespace, seen| seen.is_alive(now) || held.contains(namespace));
        self.standing = self.next(now);
        self.standing.clone()
    }

    fn next(&self, now: Instant) -> Standing {
        let alive = || self.seen.values().filter(|seen| seen.is_alive(now));
        let lasts = |seen: &&Seen| seen.lasts(now);
        let other = oldest(alive().filter(|seen| seen.claim.namespace != self.own));
        match (oldest(alive()), other) {
            (None, _) => Standing::Free,
            // After a crash, or a start: who has it may be seen in a moment.
            (Some(first), _)
                if first != self.own && oldest(self.seen.values().filter(lasts)) == Some(&*self.own) =>
            {
                Standing::Free
            }
            (Some(first), _) if first != self.own => Standing::Theirs(first.to_owned()),
            (Some(_), None) => Standing::Ours,
            (Some(_), Some(other)) => match &self.standing {
                Standing::Ours => Standing::Ours,
                Standing::Coming { at, .. } if now >= *at => Standing::Ours,
                Standing::Coming { .. } => self.standing.clone(),
                Standing::Free | Standing::Theirs(_) => Standing::Coming {
                    from: other.to_owned(),
                    at: now + HANDOVER,
                },
            },
        }
    }
}

/// The namespace of the oldest one; of two of the same second, the first by name.
fn oldest<'s>(alive: impl Iterator<Item = &'s Seen>) -> Option<&'s str> {
    let claims = alive.map(|seen| (seen.claim.created, seen.claim.namespace.as_str()));
    claims.min().map(|(_, namespace)| namespace)
}

#[cfg(test)]
mod tests;
