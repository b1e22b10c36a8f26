//! A request in the form of HTTP/1.1, which everything is decided in, and in that of HTTP/2 (RFC 9113 §8.3.1).

use http::{HeaderValue, Request, Uri, header, uri::Scheme};

/// Gives a request its scheme and authority in the place of its `Host`. `wants_trailers` is what is left of the client's
/// `TE`. A `Host` that is no authority, which the gate does not let through, would stay what it is: legal, too.
pub(super) fn to_http2<B>(request: &mut Request<B>, scheme: Scheme, wants_trailers: bool) {
    if let Some(uri) = absolute(request, scheme) {
        *request.uri_mut() = uri;
        request.headers_mut().remove(header::HOST);
    }
    if wants_trailers {
        let trailers = HeaderValue::from_static("trailers");
        request.headers_mut().insert(header::TE, trailers);
    }
}

fn absolute<B>(request: &Request<B>, scheme: Scheme) -> Option<Uri> {
    let host = request.headers().get(header::HOST)?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(host.as_bytes().try_into().ok()?);
    Uri::from_parts(parts).ok()
}

/// Undoes [`to_http2`].
pub(super) fn to_http1<B>(request: &mut Request<B>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    let host = parts.authority.take();
    let host = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    // A part of what was a URI is one.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let headers = request.headers_mut();
    headers.remove(header::TE);
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (target, wants_trailers) in [("/a?b=c", true), ("/", false)] {
            let mut request = Request::builder()
                .uri(target)
                .header("host", "a.example:8443")
                .body(())
                .unwrap();
            to_http2(&mut request, Scheme::HTTP, wants_trailers);
            assert_eq!(request.uri(), &format!("http://a.example:8443{target}")[..]);
            assert_eq!(request.headers().contains_key("te"), wants_trailers);
            assert!(!request.headers().contains_key("host"));
            to_http1(&mut request);
            assert_eq!(request.uri(), target);
            assert_eq!(request.headers().len(), 1);
            assert_eq!(request.headers()["host"], "a.example:8443");
        }
    }

    #[test]
    fn what_is_no_authority_stays_a_host() {
        let mut request = Request::builder()
            .uri("/a")
            .header("host", "a b")
            .body(())
            .unwrap();
        to_http2(&mut request, Scheme::HTTP, false);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()["host"]),
            ("/a", &HeaderValue::from_static("a b"))
        );
        to_http1(&mut request);
        assert_eq!(request.headers()["host"], "a b");
    }
}
