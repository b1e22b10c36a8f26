//! The demo, and the tools around the gateway.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{
    StoreArguments,
    values::{address, duration, probed},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  splittoken demo                                     then open http://127.0.0.1:8080 in a browser
  splittoken demo --listen 127.0.0.1:8081             where 8080 is taken
  splittoken demo --store redis://127.0.0.1:6379      to look into a real store with redis-cli")]
pub(crate) struct DemoArguments {
    /// Where the demo is reached.
    #[arg(
        long,
        env = "SPLITTOKEN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) store: StoreArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  splittoken check examples/keycloak.yaml
  splittoken check --strict routes/           unanswered references are errors too

Exit codes: 0 well, 1 errors were found, 2 a file cannot be read.")]
pub(crate) struct CheckArguments {
    /// Files and folders to check.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    pub(crate) files: Vec<PathBuf>,

    /// Count references that the files do not answer (Services, Secrets) as errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  splittoken crd | kubectl apply -f -
  splittoken crd --out crds/")]
pub(crate) struct CrdArguments {
    /// A folder to write one file for each kind to [default: print them]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  splittoken probe http://splittoken-gateway-admin:9090/readyz

Exit codes: 0 every URL answered 2xx, 2 the time is over; what was wrong last is said on standard error.")]
pub(crate) struct ProbeArguments {
    /// Where to ask, plain HTTP only.
    #[arg(required = true, value_name = "URL", value_parser = probed)]
    pub(crate) urls: Vec<(String, String)>,

    /// How long to go on asking, for all URLs together.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) within: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyringCommand {
    /// Print a new keyring. It is a secret: whoever has it and the store's content is close to the claims.
    #[command(after_help = "Example:
  umask 077 && splittoken keyring new > keyring.json")]
    New,
    /// Ask the operator of a cluster to rotate the keyring of its gateways. Nothing is lost: both keys are read until the
    /// last token of the old one has ended.
    #[command(after_help = "Example:
  splittoken keyring rotate --namespace splittoken-system --secret splittoken-keyring")]
    Rotate(RotateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// Where the Secret is [default: the namespace of the current kubeconfig, or of the pod]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// The Secret with the keyring.
    #[arg(long, value_name = "NAME", default_value = "splittoken-keyring")]
    pub(crate) secret: String,
}
