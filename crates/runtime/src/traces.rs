//! Spans on their way to a collector: OTLP, protobuf over HTTP.
//!
//! ```text
//!   a span ends ─▶ Bounded ─▶ the batch processor's own thread ─▶ Counted ─▶ Sender ─▶ a task of the control runtime
//!                    └ the queue is full: dropped and counted
//! ```
//!
//! Whoever ends a span never waits: what a collector does not take in time is dropped.

mod collector;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry::{Context, trace::TracerProvider as _};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter as OtlpExporter, WithExportConfig as _,
    WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData,
        SpanExporter, SpanProcessor,
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use thiserror::Error;
use tokio::runtime::Handle;

use self::collector::{Cause, Sender};
pub use self::collector::{Collector, CollectorUrl};

/// The most spans that wait for the collector: some seconds of a busy gateway that samples 1 in 100.
const QUEUE: usize = 4096;
/// The most spans of one request.
const BATCH: usize = 512;
/// How long a span may wait for others to be sent with.
const DELAY: Duration = Duration::from_secs(2);
/// How long the collector may take for one request.
const EXPORT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans to be taken.
const FLUSH: Duration = Duration::from_secs(2);

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub enum TracesError {
    /// No HTTP client: there are no certificate authorities on this machine, say.
    #[error("the client for the collector cannot be set up")]
    Client(#[source] reqwest::Error),
    /// Certificate authorities for a collector that shows no certificate.
    #[error("certificate authorities are given, but the collector's URL is not https://")]
    NotHttps,
    /// There is no file with certificate authorities that can be read.
    #[error("cannot read the collector's certificate authorities")]
    Unreadable(#[source] io::Error),
    /// The file has no certificate in it.
    #[error("there is no certificate in PEM for the collector")]
    NoAuthorities,
    /// What is in it cannot be used.
    #[error("the collector's certificate authorities cannot be used")]
    Authorities(#[source] reqwest::Error),
    /// The library refuses its settings, some of which are in `OTEL_*` variables.
    #[error("the exporter of spans cannot be set up")]
    Exporter(#[source] ExporterBuildError),
}

impl TracesError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Client(_) => "traces_client",
            Self::NotHttps => "traces_not_https",
            Self::Unreadable(_) => "traces_ca_unreadable",
            Self::NoAuthorities | Self::Authorities(_) => "traces_ca",
            Self::Exporter(_) => "traces_exporter",
        }
    }
}

/// What became of spans that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabels {
    /// `exported`, `failed` or `dropped`.
    outcome: &'static str,
}

/// The way of spans to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sets everything up; nothing is sent before a span ends. Requests to the collector run on `runtime`. Counts under
    /// `trace_spans` of `registry`.
    pub fn start(
        service: &'static str,
        collector: &Collector,
        runtime: Handle,
        registry: &mut Registry,
    ) -> Result<Self, TracesError> {
        let counts = Family::<SpanLabels, Counter>::default();
        registry.register("trace_spans", "Spans by what became of them", counts.clone());
        let waiting = Arc::new(AtomicUsize::new(0));
        let cause = Cause::default();
        let exporter = Counted {
            inner: exporter(collector, runtime, cause.clone())?,
            cause,
            waiting: Arc::clone(&waiting),
            counts: counts.clone(),
            is_failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let processor = Bounded {
            inner: BatchSpanProcessor::builder(exporter)
                .with_batch_config(batches)
                .build(),
            waiting,
            dropped: counts.get_or_create(&SpanLabels { outcome: "dropped" }).clone(),
        };
        let provider = SdkTracerProvider::builder()
            // Whoever begins a span has decided that there is one.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(Resource::builder().with_service_name(service).build())
            .with_span_processor(processor)
            .build();
        Ok(Self { provider })
    }

    /// What begins spans.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("splittoken")
    }

    /// Sends what is left, for two seconds at most. Blocks: not for a thread that serves.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

fn exporter(collector: &Collector, runtime: Handle, cause: Cause) -> Result<OtlpExporter, TracesError> {
    OtlpExporter::builder()
        .with_http()
        .with_http_client(Sender::new(collector, runtime, cause)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(collector.url.traces())
        .with_timeout(EXPORT)
        .with_retry_policy(RetryPolicy::recommended().with_max_retries(1))
        .build()
        .map_err(TracesError::Exporter)
}

/// Takes no more spans than the queue holds, so that each one that is not sent is counted.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Relaxed);
            self.dropped.inc();
            return;
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what the collector took and what it did not.
#[derive(Debug)]
struct Counted {
    inner: OtlpExporter,
    cause: Cause,
    waiting: Arc<AtomicUsize>,
    counts: Family<SpanLabels, Counter>,
    /// Whether the last batch was not taken.
    is_failing: AtomicBool,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let number = batch.len();
        let outcome = self.inner.export(batch).await;
        self.waiting.fetch_sub(number, Relaxed);
        let label = if outcome.is_ok() { "exported" } else { "failed" };
        self.counts
            .get_or_create(&SpanLabels { outcome: label })
            .inc_by(number as u64);
        let is_failing = outcome.is_err();
        match (self.is_failing.swap(is_failing, Relaxed), &outcome) {
            (false, Err(error)) => {
                let cause = self.cause.text();
                tracing::warn!(%error, cause, "the collector does not take spans");
            }
            (true, Ok(())) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
