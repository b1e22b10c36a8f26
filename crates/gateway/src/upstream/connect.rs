use std::{io, time::Duration};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use crate::body::RequestBody;

/// The largest header block that an upstream may answer with, in bytes.
const MAX_RESPONSE_HEADERS: usize = 64 * 1024;

/// Why an upstream gave no response.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    /// No connection: refused, unreachable, no such name.
    #[error("no connection to the upstream")]
    Connect(#[source] io::Error),
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

/// Opens a connection to `address` (`host:port`) and spawns the task that drives it.
pub(crate) async fn connect(
    address: &str,
    limit: Option<Duration>,
) -> Result<SendRequest<RequestBody>, UpstreamError> {
    let stream = match limit {
        None => TcpStream::connect(address).await,
        Some(limit) => timeout(limit, TcpStream::connect(address))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout)?,
    };
    let stream = stream.map_err(UpstreamError::Connect)?;
    stream.set_nodelay(true).map_err(UpstreamError::Connect)?;
    let mut builder = Builder::new();
    builder.max_header_size(MAX_RESPONSE_HEADERS);
    let (sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(UpstreamError::Protocol)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream's connection ended");
        }
    });
    Ok(sender)
}
