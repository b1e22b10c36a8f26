//! The command line. Its texts are documentation: they say what each thing is for and give examples.

// People read these texts in a terminal, where backticks are noise.
#![allow(clippy::doc_markdown)]

mod gateway;
mod limits;
mod numbers;
mod operator;
mod store;
mod tools;
mod values;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use splittoken_api::crd::DEFAULT_CLASS;
use splittoken_runtime::LogFormat;

use self::values::address;
pub(crate) use self::{
    gateway::{GatewayArguments, SourceArguments, TlsArguments, TraceArguments},
    operator::OperatorArguments,
    store::StoreArguments,
    tools::{CheckArguments, CrdArguments, DemoArguments, KeyringCommand, ProbeArguments, RotateArguments},
};

/// Opaque access tokens in front of any identity provider that issues JWTs.
///
/// A client asks the gateway for a token and gets only the JWT's signature; header and claims stay behind, sealed.
/// When the client calls an API with that signature, the gateway puts the JWT together again and forwards it.
#[derive(Debug, Parser)]
#[command(name = "splittoken", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  splittoken demo                           see it work, on http://127.0.0.1:8080
  splittoken check routes/                  is this configuration good?
  splittoken keyring new > keyring.json     the secret that seals what is stored
  splittoken gateway --routes routes/ \\
      --store redis://127.0.0.1:6379 --keyring keyring.json

Exit codes: 0 well, 1 `check` found errors, 2 the command line, a file or a cluster cannot be used, 130 and 143 ended
at once by a second SIGINT or SIGTERM.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway, with routes from files or as the operator of a cluster renders them.
    Gateway(Box<GatewayArguments>),
    /// Run the control plane in a cluster: custom resources in, config for the gateway pods and a status out.
    Operator(OperatorArguments),
    /// Run everything in one process, on loopback: a provider, an API, the gateway, and a page that shows the flow.
    Demo(DemoArguments),
    /// Check configuration files without running anything.
    Check(CheckArguments),
    /// Print or write the custom resource definitions for Kubernetes.
    Crd(CrdArguments),
    /// Wait until admin servers say that they are ready: for `helm test`, and wherever there is no curl.
    Probe(ProbeArguments),
    /// Make the keyring that seals the records in the store.
    #[command(
        subcommand,
        after_help = "Example:\n  umask 077 && splittoken keyring new > keyring.json"
    )]
    Keyring(KeyringCommand),
}

/// Which installation: its gateways and its operator name it alike.
#[derive(Debug, Args)]
pub(crate) struct InstallationArguments {
    /// The installation: routes and issuers with another spec.className are left alone.
    #[arg(
        long,
        env = "SPLITTOKEN_CLASS",
        value_name = "NAME",
        default_value = DEFAULT_CLASS
    )]
    pub(crate) class: String,

    /// In a cluster: where gateway pods run and rendered routes go [default: the pod's own namespace]
    #[arg(long, env = "SPLITTOKEN_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// How a process that stays shows itself.
#[derive(Debug, Args)]
pub(crate) struct ProcessArguments {
    /// Where /healthz, /readyz, /metrics and a gateway's /config are answered. Not for the public.
    #[arg(
        long,
        env = "SPLITTOKEN_ADMIN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9090",
        value_parser = address
    )]
    pub(crate) admin: SocketAddr,

    /// How log lines look: text or json. They go to standard error.
    #[arg(
        long,
        env = "SPLITTOKEN_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
