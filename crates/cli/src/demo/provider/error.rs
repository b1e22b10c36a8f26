//! What the token endpoint answers when it says no (RFC 6749, section 5.2).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// The endpoint's refusals. The text is the `error_description`, and never repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OAuthError {
    InvalidRequest(&'static str),
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    ServerError,
}

impl OAuthError {
    /// The `error` code, of the RFC's closed set (`server_error` is borrowed from section 4.1.2.1).
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::ServerError => "server_error",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(why) => why,
            Self::InvalidClient => "unknown client or wrong secret",
            Self::InvalidGrant => "unknown user or wrong password",
            Self::InvalidScope => "a scope that this provider does not know",
            Self::UnsupportedGrantType => "only client_credentials and password are offered here",
            Self::ServerError => "the token could not be signed",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.reason(), "error_description": self.description() });
        let mut response = (self.status(), Json(body)).into_response();
        if self == Self::InvalidClient {
            let challenge = HeaderValue::from_static("Basic realm=\"splittoken demo\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
