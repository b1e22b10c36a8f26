//! Which requests leave spans, what is in them, and what upstreams hear of it (W3C Trace Context).
//!
//! ```text
//!   traceparent ─▶ decide ─┬▶ recorded: a server span, a client span for the upstream or the provider, whose child the
//!                          │  upstream is
//!                          └▶ not recorded: passed on as it came, less a "sampled" that is not ours to say
//! ```
//!
//! A span holds what was configured and words of closed sets; of what a client says, only the ids of its trace: no path,
//! no query, no header, no name.

use std::{borrow::Cow, fmt};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts, uri::Authority,
};
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SdkTracer, Span};
use splittoken_routing::{Hostname, PathMatch, ServedRoute, ServedRule};

use crate::client_address::Peer;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What begins spans, and for how many of the requests.
#[derive(Clone)]
pub struct Tracing {
    tracer: SdkTracer,
    /// A random number below this one has a request recorded.
    threshold: u64,
}

impl Tracing {
    /// Records this share of the requests, from 0 to 1, for which no trusted proxy has decided.
    pub fn new(tracer: SdkTracer, ratio: f64) -> Self {
        // Saturates: 1 is all but one in 2^64.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss
        )]
        let threshold = (ratio * u64::MAX as f64) as u64;
        Self { tracer, threshold }
    }

    /// Begins the span of a request that is to be recorded. Afterwards its headers say what may be passed on.
    pub(crate) fn begin(
        &self,
        parts: &mut Parts,
        peer: &Peer,
        is_http2: bool,
        random: u64,
    ) -> Option<Box<Recorded>> {
        let told = Told::of(&parts.headers);
        match decide(&told, peer.is_trusted(), random < self.threshold) {
            Decision::Record => Some(self.record(parts, peer, is_http2, told)),
            Decision::Pass => None,
            Decision::PassUnsampled(parent) => {
                set(&mut parts.headers, &unsampled(&parent));
                None
            }
            Decision::Forget => {
                forget(&mut parts.headers);
                None
            }
        }
    }

    fn record(&self, parts: &mut Parts, peer: &Peer, is_http2: bool, told: Told) -> Box<Recorded> {
        let method = known_method(&parts.method);
        let parent = match told {
            Told::Context(parent) => Context::new().with_remote_span_context(parent),
            Told::Nothing | Told::Nonsense => {
                // A state belongs to the trace that it came with.
                forget(&mut parts.headers);
                Context::new()
            }
        };
        let version = if is_http2 {
            "2"
        } else if parts.version == Version::HTTP_10 {
            "1.0"
        } else {
            "1.1"
        };
        let builder = SpanBuilder::from_name(span_name(method))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.scheme", peer.scheme_name()),
                KeyValue::new("network.protocol.version", version),
            ]);
        let span = self.tracer.build_with_context(builder, &parent);
        Box::new(Recorded {
            tracer: self.tracer.clone(),
            span,
            method,
        })
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracing({} of 2^64)", self.threshold)
    }
}

/// What a request says of its trace.
#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    /// Something that is no `traceparent`, or several.
    Nonsense,
    Context(SpanContext),
}

impl Told {
    fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(only), None) => parse(only.as_bytes()).map_or(Self::Nonsense, Self::Context),
            (Some(_), Some(_)) => Self::Nonsense,
        }
    }
}

/// Reads a `traceparent` (Trace Context §3.2.2). The library's own reader takes ids that are too short.
fn parse(value: &[u8]) -> Option<SpanContext> {
    /// Of version 00; later ones may only add to it.
    const LENGTH: usize = 55;
    let (form, rest) = value.split_at_checked(LENGTH)?;
    let text = str::from_utf8(form).ok()?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let has_form = form.iter().enumerate().all(|(place, b)| match place {
        2 | 35 | 52 => *b == b'-',
        _ => is_hex(*b),
    });
    let is_known = match &text[..2] {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    if !has_form || !is_known {
        return None;
    }
    let flags = u8::from_str_radix(&text[53..], 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(&text[3..35]).ok()?,
        SpanId::from_hex(&text[36..52]).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        // It is passed on as a header, and has no place in our spans: anything may be in it.
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

/// What is done about a request's trace.
#[derive(Debug, PartialEq)]
enum Decision {
    Record,
    /// What it says is passed on as it came.
    Pass,
    /// The same, without its "sampled".
    PassUnsampled(SpanContext),
    /// What it says is no good to anybody.
    Forget,
}

/// A trusted proxy decides. For anybody else chance does, and not the trace's id, which a client may choose so that all
/// of its requests are recorded.
fn decide(told: &Told, is_trusted: bool, is_chosen: bool) -> Decision {
    match told {
        Told::Context(parent) if is_trusted && parent.is_sampled() => Decision::Record,
        Told::Context(_) if is_trusted => Decision::Pass,
        _ if is_chosen => Decision::Record,
        Told::Context(parent) if parent.is_sampled() => Decision::PassUnsampled(parent.clone()),
        Told::Context(_) | Told::Nothing => Decision::Pass,
        Told::Nonsense => Decision::Forget,
    }
}

/// Whoever changes the flag has to be a new parent (Trace Context §3.4).
fn unsampled(parent: &SpanContext) -> SpanContext {
    SpanContext::new(
        parent.trace_id(),
        RandomIdGenerator::default().new_span_id(),
        TraceFlags::NOT_SAMPLED,
        false,
        TraceState::default(),
    )
}

fn set(headers: &mut HeaderMap, context: &SpanContext) {
    let text = format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    );
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(TRACEPARENT, value);
    }
}

fn forget(headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
}

/// A request that is recorded. Its span ends when this is dropped: with the last byte of the answer.
pub(crate) struct Recorded {
    tracer: SdkTracer,
    span: Span,
    method: &'static str,
}

impl Recorded {
    /// It is served by this rule.
    pub(crate) fn found_rule(&mut self, rule: &ServedRule, headers: &HeaderMap) {
        self.found(&rule.route, only_path(rule), headers);
        let name = rule.config.name.clone();
        self.span.set_attribute(KeyValue::new("splittoken.rule", name));
    }

    /// It is for the token endpoint of this route.
    pub(crate) fn found_token_endpoint(&mut self, route: &ServedRoute, headers: &HeaderMap) {
        let endpoint = route.config.token_endpoint.as_ref();
        self.found(route, endpoint.map(|endpoint| endpoint.path.as_str()), headers);
    }

    fn found(&mut self, route: &ServedRoute, path: Option<&str>, headers: &HeaderMap) {
        let name = route.config.name.to_string();
        self.span.set_attribute(KeyValue::new("splittoken.route", name));
        if let Some(host) = matched_host(&route.config.hostnames, headers) {
            self.span
                .set_attribute(KeyValue::new("server.address", host.to_string()));
        }
        if let Some(path) = path {
            self.span
                .update_name(format!("{} {path}", span_name(self.method)));
            self.span
                .set_attribute(KeyValue::new("http.route", path.to_owned()));
        }
    }

    /// It was answered, by us if there is a reason.
    pub(crate) fn answered(&mut self, status: StatusCode, reason: Option<&'static str>) {
        end(&mut self.span, status, reason, status.is_server_error());
    }

    /// Its answer broke off.
    pub(crate) fn broke_off(&mut self) {
        self.span.set_attribute(KeyValue::new("error.type", "broken_off"));
        self.span.set_status(Status::error(""));
    }

    /// Begins what is asked of somebody else for it.
    pub(crate) fn call(&self, server: Called<'_>) -> Box<Call> {
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        let (key, value) = match server {
            Called::Upstream(address) => ("server.address", address),
            Called::Provider(issuer) => ("splittoken.issuer", issuer),
        };
        let builder = SpanBuilder::from_name(span_name(self.method))
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("http.request.method", self.method),
                KeyValue::new(key, value.to_owned()),
            ]);
        Box::new(Call(self.tracer.build_with_context(builder, &parent)))
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Called<'c> {
    /// `host:port`, or what stands for it in the configuration.
    Upstream(&'c str),
    /// The issuer's name.
    Provider(&'c str),
}

/// Something that is asked of an upstream or a provider. Its span ends when this is dropped: with the head of the answer.
pub(crate) struct Call(Span);

impl Call {
    /// Whoever is asked hears that this is its parent.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        set(headers, self.0.span_context());
    }

    pub(crate) fn ended(mut self: Box<Self>, outcome: Result<StatusCode, &'static str>) {
        match outcome {
            Ok(status) => {
                let is_failure = status.is_client_error() || status.is_server_error();
                end(&mut self.0, status, None, is_failure);
            }
            Err(reason) => {
                self.0.set_attribute(KeyValue::new("error.type", reason));
                self.0.set_status(Status::error(""));
            }
        }
    }
}

fn end(span: &mut Span, status: StatusCode, reason: Option<&'static str>, is_failure: bool) {
    let number = status.as_u16();
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(number)));
    let why = match reason {
        Some(reason) => Some(Cow::Borrowed(reason)),
        None => is_failure.then(|| Cow::Owned(number.to_string())),
    };
    if let Some(why) = why {
        span.set_attribute(KeyValue::new("error.type", why));
    }
    if is_failure {
        span.set_status(Status::error(""));
    }
}

/// Which of a route's hosts this is, as it was configured: under a wildcard a client may write what it likes.
fn matched_host<'h>(hosts: &'h [Hostname], headers: &HeaderMap) -> Option<&'h Hostname> {
    let authority = Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let host = Hostname::Exact(host.to_ascii_lowercase());
    let exact = hosts.iter().find(|wanted| **wanted == host);
    exact.or_else(|| hosts.iter().find(|wanted| wanted.covers(&host)))
}

/// The path that a rule is for, if it is one.
fn only_path(rule: &ServedRule) -> Option<&str> {
    let mut paths = rule.config.matches.iter().map(|wanted| match &wanted.path {
        PathMatch::Prefix(path) | PathMatch::Exact(path) => path.as_str(),
    });
    let first = paths.next()?;
    paths.all(|path| path == first).then_some(first)
}

/// The method, if it is one of the conventions; a client may make up others.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

fn span_name(method: &'static str) -> &'static str {
    if method == "_OTHER" { "HTTP" } else { method }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const NOT_SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn told(values: &[&str]) -> Told {
        let pairs = values.iter().map(|value| (TRACEPARENT, value.parse().unwrap()));
        Told::of(&pairs.collect())
    }

    #[test]
    fn contexts_are_read_as_the_recommendation_has_them() {
        for (text, is_sampled) in [
            (SAMPLED, true),
            (NOT_SAMPLED, false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
                true,
            ),
        ] {
            let Told::Context(context) = told(&[text]) else {
                panic!("{text} is not taken");
            };
            assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(
                (context.span_id().to_string().as_str(), context.is_sampled()),
                ("00f067aa0ba902b7", is_sampled)
            );
        }
        for text in [
            "",
            "00",
            "00-1-1-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        ] {
            assert_eq!(told(&[text]), Told::Nonsense, "{text}");
        }
        assert_eq!(told(&[]), Told::Nothing);
        assert_eq!(told(&[SAMPLED, SAMPLED]), Told::Nonsense);
    }

    #[test]
    fn trusted_proxies_decide_and_chance_does_for_the_others() {
        let context = |text: &str| parse(text.as_bytes()).unwrap();
        let record = Decision::Record;
        for (value, is_trusted, is_chosen, expected) in [
            (Some(SAMPLED), true, false, record),
            (Some(NOT_SAMPLED), true, true, Decision::Pass),
            (None, true, true, Decision::Record),
            (None, true, false, Decision::Pass),
            (Some(SAMPLED), false, true, Decision::Record),
            (
                Some(SAMPLED),
                false,
                false,
                Decision::PassUnsampled(context(SAMPLED)),
            ),
            (Some(NOT_SAMPLED), false, true, Decision::Record),
            (Some(NOT_SAMPLED), false, false, Decision::Pass),
            (Some("nonsense"), false, false, Decision::Forget),
            (Some("nonsense"), true, true, Decision::Record),
        ] {
            let told = told(&value.into_iter().collect::<Vec<_>>());
            assert_eq!(
                decide(&told, is_trusted, is_chosen),
                expected,
                "{value:?} {is_trusted} {is_chosen}"
            );
        }
    }

    #[test]
    fn a_sampled_that_is_taken_back_has_a_new_parent() {
        let parent = parse(SAMPLED.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        set(&mut headers, &unsampled(&parent));
        let Told::Context(passed) = Told::of(&headers) else {
            panic!("{headers:?}");
        };
        assert_eq!(passed.trace_id(), parent.trace_id());
        assert!(passed.span_id() != parent.span_id() && !passed.is_sampled());
    }

    #[test]
    fn methods_are_of_a_closed_set() {
        for (method, known, name) in [
            ("GET", "GET", "GET"),
            ("PATCH", "PATCH", "PATCH"),
            ("get", "_OTHER", "HTTP"),
        ] {
            let found = known_method(&method.parse().unwrap());
            assert_eq!((found, span_name(found)), (known, name));
        }
    }
}
