//! A way to a server that can be cut: connections are passed on byte by byte, until a test ends all of them.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;

use crate::ports;

/// Takes connections until it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: SocketAddr,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Link {
    /// Listens on a free port of 127.0.0.1.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", ports::free()?))?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            target,
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&inner);
        thread::spawn(move || accepting.accept(&listener));
        Ok(Self { address, inner })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections. New ones are taken.
    pub fn cut(&self) {
        for stream in self.inner.open().drain(..) {
            // Its peer may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.inner.is_over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, listener: &TcpListener) {
        for near in listener.incoming().flatten() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            // Whoever connects to a server that is away finds the connection closed.
            let _ = self.join(near);
        }
    }

    fn join(&self, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.target)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        self.open().extend([near.try_clone()?, far.try_clone()?]);
        pass(near.try_clone()?, far.try_clone()?);
        pass(far, near);
        Ok(())
    }
}

/// Passes on what comes until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
}
