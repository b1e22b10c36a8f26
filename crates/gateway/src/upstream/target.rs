use std::sync::Arc;

use splittoken_routing::{Backend, BackendProtocol};

/// A backend, as connections are made to it.
#[derive(Debug)]
pub(crate) struct Target {
    /// `host:port`.
    pub(crate) address: Arc<str>,
    /// What connections are kept under: whoever has another key shares none with this one.
    pub(crate) key: Arc<str>,
    pub(crate) protocol: BackendProtocol,
}

impl Target {
    /// Why there is none is known to whoever wrote the configuration.
    pub(crate) fn new(backend: &Backend) -> Option<Self> {
        let address: Arc<str> = backend.address.as_deref().ok()?.into();
        let key = match backend.protocol {
            BackendProtocol::Http1 => Arc::clone(&address),
            BackendProtocol::Http2 => format!("h2c {address}").into(),
        };
        Some(Self {
            address,
            key,
            protocol: backend.protocol,
        })
    }

    #[cfg(test)]
    pub(crate) fn of(address: &str, protocol: BackendProtocol) -> Self {
        let backend = Backend {
            address: Ok(address.to_owned()),
            weight: 1,
            protocol,
        };
        Self::new(&backend).unwrap()
    }
}
