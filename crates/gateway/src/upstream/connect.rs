use std::{error::Error, io, net::SocketAddr, time::Duration};

use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use splittoken_reach::{Forbidden, Reach};
use splittoken_routing::BackendProtocol;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    counts::UpstreamCounts,
    http1::Http1,
    multiplexed,
    target::Target,
    tls::{Tls, is_http2},
};
use crate::circuit::{Closed, Trouble};

/// The largest header block that an upstream may answer with, in bytes.
pub(super) const MAX_RESPONSE_HEADERS: u32 = 64 * 1024;

/// What an upstream has to be given before it counts as one that cannot be connected to.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why an upstream gave no response.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    /// No connection: refused, unreachable, no such name.
    #[error("no connection to the upstream")]
    Connect(#[source] io::Error),
    /// There are only addresses that may not be connected to.
    #[error("the upstream may not be connected to")]
    Forbidden(#[source] Forbidden),
    /// No connection in time.
    #[error("no connection to the upstream in time")]
    ConnectTimeout,
    /// No TLS: a certificate that does not count, or is for another name, or ours was not taken, or the peer does not
    /// speak what it has to.
    #[error("no TLS with the upstream")]
    Tls(#[source] io::Error),
    /// No response headers in time.
    #[error("no response from the upstream in time")]
    Timeout,
    /// The connection broke, or what came is not what was to be spoken.
    #[error("the upstream's connection broke or its answer is malformed")]
    Protocol(#[source] hyper::Error),
    /// It took no more requests on this connection, and has not looked at this one (RFC 9113 §8.7).
    #[error("the upstream has refused the request")]
    Refused(#[source] hyper::Error),
    /// Not the upstream's fault: the client's body broke off, is malformed or did not go on in time.
    #[error("the request's body did not arrive whole and in time")]
    RequestBody(#[source] hyper::Error),
    /// The client's body is larger than it may be.
    #[error("the request's body is too large")]
    RequestBodyTooLarge,
    /// It is not asked.
    #[error("the upstream is not asked")]
    Closed(Closed),
    /// Its body is in a transfer coding that cannot be undone.
    #[error("the upstream's answer is in an unknown transfer coding")]
    Coding,
    /// It switched protocols without being asked.
    #[error("the upstream switched protocols without being asked")]
    Switched,
    /// Asked for WebSocket, it neither agreed nor refused, or agreed to another handshake than this.
    #[error("the upstream's answer to a handshake is none")]
    Handshake,
}

impl UpstreamError {
    /// What it says of the upstream, which had so long for a connection. A rule of little patience says nothing of an
    /// upstream that others share.
    pub(super) fn trouble(&self, connect: Option<Duration>) -> Option<Trouble> {
        match self {
            Self::Connect(error) if is_our_own(error) => None,
            Self::Connect(_) | Self::Tls(_) => Some(Trouble::Unreachable),
            Self::ConnectTimeout if connect.is_none_or(|limit| limit >= PATIENCE) => {
                Some(Trouble::Unreachable)
            }
            Self::ConnectTimeout | Self::Timeout => Some(Trouble::Late),
            Self::Protocol(_) | Self::Refused(_) => Some(Trouble::Broken),
            Self::Forbidden(_)
            | Self::RequestBody(_)
            | Self::RequestBodyTooLarge
            | Self::Closed(_)
            | Self::Coding
            | Self::Switched
            | Self::Handshake => None,
        }
    }

    /// A closed set of words for metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "upstream_connect",
            Self::Forbidden(_) => "upstream_address",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::Tls(_) => "upstream_tls",
            Self::Timeout => "upstream_timeout",
            Self::Protocol(_) => "upstream_protocol",
            Self::Refused(_) => "upstream_refused",
            Self::RequestBody(_) => "request_body",
            Self::RequestBodyTooLarge => "body_too_large",
            Self::Closed(Closed::Busy) => "upstream_busy",
            Self::Closed(Closed::Resting(_)) => "upstream_resting",
            Self::Coding => "upstream_coding",
            Self::Switched => "upstream_switched",
            Self::Handshake => "upstream_handshake",
        }
    }
}

impl From<hyper::Error> for UpstreamError {
    fn from(error: hyper::Error) -> Self {
        // What hyper calls its user's fault is, for a request that we have put together, the body that a client sends.
        if error.is_user() {
            return Self::RequestBody(error);
        }
        let source = error.source();
        let http2 = source.and_then(|source| source.downcast_ref::<h2::Error>());
        let io = match http2 {
            Some(http2) => http2.get_io(),
            None => source.and_then(|source| source.downcast_ref()),
        };
        if io.is_some_and(is_tls) {
            return Self::Tls(io::Error::other(error));
        }
        match http2 {
            Some(http2) if http2.is_remote() && is_refusal(http2) => Self::Refused(error),
            // Neither the peer nor the library: the body again.
            Some(http2) if http2.is_reset() && !http2.is_remote() && !http2.is_library() => {
                Self::RequestBody(error)
            }
            _ => Self::Protocol(error),
        }
    }
}

/// Whether it is this machine that has no more of something, such as descriptors or ports: clients can bring that about.
fn is_our_own(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    let is_of_the_way = matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    );
    // A name that leads nowhere is no error of the system.
    error.raw_os_error().is_some() && !is_of_the_way
}

/// Whether it is TLS that ended a connection. A peer that does not take our certificate says so after the handshake
/// (RFC 8446 §4.4.2.4).
fn is_tls(error: &io::Error) -> bool {
    let cause = error.get_ref();
    cause
        .and_then(|cause| cause.downcast_ref::<rustls::Error>())
        .is_some()
}

/// Whether the peer says that nothing was done (RFC 9113 §8.7). A GOAWAY is an error only of what came too late for it.
fn is_refusal(error: &h2::Error) -> bool {
    error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// A new connection.
pub(super) struct Connection {
    pub(super) spoken: Spoken,
    /// Where it leads.
    pub(super) peer: SocketAddr,
}

/// What is spoken on it.
pub(super) enum Spoken {
    Http1(Http1),
    Http2(multiplexed::Opened),
}

/// Opens a connection to `target`, as far as `reach` goes.
pub(super) async fn connect(
    target: &Target,
    reach: &Reach,
    counts: &UpstreamCounts,
) -> Result<Connection, UpstreamError> {
    let (stream, peer) = open(&target.address, reach).await?;
    let spoken = match &target.tls {
        None if target.protocol == BackendProtocol::Http2 => Spoken::Http2(http2(stream, counts).await?),
        None => Spoken::Http1(http1(stream, counts).await?),
        // In a place of its own: it is large, and seldom needed.
        Some(tls) => Box::pin(secured(stream, tls, target.protocol, counts)).await?,
    };
    Ok(Connection { spoken, peer })
}

/// The same for a connection that is to become a tunnel: by HTTP/1.1, whatever else may be spoken there.
pub(super) async fn connect_http1(
    target: &Target,
    reach: &Reach,
    counts: &UpstreamCounts,
) -> Result<Connection, UpstreamError> {
    let (stream, peer) = open(&target.address, reach).await?;
    let mut connection = match &target.tls {
        None => http1(stream, counts).await?,
        Some(tls) => {
            let stream = tls.connect_http1(stream).await.map_err(UpstreamError::Tls)?;
            http1(stream, counts).await?
        }
    };
    connection.hand_over();
    Ok(Connection {
        spoken: Spoken::Http1(connection),
        peer,
    })
}

async fn secured(
    stream: TcpStream,
    tls: &Tls,
    wanted: BackendProtocol,
    counts: &UpstreamCounts,
) -> Result<Spoken, UpstreamError> {
    let stream = tls.connect(stream).await.map_err(UpstreamError::Tls)?;
    if is_http2(&stream) {
        return Ok(Spoken::Http2(http2(stream, counts).await?));
    }
    if wanted == BackendProtocol::Http2 {
        let error = io::Error::new(
            io::ErrorKind::InvalidData,
            "the upstream has not agreed to HTTP/2",
        );
        return Err(UpstreamError::Tls(error));
    }
    Ok(Spoken::Http1(http1(stream, counts).await?))
}

/// Whatever it takes to get to a connection, within the rule's limit.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    connecting: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    match limit {
        None => connecting.await,
        Some(limit) => timeout(limit, connecting)
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout)),
    }
}

async fn http2<T>(io: T, counts: &UpstreamCounts) -> Result<multiplexed::Opened, UpstreamError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    multiplexed::open(io, counts.opened("http2")).await
}

pub(super) async fn http1<T>(io: T, counts: &UpstreamCounts) -> Result<Http1, UpstreamError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder.max_header_size(MAX_RESPONSE_HEADERS as usize);
    let (sender, connection) = builder
        .handshake(TokioIo::new(io))
        .await
        .map_err(UpstreamError::Protocol)?;
    let open = counts.opened("http1");
    let driver = async move {
        let _open = open;
        // It may become a tunnel.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an upstream's connection ended");
        }
    };
    Ok(Http1::new(sender, driver))
}

/// What is connected to is what was looked at: the name is resolved once.
async fn open(address: &str, reach: &Reach) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let found = lookup_host(address).await.map_err(UpstreamError::Connect)?;
    let addresses = reach.pick(found).map_err(UpstreamError::Forbidden)?;
    let connected = async {
        let stream = TcpStream::connect(&*addresses).await?;
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    };
    connected.await.map_err(UpstreamError::Connect)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::{Lease, Pool};

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn counts() -> UpstreamCounts {
        UpstreamCounts::default()
    }

    fn target(address: &str) -> Target {
        Target::of(address, BackendProtocol::Http1)
    }

    #[tokio::test]
    async fn a_name_is_what_it_resolves_to() {
        let (listener, port) = listener().await;
        // What the system makes of the odd ones is for it to say; none may get through.
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "127.1", "0"] {
            let refused = connect(&target(&format!("{host}:{port}")), &Reach::default(), &counts()).await;
            assert!(
                matches!(
                    refused.err(),
                    Some(UpstreamError::Forbidden(_) | UpstreamError::Connect(_))
                ),
                "{host}"
            );
        }
        let found = connect(
            &target(&format!("localhost:{port}")),
            &Reach::default(),
            &counts(),
        )
        .await;
        assert_eq!(found.err().unwrap().reason(), "upstream_address");
        let nobody = timeout(Duration::from_millis(20), listener.accept());
        assert!(nobody.await.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn where_everything_is_allowed_a_connection_says_where_it_leads() {
        let (_listener, port) = listener().await;
        let connection = connect(&target(&format!("localhost:{port}")), &Reach::Anywhere, &counts())
            .await
            .unwrap();
        assert!(connection.peer.ip().is_loopback());
    }

    #[tokio::test]
    async fn what_was_opened_before_is_closed_when_it_is_not_allowed_any_more() {
        let (_listener, port) = listener().await;
        let target = target(&format!("127.0.0.1:{port}"));
        let pool = Arc::new(Pool::default());
        let fresh = || async {
            let lease = pool.lease(&target, &Reach::Anywhere, None, 0).await.unwrap();
            let Lease::Http1(mut lease) = lease else {
                unreachable!("not what was asked for")
            };
            assert!(lease.connection().is_ready());
            lease.give_back();
        };
        fresh().await;
        assert!(pool.take(&target, &Reach::Anywhere).is_some());
        fresh().await;
        assert!(pool.take(&target, &Reach::default()).is_none());
        assert!(
            pool.take(&target, &Reach::Anywhere).is_none(),
            "it is closed, not put aside"
        );
    }
}
