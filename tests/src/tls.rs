//! TLS clients that say what they want and see what they get.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session with a server whose certificate is from a test's authority, and for the name that was asked for.
pub struct Session {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// The settings of a client that trusts this authority alone and speaks one of these protocols.
pub(crate) fn client_config(ca_pem: &str, protocols: &[&str]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    Ok(Arc::new(config))
}

impl Session {
    /// Connects and asks for this name (or address) and these protocols; fails where the certificate does not fit.
    pub fn connect(address: SocketAddr, ca_pem: &str, name: &str, protocols: &[&str]) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        Self::over(stream, ca_pem, name, protocols)
    }

    /// The same over a connection that there is.
    pub fn over(stream: TcpStream, ca_pem: &str, name: &str, protocols: &[&str]) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let config = client_config(ca_pem, protocols)?;
        let name = ServerName::try_from(name.to_owned())?;
        let mut session = ClientConnection::new(config, name)?;
        let mut stream = stream;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self {
            stream: StreamOwned::new(session, stream),
        })
    }

    /// The protocol that was agreed on, if any.
    pub fn protocol(&self) -> Option<String> {
        let protocol = self.stream.conn.alpn_protocol();
        protocol.map(|protocol| String::from_utf8_lossy(protocol).into_owned())
    }

    /// The server's certificate in DER.
    pub fn certificate(&self) -> Result<Vec<u8>> {
        let chain = self.stream.conn.peer_certificates().context("no certificate")?;
        Ok(chain.first().context("no certificate")?.to_vec())
    }

    /// Sends these bytes and reads until there are as many as `enough` says.
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>, enough: impl Fn(&str) -> bool) -> Result<String> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()?;
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if enough(&text) {
                return Ok(text);
            }
            let mut more = [0; 4096];
            let length = self.stream.read(&mut more)?;
            if length == 0 {
                return Ok(text);
            }
            read.extend_from_slice(&more[..length]);
        }
    }
}
