use std::{fmt, net::IpAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What a route may name: `api.example.com`, `*.example.com` or an IP literal. Lower case, no port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hostname {
    /// This host.
    Exact(String),
    /// Everything that ends in this suffix, which starts with a dot: `*.example.com` is `.example.com`.
    Wildcard(String),
}

/// Why a text is no hostname.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum HostnameError {
    /// Nothing there, or nothing between two dots.
    #[error("the hostname, or a part of it, is empty")]
    Empty,
    /// More than 253 characters, or a label of more than 63 (RFC 1035 §2.3.4).
    #[error("the hostname is too long (253 characters, 63 a label)")]
    TooLong,
    /// A port, a path, an upper-case letter or something else that is no host.
    #[error(
        "a hostname is a lower-case DNS name, `*.` and a DNS name, or an IP address, without port or path"
    )]
    Characters,
    /// The host of a request carried a port that is no port.
    #[error("the port is no number from 1 to 65535")]
    Port,
}

impl HostnameError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "hostname_empty",
            Self::TooLong => "hostname_too_long",
            Self::Characters => "hostname_characters",
            Self::Port => "hostname_port",
        }
    }
}

impl Hostname {
    /// Parses the form of a route.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        if let Some(rest) = text.strip_prefix("*.") {
            check_dns_name(rest)?;
            return Ok(Self::Wildcard(format!(".{rest}")));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Exact(ip.to_string()));
        }
        check_dns_name(text)?;
        Ok(Self::Exact(text.to_owned()))
    }

    /// Whether every host that `other` matches is matched by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Wildcard(_)) => false,
            (Self::Wildcard(suffix), Self::Exact(host)) => {
                host.len() > suffix.len() && host.ends_with(suffix)
            }
            (Self::Wildcard(a), Self::Wildcard(b)) => b.ends_with(a),
        }
    }
}

fn check_dns_name(name: &str) -> Result<(), HostnameError> {
    if name.is_empty() {
        return Err(HostnameError::Empty);
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Err(HostnameError::TooLong);
    }
    let label_is_good = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    // A last label of digits would be read as an IPv4 address by some and as a name by others.
    let looks_numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if looks_numeric || !name.split('.').all(label_is_good) {
        return Err(HostnameError::Characters);
    }
    Ok(())
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Serialize for Hostname {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hostname {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The host of a request in the form that routes are looked up by: lower case, no port, no brackets, no final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a>(std::borrow::Cow<'a, str>);

impl<'a> Host<'a> {
    /// Parses a `Host` header or the authority of a target (RFC 9110 §4.2.3, RFC 3986 §3.2.2).
    pub fn parse(authority: &'a str) -> Result<Self, HostnameError> {
        let (host, port) = split_port(authority)?;
        if port.is_some_and(|port| !is_port(port)) {
            return Err(HostnameError::Port);
        }
        if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let ip: std::net::Ipv6Addr = v6.parse().map_err(|_| HostnameError::Characters)?;
            return Ok(Self(ip.to_string().into()));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        // An empty label is no name, but would be covered by a wildcard: `.example.com` by `*.example.com`.
        if has_empty_label(host) {
            return Err(HostnameError::Empty);
        }
        if host.len() > 253 {
            return Err(HostnameError::TooLong);
        }
        if !host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        {
            return Err(HostnameError::Characters);
        }
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return Ok(Self(host.to_ascii_lowercase().into()));
        }
        Ok(Self(host.into()))
    }

    /// The text to look up.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without a splitter's searches: every request comes through here.
fn has_empty_label(host: &str) -> bool {
    let bytes = host.as_bytes();
    let has_no_end = |end: Option<&u8>| end.is_none_or(|byte| *byte == b'.');
    has_no_end(bytes.first()) || has_no_end(bytes.last()) || bytes.windows(2).any(|pair| pair == b"..")
}

/// RFC 3986 §3.2.3 lets a port be empty; a sign, which Rust's parser takes, is not a digit.
pub(crate) fn is_port(port: &str) -> bool {
    let digits_only = port.bytes().all(|b| b.is_ascii_digit());
    port.is_empty() || (digits_only && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Host, with the brackets of IPv6, and port.
pub(crate) fn split_port(authority: &str) -> Result<(&str, Option<&str>), HostnameError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(HostnameError::Characters)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(HostnameError::Characters),
        };
    }
    Ok(match authority.bytes().position(|byte| byte == b':') {
        Some(at) => (&authority[..at], Some(&authority[at + 1..])),
        None => (authority, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_forms() {
        for good in [
            "api.example.com",
            "*.example.com",
            "localhost",
            "127.0.0.1",
            "::1",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(Hostname::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "*",
            "*.",
            "API.example.com",
            "a..b",
            "a.b:80",
            "a/b",
            "a.*.b",
            "-a.b",
            "a.b.",
            "1.2.3",
            "a_b.c",
        ] {
            assert!(Hostname::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcards_cover_subdomains_only() {
        let wild = Hostname::parse("*.example.com").unwrap();
        for (host, covered) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("aexample.com", false),
        ] {
            assert_eq!(wild.covers(&Hostname::parse(host).unwrap()), covered, "{host}");
        }
        assert!(wild.covers(&Hostname::parse("*.b.example.com").unwrap()));
        assert!(!Hostname::parse("*.b.example.com").unwrap().covers(&wild));
    }

    #[test]
    fn request_forms() {
        for (authority, host) in [
            ("API.Example.com:8080", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com:", "api.example.com"),
            ("[::1]:80", "::1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(Host::parse(authority).unwrap().as_str(), host, "{authority}");
        }
        for bad in [
            "", ":80", "a b", "a@b", "a:b:c", "a:0", "a:+80", "a:65536", "[::1", "[::1]x", "[x]", "a/b",
            "a,b", ".", "..", ".a", "a..", "a..b", "..a:80",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }
}
