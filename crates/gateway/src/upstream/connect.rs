use std::{io, net::SocketAddr, time::Duration};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use splittoken_reach::{Forbidden, Reach};
use thiserror::Error;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::body::RequestBody;

/// The largest header block that an upstream may answer with, in bytes.
const MAX_RESPONSE_HEADERS: usize = 64 * 1024;

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
    /// No response headers in time.
    #[error("no response from the upstream in time")]
    Timeout,
    /// The connection broke, or what came is no HTTP/1.1.
    #[error("the upstream's connection broke or its answer is malformed")]
    Protocol(#[source] hyper::Error),
    /// Not the upstream's fault: the client's body broke off, is malformed or did not go on in time.
    #[error("the request's body did not arrive whole and in time")]
    RequestBody(#[source] hyper::Error),
    /// Its body is in a transfer coding that cannot be undone.
    #[error("the upstream's answer is in an unknown transfer coding")]
    Coding,
    /// It switched protocols without being asked.
    #[error("the upstream switched protocols without being asked")]
    Switched,
}

impl UpstreamError {
    /// A closed set of words for metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "upstream_connect",
            Self::Forbidden(_) => "upstream_address",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::Timeout => "upstream_timeout",
            Self::Protocol(_) => "upstream_protocol",
            Self::RequestBody(_) => "request_body",
            Self::Coding => "upstream_coding",
            Self::Switched => "upstream_switched",
        }
    }
}

impl From<hyper::Error> for UpstreamError {
    fn from(error: hyper::Error) -> Self {
        // What hyper calls its user's fault is, for a request that we have put together, the body that a client sends.
        if error.is_user() {
            Self::RequestBody(error)
        } else {
            Self::Protocol(error)
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It serves one request after another.
    Requests,
    /// It may become a tunnel.
    Tunnel,
}

/// A new connection, and where it leads.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<RequestBody>,
    pub(crate) peer: SocketAddr,
}

/// Opens a connection to `address` (`host:port`), as far as `reach` goes, and spawns the task that drives it.
pub(crate) async fn connect(
    address: &str,
    reach: &Reach,
    limit: Option<Duration>,
    purpose: Purpose,
) -> Result<Connection, UpstreamError> {
    let stream = match limit {
        None => open(address, reach).await,
        Some(limit) => timeout(limit, open(address, reach))
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout)),
    }?;
    stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
    let peer = stream.peer_addr().map_err(UpstreamError::Connect)?;
    let mut builder = Builder::new();
    builder.max_header_size(MAX_RESPONSE_HEADERS);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(UpstreamError::Protocol)?;
    tokio::spawn(async move {
        let ended = match purpose {
            Purpose::Requests => connection.await,
            Purpose::Tunnel => connection.with_upgrades().await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an upstream's connection ended");
        }
    });
    Ok(Connection { sender, peer })
}

/// What is connected to is what was looked at: the name is resolved once.
async fn open(address: &str, reach: &Reach) -> Result<TcpStream, UpstreamError> {
    let found = lookup_host(address).await.map_err(UpstreamError::Connect)?;
    let addresses = reach.pick(found).map_err(UpstreamError::Forbidden)?;
    TcpStream::connect(&*addresses)
        .await
        .map_err(UpstreamError::Connect)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn a_name_is_what_it_resolves_to() {
        let (listener, port) = listener().await;
        // What the system makes of the odd ones is for it to say; none may get through.
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "127.1", "0"] {
            let address = format!("{host}:{port}");
            let refused = connect(&address, &Reach::default(), None, Purpose::Requests)
                .await
                .err();
            assert!(
                matches!(
                    refused,
                    Some(UpstreamError::Forbidden(_) | UpstreamError::Connect(_))
                ),
                "{host}"
            );
        }
        let found = connect(
            &format!("localhost:{port}"),
            &Reach::default(),
            None,
            Purpose::Requests,
        )
        .await;
        assert_eq!(found.err().unwrap().reason(), "upstream_address");
        let nobody = timeout(Duration::from_millis(20), listener.accept());
        assert!(nobody.await.is_err(), "somebody connected");
    }

    #[tokio::test]
    async fn where_everything_is_allowed_a_connection_says_where_it_leads() {
        let (_listener, port) = listener().await;
        let connection = connect(
            &format!("localhost:{port}"),
            &Reach::Anywhere,
            None,
            Purpose::Requests,
        )
        .await
        .unwrap();
        assert!(connection.peer.ip().is_loopback());
    }

    #[tokio::test]
    async fn what_was_opened_before_is_closed_when_it_is_not_allowed_any_more() {
        let (_listener, port) = listener().await;
        let address = format!("127.0.0.1:{port}");
        let pool = std::sync::Arc::new(crate::upstream::Pool::default());
        let fresh = || async {
            let connection = connect(&address, &Reach::Anywhere, None, Purpose::Requests)
                .await
                .unwrap();
            let mut lease = pool.adopt(&address, connection, 0);
            lease.sender.ready().await.unwrap();
            lease.give_back();
        };
        fresh().await;
        assert!(pool.take(&address, &Reach::Anywhere).is_some());
        fresh().await;
        assert!(pool.take(&address, &Reach::default()).is_none());
        assert!(
            pool.take(&address, &Reach::Anywhere).is_none(),
            "it is closed, not put aside"
        );
    }
}
