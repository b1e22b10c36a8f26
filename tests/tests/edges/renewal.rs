//! Certificates are renewed while clients are at work: nobody's request fails, on old connections and on new ones.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::stand::request;
use splittoken_tests::tls::Session;
use splittoken_tests::wait;

use super::Secured;

/// How often they are renewed.
const RENEWALS: usize = 4;
/// Ten times the two seconds between two looks at the files.
const RELOADED: Duration = Duration::from_secs(20);

struct Clients<'s> {
    secured: &'s Secured,
    call: Vec<u8>,
    stopped: AtomicBool,
    answered: AtomicUsize,
    sessions: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Clients<'_> {
    /// One client: so many requests on each connection, then another connection.
    fn work(&self, on_each: usize) {
        while !self.stopped.load(Ordering::Relaxed) {
            if let Err(error) = self.session(on_each) {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(format!("{error:#}"));
                return;
            }
        }
    }

    fn session(&self, on_each: usize) -> Result<()> {
        let secured = self.secured;
        let mut session = Session::connect(secured.address, secured.authority.pem(), "a.example", &[])?;
        self.sessions.fetch_add(1, Ordering::Relaxed);
        for _ in 0..on_each {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            let answer = session.exchange(&self.call, |text| text.ends_with("\r\n\r\nok"))?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn renewed_certificates_fail_no_request() -> Result<()> {
    let secured = Secured::built(&[&["a.example"]], |gateway| gateway.log("info"))?;
    let token = secured.stand.token(&json!({}))?;
    let clients = Clients {
        call: request("a.example", "GET /orders", &[&token.header()], ""),
        secured: &secured,
        stopped: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
        sessions: AtomicUsize::new(0),
        failed: Mutex::default(),
    };
    let shown =
        || Session::connect(secured.address, secured.authority.pem(), "a.example", &[])?.certificate();
    let renewed: Result<()> = thread::scope(|scope| {
        for on_each in [usize::MAX, usize::MAX, 5, 1] {
            let clients = &clients;
            scope.spawn(move || clients.work(on_each));
        }
        let outcome = (0..RENEWALS).try_for_each(|_| {
            let before = shown()?;
            secured.replace(0, &secured.authority.certify(&["a.example"])?)?;
            wait::until_true(RELOADED, "the new certificate", || {
                shown().is_ok_and(|now| now != before)
            })
        });
        clients.stopped.store(true, Ordering::Relaxed);
        outcome
    });
    renewed?;
    let (answered, sessions) = (clients.answered.into_inner(), clients.sessions.into_inner());
    let failed = clients
        .failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!(
        "{RENEWALS} renewals: {answered} answers on {sessions} connections, {} failed",
        failed.len()
    );
    ensure!(failed.is_empty(), "{failed:?}");
    ensure!(
        answered > 100 && sessions > 10,
        "{answered} answers on {sessions} connections"
    );
    Ok(())
}
