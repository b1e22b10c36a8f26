//! `splittoken`: the gateway, the demo and the tools around them, in one binary.

mod arguments;
mod commands;
mod demo;
mod routes;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(arguments::Arguments::parse())
}
