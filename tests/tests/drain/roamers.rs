//! Clients as they are behind a load balancer: they keep their connection until they are told to go, then connect to
//! whoever is ready.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::BASIC;

use super::lines::{Call, Line, Said};

/// Between two requests of one client, to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(2);

/// What the load balancer believes is ready.
#[derive(Clone, Default)]
pub(crate) struct Ready(Arc<Mutex<Vec<SocketAddr>>>);

/// How they connect.
pub(crate) type Connect = Box<dyn Fn(SocketAddr) -> Result<Box<dyn Line>> + Send + Sync>;

/// Clients at work.
pub(crate) struct Roamers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What they have done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) requests: usize,
    pub(crate) connections: usize,
    /// How they failed, each in a few words.
    pub(crate) failed: Vec<String>,
}

struct Shared {
    ready: Ready,
    connect: Connect,
    tokens: Vec<String>,
    stopped: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Ready {
    pub(crate) fn add(&self, address: SocketAddr) {
        lock(&self.0).push(address);
    }

    pub(crate) fn remove(&self, address: SocketAddr) {
        lock(&self.0).retain(|known| *known != address);
    }

    fn pick(&self, number: usize) -> Option<SocketAddr> {
        let known = lock(&self.0);
        known.get(number % known.len().max(1)).copied()
    }
}

impl Roamers {
    /// `number` clients that use these tokens in turn.
    pub(crate) fn start(ready: &Ready, connect: Connect, number: usize, tokens: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            ready: ready.clone(),
            connect,
            tokens,
            stopped: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            failed: Mutex::default(),
        });
        let threads = (0..number).map(|number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work(number))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// How many requests were answered so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn finish(mut self) -> Done {
        self.stop();
        Done {
            requests: self.requests(),
            connections: self.shared.connections.load(Ordering::SeqCst),
            failed: lock(&self.shared.failed).clone(),
        }
    }

    fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A client that panicked shows by its message.
            let _ = thread.join();
        }
    }
}

impl Drop for Roamers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn work(&self, number: usize) {
        let mut line = None;
        for step in number.. {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = self.step(&mut line, step) {
                lock(&self.failed).push(format!("client {number}, request {step}: {error:#}"));
                line = None;
            } else {
                self.requests.fetch_add(1, Ordering::SeqCst);
            }
            thread::sleep(PAUSE);
        }
    }

    /// One request, on another connection where this one is over.
    fn step(&self, line: &mut Option<Box<dyn Line>>, step: usize) -> Result<()> {
        loop {
            let mut current = match line.take_if(|kept| !kept.is_over()) {
                Some(kept) => kept,
                None => self.connected(step)?,
            };
            if let Some((status, text)) = self.request(&mut *current, step)? {
                ensure!(status == 200, "{status} {text}");
                *line = Some(current);
                return Ok(());
            }
        }
    }

    fn connected(&self, step: usize) -> Result<Box<dyn Line>> {
        let address = self.ready.pick(step).context("nobody is ready")?;
        self.connections.fetch_add(1, Ordering::SeqCst);
        (self.connect)(address).context("connecting")
    }

    /// Mostly a call, sometimes one with a body, seldom one for a token.
    fn request(&self, line: &mut dyn Line, step: usize) -> Result<Option<Said>> {
        let bearer = format!("Bearer {}", self.tokens[step % self.tokens.len()]);
        let call = match step % 16 {
            0 => Call {
                method: "POST",
                path: "/oauth/token",
                headers: &[
                    ("authorization", BASIC),
                    ("content-type", "application/x-www-form-urlencoded"),
                ],
                body: "grant_type=client_credentials",
            },
            step => Call {
                method: if step < 5 { "POST" } else { "GET" },
                path: "/orders",
                headers: &[("authorization", &bearer)],
                body: if step < 5 { "body" } else { "" },
            },
        };
        line.call(&call)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
