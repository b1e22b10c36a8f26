//! Every way in which a request can fail, and the one place that turns each into an answer.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use splittoken_routing::Denied;
use splittoken_token::JwsError;

use crate::{body::ResponseBody, circuit::Closed, gate::GateError, upstream::UpstreamError};

/// How long a client should wait before it tries again: the store and the provider are looked for again within about
/// a second.
const SOON: Duration = Duration::from_secs(1);

/// What is said in place of `CONNECT` and `TRACE`; a rule may take fewer (RFC 9110 §15.5.6).
const SERVED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What a client is told whose body ended before its end.
const BROKEN_BODY: &str = "The request's body did not arrive whole and in time.";

/// Why a request is not answered by an upstream or a provider.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Not well-formed.
    Gate(GateError),
    /// No route takes it.
    NoRoute,
    /// The endpoint knows other methods only.
    MethodNotAllowed(&'static str),
    /// A path parameter where a token is required: some servers cut it off before they look.
    PathParameters,
    /// A token is needed and none came.
    NoCredentials,
    /// Whatever is wrong with the token; the reason is for logs only.
    InvalidToken(&'static str),
    /// The client's address has presented too many unknown tokens.
    TooManyMisses,
    /// There are as many connections as may be, and the request asks for what is as good as one more.
    TooManyConnections(&'static str),
    /// A token in the query.
    TokenInQuery,
    /// The token is good, but not for this.
    Denied(Denied, Option<HeaderValue>),
    /// The store, or the provider's keys, cannot say.
    Unavailable(&'static str),
    /// The rule's backend is missing or has no weight.
    NoBackend(&'static str),
    /// The upstream failed.
    Upstream(UpstreamError),
    /// A token request that no provider should see.
    TokenRequest(TokenRequestError),
    /// The provider failed, or its answer must not be released.
    Provider(ProviderFailure),
}

/// Why a token request is not forwarded (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRequestError {
    /// Not `application/x-www-form-urlencoded`, or in another charset.
    ContentType,
    /// Parameters belong in the body (RFC 6749 §3.2).
    Query,
    /// Larger than a token request may be.
    TooLarge,
    /// The body broke off or did not come in time.
    Incomplete,
    /// No `grant_type`, or more than one.
    GrantTypeCount,
    /// The route does not let this grant pass.
    GrantType,
}

/// Why the provider's answer did not reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProviderFailure {
    /// Not reached; the reason is for logs.
    Unreachable(&'static str),
    /// As many requests wait for it as may.
    Busy,
    /// It could not be reached too often, and is left alone for so long.
    Resting(Duration),
    /// Not in time.
    Timeout,
    /// It answered with something that must not be released; the reason is for logs.
    Untrusted(&'static str),
}

impl Failure {
    /// A closed set of words for metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Gate(e) => e.reason(),
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed(_) => "method",
            Self::PathParameters => "path_parameters",
            Self::NoCredentials => "no_credentials",
            Self::TooManyMisses => "address_misses",
            Self::TokenInQuery => "token_in_query",
            Self::Denied(e, _) => e.reason(),
            Self::InvalidToken(reason)
            | Self::TooManyConnections(reason)
            | Self::Unavailable(reason)
            | Self::NoBackend(reason) => reason,
            Self::Upstream(e) => e.reason(),
            Self::TokenRequest(e) => e.reason(),
            Self::Provider(e) => e.reason(),
        }
    }

    /// The answer. `realm` goes into `WWW-Authenticate`.
    pub(crate) fn response(&self, realm: &str) -> Response<ResponseBody> {
        match self {
            Self::Gate(GateError::Method) => Answer::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "This method is not served.",
            )
            .header(header::ALLOW, HeaderValue::from_static(SERVED_METHODS))
            .done(),
            Self::Gate(e @ GateError::TooManyHeaders) => Answer::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "invalid_request",
                &e.to_string(),
            )
            .done(),
            Self::Gate(e) => Answer::new(StatusCode::BAD_REQUEST, "invalid_request", &e.to_string()).done(),
            Self::NoRoute => {
                Answer::new(StatusCode::NOT_FOUND, "not_found", "No route takes this request.").done()
            }
            Self::MethodNotAllowed(allow) => Answer::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "This method is not served here.",
            )
            .header(header::ALLOW, HeaderValue::from_static(allow))
            .done(),
            Self::PathParameters => Answer::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The path must not hold a semicolon.",
            )
            .done(),
            Self::NoCredentials => Answer::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "An access token is required.",
            )
            .challenge(realm, "")
            .done(),
            Self::InvalidToken(_) => {
                let text = "The access token is unknown, expired, revoked or malformed.";
                Answer::new(StatusCode::UNAUTHORIZED, "invalid_token", text)
                    .challenge(
                        realm,
                        &format!(", error=\"invalid_token\", error_description=\"{text}\""),
                    )
                    .done()
            }
            Self::TooManyMisses => {
                let text = "Too many unknown tokens came from this address. Try again later.";
                Answer::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", text)
                    .retry_after(SOON)
                    .done()
            }
            Self::TooManyConnections(_) => {
                let text = "There are as many connections as may be. Try again soon.";
                Answer::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text)
                    .retry_after(SOON)
                    .done()
            }
            Self::TokenInQuery => {
                let text = "An access token must be sent in the Authorization header, not in the query.";
                Answer::new(StatusCode::BAD_REQUEST, "invalid_request", text)
                    .challenge(realm, ", error=\"invalid_request\"")
                    .done()
            }
            Self::Denied(_, scope) => denied(realm, scope.as_ref()),
            Self::Unavailable(_) => {
                let text = "Tokens can be neither checked nor issued right now. Try again soon.";
                Answer::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text)
                    .retry_after(SOON)
                    .done()
            }
            Self::NoBackend(_) => {
                let text = "This route has no backend to send the request to.";
                Answer::new(StatusCode::INTERNAL_SERVER_ERROR, "no_backend", text).done()
            }
            Self::Upstream(UpstreamError::Timeout | UpstreamError::ConnectTimeout) => Answer::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "The upstream did not answer in time.",
            )
            .done(),
            Self::Upstream(UpstreamError::RequestBodyTooLarge) => {
                let text = "The request's body is larger than may be sent here.";
                Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", text).done()
            }
            Self::Upstream(UpstreamError::Closed(closed)) => not_asked(*closed),
            Self::Upstream(UpstreamError::RequestBody(_)) => {
                Answer::new(StatusCode::BAD_REQUEST, "invalid_request", BROKEN_BODY).done()
            }
            Self::Upstream(_) => Answer::new(
                StatusCode::BAD_GATEWAY,
                "bad_gateway",
                "The upstream could not be reached or broke off.",
            )
            .done(),
            Self::TokenRequest(e) => e.answer().no_store().done(),
            Self::Provider(e) => e.answer().no_store().done(),
        }
    }
}

fn not_asked(closed: Closed) -> Response<ResponseBody> {
    let (text, wait) = match closed {
        Closed::Busy => ("The upstream has more to do than it can. Try again soon.", SOON),
        Closed::Resting(rest) => ("The upstream cannot be reached. Try again later.", rest),
    };
    Answer::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text)
        .retry_after(wait)
        .done()
}

fn denied(realm: &str, scope: Option<&HeaderValue>) -> Response<ResponseBody> {
    let scope = scope.and_then(|scope| scope.to_str().ok());
    let scope = scope
        .map(|scope| format!(", scope=\"{scope}\""))
        .unwrap_or_default();
    Answer::new(
        StatusCode::FORBIDDEN,
        "insufficient_scope",
        "The access token does not allow this request.",
    )
    .challenge(realm, &format!(", error=\"insufficient_scope\"{scope}"))
    .done()
}

impl TokenRequestError {
    fn reason(self) -> &'static str {
        match self {
            Self::ContentType => "content_type",
            Self::Query => "token_request_query",
            Self::TooLarge => "token_request_too_large",
            Self::Incomplete => "token_request_incomplete",
            Self::GrantTypeCount => "grant_type_count",
            Self::GrantType => "grant_type",
        }
    }

    fn answer(self) -> Answer {
        let (status, error, text) = match self {
            Self::ContentType => (
                400,
                "invalid_request",
                "The request must be application/x-www-form-urlencoded, in UTF-8.",
            ),
            Self::Query => (
                400,
                "invalid_request",
                "Parameters belong in the body, not in the query.",
            ),
            Self::TooLarge => (413, "invalid_request", "The request is too large."),
            Self::Incomplete => (400, "invalid_request", BROKEN_BODY),
            Self::GrantTypeCount => (400, "invalid_request", "Exactly one grant_type is required."),
            Self::GrantType => (
                400,
                "unsupported_grant_type",
                "This grant type is not allowed here.",
            ),
        };
        Answer::new(
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            error,
            text,
        )
    }
}

impl ProviderFailure {
    fn reason(self) -> &'static str {
        match self {
            Self::Unreachable(reason) | Self::Untrusted(reason) => reason,
            Self::Busy => "provider_busy",
            Self::Resting(_) => "provider_resting",
            Self::Timeout => "provider_timeout",
        }
    }

    fn answer(self) -> Answer {
        match self {
            Self::Unreachable(_) => unreachable_provider(SOON),
            Self::Resting(rest) => unreachable_provider(rest),
            Self::Busy => {
                let text = "Too many requests wait for the identity provider. Try again soon.";
                Answer::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text)
                    .retry_after(SOON)
            }
            Self::Timeout => {
                let text = "The identity provider did not answer in time.";
                Answer::new(StatusCode::GATEWAY_TIMEOUT, "temporarily_unavailable", text)
            }
            Self::Untrusted(reason) => {
                // What a client's developer can do something about is said; the rest is in the log.
                let text = if reason == JwsError::TooLong.reason() {
                    "The identity provider's access token is longer than 16 KiB, which is more than a request can carry."
                } else {
                    "The identity provider's answer cannot be used."
                };
                Answer::new(StatusCode::BAD_GATEWAY, "server_error", text)
            }
        }
    }
}

fn unreachable_provider(wait: Duration) -> Answer {
    let text = "The identity provider cannot be reached.";
    Answer::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text).retry_after(wait)
}

/// What an answer says to people, for those who read no JSON.
#[derive(Clone)]
pub(crate) struct Said(pub(crate) String);

/// An answer in the making: JSON with the members that RFC 6749 §5.2 names.
pub(crate) struct Answer(Response<ResponseBody>);

impl Answer {
    pub(crate) fn new(status: StatusCode, error: &str, description: &str) -> Self {
        let body = json!({"error": error, "error_description": description}).to_string();
        let mut response = Response::new(ResponseBody::full(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(Said(description.to_owned()));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self(response)
    }

    fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// In whole seconds, of which it takes at least one (RFC 9110 §10.2.3).
    fn retry_after(self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(whole.max(1)))
    }

    /// RFC 6749 §5.1, and the same for errors.
    pub(crate) fn no_store(self) -> Self {
        self.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .header(header::PRAGMA, HeaderValue::from_static("no-cache"))
    }

    /// RFC 6750 §3.
    fn challenge(self, realm: &str, rest: &str) -> Self {
        self.header(
            header::WWW_AUTHENTICATE,
            crate::headers::value(&format!("Bearer realm=\"{realm}\"{rest}")),
        )
    }

    pub(crate) fn done(self) -> Response<ResponseBody> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use splittoken_reach::Forbidden;

    use super::*;

    fn challenge(failure: &Failure) -> (u16, String) {
        let response = failure.response("api.example.com");
        let value = response.headers().get(header::WWW_AUTHENTICATE);
        (
            response.status().as_u16(),
            value.map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default(),
        )
    }

    #[test]
    fn challenges_follow_rfc_6750() {
        assert_eq!(
            challenge(&Failure::NoCredentials),
            (401, "Bearer realm=\"api.example.com\"".to_owned())
        );
        let (status, text) = challenge(&Failure::Denied(
            Denied::Scope,
            Some(HeaderValue::from_static("a b")),
        ));
        assert_eq!(status, 403);
        assert_eq!(
            text,
            "Bearer realm=\"api.example.com\", error=\"insufficient_scope\", scope=\"a b\""
        );
    }

    #[test]
    fn every_bad_token_gets_the_same_answer() {
        assert_eq!(
            challenge(&Failure::InvalidToken("expired")),
            challenge(&Failure::InvalidToken("unknown_token"))
        );
    }

    #[test]
    fn what_cannot_be_said_is_never_401() {
        for (failure, status) in [
            (Failure::Unavailable("store_unavailable"), 503),
            (Failure::Provider(ProviderFailure::Unreachable("x")), 503),
            (Failure::Provider(ProviderFailure::Timeout), 504),
            (Failure::Provider(ProviderFailure::Untrusted("x")), 502),
            (Failure::Upstream(UpstreamError::Timeout), 504),
            (Failure::Upstream(UpstreamError::Switched), 502),
            (Failure::Upstream(UpstreamError::Handshake), 502),
            (Failure::TooManyConnections("connections"), 503),
            (Failure::Upstream(UpstreamError::Forbidden(Forbidden)), 502),
        ] {
            assert_eq!(failure.response("r").status().as_u16(), status, "{failure:?}");
        }
    }

    #[test]
    fn clients_are_told_when_to_come_back() {
        let resting = |millis| Closed::Resting(Duration::from_millis(millis));
        for (failure, seconds) in [
            (Failure::Unavailable("x"), "1"),
            (Failure::TooManyMisses, "1"),
            (Failure::Upstream(UpstreamError::Closed(Closed::Busy)), "1"),
            (Failure::Upstream(UpstreamError::Closed(resting(1))), "1"),
            (Failure::Upstream(UpstreamError::Closed(resting(29_001))), "30"),
            (Failure::Upstream(UpstreamError::Closed(resting(30_000))), "30"),
            (
                Failure::Provider(ProviderFailure::Resting(Duration::from_secs(4))),
                "4",
            ),
        ] {
            let response = failure.response("r");
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds, "{failure:?}");
        }
    }
}
