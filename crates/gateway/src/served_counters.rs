//! What is counted of routes and rules. The counters belong to the configuration: what is served on keeps them, and what
//! is not served any more goes with its series. Each series is there from its first count on: five for each of ten
//! thousand rules would be megabytes at every scrape, nearly all of them zeros.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;
use splittoken_routing::{RouteTable, ServedRoute, ServedRule};

use crate::{metrics::encode_counters, retry_budget::RetryBudget};

const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).saturating_sub(1)
}

/// `1xx` to `5xx`.
pub(crate) fn status_class(status: StatusCode) -> &'static str {
    CODES.get(class(status)).copied().unwrap_or("other")
}

/// How a rule's requests were answered.
#[derive(Debug, Default)]
pub(crate) struct RuleCounters {
    /// By status class.
    answers: [AtomicU64; CODES.len()],
    pub(crate) retries: RetryBudget,
}

impl RuleCounters {
    pub(crate) fn count(&self, status: StatusCode) {
        if let Some(counter) = self.answers.get(class(status)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.answers.iter().map(|counter| counter.load(Relaxed));
        CODES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

/// What came of a route's token requests.
#[derive(Debug, Default)]
pub(crate) struct TokenCounters(Mutex<BTreeMap<&'static str, u64>>);

impl TokenCounters {
    pub(crate) fn count(&self, outcome: &'static str) {
        *self.0.lock().entry(outcome).or_default() += 1;
    }
}

/// The counters of one configuration.
#[derive(Debug, Default)]
pub(crate) struct ServedCounters {
    /// By [`ServedRule::index`].
    by_index: Vec<Arc<RuleCounters>>,
    /// By the names of routes and their rules. Rules of one name count together.
    rules: BTreeMap<(String, String), Arc<RuleCounters>>,
    tokens: BTreeMap<String, Arc<TokenCounters>>,
}

impl ServedCounters {
    /// Those of `table`: from `before` what was there already.
    pub(crate) fn new(table: &RouteTable, before: &Self) -> Self {
        let mut rules = BTreeMap::new();
        let of_rule = |rule: &Arc<ServedRule>| {
            let names = (rule.route.config.name.to_string(), rule.config.name.clone());
            let known = before.rules.get(&names);
            let counters = rules
                .entry(names)
                .or_insert_with(|| known.cloned().unwrap_or_default());
            Arc::clone(counters)
        };
        let by_index = table.rules().iter().map(of_rule).collect();
        let of_route = |route: &Arc<ServedRoute>| {
            let name = route.config.name.to_string();
            let counters = before.tokens.get(&name).cloned().unwrap_or_default();
            (name, counters)
        };
        let has_tokens = |route: &&Arc<ServedRoute>| route.config.token_endpoint.is_some();
        Self {
            by_index,
            rules,
            tokens: table.routes().iter().filter(has_tokens).map(of_route).collect(),
        }
    }

    pub(crate) fn rule(&self, rule: &ServedRule) -> Option<&RuleCounters> {
        self.by_index.get(rule.index).map(|counters| &**counters)
    }

    pub(crate) fn tokens(&self, route: &ServedRoute) -> Option<&TokenCounters> {
        self.tokens
            .get(&route.config.name.to_string())
            .map(|counters| &**counters)
    }

    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = self.rules.iter().flat_map(|((route, rule), counters)| {
            let labels = move |code| [("route", &**route), ("rule", rule), ("code", code)];
            counters.counted().map(move |(code, count)| (labels(code), count))
        });
        encode_counters(
            encoder,
            "requests",
            "Requests by route, rule and status class",
            requests,
        )?;
        let tokens = self.tokens.iter().flat_map(|(route, counters)| {
            let labels = move |outcome| [("route", &**route), ("outcome", outcome)];
            let counted = counters.0.lock().clone().into_iter();
            counted.map(move |(outcome, count)| (labels(outcome), count))
        });
        encode_counters(
            encoder,
            "token_requests",
            "Token requests by route and outcome",
            tokens,
        )
    }
}
