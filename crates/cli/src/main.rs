//! `splittoken`: the gateway, the demo and the tools around them, in one binary.

mod arguments;
mod commands;
mod demo;
mod redact;
mod routes;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match arguments::Arguments::try_parse() {
        Ok(arguments) => commands::run(arguments),
        Err(error) => commands::usage(&error),
    }
}
