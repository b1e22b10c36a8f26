use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};
use splittoken_store::{Health, StoreSession};
use tokio::time::sleep;

/// For how long a gateway that starts is not ready without its store: whoever waits for it to be ready, as `helm install
/// --wait` does, wants to use it then. Not for ever: an outage of the store must not keep pods from starting.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks until then.
const EVERY: Duration = Duration::from_millis(20);

/// What is to be said of a store that a gateway waits for as it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Wait,
    Reached,
    /// It is not waited for any longer.
    Missed,
}

fn first(up: usize, workers: usize, waited: Duration) -> First {
    if up >= workers {
        First::Reached
    } else if waited < PATIENCE {
        First::Wait
    } else {
        First::Missed
    }
}

/// How many of the workers reach the store. As a metric it is counted when somebody looks: a number that was written
/// down earlier would go on saying that all is well.
#[derive(Clone, Default)]
pub(crate) struct StoreHealth(Arc<Mutex<Vec<StoreSession>>>);

impl StoreHealth {
    /// One more worker's connection.
    pub(crate) fn add(&self, session: StoreSession) {
        self.0.lock().push(session);
    }

    /// Waits until all workers have reached the store, or for long enough. Never again after that: what is ready stays so.
    pub(crate) async fn reached_first(&self, workers: usize) {
        let start = Instant::now();
        loop {
            match first(self.up(), workers, start.elapsed()) {
                First::Wait => sleep(EVERY).await,
                First::Reached => return,
                First::Missed => {
                    tracing::warn!(
                        up = self.up(),
                        workers,
                        "ready without the store, which was not reached"
                    );
                    return;
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_waits_for_every_worker_and_not_for_ever() {
        let soon = Duration::from_millis(10);
        for (up, waited, expected) in [
            (0, soon, First::Wait),
            (1, soon, First::Wait),
            (2, soon, First::Reached),
            (1, PATIENCE, First::Missed),
            (2, PATIENCE, First::Reached),
        ] {
            assert_eq!(first(up, 2, waited), expected, "{up} {waited:?}");
        }
    }
}
