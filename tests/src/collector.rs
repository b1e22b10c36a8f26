//! A collector of spans: reads what comes by OTLP over HTTP with the types of the protocol's own definition.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Wire;
use prost::Message as _;

use crate::certs::Authority;
use crate::upstream::Upstream;
use crate::wait;
use crate::wire::{Request, Step, answer};

/// Ten times the two seconds that spans wait for others.
const LIMIT: Duration = Duration::from_secs(20);

/// A running collector.
pub struct Collector {
    server: Upstream,
}

/// A span, its attributes as text.
#[derive(Debug, Clone)]
pub struct Span {
    /// What it is called.
    pub name: String,
    /// `SERVER` or `CLIENT`.
    pub kind: String,
    /// In hexadecimal digits.
    pub trace: String,
    /// The same.
    pub id: String,
    /// The same; empty where there is none.
    pub parent: String,
    /// Whether it is marked as a failure.
    pub is_error: bool,
    /// How long it took.
    pub took: Duration,
    /// What it says.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Takes everything.
    pub fn start() -> Result<Self> {
        Ok(Self::at(Upstream::start()?))
    }

    /// Takes everything, over TLS with a certificate of this authority.
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        let tls = authority.certify(&["127.0.0.1"])?.server_config()?;
        Ok(Self::at(Upstream::start_tls(tls)?))
    }

    fn at(server: Upstream) -> Self {
        let headers = [("Content-Type", "application/x-protobuf")];
        server.answer(answer("200 OK", &headers, ""));
        Self { server }
    }

    /// From now on plays these steps for each request.
    pub fn steps(&self, steps: Vec<Step>) {
        self.server.steps(steps);
    }

    /// For `--otlp-endpoint`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The raw requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The spans so far; what is no OTLP is an error.
    pub fn spans(&self) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for request in self.requests() {
            ensure!(request.line() == "POST /v1/traces HTTP/1.1", "{}", request.line());
            let kind = request.header("content-type");
            ensure!(
                kind.as_deref() == Some("application/x-protobuf"),
                "no protobuf: {kind:?}"
            );
            for resource in ExportTraceServiceRequest::decode(request.body())?.resource_spans {
                let attributes = resource.resource.context("no resource")?.attributes;
                let service = texts(attributes).remove("service.name");
                ensure!(
                    service.as_deref() == Some("splittoken-gateway"),
                    "another service: {service:?}"
                );
                let scopes = resource.scope_spans.into_iter();
                spans.extend(scopes.flat_map(|scope| scope.spans).map(Span::from));
            }
        }
        Ok(spans)
    }

    /// Waits until there are this many spans, and gives them.
    pub fn wait_for(&self, number: usize) -> Result<Vec<Span>> {
        wait::until(LIMIT, &format!("{number} spans"), || {
            self.spans().ok().filter(|spans| spans.len() >= number)
        })
    }
}

impl Span {
    /// One of its attributes.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

impl From<Wire> for Span {
    fn from(span: Wire) -> Self {
        let kind = span.kind().as_str_name().replace("SPAN_KIND_", "");
        let took = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
        Self {
            kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            // 2 is ERROR.
            is_error: span.status.is_some_and(|status| status.code == 2),
            took: Duration::from_nanos(took),
            attributes: texts(span.attributes),
            name: span.name,
        }
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let texts = attributes.into_iter().map(|pair| (pair.key, text(pair.value)));
    texts.collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
