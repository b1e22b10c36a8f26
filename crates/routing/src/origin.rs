use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::{
    Hostname, HostnameError,
    hostname::{is_port, split_port},
};

/// Whose pages a route's answers are for: `https://app.example.com`, `https://*.example.com` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Everybody's.
    Any,
    /// Those of these origins.
    Of(OriginPattern),
}

/// Scheme, host and port (RFC 6454 §4), the host with or without a wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Scheme,
    host: Hostname,
    port: u16,
}

/// Why a text is no origin.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum OriginError {
    /// Something else than a scheme and a host, with or without a port.
    #[error(
        "an origin is `*`, or `http://` or `https://` with a host, and a port where it is not the scheme's own"
    )]
    Form,
    /// The host is none.
    #[error(transparent)]
    Host(#[from] HostnameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        let is = |name| text.eq_ignore_ascii_case(name);
        match text {
            _ if is("http") => Some(Self::Http),
            _ if is("https") => Some(Self::Https),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn own_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl AllowedOrigin {
    /// Parses the form of a route.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, host, port) = split(text).ok_or(OriginError::Form)?;
        Ok(Self::Of(OriginPattern {
            scheme,
            host: Hostname::parse(host)?,
            port,
        }))
    }

    /// Whether a request's `Origin` is one of these. `null`, which stands for pages without an origin, is so only for
    /// everybody.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(pattern) => split(origin).is_some_and(|origin| pattern.matches(origin)),
        }
    }
}

impl OriginPattern {
    fn matches(&self, (scheme, host, port): (Scheme, &str, u16)) -> bool {
        scheme == self.scheme && port == self.port && is_host(host) && host_matches(&self.host, host)
    }
}

/// Scheme, host without brackets, and port, which may be the scheme's own.
fn split(origin: &str) -> Option<(Scheme, &str, u16)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = Scheme::parse(scheme)?;
    let (host, port) = split_port(authority).ok()?;
    let port = match port {
        None => scheme.own_port(),
        Some(port) if is_port(port) => port.parse().ok()?,
        Some(_) => return None,
    };
    let without_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some((scheme, without_brackets.unwrap_or(host), port))
}

/// Whether these are the letters of a host: what is only at the end of a text must not pass for the whole.
fn is_host(host: &str) -> bool {
    host.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
        && !host.split('.').any(str::is_empty)
}

/// Schemes and hosts are compared without case (RFC 6454 §4).
fn host_matches(pattern: &Hostname, host: &str) -> bool {
    match pattern {
        Hostname::Exact(exact) => exact.eq_ignore_ascii_case(host),
        Hostname::Wildcard(suffix) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|before| *before > 0)
            .and_then(|before| host.get(before..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Of(pattern) = self else {
            return f.write_str("*");
        };
        let host = pattern.host.to_string();
        write!(f, "{}://", pattern.scheme.name())?;
        if host.contains(':') {
            write!(f, "[{host}]")?;
        } else {
            f.write_str(&host)?;
        }
        if pattern.port == pattern.scheme.own_port() {
            return Ok(());
        }
        write!(f, ":{}", pattern.port)
    }
}

impl Serialize for AllowedOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AllowedOrigin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(text: &str) -> AllowedOrigin {
        AllowedOrigin::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn forms_of_routes() {
        for (text, shown) in [
            ("*", "*"),
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("http://localhost:80", "http://localhost"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ] {
            let origin = allowed(text);
            assert_eq!(origin.to_string(), shown);
            assert_eq!(allowed(shown), origin);
        }
        for bad in [
            "",
            "null",
            "app.example.com",
            "//app.example.com",
            "ftp://a.example",
            "https://",
            "https://*",
            "https://*example.com",
            "https://a.*.example",
            "https://a.example/",
            "https://a.example/b",
            "https://u@a.example",
            "https://a.example:",
            "https://a.example:0",
            "https://a.example:65536",
            "https://a.example:+1",
            "https://A.example",
            "https://a.example.",
            "https://a_b.example",
            "http://::1",
            "http://[::1",
            "https://a.example https://b.example",
        ] {
            assert!(AllowedOrigin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (pattern, origin, matches) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "HTTPS://A.Example", true),
            ("https://a.example", "https://a.example:443", true),
            ("https://a.example:443", "https://a.example", true),
            ("https://a.example", "https://a.example:80", false),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "http://a.example:443", false),
            ("https://a.example", "https://b.a.example", false),
            ("https://a.example", "https://a.example.", false),
            ("https://a.example", "https://a.example/", false),
            ("https://a.example", "https://u@a.example", false),
            ("https://a.example", "https://a.example https://a.example", false),
            ("https://a.example", "null", false),
            ("https://a.example", "", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("http://[::1]:3000", "http://[::1]:3001", false),
            ("*", "null", true),
            ("*", "https://a.example", true),
            ("*", "moz-extension://1", true),
        ] {
            assert_eq!(allowed(pattern).matches(origin), matches, "{pattern} {origin}");
        }
    }

    #[test]
    fn wildcards_take_any_number_of_labels_and_nothing_else() {
        let pattern = allowed("https://*.example.com");
        for (origin, matches) in [
            ("https://a.example.com", true),
            ("https://a.b.Example.com:443", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("https://a..example.com", false),
            ("https://aexample.com", false),
            ("https://a.example.com.evil.example", false),
            ("https://evil.example/.example.com", false),
            ("https://evil.example#.example.com", false),
            ("https://evil.example\\.example.com", false),
            ("https://evil.example:1.example.com", false),
            ("https://ü.example.com", false),
            ("https://a.example.com:8443", false),
            ("http://a.example.com", false),
            ("https://*.example.com", false),
        ] {
            assert_eq!(pattern.matches(origin), matches, "{origin}");
        }
    }

    fn host() -> impl Strategy<Value = String> {
        "[a-z0-9]{1,8}([.][a-z0-9]{1,8}){0,3}[.][a-z]{2,5}"
    }

    proptest! {
        #[test]
        fn it_matches_itself_in_any_case_and_no_other(
            host in host(), other in host(), port in 1..=u16::MAX, another in 1..=u16::MAX, https: bool,
        ) {
            let scheme = if https { "https" } else { "http" };
            let text = format!("{scheme}://{host}:{port}");
            let pattern = allowed(&text);
            prop_assert!(pattern.matches(&text));
            prop_assert!(pattern.matches(&text.to_ascii_uppercase()));
            prop_assert!(pattern.matches(&pattern.to_string()));
            let (same_host, same_port) = (format!("{scheme}://{host}:{another}"), format!("{scheme}://{other}:{port}"));
            prop_assert_eq!(pattern.matches(&same_host), another == port);
            prop_assert_eq!(pattern.matches(&same_port), other == host);
        }

        #[test]
        fn a_wildcard_matches_what_is_below_it(host in host(), below in host(), beside in host()) {
            let pattern = allowed(&format!("https://*.{host}"));
            let (own, deeper) = (format!("https://{host}"), format!("https://{below}.{host}"));
            prop_assert!(!pattern.matches(&own));
            prop_assert!(pattern.matches(&deeper));
            let foreign = format!("https://{beside}");
            prop_assert_eq!(pattern.matches(&foreign), beside.ends_with(&format!(".{host}")));
        }

        #[test]
        fn any_text_can_be_asked_about(text in ".{0,60}") {
            prop_assert!(AllowedOrigin::Any.matches(&text));
            let pattern = allowed("https://*.example.com");
            if pattern.matches(&text) {
                prop_assert!(text.to_ascii_lowercase().starts_with("https://"));
            }
            if let Ok(parsed) = AllowedOrigin::parse(&text) {
                prop_assert_eq!(allowed(&parsed.to_string()), parsed);
            }
        }
    }
}
