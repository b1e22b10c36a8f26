//! What the operator is told.

use std::path::PathBuf;

use clap::Args;

use super::{InstallationArguments, ProcessArguments, numbers::number};

#[derive(Debug, Args)]
#[command(after_help = "Example, with what the chart gives it:
  splittoken operator --class default --namespace splittoken-system \\
      --policy /etc/splittoken/policy/policy.yaml --anchor splittoken \\
      --keyring-secret splittoken-keyring --store-secret splittoken-store \\
      --admin 0.0.0.0:9090 --log-format json

Every option can be given in the environment instead: --class is SPLITTOKEN_CLASS.
Outside of a pod, the cluster is the one of the current kubeconfig.
RUST_LOG sets what is logged (default: info).

Of several operators of one class, one writes, as a Lease says; the others stand by. One that cannot renew it in time
ends with exit code 2, to be started anew.")]
pub(crate) struct OperatorArguments {
    #[command(flatten)]
    pub(crate) installation: InstallationArguments,

    /// File with what may be used here: namespaceSelector, hostnames, issuers, urlBackends, selectorlessServices,
    /// localAddresses [default: any namespace, host and issuer; Services with a selector only; no loopback, link-local
    /// or API server]
    #[arg(long, env = "SPLITTOKEN_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Picks the gateway pods of this installation by their labels.
    #[arg(
        long,
        env = "SPLITTOKEN_GATEWAY_SELECTOR",
        value_name = "SELECTOR",
        default_value = "app.kubernetes.io/component=gateway"
    )]
    pub(crate) gateway_selector: String,

    /// The port of a gateway pod's admin server.
    #[arg(
        long,
        env = "SPLITTOKEN_GATEWAY_ADMIN_PORT",
        value_name = "PORT",
        default_value_t = 9090,
        allow_negative_numbers = true,
        value_parser = number("a port", 1..=u16::MAX)
    )]
    pub(crate) gateway_admin_port: u16,

    /// A ConfigMap that owns everything the operator makes, so that it goes when that one goes.
    #[arg(long, env = "SPLITTOKEN_ANCHOR", value_name = "NAME")]
    pub(crate) anchor: Option<String>,

    /// The Secret with the gateways' keyring; made if there is none.
    #[arg(long, env = "SPLITTOKEN_KEYRING_SECRET", value_name = "NAME")]
    pub(crate) keyring_secret: Option<String>,

    /// Keep that Secret when the anchor goes: without it the records in a store that stays cannot be read any more.
    #[arg(long, env = "SPLITTOKEN_KEEP_KEYRING")]
    pub(crate) keep_keyring: bool,

    /// The Secret with the password of a store that only this installation uses, and with the users file of that store;
    /// made if there is none.
    #[arg(long, env = "SPLITTOKEN_STORE_SECRET", value_name = "NAME")]
    pub(crate) store_secret: Option<String>,

    /// Who this process is when operators elect a leader [default: the host's name and the process id]
    #[arg(long, env = "SPLITTOKEN_IDENTITY", value_name = "NAME")]
    pub(crate) identity: Option<String>,

    #[command(flatten)]
    pub(crate) process: ProcessArguments,
}
