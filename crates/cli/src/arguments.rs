//! The command line. Its texts are documentation: they say what each thing is for and give examples.

// People read these texts in a terminal, where backticks are noise.
#![allow(clippy::doc_markdown)]

mod limits;
mod numbers;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use splittoken_api::{GepDuration, crd::DEFAULT_CLASS};
use splittoken_gateway::AccessLog;
use splittoken_runtime::{CollectorUrl, LogFormat};

use self::numbers::{number, ratio};

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

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  splittoken gateway --routes routes.yaml
  splittoken gateway --routes routes/ --listen 0.0.0.0:8080 \\
      --store rediss://gateway@redis.internal:6379 --store-ca ca.pem \\
      --store-password-file password --keyring keyring.json \\
      --trusted-proxies 10.0.0.0/8 --log-format json --access-log sampled

Every option can be given in the environment instead: --store-ca is SPLITTOKEN_STORE_CA.
RUST_LOG sets what is logged (default: info).

SIGTERM and SIGINT (Ctrl-C): not ready at once, still accepting for --min-drain, then finishing what is in flight for
at most --drain. A second one ends the process at once, whatever is in flight.")]
pub(crate) struct GatewayArguments {
    #[command(flatten)]
    pub(crate) source: SourceArguments,

    /// Where clients connect.
    #[arg(
        long,
        env = "SPLITTOKEN_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,

    /// Take HTTP/2 without TLS, too, from clients that begin with it (h2c with prior knowledge). With TLS it is always
    /// offered.
    #[arg(long, env = "SPLITTOKEN_HTTP2_CLEARTEXT")]
    pub(crate) http2_cleartext: bool,

    /// Connections begin with a PROXY header (version 1 or 2), which says whose they are. Only trusted proxies may
    /// connect then.
    #[arg(long, env = "SPLITTOKEN_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub(crate) proxy_protocol: bool,

    #[command(flatten)]
    pub(crate) process: ProcessArguments,

    #[command(flatten)]
    pub(crate) store: StoreArguments,

    /// The file with the secret that seals records, as made by `splittoken keyring new`. Required with Redis; with
    /// the memory store a random one is made.
    #[arg(long, env = "SPLITTOKEN_KEYRING", value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,

    /// Worker threads [default: one for each core]
    #[arg(long, env = "SPLITTOKEN_THREADS", value_name = "N", allow_negative_numbers = true, value_parser = number("a number of threads", 1..=1024_u16))]
    pub(crate) threads: Option<u16>,

    /// Networks whose X-Forwarded-* headers are believed, separated by commas [default: none]
    #[arg(
        long,
        env = "SPLITTOKEN_TRUSTED_PROXIES",
        value_name = "CIDR,…",
        value_delimiter = ',',
        value_parser = network
    )]
    pub(crate) trusted_proxies: Vec<IpNet>,

    /// After SIGTERM: how long to go on accepting while not ready, so that load balancers notice.
    #[arg(long, env = "SPLITTOKEN_MIN_DRAIN", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) min_drain: Duration,

    /// After that: how long requests in flight may take to finish.
    #[arg(long, env = "SPLITTOKEN_DRAIN", value_name = "DURATION", default_value = "25s", value_parser = duration)]
    pub(crate) drain: Duration,

    /// Which requests get a log line: off, sampled (1 in 100, and every 5xx) or on.
    #[arg(
        long,
        env = "SPLITTOKEN_ACCESS_LOG",
        value_name = "WHICH",
        default_value = "off"
    )]
    pub(crate) access_log: AccessLog,

    #[command(flatten)]
    pub(crate) traces: TraceArguments,

    #[command(flatten)]
    pub(crate) limits: limits::LimitArguments,
}

/// Spans for a collector.
#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    /// Where a collector takes spans by OTLP over HTTP (protobuf), such as http://collector:4318; they go to /v1/traces
    /// there [default: no spans]
    #[arg(
        id = "otlp_endpoint",
        long = "otlp-endpoint",
        env = "SPLITTOKEN_OTLP_ENDPOINT",
        value_name = "URL"
    )]
    pub(crate) endpoint: Option<CollectorUrl>,

    /// PEM file with the only certificates to trust for a collector at https://, read again before spans are sent
    /// [default: those of the machine]
    #[arg(
        id = "otlp_ca",
        long = "otlp-ca",
        env = "SPLITTOKEN_OTLP_CA",
        value_name = "FILE",
        requires = "otlp_endpoint"
    )]
    pub(crate) authorities: Option<PathBuf>,

    /// The share of requests that leave spans, from 0 to 1. Requests from trusted proxies that say in their traceparent
    /// whether they are sampled are not counted among them.
    #[arg(
        id = "trace_sampling",
        long = "trace-sampling",
        env = "SPLITTOKEN_TRACE_SAMPLING",
        value_name = "RATIO",
        default_value = "0.01",
        requires = "otlp_endpoint",
        allow_negative_numbers = true,
        value_parser = ratio
    )]
    pub(crate) sampling: f64,
}

/// TLS towards clients.
#[derive(Debug, Args)]
pub(crate) struct TlsArguments {
    /// Where clients connect with TLS, for HTTP/2 and HTTP/1.1.
    #[arg(
        id = "tls_listen",
        long = "tls-listen",
        env = "SPLITTOKEN_TLS_LISTEN",
        value_name = "ADDRESS:PORT",
        requires = "tls_certificates",
        value_parser = address
    )]
    pub(crate) listen: Option<SocketAddr>,

    /// Folders that each hold a certificate with its chain and its key, in PEM: tls.crt and tls.key, as a mounted
    /// Secret does. Read again when they change. The first one is for clients that ask for no name, or for one that is
    /// in none of them.
    #[arg(
        id = "tls_certificates",
        long = "tls-certificates",
        env = "SPLITTOKEN_TLS_CERTIFICATES",
        value_name = "FOLDER,…",
        requires = "tls_listen",
        value_delimiter = ','
    )]
    pub(crate) certificates: Vec<PathBuf>,
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

#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// A file or folder with SplitTokenRoute and SplitTokenIssuer objects and the Secrets and ConfigMaps that they
    /// refer to, as for kubectl. Watched: an edit takes effect within a second. Can be given several times.
    #[arg(
        long,
        env = "SPLITTOKEN_ROUTES",
        value_name = "FILE|FOLDER",
        required_unless_present = "kubernetes",
        conflicts_with = "kubernetes",
        value_delimiter = ','
    )]
    pub(crate) routes: Vec<PathBuf>,

    /// Take routes from the cluster that this pod runs in, as its operator renders them, in place of --routes.
    #[arg(long, env = "SPLITTOKEN_KUBERNETES")]
    pub(crate) kubernetes: bool,

    #[command(flatten)]
    pub(crate) installation: InstallationArguments,

    /// With --kubernetes: a folder that outlives the container, for the last routes. With it a restarted container
    /// serves while the API server is away.
    #[arg(long, env = "SPLITTOKEN_STATE_DIR", value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
}

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

#[derive(Debug, Args)]
pub(crate) struct StoreArguments {
    /// Where records lie: memory, redis://[user@]host[:port][/db] or rediss://… for TLS.
    #[arg(
        id = "store",
        long = "store",
        env = "SPLITTOKEN_STORE",
        value_name = "URL",
        default_value = "memory",
        hide_env_values = true
    )]
    pub(crate) url: String,

    /// PEM file with the only certificates to trust for rediss://, read again at each connect [default: those of the machine]
    #[arg(
        id = "store_ca",
        long = "store-ca",
        env = "SPLITTOKEN_STORE_CA",
        value_name = "FILE"
    )]
    pub(crate) ca: Option<PathBuf>,

    /// PEM file with a client certificate for rediss:// and its chain, read again at each connect.
    #[arg(
        id = "store_client_certificate",
        long = "store-client-certificate",
        env = "SPLITTOKEN_STORE_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "store_client_key"
    )]
    pub(crate) client_certificate: Option<PathBuf>,

    /// PEM file with the key of that certificate.
    #[arg(
        id = "store_client_key",
        long = "store-client-key",
        env = "SPLITTOKEN_STORE_CLIENT_KEY",
        value_name = "FILE",
        requires = "store_client_certificate"
    )]
    pub(crate) client_key: Option<PathBuf>,

    /// File with the store's password, read again at each connect, so that it can be changed.
    #[arg(
        id = "store_password_file",
        long = "store-password-file",
        env = "SPLITTOKEN_STORE_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
}

impl StoreArguments {
    /// The default: the memory of this process.
    pub(crate) fn memory() -> Self {
        Self {
            url: "memory".to_owned(),
            ca: None,
            client_certificate: None,
            client_key: None,
            password_file: None,
        }
    }
}

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

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080")
}

/// Host with port, and the path.
fn probed(text: &str) -> Result<(String, String), &'static str> {
    let rest = text
        .strip_prefix("http://")
        .ok_or("expected http://HOST:PORT/PATH")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    Ok((
        host,
        if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
    ))
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .map_err(|_| "expected a network, such as 10.0.0.0/8 or fd00::/8")
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

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = GepDuration::parse(text).map_err(|_| "expected a duration such as 5s, 500ms or 1m30s")?;
    Ok(parsed.get())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("5").is_err());
    }
}
