//! Failures in the form that gRPC clients read: HTTP 200, and what is wrong in trailers that stand in the place of headers
//! ("Trailers-Only" in the gRPC protocol over HTTP/2).

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{body::ResponseBody, failure::Said};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What a message may not hold as it is: everything but printable ASCII, and `%`.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The content type of a request, if it is one of gRPC's.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let rest = value.as_bytes().strip_prefix(b"application/grpc")?;
    matches!(rest, [] | [b'+' | b'-' | b';', ..]).then(|| value.clone())
}

/// The same failure for a gRPC client. Challenges and the like stay.
pub(crate) fn failure(
    mut response: Response<ResponseBody>,
    content_type: HeaderValue,
) -> Response<ResponseBody> {
    let code = HeaderValue::from(code(response.status()));
    let said = response.extensions_mut().remove::<Said>();
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(STATUS, code);
    if let Some(Said(text)) = said {
        let text = utf8_percent_encode(&text, ENCODED).to_string();
        headers.insert(MESSAGE, crate::headers::value(&text));
    }
    *response.body_mut() = ResponseBody::full("");
    response
}

/// The code that the gRPC project maps a status of HTTP to ("HTTP to gRPC Status Code Mapping").
fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,             // INTERNAL
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 => 12,             // UNIMPLEMENTED
        429 | 502..=504 => 14, // UNAVAILABLE
        _ => 2,                // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        failure::{Failure, ProviderFailure},
        gate::GateError,
        upstream::UpstreamError,
    };

    #[test]
    fn every_kind_of_failure_has_its_code() {
        for (is, code) in [
            (Failure::NoCredentials, "16"),
            (Failure::InvalidToken("expired"), "16"),
            (Failure::Denied(splittoken_routing::Denied::Scope, None), "7"),
            (Failure::Unavailable("store_unavailable"), "14"),
            (Failure::Upstream(UpstreamError::Timeout), "14"),
            (Failure::Upstream(UpstreamError::Switched), "14"),
            (Failure::Provider(ProviderFailure::Timeout), "14"),
            (Failure::NoRoute, "12"),
            (Failure::Gate(GateError::Method), "2"),
            (Failure::TokenInQuery, "13"),
            (Failure::NoBackend("no_backend"), "2"),
        ] {
            let before = is.response("api.example.com");
            let challenge = before.headers().get(header::WWW_AUTHENTICATE).cloned();
            let after = failure(before, HeaderValue::from_static("application/grpc+proto"));
            assert_eq!(after.status(), 200, "{is:?}");
            assert_eq!(after.headers()[STATUS], code, "{is:?}");
            assert_eq!(after.headers().get(header::WWW_AUTHENTICATE), challenge.as_ref());
            assert_eq!(after.headers()[header::CONTENT_TYPE], "application/grpc+proto");
            assert!(!after.headers()[MESSAGE].is_empty(), "{is:?}");
            assert!(http_body::Body::is_end_stream(after.body()), "{is:?}");
        }
    }

    #[test]
    fn what_is_grpc_and_what_is_not() {
        let is = |value: &'static str| {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(value))];
            content_type(&headers.into_iter().collect()).is_some()
        };
        assert!(is("application/grpc") && is("application/grpc+proto") && is("application/grpc;x=y"));
        assert!(is("application/grpc-web"));
        assert!(!is("application/grpcx") && !is("application/json"));
        assert!(content_type(&HeaderMap::new()).is_none());
    }
}
