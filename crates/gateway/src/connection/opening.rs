//! The beginning of a connection: whose it is, TLS, and which version of HTTP is spoken.

use std::{io, net::SocketAddr};

use rustls::HandshakeKind;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    proxy_protocol::{self, Found},
    socket::Socket,
    transport::Transport,
};
use crate::{
    client_address::{Scheme, TrustedProxies, contains},
    crowd::{Crowd, Crowded, Place},
    tls::{HTTP_2, SharedCertificates},
};

/// What a client that speaks HTTP/2 sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How connections of one listener begin.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// `None` where no TLS is spoken.
    pub(crate) certificates: Option<SharedCertificates>,
    /// Whether HTTP/2 is taken without TLS.
    pub(crate) http2_cleartext: bool,
    /// The load balancers that begin each connection with a PROXY header; `None` where nobody does.
    pub(crate) proxies: Option<TrustedProxies>,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// A connection on which requests can come.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// Whose it is.
    pub(crate) address: SocketAddr,
    pub(crate) scheme: Scheme,
    pub(crate) version: Version,
    /// Among the connections of its address.
    pub(crate) place: Place,
}

impl Opened {
    /// How TLS began, if it did: `full` or `resumed` (RFC 8446 §2.2).
    pub(crate) fn handshake(&self) -> Option<&'static str> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => Some("resumed"),
                _ => Some("full"),
            },
        }
    }
}

/// Why a connection came to nothing.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// It ended, or broke.
    #[error("the connection ended before its first request")]
    Ended(#[source] io::Error),
    /// Whoever connects is not to say whose connection it is.
    #[error("the connection comes from no trusted proxy")]
    Stranger,
    /// No PROXY header.
    #[error("the connection does not begin with a PROXY header")]
    NoHeader,
    /// Its address has as many as it may have.
    #[error("the address has too many connections")]
    Crowded,
    /// No TLS session.
    #[error("no TLS session with the client")]
    Tls(#[source] io::Error),
}

impl OpenError {
    /// A closed set of words for metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Ended(_) => "ended",
            Self::Stranger => "proxy_untrusted",
            Self::NoHeader => "proxy_header",
            Self::Crowded => "address_connections",
            Self::Tls(_) => "tls",
        }
    }
}

impl Entrance {
    /// Does all that comes before the first request.
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        crowd: &Crowd,
    ) -> Result<Opened, OpenError> {
        let mut socket = Socket::new(stream);
        let address = match &self.proxies {
            None => address,
            Some(proxies) => told_address(&mut socket, address, proxies).await?,
        };
        // Before TLS, which costs more than all the rest.
        let place = crowd.enter(address.ip()).map_err(|Crowded| OpenError::Crowded)?;
        let (transport, scheme, version) = match &self.certificates {
            Some(certificates) => tls(socket, certificates).await?,
            None => plain(socket, self.http2_cleartext).await?,
        };
        Ok(Opened {
            transport,
            address,
            scheme,
            version,
            place,
        })
    }
}

/// The address that the PROXY header tells.
async fn told_address(
    socket: &mut Socket,
    from: SocketAddr,
    proxies: &TrustedProxies,
) -> Result<SocketAddr, OpenError> {
    if !contains(proxies, from.ip().to_canonical()) {
        return Err(OpenError::Stranger);
    }
    loop {
        match proxy_protocol::find(socket.ahead()) {
            Found::Header(length, told) => {
                socket.skip(length);
                return Ok(told.unwrap_or(from));
            }
            Found::Nothing => return Err(OpenError::NoHeader),
            Found::Beginning => look_further(socket, proxy_protocol::MAX_HEADER).await?,
        }
    }
}

async fn tls(
    socket: Socket,
    certificates: &SharedCertificates,
) -> Result<(Transport, Scheme, Version), OpenError> {
    let acceptor = TlsAcceptor::from(certificates.load().config());
    let stream = acceptor.accept(socket).await.map_err(OpenError::Tls)?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(HTTP_2) => Version::Http2,
        _ => Version::Http1,
    };
    Ok((Transport::Tls(Box::new(stream)), Scheme::Https, version))
}

async fn plain(mut socket: Socket, may_be_http2: bool) -> Result<(Transport, Scheme, Version), OpenError> {
    let version = if may_be_http2 {
        version(&mut socket).await?
    } else {
        Version::Http1
    };
    Ok((Transport::Plain(socket), Scheme::Http, version))
}

/// Which version the first bytes begin.
async fn version(socket: &mut Socket) -> Result<Version, OpenError> {
    loop {
        let seen = socket.ahead();
        if seen.starts_with(PREFACE) {
            return Ok(Version::Http2);
        }
        if !PREFACE.starts_with(seen) {
            return Ok(Version::Http1);
        }
        look_further(socket, PREFACE.len()).await?;
    }
}

async fn look_further(socket: &mut Socket, limit: usize) -> Result<(), OpenError> {
    match socket.look_further(limit).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Ended(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(OpenError::Ended(error)),
    }
}
