//! One client's connection, from the socket to the end of its last request.
//!
//! ```text
//!   socket ─▶ opening: PROXY header ─▶ TLS ─▶ version ─▶ hyper, watched ─▶ request
//! ```

mod activity;
mod opening;
mod proxy_protocol;
mod refusal;
mod socket;
mod transport;
mod watched;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo};

pub(crate) use activity::{Activity, Command, InFlight, PROTOCOLS, Requests, Ticks};
pub(crate) use opening::{Entrance, OpenError};
use opening::{Opened, Version};
use watched::Watched;

use crate::{
    client_address::Peer, limits::Limits, request::answer, settings::READ_BUFFER, tracked::Tracked,
    worker::Worker,
};

/// How much of a request, or of what a tunnel carries, may wait here for a slow upstream, in bytes: what Envoy's guide
/// advises at the edge. Enough for 1.3 MB/s over 50 ms.
const STREAM_WINDOW: u32 = 64 * 1024;

/// What hyper reads from and writes to.
type Io = TokioIo<Watched>;

/// Serves the requests of a connection until it ends or is told to.
pub(crate) async fn serve(worker: Arc<Worker>, opened: Opened, activity: &Arc<Activity>) {
    let peer = Arc::new(Peer::new(
        opened.address,
        opened.scheme,
        opened.place,
        &worker.shared.trusted_proxies,
    ));
    let io = TokioIo::new(Watched::new(opened.transport, Arc::clone(activity)));
    let limits = worker.shared.settings.limits;
    let noted = Arc::clone(activity);
    let metrics = Arc::clone(&worker.shared.metrics);
    let service = service_fn(move |request| {
        let (worker, peer, activity) = (Arc::clone(&worker), Arc::clone(&peer), Arc::clone(&noted));
        async move { Ok::<_, Infallible>(answer(&worker, &peer, &activity, request).await) }
    });
    let (ended, protocol) = match opened.version {
        Version::Http1 => {
            let connection = http1(&limits).serve_connection(io, service);
            let ended = drive(connection.with_upgrades(), activity, &limits).await;
            (ended, "http1")
        }
        Version::Http2 => {
            activity.multiplex();
            let connection = http2(&limits).serve_connection(io, service);
            (drive(connection, activity, &limits).await, "http2")
        }
    };
    if let Err(error) = ended {
        metrics.connection_failed(protocol, refusal::reason(&error));
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// Drives a connection until it ends or is told to.
async fn drive(connection: impl Serving, activity: &Activity, limits: &Limits) -> Result<(), hyper::Error> {
    let mut connection = pin!(connection);
    let mut is_finishing = false;
    poll_fn(|cx| {
        let told = activity.told(cx);
        if told == Command::Abort {
            return Poll::Ready(Ok(()));
        }
        // First what has come: a request that is here already is not lost.
        let polled = connection.as_mut().poll(cx);
        if is_finishing || polled.is_ready() || !activity.may_finish(told, limits) {
            return polled;
        }
        is_finishing = true;
        connection.as_mut().finish();
        connection.as_mut().poll(cx)
    })
    .await
}

/// A connection of either version.
trait Serving: Future<Output = Result<(), hyper::Error>> {
    /// What is in flight is finished, and nothing else begun.
    fn finish(self: Pin<&mut Self>);
}

impl<S> Serving for http1::UpgradeableConnection<Io, S>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Serving for http2::Connection<Io, S, TokioExecutor>
where
    S: HttpService<Incoming, ResBody = Tracked, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Our own sweep does this, see `activity`.
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(READ_BUFFER.max(limits.header_bytes))
        .half_close(false);
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(READ_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        // As much for each, so that none that an upstream does not read from keeps the others waiting.
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(limits.streams))
        // For WebSocket (RFC 8441 §3).
        .enable_connect_protocol();
    builder
}
