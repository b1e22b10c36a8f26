use std::sync::Arc;

use splittoken_routing::{Backend, BackendProtocol};

use super::tls::Tls;
use crate::circuit::{Circuit, CircuitBook};

/// A backend, as connections are made to it.
#[derive(Debug)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: Arc<str>,
    /// What connections are kept under: whoever has another key shares none with this one.
    pub(crate) key: Arc<str>,
    pub(crate) protocol: BackendProtocol,
    pub(crate) tls: Option<Arc<Tls>>,
    /// How it does, whichever rules lead to it.
    pub(crate) circuit: Arc<Circuit>,
}

impl Target {
    /// Why there is none is known to whoever wrote the configuration.
    pub(crate) fn plain(backend: &Backend, circuits: &mut CircuitBook) -> Option<Self> {
        let address: Arc<str> = backend.address.as_deref().ok()?.into();
        let key = match backend.protocol {
            BackendProtocol::Http1 | BackendProtocol::Negotiated => Arc::clone(&address),
            BackendProtocol::Http2 => format!("h2c {address}").into(),
        };
        Some(Self {
            circuit: circuits.circuit(&key),
            address,
            key,
            // Without TLS there is nobody to negotiate with.
            protocol: match backend.protocol {
                BackendProtocol::Negotiated => BackendProtocol::Http1,
                protocol => protocol,
            },
            tls: None,
        })
    }

    /// Over TLS, and never without.
    pub(crate) fn secured(
        address: &str,
        protocol: BackendProtocol,
        tls: Arc<Tls>,
        circuits: &mut CircuitBook,
    ) -> Self {
        let key = format!("tls {} {address}", tls.number).into();
        Self {
            address: address.into(),
            circuit: circuits.circuit(&key),
            key,
            protocol,
            tls: Some(tls),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(address: &str, protocol: BackendProtocol) -> Self {
        let backend = Backend {
            address: Ok(address.to_owned()),
            weight: 1,
            protocol,
            tls: None,
        };
        Self::plain(&backend, &mut CircuitBook::default()).unwrap()
    }
}
