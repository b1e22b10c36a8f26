use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};
use splittoken_store::{Health, StoreSession};

/// How many of the workers reach the store. As a metric it is counted when somebody looks: a number that was written
/// down earlier would go on saying that all is well.
#[derive(Clone, Default)]
pub(crate) struct StoreHealth(Arc<Mutex<Vec<StoreSession>>>);

impl StoreHealth {
    /// One more worker's connection.
    pub(crate) fn add(&self, session: StoreSession) {
        self.0.lock().push(session);
    }

    /// How many of them are up now.
    pub(crate) fn up(&self) -> usize {
        let sessions = self.0.lock();
        let up = sessions
            .iter()
            .filter(|session| matches!(session.health(), Health::Up));
        up.count()
    }
}

impl Collector for StoreHealth {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(self.up()).unwrap_or(i64::MAX));
        let help = "Workers whose connection to the store is up";
        gauge.encode(encoder.encode_descriptor("store_up", help, None, gauge.metric_type())?)
    }
}

impl fmt::Debug for StoreHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreHealth({} up)", self.up())
    }
}
