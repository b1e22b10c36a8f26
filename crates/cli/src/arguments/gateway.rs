//! What the gateway is told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;
use splittoken_gateway::AccessLog;
use splittoken_runtime::CollectorUrl;

use super::{
    InstallationArguments, ProcessArguments, StoreArguments,
    limits::LimitArguments,
    numbers::{number, ratio},
    values::{address, drain_time, network},
};

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
    #[arg(long, env = "SPLITTOKEN_MIN_DRAIN", value_name = "DURATION", default_value = "5s", value_parser = drain_time)]
    pub(crate) min_drain: Duration,

    /// After that: how long requests in flight may take to finish.
    #[arg(long, env = "SPLITTOKEN_DRAIN", value_name = "DURATION", default_value = "25s", value_parser = drain_time)]
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
    pub(crate) limits: LimitArguments,
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

/// Where routes come from.
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
