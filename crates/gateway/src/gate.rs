//! Is this request well-formed? Asked before anything else is decided.
//!
//! hyper is a parser, not an edge filter: it lets through requests with no `Host` or two, with two
//! `Authorization` headers, with names that some servers read in two ways. Whatever two programs could read
//! differently stops here.

use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use splittoken_routing::{CanonicalPath, Host, HostnameError, PathError};
use thiserror::Error;

/// A request that may be routed.
#[derive(Debug)]
pub(crate) struct Admitted<'r> {
    pub(crate) host: Host<'r>,
    pub(crate) path: CanonicalPath<'r>,
}

/// Why a request is refused before it is routed.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum GateError {
    /// `CONNECT` and `TRACE` are for proxies and debuggers.
    #[error("this method is not served")]
    Method,
    /// Not exactly one `Host`.
    #[error("a request needs exactly one Host header")]
    HostCount,
    /// `Host` is no host.
    #[error("the Host header is not a host, alone or with a port")]
    Host(#[from] HostnameError),
    /// An absolute target names another host.
    #[error("the request's target and its Host header name different hosts")]
    HostMismatch,
    /// The target is no `http` or `https` URL and no path.
    #[error("the request's target is malformed")]
    Target,
    /// The path has more than one reading.
    #[error("{0}")]
    Path(#[from] PathError),
    /// The query holds spaces, control characters or bytes outside ASCII.
    #[error("the query holds a character that must be percent-encoded")]
    Query,
    /// More headers than are looked at. By HTTP/1.1 the parser has refused them.
    #[error("the request has too many headers")]
    TooManyHeaders,
    /// A header name with `_`, which CGI-like servers read as `-`.
    #[error("a header name holds an underscore")]
    Underscore,
    /// Transfer-Encoding other than exactly `chunked`, or beside a Content-Length.
    #[error("Transfer-Encoding must be exactly chunked, without Content-Length")]
    TransferEncoding,
    /// More than one `Authorization`.
    #[error("more than one Authorization header")]
    Authorization,
    /// `Connection` is malformed, or names a header that must not be taken away.
    #[error("the Connection header is malformed or names a header that is not hop-by-hop")]
    Connection,
}

impl GateError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::HostCount => "host_count",
            Self::Host(e) => e.reason(),
            Self::HostMismatch => "host_mismatch",
            Self::Target => "target",
            Self::Path(e) => e.reason(),
            Self::Query => "query_character",
            Self::TooManyHeaders => "header_count",
            Self::Underscore => "header_underscore",
            Self::TransferEncoding => "transfer_encoding",
            Self::Authorization => "authorization_count",
            Self::Connection => "connection_header",
        }
    }
}

/// Checks everything that does not depend on a route. By HTTP/1.1 the parser has counted the headers already.
pub(crate) fn admit(request: &Parts, max_headers: usize) -> Result<Admitted<'_>, GateError> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(GateError::Method);
    }
    if request.headers.len() > max_headers {
        return Err(GateError::TooManyHeaders);
    }
    check_headers(&request.headers)?;
    let host = host(request)?;
    let path = CanonicalPath::parse(request.uri.path())?;
    if request
        .uri
        .query()
        .is_some_and(|query| !query.bytes().all(|b| b.is_ascii_graphic()))
    {
        return Err(GateError::Query);
    }
    Ok(Admitted { host, path })
}

fn host(request: &Parts) -> Result<Host<'_>, GateError> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(GateError::HostCount);
    };
    let text = host
        .to_str()
        .map_err(|_| GateError::Host(HostnameError::Characters))?;
    let host = Host::parse(text)?;
    if let Some(authority) = request.uri.authority() {
        if !matches!(request.uri.scheme_str(), Some("http" | "https")) {
            return Err(GateError::Target);
        }
        if !authority.as_str().eq_ignore_ascii_case(text) {
            return Err(GateError::HostMismatch);
        }
    }
    Ok(host)
}

fn check_headers(headers: &HeaderMap) -> Result<(), GateError> {
    let (mut has_coding, mut has_connection) = (false, false);
    for name in headers.keys() {
        if name.as_str().as_bytes().contains(&b'_') {
            return Err(GateError::Underscore);
        }
        has_coding |= *name == header::TRANSFER_ENCODING;
        has_connection |= *name == header::CONNECTION;
    }
    let has_twins = headers.len() > headers.keys_len();
    if has_twins && headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(GateError::Authorization);
    }
    if has_coding {
        check_transfer_encoding(headers)?;
    }
    if has_connection {
        check_connection(headers)?;
    }
    Ok(())
}

fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), GateError> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let is_chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !is_chunked || values.next().is_some() || headers.contains_key(header::CONTENT_LENGTH) {
        return Err(GateError::TransferEncoding);
    }
    Ok(())
}

/// `Connection` takes headers away from a request; a client must not aim it at ours (RFC 9110 §7.6.1).
fn check_connection(headers: &HeaderMap) -> Result<(), GateError> {
    for value in headers.get_all(header::CONNECTION) {
        let text = value.to_str().map_err(|_| GateError::Connection)?;
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name: HeaderName = name.parse().map_err(|_| GateError::Connection)?;
            if is_end_to_end(&name) {
                return Err(GateError::Connection);
            }
        }
    }
    Ok(())
}

fn is_end_to_end(name: &HeaderName) -> bool {
    matches!(*name, header::AUTHORIZATION | header::HOST | header::COOKIE)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("content-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const MAX_HEADERS: usize = 100;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(target: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        admit(&parts(target, headers), MAX_HEADERS)
            .err()
            .map(GateError::reason)
    }

    #[test]
    fn good_requests_pass() {
        for (target, headers) in [
            ("/", &[("host", "a.example")][..]),
            (
                "/a?b=%20",
                &[("host", "a.example:8080"), ("connection", "keep-alive, x-mine")],
            ),
            ("http://A.example:80/x", &[("host", "a.example:80")]),
            ("/x", &[("host", "[::1]:80"), ("transfer-encoding", "Chunked")]),
        ] {
            assert_eq!(refusal(target, headers), None, "{target} {headers:?}");
        }
    }

    #[test]
    fn each_line_of_the_gate() {
        let host = ("host", "a.example");
        for (target, headers, reason) in [
            ("/", &[][..], "host_count"),
            ("/", &[host, host], "host_count"),
            ("/", &[("host", "")], "hostname_empty"),
            ("/", &[("host", "a b")], "hostname_characters"),
            ("http://b.example/", &[host], "host_mismatch"),
            ("http://a.example:81/", &[host], "host_mismatch"),
            ("ftp://a.example/", &[host], "target"),
            ("*", &[host], "path_not_absolute"),
            ("/a/../b", &[host], "path_dot_segment"),
            ("/a%2fb", &[host], "path_encoded_delimiter"),
            ("/", &[host, ("x_user", "root")], "header_underscore"),
            (
                "/",
                &[host, ("authorization", "Bearer a"), ("authorization", "Bearer b")],
                "authorization_count",
            ),
            (
                "/",
                &[host, ("transfer-encoding", "gzip, chunked")],
                "transfer_encoding",
            ),
            (
                "/",
                &[
                    host,
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                "transfer_encoding",
            ),
            (
                "/",
                &[host, ("transfer-encoding", "chunked"), ("content-length", "3")],
                "transfer_encoding",
            ),
            (
                "/",
                &[host, ("connection", "close, Authorization")],
                "connection_header",
            ),
            (
                "/",
                &[host, ("connection", "x-forwarded-for")],
                "connection_header",
            ),
            (
                "/",
                &[host, ("connection", "content-length")],
                "connection_header",
            ),
            ("/", &[host, ("connection", "a b")], "connection_header"),
        ] {
            assert_eq!(refusal(target, headers), Some(reason), "{target} {headers:?}");
        }
        let many: Vec<(String, &str)> = (0..MAX_HEADERS).map(|n| (format!("x-{n}"), "1")).collect();
        let mut many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(refusal("/", &many), Some("host_count"));
        many.push(host);
        assert_eq!(refusal("/", &many), Some("header_count"));
        let mut trace = parts("/", &[host]);
        trace.method = Method::TRACE;
        assert_eq!(admit(&trace, MAX_HEADERS).unwrap_err(), GateError::Method);
    }

    /// A request as lines: method and target, then headers.
    fn read(input: &[u8]) -> Option<Parts> {
        let mut lines = input.split(|byte| *byte == b'\n');
        let mut words = lines.next()?.split(|byte| *byte == b' ');
        let mut request = Request::builder().method(words.next()?).uri(words.next()?);
        for line in lines.filter(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
        }
        Some(request.body(()).ok()?.into_parts().0)
    }

    /// What comes through has one host, one credential, one reading of its path, and nothing that is aimed at our headers.
    #[test]
    fn nothing_comes_through_that_has_two_readings() {
        splittoken_fuzz::run("gate", |input| {
            let Some(parts) = read(input) else { return };
            let Ok(admitted) = admit(&parts, MAX_HEADERS) else {
                return;
            };
            let count = |name| parts.headers.get_all(name).iter().count();
            assert_eq!(count(header::HOST), 1);
            assert!(count(header::AUTHORIZATION) <= 1 && count(header::TRANSFER_ENCODING) <= 1);
            assert!(!parts.headers.keys().any(|name| name.as_str().contains('_')));
            let path = admitted.path.as_str();
            assert_eq!(CanonicalPath::parse(path).unwrap().as_str(), path);
            for value in parts.headers.get_all(header::CONNECTION) {
                let text = value.to_str().unwrap().to_ascii_lowercase();
                let names = text.split(',').map(str::trim);
                assert!(
                    names
                        .into_iter()
                        .all(|name| !["authorization", "host", "cookie"].contains(&name))
                );
            }
        });
    }
}
