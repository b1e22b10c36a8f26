//! One end of a connection, driven by hand, byte by byte: a client or an upstream that stops halfway.
//!
//! [`crate::raw`] and [`crate::upstream`] read whole messages. Whether a gateway streams shows only between two halves.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{ports, wait};

/// Longer than any piece takes to come; shorter than a person's patience with a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listening socket whose connections are taken one by one. Nothing is answered unless the test does.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Listener {
    /// Listens on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", ports::free()?))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection; waits for it up to 20 seconds.
    pub fn accept(&self) -> Result<Peer> {
        let stream = wait::until(PATIENCE, "a connection", || self.listener.accept().ok())?.0;
        stream.set_nonblocking(false)?;
        Peer::of(stream)
    }

    /// Whether a connection is waiting to be accepted. Takes it if there is one.
    pub fn has_another(&self) -> bool {
        self.listener.accept().is_ok()
    }
}

impl Peer {
    /// Connects; reads and writes give up after 20 seconds.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::of(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Another limit for reads and writes.
    pub fn patience(self, limit: Duration) -> Result<Self> {
        self.stream.set_read_timeout(Some(limit))?;
        self.stream.set_write_timeout(Some(limit))?;
        Ok(self)
    }

    /// Writes `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Reads until `wanted` has come, and gives everything that came so far.
    pub fn until(&mut self, wanted: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let wanted = wanted.as_ref();
        while !self.has(wanted) {
            let count = self.fill().with_context(|| self.waiting_for(wanted))?;
            if count == 0 {
                bail!("the close instead: {}", self.waiting_for(wanted));
            }
        }
        Ok(self.received.clone())
    }

    /// Reads up to the close, which may be a reset, and gives everything that came on the connection.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => return Ok(self.received.clone()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(self.received.clone()),
                Err(error) => return Err(error).context("waiting for the close"),
            }
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) -> Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            // The other side has ended it already.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn of(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let peer = Self {
            stream,
            received: Vec::new(),
        };
        peer.patience(PATIENCE)
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.received.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn has(&self, wanted: &[u8]) -> bool {
        self.received.windows(wanted.len()).any(|window| window == wanted)
    }

    fn waiting_for(&self, wanted: &[u8]) -> String {
        let (wanted, received) = (
            String::from_utf8_lossy(wanted),
            String::from_utf8_lossy(&self.received),
        );
        format!("waiting for {wanted:?} after {received:?}")
    }
}
