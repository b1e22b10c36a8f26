//! Traces: what upstreams and providers hear of them, and what a collector gets.

mod exported;
mod https;
mod passed;
mod sampling;
mod trouble;

use anyhow::Result;
use serde_json::json;
use splittoken_tests::collector::{Collector, Span};
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A `traceparent` of a client.
fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A rule with tokens, one without, and one that nobody is behind.
fn route(to: &Addresses) -> String {
    let rules = json!([
        {
            "name": "orders",
            "matches": [{"path": {"value": "/orders"}}],
            "authorization": {"scopes": ["read"]},
            "backendRefs": [{"url": to.upstream}],
        },
        {
            "name": "open",
            "matches": [{"path": {"value": "/open"}}, {"path": {"value": "/also"}}],
            "authentication": "Disabled",
            "backendRefs": [{"url": to.upstream}],
        },
        {
            "name": "nobody",
            "matches": [{"path": {"value": "/nobody"}}],
            "authentication": "Disabled",
            "backendRefs": [{"url": "http://127.0.0.1:1"}],
        },
    ]);
    Route::new(&to.issuer, &to.upstream)
        .spec(&json!({"rules": rules, "hostnames": ["127.0.0.1", "*.wild.example"]}))
        .into()
}

/// A stand that exports to a collector.
struct Traced {
    stand: Stand,
    collector: Collector,
}

impl Traced {
    /// Every request leaves spans.
    fn start() -> Result<Self> {
        Self::with(&["--trace-sampling", "1"])
    }

    fn with(arguments: &[&str]) -> Result<Self> {
        let collector = Collector::start()?;
        let url = collector.url();
        let stand = Stand::built(route, |gateway| {
            gateway
                .arguments(&["--otlp-endpoint", &url, "--http2-cleartext"])
                .arguments(arguments)
        })?;
        Ok(Self { stand, collector })
    }
}

/// The value of `traceparent` as trace, parent and flags.
fn parts(value: &str) -> (String, String, String) {
    let parts: Vec<&str> = value.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{value}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

/// The only span of this kind in a trace.
fn only<'s>(spans: &'s [Span], trace: &str, kind: &str) -> &'s Span {
    let mut found = spans
        .iter()
        .filter(|span| span.trace == trace && span.kind == kind);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {kind} span of {trace}: {spans:?}"));
    assert!(
        found.next().is_none(),
        "several {kind} spans of {trace}: {spans:?}"
    );
    first
}
