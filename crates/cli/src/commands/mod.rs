//! What each command does. Here errors become one line and an exit code; nowhere else.

mod certificate_files;
mod check;
mod crd;
mod demo;
mod followed;
mod gateway;
mod keyring;
mod keyring_file;
mod operator;
mod probe;
mod serving;
mod source;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    arguments::{Arguments, Command},
    redact::redact,
};

/// The command line or a file cannot be used.
const UNUSABLE: u8 = 2;

/// Runs a command to its end.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    // Every TLS connection of the process uses this one library.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return fail(&anyhow::anyhow!("the TLS library is set up already"));
    }
    let outcome = match arguments.command {
        Command::Gateway(arguments) => gateway::run(*arguments).map(|()| ExitCode::SUCCESS),
        Command::Operator(arguments) => operator::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Demo(arguments) => demo::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => check::run(&arguments),
        Command::Crd(arguments) => crd::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Probe(arguments) => probe::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Keyring(command) => keyring::run(command).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| fail(&error))
}

/// Help and version are what was asked for; everything else is one line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return print(&error.render().to_string()).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell if standard error is gone.
        let _ = write!(io::stderr(), "{}", error.render());
        return ExitCode::from(UNUSABLE);
    }
    fail(&anyhow::anyhow!(
        "{} (try --help)",
        one_line(&error.render().to_string())
    ))
}

/// What is wrong and what may have been meant, of a message that goes on to explain the whole command line.
fn one_line(text: &str) -> String {
    let mut blocks = text.split("\n\n").map(|block| {
        let words: Vec<&str> = block.split_whitespace().collect();
        words.join(" ")
    });
    let what = blocks.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    match blocks.find_map(|block| Some(block.strip_prefix("tip: ")?.to_owned())) {
        Some(tip) => format!("{what}; {tip}"),
        None => what.to_owned(),
    }
}

/// One line, the causes behind it.
fn fail(error: &anyhow::Error) -> ExitCode {
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "splittoken: {}", redact(&format!("{error:#}")));
    ExitCode::from(UNUSABLE)
}

/// Writes what a command was asked for to standard output.
fn print(text: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_is_wrong_and_what_may_be_meant() {
        for (text, line) in [
            ("error: unexpected x\n\nUsage: y\n", "unexpected x"),
            (
                "error: unexpected x\n\n  tip: say z\n\nUsage: y\n",
                "unexpected x; say z",
            ),
            ("error: missing:\n  --a <B>\n\nUsage: y\n", "missing: --a <B>"),
            ("odd", "odd"),
        ] {
            assert_eq!(one_line(text), line);
        }
    }
}
