//! An API behind the gateway that records the raw bytes of every request and answers what it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustls::ServerConfig;

use crate::wait;
use crate::wire::{Request, Server, Step, answer};

type Script = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// A running upstream. It answers 200 with the body `ok` until told otherwise.
pub struct Upstream {
    server: Server,
    script: Arc<Mutex<Arc<Script>>>,
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST)
    }

    /// Listens on a free port of another address of this machine.
    pub fn at(ip: Ipv4Addr) -> Result<Self> {
        Self::over(ip, None)
    }

    /// Listens on a free port of 127.0.0.1, over TLS.
    pub fn start_tls(tls: Arc<ServerConfig>) -> Result<Self> {
        Self::over(Ipv4Addr::LOCALHOST, Some(tls))
    }

    fn over(ip: Ipv4Addr, tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let first: Arc<Script> = Arc::new(|_| vec![Step::Send(answer("200 OK", &[], "ok"))]);
        let script = Arc::new(Mutex::new(first));
        let current = Arc::clone(&script);
        let server = Server::at(ip, tls, move |request| {
            let script = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
            script(request)
        })?;
        Ok(Self { server, script })
    }

    /// From now on answers every request with these raw bytes; see [`answer`] for a well-formed one.
    pub fn answer(&self, raw: impl AsRef<[u8]>) {
        self.steps(vec![Step::send(raw)]);
    }

    /// From now on plays these steps for every request.
    pub fn steps(&self, steps: Vec<Step>) {
        self.script(move |_| steps.clone());
    }

    /// From now on asks `script` what to do for each request.
    pub fn script(&self, script: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Every request so far, which are then forgotten.
    pub fn take(&self) -> Vec<Request> {
        self.server.take()
    }

    /// How many connections were made to it so far.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// The newest request; waits for the first.
    pub fn last(&self) -> Result<Request> {
        wait::until(Duration::from_secs(10), "a request at the upstream", || {
            self.server.requests().pop()
        })
    }
}
