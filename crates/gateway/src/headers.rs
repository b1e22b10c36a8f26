//! What of a message's headers travels on, and what does not.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that upstreams trust to name a person or a path. A client's own copies never pass (the names are those that
/// common proxies and frameworks use, and those of client certificates, RFC 9440 §4).
const SPOOFABLE: [&str; 20] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "remote-user",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-authenticated-scope",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-credential-identifier",
    "x-consumer-username",
    // Some servers serve these paths in place of the one that was matched.
    "x-original-url",
    "x-rewrite-url",
    "x-real-ip",
    "x-remote-user",
    "x-userinfo",
    "x-webauth-user",
];

/// What some servers take for the request's method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// Concerns one connection only (RFC 9110 §7.6.1), or is made anew for each.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "http2-settings"
    )
}

/// Whether a client's own copy of the header must not reach an upstream.
fn is_ours_alone(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most names are none of these, as their first letter tells.
    match name.as_bytes() {
        [b'x', ..] => name.starts_with("x-forwarded-") || SPOOFABLE.contains(&name),
        [b'c' | b'f' | b'r', ..] => SPOOFABLE.contains(&name),
        _ => false,
    }
}

/// Removes from a client's request what must not travel on: hop-by-hop headers and what `Connection` names, the
/// framing, whatever only the gateway may set, and `claim_headers`.
pub(crate) fn clean_request(headers: &mut HeaderMap, claim_headers: &[HeaderName]) {
    remove_connection_headers(headers, |name| {
        is_ours_alone(name) || matches!(*name, header::CONTENT_LENGTH | header::EXPECT)
    });
    for name in claim_headers {
        headers.remove(name);
    }
}

/// Removes what would have an upstream serve another method than the one that was matched.
pub(crate) fn remove_method_overrides(headers: &mut HeaderMap) {
    for name in METHOD_OVERRIDES {
        headers.remove(name);
    }
}

/// Whether a client that gets this far understands trailers (RFC 9110 §10.1.4).
pub(crate) fn wants_trailers(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::TE).iter();
    let mut codings = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Removes from the trailers of a request what would mean something as a header: whoever joins them with the headers
/// must not be deceived (RFC 9110 §6.5.1). `is_ours` are those that the rule answers for.
pub(crate) fn clean_request_trailers(trailers: &mut HeaderMap, is_ours: impl Fn(&HeaderName) -> bool) {
    remove_connection_headers(trailers, |name| {
        // As at the gate: some servers read `_` as `-`.
        let is_ambiguous = name.as_str().contains('_');
        let is_method = METHOD_OVERRIDES.contains(&name.as_str());
        is_ambiguous || is_method || is_ours_alone(name) || is_of_the_head(name) || is_ours(name)
    });
}

/// The same for a response's.
pub(crate) fn clean_response_trailers(trailers: &mut HeaderMap) {
    remove_connection_headers(trailers, is_of_the_head);
}

/// Whether a field says how a message is read, where it goes, or who sends it.
fn is_of_the_head(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-")
        || matches!(
            name,
            "authorization"
                | "cache-control"
                | "cookie"
                | "expect"
                | "host"
                | "max-forwards"
                | "origin"
                | "range"
                | "set-cookie"
                | "www-authenticate"
        )
        || name.starts_with("if-")
}

/// Removes from an upstream's response what must not travel on. Its Content-Length stays (it is what a `HEAD` is
/// answered with) unless the body is chunked, which overrides it (RFC 9112 §6.3). Fails if the body is in another
/// transfer coding: nobody here can undo it.
pub(crate) fn clean_response(headers: &mut HeaderMap) -> Result<(), ()> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err(());
        }
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_connection_headers(headers, |_| false);
    Ok(())
}

fn remove_connection_headers(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let mut doomed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name) || also(name))
        .cloned()
        .collect();
    if doomed.contains(&header::CONNECTION) {
        doomed.extend(connection_names(headers));
    }
    for name in doomed {
        headers.remove(name);
    }
}

fn connection_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers
        .get_all(header::CONNECTION)
        .iter()
        // The usual word names a header that goes anyway.
        .filter(|value| !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

/// A header value from text that is known to be plain; an empty one if it is not, which no caller lets happen.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn requests_lose_what_is_not_theirs_to_send() {
        let mut headers = map(&[
            ("host", "h"),
            ("accept", "*/*"),
            ("connection", "close, X-Once"),
            ("x-once", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-anything", "x"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("remote-user", "root"),
            ("client-cert", ":AAAA:"),
            ("client-cert-chain", ":AAAA:"),
            ("x-user-id", "root"),
            ("content-type", "text/plain"),
        ]);
        clean_request(&mut headers, &[HeaderName::from_static("x-user-id")]);
        assert_eq!(names(&headers), ["accept", "content-type", "host"]);
    }

    #[test]
    fn whatever_can_be_spoofed_is_lost() {
        for name in SPOOFABLE {
            let mut headers = map(&[(name, "1")]);
            clean_request(&mut headers, &[]);
            assert!(headers.is_empty(), "{name}");
        }
    }

    #[test]
    fn trailers_lose_what_would_mean_something_as_a_header() {
        let mut trailers = map(&[
            ("x-sum", "1"),
            ("grpc-status", "0"),
            ("authorization", "Bearer x"),
            ("host", "other.example"),
            ("cookie", "a=b"),
            ("content-length", "5"),
            ("content-type", "text/html"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("te", "gzip"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-user-id", "root"),
            ("x_user_id", "root"),
            ("if-match", "e"),
            ("x-http-method-override", "DELETE"),
        ]);
        clean_request_trailers(&mut trailers, |name| name == "x-user-id");
        assert_eq!(names(&trailers), ["grpc-status", "x-sum"]);
        let mut trailers = map(&[("x-sum", "1"), ("set-cookie", "a=b"), ("content-length", "5")]);
        clean_response_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["x-sum"]);
    }

    #[test]
    fn clients_say_whether_they_want_trailers() {
        for (te, wanted) in [
            ("trailers", true),
            ("gzip;q=0.5, Trailers", true),
            ("gzip", false),
        ] {
            assert_eq!(wants_trailers(&map(&[("te", te)])), wanted, "{te}");
        }
        assert!(!wants_trailers(&HeaderMap::new()));
    }

    #[test]
    fn responses_keep_their_length() {
        let mut headers = map(&[
            ("content-length", "5"),
            ("connection", "x-a"),
            ("x-a", "1"),
            ("etag", "e"),
        ]);
        clean_response(&mut headers).unwrap();
        assert_eq!(names(&headers), ["content-length", "etag"]);
        let mut chunked = map(&[("content-length", "5"), ("transfer-encoding", "Chunked")]);
        clean_response(&mut chunked).unwrap();
        assert!(chunked.is_empty());
        assert!(clean_response(&mut map(&[("transfer-encoding", "gzip, chunked")])).is_err());
    }
}
