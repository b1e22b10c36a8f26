//! How much clients may send, hold open and make others do: each limit from both sides.

mod addresses;
mod connections;
mod overload;
mod providers;
mod sizes;
mod times;
mod upstreams;

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

/// Sends bytes on a connection that is there, and reads the answer.
fn answered(client: &mut Client, bytes: impl AsRef<[u8]>) -> Result<Answer> {
    client.send(bytes)?;
    client.read()?.context("closed without an answer")
}
