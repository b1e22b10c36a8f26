//! A request as it comes by HTTP/2, in the form that it would have had by HTTP/1.1. What is decided about a request is
//! decided in one form, and upstreams mostly speak that one.

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use crate::upgrade::is_extended_handshake;

/// Gives a request its `Host` and its one `Cookie`, and a handshake of WebSocket its method: it is a GET but for what opens
/// the tunnel (RFC 8441 §5). Any other CONNECT stays one.
pub(crate) fn as_http1(parts: &mut Parts) {
    if is_extended_handshake(parts) {
        parts.method = Method::GET;
    }
    if !parts.headers.contains_key(header::HOST) {
        // Where both are there, the gate compares them.
        let authority = parts.uri.authority();
        let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        if let Some(host) = host {
            parts.headers.insert(header::HOST, host);
        }
    }
    join_cookies(&mut parts.headers);
}

/// Cookies come in as many headers as compress best; outside of HTTP/2 there is one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs = headers.get_all(header::COOKIE);
    if crumbs.iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = crumbs.iter().map(HeaderValue::as_bytes).collect();
    // Joined from values, with what may stand in one.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};
    use hyper::ext::Protocol;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn hosts(mut parts: Parts) -> Vec<HeaderValue> {
        as_http1(&mut parts);
        parts.headers.get_all(header::HOST).iter().cloned().collect()
    }

    #[test]
    fn the_authority_is_the_host_unless_there_is_one() {
        assert_eq!(hosts(parts("https://a.example:8443/x", &[])), ["a.example:8443"]);
        assert_eq!(
            hosts(parts("https://a.example/x", &[("host", "b.example")])),
            ["b.example"],
            "the gate compares"
        );
        assert!(hosts(parts("/x", &[])).is_empty());
    }

    #[test]
    fn a_whole_handshake_is_a_get_and_any_other_connect_stays_one() {
        let method = |protocol: Option<&'static str>, headers: &[(&str, &str)]| {
            let mut parts = parts("https://a.example/ws", headers);
            parts.method = Method::CONNECT;
            if let Some(protocol) = protocol {
                parts.extensions.insert(Protocol::from_static(protocol));
            }
            as_http1(&mut parts);
            parts.method
        };
        let version = ("sec-websocket-version", "13");
        assert_eq!(method(Some("websocket"), &[version]), Method::GET);
        for (protocol, headers) in [
            (None, &[version][..]),
            (Some("connect-udp"), &[version]),
            (Some("websocket"), &[]),
            (Some("websocket"), &[("sec-websocket-version", "8")]),
            (Some("websocket"), &[version, version]),
            (Some("websocket"), &[version, ("content-length", "0")]),
        ] {
            assert_eq!(
                method(protocol, headers),
                Method::CONNECT,
                "{protocol:?} {headers:?}"
            );
        }
    }

    #[test]
    fn cookies_are_one() {
        for (crumbs, expected) in [
            (&[][..], None),
            (&[("cookie", "a=1")], Some("a=1")),
            (
                &[("cookie", "a=1"), ("cookie", "b=2; c=3")],
                Some("a=1; b=2; c=3"),
            ),
        ] {
            let mut parts = parts("/", crumbs);
            as_http1(&mut parts);
            let all: Vec<_> = parts.headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
