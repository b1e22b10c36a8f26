//! The admin server: probes, metrics and what is served, for people and machines that run the gateway.

mod config;
mod exposition;
mod labels;
mod metrics;
mod neighbours;
mod pages;
mod removed;
mod store;

use std::net::SocketAddr;

use anyhow::Result;
use splittoken_tests::certs::Authority;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::ports;
use splittoken_tests::tls::Session;
use tempfile::TempDir;

use exposition::Exposition;

/// The metrics as they are now. Text that a strict reader would refuse is an error.
fn scrape(gateway: &Gateway) -> Result<Exposition> {
    Exposition::parse(&gateway.admin("/metrics")?.text())
}

/// What a TLS listener of a gateway needs, in a folder that is called `web`.
struct Listener {
    authority: Authority,
    address: SocketAddr,
    folder: TempDir,
}

impl Listener {
    fn new() -> Result<Self> {
        let listener = Self {
            authority: Authority::new()?,
            address: SocketAddr::from(([127, 0, 0, 1], ports::free()?)),
            folder: tempfile::tempdir()?,
        };
        listener.renew()?;
        Ok(listener)
    }

    /// Puts a new certificate into the folder.
    fn renew(&self) -> Result<()> {
        let certificate = self.authority.certify(&["a.example"])?;
        certificate.mount(&self.folder.path().join("web"))
    }

    fn arguments(&self) -> [String; 4] {
        let folder = self.folder.path().join("web");
        [
            "--tls-listen".to_owned(),
            self.address.to_string(),
            "--tls-certificates".to_owned(),
            folder.display().to_string(),
        ]
    }

    /// A handshake that works.
    fn session(&self) -> Result<Session> {
        Session::connect(self.address, self.authority.pem(), "a.example", &[])
    }
}
