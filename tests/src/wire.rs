//! A server that does exactly what it is told, byte by byte: the ground of [`crate::upstream`] and [`crate::hostile`].
//!
//! It reads HTTP/1.1 requests only as far as their ends, keeps their raw bytes, and plays a list of steps back.

mod read;
mod request;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) use read::{BodyLength, MessageReader, body_length, find_head_end, header_lines};
pub use request::Request;

/// One thing that a server does in answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Say nothing for this long.
    Wait(Duration),
    /// Close the connection; steps after it are not played.
    Close,
    /// Keep the connection open and silent until the peer or the end of the server closes it.
    Hold,
}

impl Step {
    /// [`Step::Send`].
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::Send(bytes.as_ref().to_vec())
    }
}

/// Writes a whole answer with a right Content-Length: `status` as in `200 OK`.
pub fn answer(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

type Handler = dyn Fn(&Request) -> Vec<Step> + Send + Sync;

/// A listening server; stops, and closes its connections, when dropped.
pub struct Server {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    /// A second handle of each connection, to close it by when the server stops.
    open: Mutex<HashMap<usize, TcpStream>>,
    requests: Mutex<Vec<Request>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1, over TLS where a configuration is given. `handler` is asked once per
    /// request, on that connection's thread.
    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST, tls, handler)
    }

    /// [`Self::start`] on another address of this machine.
    pub fn at(
        ip: Ipv4Addr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((ip, crate::ports::free()?))?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            handler: Box::new(handler),
            tls,
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
            requests: Mutex::default(),
        });
        let accepting = Arc::clone(&inner);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, inner })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`, or `https://…` over TLS.
    pub fn url(&self) -> String {
        let scheme = if self.inner.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Every request so far, in the order in which they were read to their ends.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.inner.requests).clone()
    }

    /// [`Self::requests`], and forgets them.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.inner.requests))
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.inner.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
        for (_, stream) in lock(&self.inner.open).drain() {
            // The peer may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let number = self.accepted.fetch_add(1, Ordering::Relaxed);
            let Ok(copy) = stream.try_clone() else { continue };
            lock(&self.open).insert(number, copy);
            // It may have stopped since, and closed what it knew of by then.
            if self.stopped.load(Ordering::SeqCst) {
                lock(&self.open).remove(&number);
                return;
            }
            let inner = Arc::clone(&self);
            thread::spawn(move || {
                inner.serve(number, stream);
                lock(&inner.open).remove(&number);
            });
        }
    }

    fn serve(&self, connection: usize, stream: TcpStream) {
        // Small answers in several steps would otherwise wait for each other's acknowledgement.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.converse(connection, stream);
        };
        if let Ok(session) = ServerConnection::new(Arc::clone(tls)) {
            self.converse(connection, StreamOwned::new(session, stream));
        }
    }

    /// Ends when the peer closes, breaks HTTP, or a step says so: all the same to a server of tests.
    fn converse(&self, connection: usize, mut stream: impl Read + Write) {
        let mut reader = MessageReader::default();
        while let Ok(Some(raw)) = reader.request(&mut stream) {
            let request = Request::new(connection, raw);
            let steps = (self.handler)(&request);
            lock(&self.requests).push(request);
            if steps.into_iter().any(|step| play(&mut stream, step).is_err()) {
                return;
            }
        }
    }
}

/// An error ends the connection.
fn play(stream: &mut (impl Read + Write), step: Step) -> std::io::Result<()> {
    match step {
        Step::Send(bytes) => stream.write_all(&bytes).and_then(|()| stream.flush()),
        Step::Wait(time) => {
            thread::sleep(time);
            Ok(())
        }
        Step::Close => Err(std::io::ErrorKind::ConnectionAborted.into()),
        Step::Hold => {
            std::io::copy(stream, &mut std::io::sink())?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
