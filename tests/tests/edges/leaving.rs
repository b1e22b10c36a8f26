//! A gateway that leaves, or gets new certificates, takes no request from clients that speak HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::http2::Http2;
use splittoken_tests::wait;

use super::stand;

/// Clients that keep their connection until they hear that it is over.
struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    answered: AtomicUsize,
    connected: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Clients {
    fn start(number: usize, address: SocketAddr, target: &str, token: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..number).map(|_| {
            let (shared, target, bearer) =
                (Arc::clone(&shared), target.to_owned(), format!("Bearer {token}"));
            thread::spawn(move || shared.work(address, &target, &bearer))
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Stops them; gives what failed.
    fn finish(self) -> Vec<String> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A client that panicked shows by its message.
            let _ = thread.join();
        }
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.clone()
    }
}

impl Shared {
    /// Until nobody takes connections any more.
    fn work(&self, address: SocketAddr, target: &str, bearer: &str) {
        while let Ok(mut client) = Http2::connect(address) {
            self.connected.fetch_add(1, Ordering::Relaxed);
            while !client.is_over() {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                match client.try_get(target, &[("authorization", bearer)]) {
                    Ok(Some(answer)) if answer.status == 200 => {
                        self.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(None) => break,
                    other => {
                        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("{other:?}"));
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn clients_hear_that_they_should_go_and_lose_nothing() -> Result<()> {
    let times = ["--http2-cleartext", "--min-drain", "4s", "--drain", "10s"];
    let mut stand = stand(&times)?;
    let token = stand.token(&json!({}))?;
    let target = stand.gateway.url("/orders");
    let clients = Clients::start(4, stand.gateway.address(), &target, &token.opaque);
    wait::until_true(wait::START, "some requests", || clients.answered() > 200)?;
    let (before, connected) = (clients.answered(), clients.connected());
    stand.gateway.terminate()?;
    let start = Instant::now();
    wait::until_true(wait::START, "clients to connect anew", || {
        clients.connected() >= connected + 4
    })?;
    println!("every client has left its connection after {:?}", start.elapsed());
    let status = stand.gateway.wait(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}");
    ensure!(clients.answered() > before, "nothing was served while leaving");
    println!("{} answers while leaving", clients.answered() - before);
    let failed = clients.finish();
    ensure!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
    Ok(())
}

/// An idle connection is closed as HTTP/2 closes one, so that a request on its way is not lost.
#[test]
fn an_idle_gateway_ends_at_once() -> Result<()> {
    let mut stand = stand(&["--http2-cleartext", "--min-drain", "0s", "--drain", "20s"])?;
    let mut client = Http2::connect(stand.gateway.address())?;
    assert_eq!(client.get(&stand.gateway.url("/orders"), &[])?.status, 401);
    let start = Instant::now();
    stand.gateway.terminate()?;
    let status = stand.gateway.wait(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}");
    println!("ended after {:?}", start.elapsed());
    ensure!(
        start.elapsed() < Duration::from_secs(10),
        "it waited for an idle client"
    );
    wait::until_true(wait::START, "the client to hear of it", || client.is_over())
}
