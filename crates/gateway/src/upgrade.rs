//! WebSocket: a request that turns its connection into a tunnel, where the rule lets it. By HTTP/1.1 that is an upgrade
//! (RFC 6455 §4), by HTTP/2 an extended CONNECT, which turns one stream (RFC 8441). Towards upstreams it is the former.
//!
//! The token is looked at as for any request. Bytes go through only after the upstream has said 101, and for as long as
//! the token is good.

use std::{
    fmt,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts,
    response,
};
use hyper::{
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    connection::InFlight, crowd::Place, headers::value, upstream::UpstreamError, vigil::Vigil, worker::Worker,
};

/// The one protocol that is tunnelled.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// Its one version.
const VERSION: &str = "13";
/// What a server puts behind a key, to show that it has read it (RFC 6455 §4.2.2).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What is read at a time, in each direction.
const BUFFER: usize = 16 * 1024;
/// How often it is looked whether a client from which nothing comes still reads.
const LOOK: Duration = Duration::from_secs(1);

/// A handshake that a client has begun.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) client: OnUpgrade,
    /// What the upstream has to answer to the key, where that is ours: by HTTP/2 clients send none. By HTTP/1.1 it is the
    /// client who looks.
    accept: Option<HeaderValue>,
}

/// What an upstream has said to a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Agreed,
    /// Its answer is one to a request.
    Refused,
}

/// Whether it is a whole handshake by HTTP/2. It has no body, whose length one could announce.
pub(crate) fn is_extended_handshake(parts: &Parts) -> bool {
    let protocol = || parts.extensions.get::<Protocol>();
    parts.method == Method::CONNECT
        && protocol().is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"))
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
        && only(&parts.headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION)
}

/// Whether a request came as an extended CONNECT, which opens a tunnel or is refused.
pub(crate) fn is_extended(parts: &Parts) -> bool {
    parts.version == Version::HTTP_2 && parts.extensions.get::<Protocol>().is_some()
}

/// Takes the client's side of a tunnel out of a request that asks for one. The request stays one that an upstream can be
/// asked with, once [`ask`] has put back what belongs to a single hop.
pub(crate) fn take(parts: &mut Parts) -> Option<Asked> {
    let accept = if is_extended(parts) {
        let key = fresh_key()?;
        let accept = accept(key.as_bytes());
        parts.headers.insert(header::SEC_WEBSOCKET_KEY, key);
        // The upstream may speak HTTP/2, and there it would mean something.
        parts.extensions.remove::<Protocol>();
        Some(accept)
    } else if is_upgrade(parts) {
        None
    } else {
        return None;
    };
    let client = parts.extensions.remove()?;
    Some(Asked { client, accept })
}

fn is_upgrade(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let is_asked = only(headers, &header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let connection = headers.get_all(header::CONNECTION).iter();
    let names = connection.filter_map(|value| value.to_str().ok());
    let is_named = names
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && is_asked
        && is_named
        && only(headers, &header::SEC_WEBSOCKET_KEY).is_some()
        && only(headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == VERSION)
}

/// The one value of a header.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Sixteen random bytes (RFC 6455 §4.1).
fn fresh_key() -> Option<HeaderValue> {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).ok()?;
    Some(value(&STANDARD.encode(nonce)))
}

fn accept(key: &[u8]) -> HeaderValue {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, KEY_SUFFIX].concat());
    value(&STANDARD.encode(digest))
}

/// Asks for it, of a request to the upstream or in an answer to the client.
pub(crate) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Makes an upstream's agreement one towards the client. On a stream that is 200 (RFC 8441 §5), without a body, and the
/// answer to a key that the client has not sent is for nobody.
pub(crate) fn agree(parts: &mut response::Parts, is_extended: bool) {
    if !is_extended {
        return ask(&mut parts.headers);
    }
    parts.status = StatusCode::OK;
    parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    parts.headers.remove(header::CONTENT_LENGTH);
}

impl Asked {
    /// Whether it came by HTTP/2.
    pub(crate) fn is_extended(&self) -> bool {
        self.accept.is_some()
    }

    /// What an upstream's answer says.
    pub(crate) fn hears<B>(&self, response: &Response<B>) -> Result<Heard, UpstreamError> {
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            // A client of HTTP/2 would take any success for an agreement.
            let is_mistakable = self.is_extended() && status.is_success();
            return if is_mistakable {
                Err(UpstreamError::Handshake)
            } else {
                Ok(Heard::Refused)
            };
        }
        let protocol = response.headers().get(header::UPGRADE);
        if !protocol.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Err(UpstreamError::Switched);
        }
        let accepted = only(response.headers(), &header::SEC_WEBSOCKET_ACCEPT);
        if self.accept.is_some() && self.accept.as_ref() != accepted {
            return Err(UpstreamError::Handshake);
        }
        Ok(Heard::Agreed)
    }
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
    /// Where it is counted already: it takes no connection's place among those that there may be.
    pub(crate) counted: Option<Counted>,
}

/// One of the tunnels that there are, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Gauge<i64, AtomicI64>);

impl Counted {
    pub(crate) fn new(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tunnel({:?})", self.token)
    }
}

impl Tunnel {
    /// Carries bytes until one side has ended, both are silent for too long, or the token is no good any more. A stream is
    /// `in_flight` on its connection for as long.
    pub(crate) fn start(mut self: Box<Self>, worker: &Arc<Worker>, in_flight: Option<InFlight>) {
        // The worker does not end before its tunnels, or its time to end is over.
        let held = (Arc::clone(&worker.chores), Arc::clone(&self.place));
        let gauge = &worker.shared.metrics.tunnels;
        let counted = self.counted.take().unwrap_or_else(|| Counted::new(gauge));
        tokio::spawn(async move {
            match self.run(in_flight).await {
                Ok(reason) => tracing::debug!(reason, "a tunnel ended"),
                Err(error) => tracing::debug!(%error, "a tunnel broke"),
            }
            drop((held, counted));
        });
    }

    async fn run(
        self: Box<Self>,
        in_flight: Option<InFlight>,
    ) -> Result<&'static str, Box<dyn std::error::Error + Send + Sync>> {
        let Self { token, idle, .. } = *self;
        let (client, upstream): (Upgraded, Upgraded) = tokio::try_join!(self.client, self.upstream)?;
        let mut client = TokioIo::new(client);
        let ended = async {
            match token {
                Some(token) => token.ended().await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            carried = carry(&mut client, TokioIo::new(upstream), idle) => carried,
            reason = ended => Ok(reason),
        };
        if let Some(in_flight) = in_flight {
            say_goodbye(client, in_flight).await;
        }
        Ok(ended?)
    }
}

/// Ends a stream. What is still to be written waits for the client to make room, as a piece of a response does; and for
/// a client that makes none, its connection ends.
async fn say_goodbye(mut client: impl AsyncWrite + Unpin, mut in_flight: InFlight) {
    in_flight.note_piece(true);
    if let Err(error) = client.shutdown().await {
        tracing::debug!(%error, "a tunnel's client had gone");
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
    let up = copy(client_read, upstream_write, note, false);
    let down = copy(upstream_read, client_write, note, true);
    let both = async { tokio::try_join!(up, down) };
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
        ended = both => ended.map(|_: ((), ())| "ended"),
        () = silence => Ok("idle"),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Copies one direction to its end, which it passes on. A stream of HTTP/2 that its client has cancelled reads like one
/// that has ended, and is not read from while the other side does not take what came before: `is_doubtful` is where it has
/// to be looked whether there is still somebody to write to.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    note: impl Fn(),
    is_doubtful: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let length = tokio::select! {
            length = from.read(&mut buffer) => length?,
            _ = looks.tick(), if is_doubtful => {
                to.flush().await?;
                continue;
            }
        };
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
        assert!(is_upgrade(&parts("GET", Version::HTTP_11, &GOOD)));
        assert!(!is_upgrade(&parts("POST", Version::HTTP_11, &GOOD)));
        assert!(!is_upgrade(&parts("GET", Version::HTTP_10, &GOOD)));
        assert!(!is_upgrade(&parts("GET", Version::HTTP_2, &GOOD)));
        for left_out in 0..GOOD.len() {
            let mut headers = GOOD.to_vec();
            headers.remove(left_out);
            assert!(
                !is_upgrade(&parts("GET", Version::HTTP_11, &headers)),
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
            assert!(!is_upgrade(&parts("GET", Version::HTTP_11, &headers)), "{more:?}");
        }
        let other = [("upgrade", "h2c"), GOOD[0], GOOD[2], GOOD[3]];
        assert!(!is_upgrade(&parts("GET", Version::HTTP_11, &other)));
    }

    /// RFC 6455 §1.3.
    #[test]
    fn a_key_has_one_answer() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let (one, other) = (fresh_key().unwrap(), fresh_key().unwrap());
        assert!(one != other && one.len() == 24);
    }

    /// A handshake, with its key by HTTP/2.
    fn asked(key: Option<&[u8]>) -> Asked {
        Asked {
            client: hyper::upgrade::on(Request::new(())),
            accept: key.map(accept),
        }
    }

    fn heard(asked: &Asked, status: u16, headers: &[(&str, &str)]) -> Result<Heard, &'static str> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let heard = asked.hears(&response.body(()).unwrap());
        heard.map_err(|error| error.reason())
    }

    #[test]
    fn an_agreement_is_to_this_handshake() {
        const PROTOCOL: (&str, &str) = ("upgrade", "WebSocket");
        const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let (by_http1, by_http2) = (asked(None), asked(Some(b"dGhlIHNhbXBsZSBub25jZQ==")));
        for (status, headers, first, second) in [
            (101, &[PROTOCOL, ACCEPT][..], Ok(Heard::Agreed), Ok(Heard::Agreed)),
            (101, &[PROTOCOL], Ok(Heard::Agreed), Err("upstream_handshake")),
            (
                101,
                &[PROTOCOL, ACCEPT, ACCEPT],
                Ok(Heard::Agreed),
                Err("upstream_handshake"),
            ),
            (101, &[ACCEPT], Err("upstream_switched"), Err("upstream_switched")),
            (
                101,
                &[("upgrade", "h2c"), ACCEPT],
                Err("upstream_switched"),
                Err("upstream_switched"),
            ),
            (
                200,
                &[PROTOCOL, ACCEPT],
                Ok(Heard::Refused),
                Err("upstream_handshake"),
            ),
            (204, &[], Ok(Heard::Refused), Err("upstream_handshake")),
            (302, &[], Ok(Heard::Refused), Ok(Heard::Refused)),
            (426, &[], Ok(Heard::Refused), Ok(Heard::Refused)),
            (503, &[], Ok(Heard::Refused), Ok(Heard::Refused)),
        ] {
            assert_eq!(heard(&by_http1, status, headers), first, "{status} {headers:?}");
            assert_eq!(heard(&by_http2, status, headers), second, "{status} {headers:?}");
        }
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
