//! Clients as they are behind a load balancer: they keep their connection until they are told to go, then connect to
//! whoever is ready.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use splittoken_tests::caller::BASIC;
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::stand::request;

/// Between two requests of one client, to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(2);

/// What the load balancer believes is ready.
#[derive(Clone, Default)]
pub(crate) struct Ready(Arc<Mutex<Vec<SocketAddr>>>);

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
    pub(crate) fn start(ready: &Ready, number: usize, tokens: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            ready: ready.clone(),
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
        let mut connection = None;
        for step in number.. {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            match self.step(&mut connection, step) {
                Ok(answer) => {
                    self.requests.fetch_add(1, Ordering::SeqCst);
                    if answer.header("connection").is_some_and(|value| value == "close") {
                        connection = None;
                    }
                }
                Err(error) => {
                    lock(&self.failed).push(format!("client {number}, request {step}: {error:#}"));
                    connection = None;
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// One request: mostly a call, sometimes one with a body, seldom one for a token.
    fn step(&self, connection: &mut Option<(Client, String)>, step: usize) -> Result<Answer> {
        if connection.is_none() {
            let address = self.ready.pick(step).context("nobody is ready")?;
            self.connections.fetch_add(1, Ordering::SeqCst);
            *connection = Some((
                Client::connect(address).context("connecting")?,
                address.to_string(),
            ));
        }
        let (client, host) = connection.as_mut().context("not connected")?;
        let token = &self.tokens[step % self.tokens.len()];
        let token = format!("Authorization: Bearer {token}");
        let form = "grant_type=client_credentials";
        let bytes = match step % 16 {
            0 => request(
                host,
                "POST /oauth/token",
                &[
                    &format!("Authorization: {BASIC}"),
                    "Content-Type: application/x-www-form-urlencoded",
                    &format!("Content-Length: {}", form.len()),
                ],
                form,
            ),
            1..5 => request(host, "POST /orders", &[&token, "Content-Length: 4"], "body"),
            _ => request(host, "GET /orders", &[&token], ""),
        };
        client.send(bytes)?;
        let answer = client.read()?.context("the connection was closed")?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(answer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
