//! The admin server: probes, metrics and what is served, for people and machines that run the gateway.

mod config;
mod exposition;
mod labels;
mod metrics;
mod pages;
mod store;

use anyhow::Result;
use splittoken_tests::gateway::Gateway;

use exposition::Exposition;

/// The metrics as they are now. Text that a strict reader would refuse is an error.
fn scrape(gateway: &Gateway) -> Result<Exposition> {
    Exposition::parse(&gateway.admin("/metrics")?.text())
}
