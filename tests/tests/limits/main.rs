//! How much clients may send, hold open and make others do: each limit from both sides.

mod addresses;
mod connections;
mod overload;
mod providers;
mod sizes;
mod times;
mod upstreams;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use anyhow::{Context as _, Result};
use splittoken_tests::gateway::smallest_route;
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::stand::Stand;

/// A stand with the smallest route, whose gateway is started with these arguments.
fn stand(arguments: &[&str]) -> Result<Stand> {
    Stand::built(
        |to| smallest_route(&to.issuer, &to.upstream),
        |gateway| gateway.arguments(arguments),
    )
}

/// From now on somebody listens where a gateway has found nobody: a server that answers each connection once, until the end
/// of the tests.
fn come_late(port: u16, answer: Vec<u8>) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The heads of these tests come at one go.
            let _ = stream.read(&mut [0; 8 * 1024]);
            let _ = stream.write_all(&answer);
        }
    });
    Ok(())
}

/// Sends bytes on a connection that is there, and reads the answer.
fn answered(client: &mut Client, bytes: impl AsRef<[u8]>) -> Result<Answer> {
    client.send(bytes)?;
    client.read()?.context("closed without an answer")
}
