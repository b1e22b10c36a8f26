use std::path::PathBuf;

use ipnet::IpNet;

use crate::limits::Limits;

/// The most bytes that are read ahead from a connection, or wait there to be written.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

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
    /// What a client may do.
    pub limits: Limits,
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
