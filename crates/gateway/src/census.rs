//! What is counted when somebody asks: what is there now, and what belongs to a configuration. It costs requests nothing.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    connection::PROTOCOLS,
    metrics::{PREFIX, encode_counters, encode_gauges},
    snapshot::Snapshot,
    tls::{CertificateState, SharedCertificates},
    tokens::Cache,
    worker::Shared,
};

/// Whom to ask.
pub(crate) struct Census {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cache: Cache,
    pub(crate) certificates: Option<SharedCertificates>,
}

impl Census {
    pub(crate) fn register(self, registry: &mut Registry) {
        registry
            .sub_registry_with_prefix(PREFIX)
            .register_collector(Box::new(self));
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let requests = self.shared.requests();
        let labels = || PROTOCOLS.map(|protocol| [("protocol", protocol)]).into_iter();
        encode_counters(
            encoder,
            "client_requests",
            "Requests of clients by the version of HTTP",
            labels().zip(requests.begun),
        )?;
        encode_gauges(
            encoder,
            "requests_in_flight",
            "Requests that are being served, to the end of their responses",
            labels().zip(requests.in_flight.map(signed)),
        )
    }

    fn cache(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (entries, bytes) = (self.cache.len() as u64, self.cache.weight());
        for (name, help, value) in [
            ("near_cache_entries", "Tokens in the near cache", entries),
            ("near_cache_bytes", "What they weigh", bytes),
        ] {
            let gauge = ConstGauge::new(signed(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let (name, help) = (
            "near_cache_evictions",
            "Tokens that had to make room for others in the near cache",
        );
        let counter = ConstCounter::new(self.cache.evictions());
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(certificates) = &self.certificates else {
            return Ok(());
        };
        let certificates = certificates.load();
        let states = || certificates.states().iter();
        let labels = |state: &CertificateState| [("certificate", state.short_name().to_owned())];
        encode_gauges(
            encoder,
            "tls_certificate_expiry_timestamp_seconds",
            "When a certificate of the TLS listener ends",
            states().filter_map(|state| Some((labels(state), state.end()?))),
        )?;
        encode_gauges(
            encoder,
            "tls_certificate_failing",
            "1 while a certificate of the TLS listener is not what its files hold now",
            states().map(|state| (labels(state), i64::from(state.problem().is_some()))),
        )
    }
}

fn providers(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counted: Vec<_> = snapshot
        .issuers()
        .map(|issuer| (&*issuer.provider.settings().name, issuer.calls.counted()))
        .collect();
    let calls = counted.iter().flat_map(|(issuer, calls)| {
        calls.iter().map(move |((call, outcome), count)| {
            let labels = [("issuer", *issuer), ("call", *call), ("outcome", *outcome)];
            (labels, *count)
        })
    });
    encode_counters(
        encoder,
        "provider_requests",
        "Requests to providers by outcome",
        calls,
    )
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.shared.snapshots.load();
        snapshot.counters.encode(&mut encoder)?;
        providers(&snapshot, &mut encoder)?;
        self.requests(&mut encoder)?;
        self.cache(&mut encoder)?;
        self.certificates(&mut encoder)
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Census")
    }
}
