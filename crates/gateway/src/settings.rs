use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;

/// The most bytes of a request's header block.
pub(crate) const MAX_HEADER_BYTES: usize = 32 * 1024;
/// The most headers of a request.
pub(crate) const MAX_HEADERS: usize = 100;
/// The most requests that one HTTP/2 connection may have in flight.
pub(crate) const MAX_STREAMS: u32 = 100;
/// How long a client may take for one header block.
pub(crate) const HEADER_READ: Duration = Duration::from_secs(5);
/// How long a connection may lie idle between requests: longer than common load balancers (60 s), so that they are
/// the ones who close.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The most bytes that are read ahead from a connection.
pub(crate) const READ_BUFFER: usize = 64 * 1024;
/// The most bytes of a token request.
pub(crate) const MAX_TOKEN_REQUEST: usize = 64 * 1024;
/// How long a client may take for the body of a token request.
pub(crate) const TOKEN_REQUEST_READ: Duration = Duration::from_secs(10);
/// How many bytes the near cache may hold: about 100,000 tokens of ordinary size.
pub(crate) const NEAR_CACHE_BYTES: u64 = 256 * 1024 * 1024;

/// How the gateway runs, apart from what it serves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads; each has its own runtime, upstream connections and store connection. At least 1.
    pub threads: usize,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections begin with a PROXY header, which only `trusted_proxies` may send.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is taken without TLS, from clients that begin with it (RFC 9113 §3.3).
    pub http2_cleartext: bool,
    /// Which requests get a log line.
    pub access_log: AccessLog,
    /// A folder that outlives the process, for the last keys of each issuer.
    pub state_dir: Option<PathBuf>,
}

/// Which requests get a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// One in a hundred, and every one that failed with 5xx.
    Sampled,
    /// All.
    On,
}

impl std::str::FromStr for AccessLog {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "sampled" => Ok(Self::Sampled),
            "on" => Ok(Self::On),
            _ => Err("expected off, sampled or on"),
        }
    }
}
