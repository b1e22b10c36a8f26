//! What clients speak with the gateway beside plain HTTP/1.1: TLS, HTTP/2, the PROXY protocol, and CORS with browsers.

mod conformance;
mod cors;
mod grpc;
mod http2;
mod leaving;
mod pages;
mod proxy_protocol;
mod renewal;
mod streams;
mod tls;
mod tls_failing;
mod token_end;
mod upstream_http2;
mod upstream_tls;
mod websocket;
mod websocket_http2;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;
use splittoken_tests::certs::{Authority, Certified};
use splittoken_tests::gateway::Builder;
use splittoken_tests::ports;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand};
use tempfile::TempDir;

/// Hosts that the routes of these tests are for; `127.0.0.1` is that of a [`Stand`].
const HOSTS: [&str; 4] = ["127.0.0.1", "a.example", "b.example", "*.c.example"];

/// A route for all of [`HOSTS`].
fn route(to: &Addresses) -> String {
    Route::new(&to.issuer, &to.upstream)
        .spec(&json!({"hostnames": HOSTS}))
        .into()
}

/// A stand whose gateway is started with these arguments.
fn stand(arguments: &[&str]) -> Result<Stand> {
    Stand::built(route, |gateway| gateway.arguments(arguments))
}

/// A stand with a TLS listener.
struct Secured {
    stand: Stand,
    authority: Authority,
    /// Where TLS is spoken.
    address: SocketAddr,
    folder: TempDir,
}

impl Secured {
    /// With certificates for these names, the first one for whoever asks for no name.
    fn start(names: &[&[&str]]) -> Result<Self> {
        Self::built(names, |gateway| gateway)
    }

    fn built(names: &[&[&str]], more: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        Self::with(names, route, more)
    }

    fn with(
        names: &[&[&str]],
        routes: impl FnOnce(&Addresses) -> String,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let (authority, folder) = (Authority::new()?, tempfile::tempdir()?);
        for (number, names) in names.iter().enumerate() {
            let certificate = authority.certify(names)?;
            certificate.mount(&certificate_folder(folder.path(), number))?;
        }
        Self::mounted(authority, folder, names.len(), routes, more)
    }

    /// With what is in so many folders of that one.
    fn mounted(
        authority: Authority,
        folder: TempDir,
        count: usize,
        routes: impl FnOnce(&Addresses) -> String,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Result<Self> {
        let folders =
            (0..count).map(|number| certificate_folder(folder.path(), number).display().to_string());
        let folders: Vec<_> = folders.collect();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let (listen, certificates) = (address.to_string(), folders.join(","));
        let arguments = ["--tls-listen", &listen, "--tls-certificates", &certificates];
        let stand = Stand::built(routes, |gateway| more(gateway.arguments(&arguments)))?;
        Ok(Self {
            stand,
            authority,
            address,
            folder,
        })
    }

    /// Puts another certificate in the place of one.
    fn replace(&self, number: usize, certificate: &Certified) -> Result<()> {
        certificate.mount(&certificate_folder(self.folder.path(), number))
    }
}

fn certificate_folder(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("certificate-{number}"))
}
