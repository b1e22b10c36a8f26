//! WebSocket (RFC 6455 §4): a request that turns its connection into a tunnel, where the rule lets it.
//!
//! The token is looked at as for any request. Bytes go through only after the upstream has said 101, and for as long as
//! the token is good.

use std::{
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts,
};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, sleep_until},
};

use crate::{crowd::Place, vigil::Vigil, worker::Worker};

/// The one protocol that is tunnelled.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// What is read at a time, in each direction.
const BUFFER: usize = 16 * 1024;

/// Takes the client's side of a tunnel out of a request that asks for one. The request stays one that an upstream can be
/// asked with, once [`ask`] has put back what belongs to a single hop.
pub(crate) fn take(parts: &mut Parts) -> Option<OnUpgrade> {
    if !is_websocket(parts) {
        return None;
    }
    parts.extensions.remove()
}

fn is_websocket(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let only = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let is_asked =
        only(&header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let connection = headers.get_all(header::CONNECTION).iter();
    let names = connection.filter_map(|value| value.to_str().ok());
    let is_named = names
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && is_asked
        && is_named
        && only(&header::SEC_WEBSOCKET_KEY).is_some()
        && only(&header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
}

/// Asks for it, of a request to the upstream or in an answer to the client.
pub(crate) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Whether an upstream has agreed to it.
pub(crate) fn is_agreed(response: &Response<Incoming>) -> bool {
    let protocol = response.headers().get(header::UPGRADE);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Both sides of a tunnel, once they are there.
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) upstream: OnUpgrade,
    /// How long both sides may be silent.
    pub(crate) idle: Option<Duration>,
    pub(crate) token: Option<Vigil>,
    /// It is one of its address's connections still.
    pub(crate) place: Arc<Place>,
}

impl Tunnel {
    /// Carries bytes until one side has ended, both are silent for too long, or the token is no good any more.
    pub(crate) fn start(self, worker: &Arc<Worker>) {
        // The worker does not end before its tunnels, or its time to end is over.
        let held = (Arc::clone(&worker.chores), Arc::clone(&self.place));
        let gauge = worker.shared.metrics.tunnels.clone();
        tokio::spawn(async move {
            gauge.inc();
            match self.run().await {
                Ok(reason) => tracing::debug!(reason, "a tunnel ended"),
                Err(error) => tracing::debug!(%error, "a tunnel broke"),
            }
            gauge.dec();
            drop(held);
        });
    }

    async fn run(self) -> Result<&'static str, Box<dyn std::error::Error + Send + Sync>> {
        let (client, upstream): (Upgraded, Upgraded) = tokio::try_join!(self.client, self.upstream)?;
        let ended = async {
            match self.token {
                Some(token) => token.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            carried = carry(TokioIo::new(client), TokioIo::new(upstream), self.idle) => Ok(carried?),
            reason = ended => Ok(reason),
        }
    }
}

/// Copies in both directions until both have ended, or nothing has come from either side for `idle`.
async fn carry<C, U>(client: C, upstream: U, idle: Option<Duration>) -> io::Result<&'static str>
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let start = Instant::now();
    let last = AtomicU64::new(0);
    let ((client_read, client_write), (upstream_read, upstream_write)) = (split(client), split(upstream));
    let note = || last.store(milliseconds(start.elapsed()), Relaxed);
    let both = async {
        tokio::try_join!(
            copy(client_read, upstream_write, note),
            copy(upstream_read, client_write, note)
        )
    };
    let silence = async {
        let Some(idle) = idle else { return pending().await };
        loop {
            let due = start + Duration::from_millis(last.load(Relaxed)) + idle;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    };
    tokio::select! {
        ended = both => ended.map(|_| "ended"),
        () = silence => Ok("idle"),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Copies one direction to its end, which it passes on.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    note: impl Fn(),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        note();
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        note();
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::duplex;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn parts(method: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_a_whole_handshake_is_one() {
        assert!(is_websocket(&parts("GET", Version::HTTP_11, &GOOD)));
        assert!(!is_websocket(&parts("POST", Version::HTTP_11, &GOOD)));
        assert!(!is_websocket(&parts("GET", Version::HTTP_10, &GOOD)));
        assert!(!is_websocket(&parts("GET", Version::HTTP_2, &GOOD)));
        for left_out in 0..GOOD.len() {
            let mut headers = GOOD.to_vec();
            headers.remove(left_out);
            assert!(
                !is_websocket(&parts("GET", Version::HTTP_11, &headers)),
                "{left_out}"
            );
        }
        for more in [
            ("upgrade", "websocket"),
            ("sec-websocket-key", "eA=="),
            ("sec-websocket-version", "8"),
        ] {
            let mut headers = GOOD.to_vec();
            headers.push(more);
            assert!(
                !is_websocket(&parts("GET", Version::HTTP_11, &headers)),
                "{more:?}"
            );
        }
        let other = [("upgrade", "h2c"), GOOD[0], GOOD[2], GOOD[3]];
        assert!(!is_websocket(&parts("GET", Version::HTTP_11, &other)));
    }

    #[tokio::test]
    async fn both_directions_are_carried_and_an_end_is_passed_on() {
        let ((mut client, near), (mut upstream, far)) = (duplex(64), duplex(64));
        let carried = tokio::spawn(carry(near, far, Some(Duration::from_secs(60))));
        let text =
            b"longer than what fits into a pipe at once, so that there is something to wait for".repeat(10);
        let sent = text.clone();
        let client = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut read = Vec::new();
        upstream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, text);
        upstream.write_all(b"answer").await.unwrap();
        drop(upstream);
        assert_eq!(client.await.unwrap(), b"answer");
        assert_eq!(carried.await.unwrap().unwrap(), "ended");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_tunnel_and_a_word_from_either_side_does_not() {
        let ((mut client, near), (mut upstream, far)) = (duplex(64), duplex(64));
        let idle = Duration::from_millis(400);
        let start = Instant::now();
        let carried = tokio::spawn(carry(near, far, Some(idle)));
        let mut byte = [0];
        for _ in 0..4 {
            tokio::time::sleep(idle / 4).await;
            client.write_all(b"a").await.unwrap();
            upstream.read_exact(&mut byte).await.unwrap();
            tokio::time::sleep(idle / 4).await;
            upstream.write_all(b"b").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
        }
        assert!(!carried.is_finished());
        assert_eq!(carried.await.unwrap().unwrap(), "idle");
        assert!(start.elapsed() > idle * 2);
    }
}
