use std::time::Duration;

use tokio::{sync::watch, time::sleep};

use crate::Readiness;

/// Where the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainPhase {
    /// Not leaving.
    Serving,
    /// Not ready any more, but still accepting: whoever routes to us has not noticed yet.
    Leaving,
    /// No new connections; what is in flight is finished.
    Closing,
}

/// How long each step takes.
#[derive(Clone, Copy, Debug)]
pub struct DrainTimes {
    /// How long to accept after the process has become unready.
    pub min_drain: Duration,
    /// The most that finishing may take after that.
    pub drain: Duration,
}

/// Tells everybody where the process is on its way out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Receiver<DrainPhase>,
}

impl Drain {
    /// A drain that starts when `stop` completes. The returned future drives it and ends at the last phase; it
    /// has to be spawned or awaited.
    pub fn new(
        readiness: Readiness,
        times: DrainTimes,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, phase) = watch::channel(DrainPhase::Serving);
        let driver = async move {
            stop.await;
            readiness.leave();
            sender.send_replace(DrainPhase::Leaving);
            tracing::info!(
                seconds = times.min_drain.as_secs_f32(),
                "leaving: not ready, still accepting"
            );
            sleep(times.min_drain).await;
            // Before the others know: a gateway with nothing in flight ends the process in no time.
            tracing::info!(
                seconds = times.drain.as_secs_f32(),
                "closing: finishing what is in flight"
            );
            sender.send_replace(DrainPhase::Closing);
            // Whoever waits for a phase must not see the channel close before they have read the last one.
            sender.closed().await;
        };
        (Self { phase }, driver)
    }

    /// Where the process is now.
    pub fn phase(&self) -> DrainPhase {
        *self.phase.borrow()
    }

    /// Completes when the process has come to `phase` or beyond.
    pub async fn reached(&mut self, phase: DrainPhase) {
        // The channel only closes with the process; then everything has been reached.
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unready_first_then_closing() {
        let readiness = Readiness::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let times = DrainTimes {
            min_drain: Duration::from_millis(20),
            drain: Duration::from_secs(1),
        };
        let (mut drain, driver) = Drain::new(readiness.clone(), times, async {
            let _ = stopped.await;
        });
        tokio::spawn(driver);
        assert_eq!(drain.phase(), DrainPhase::Serving);
        stop.send(()).unwrap();
        drain.reached(DrainPhase::Leaving).await;
        assert_eq!(readiness.report(), ["shutting down"]);
        drain.reached(DrainPhase::Closing).await;
        assert_eq!(drain.phase(), DrainPhase::Closing);
    }
}
