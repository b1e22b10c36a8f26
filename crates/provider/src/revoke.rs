use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::{Provider, RevokeError};

/// How a client proved itself in a token request, to act once more in its name.
#[derive(Clone, Default)]
pub struct ClientCredentials {
    /// The `Authorization` header (RFC 6749 §2.3.1).
    pub authorization: Option<HeaderValue>,
    /// The form's `client_id`.
    pub client_id: Option<Zeroizing<String>>,
    /// The form's `client_secret`.
    pub client_secret: Option<Zeroizing<String>>,
}

/// What kind of token is revoked (RFC 7009 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenTypeHint {
    /// `access_token`.
    AccessToken,
    /// `refresh_token`.
    RefreshToken,
}

impl Provider {
    /// Takes a token back at the provider (RFC 7009), as far as that is possible: one try, within the request
    /// timeout. For a token that could not be stored; nobody waits for the outcome but a metric.
    pub async fn revoke(
        &self,
        token: &str,
        hint: TokenTypeHint,
        credentials: &ClientCredentials,
    ) -> Result<(), RevokeError> {
        let endpoints = self.shared().endpoints.load_full();
        let url = endpoints.revocation.as_ref().ok_or(RevokeError::NoEndpoint)?;
        let body = Bytes::from(revocation_form(token, hint, credentials));
        let answer = self.shared().http.post(url, credentials.headers(), body).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            status => Err(RevokeError::Status(status.as_u16())),
        }
    }
}

impl ClientCredentials {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        if let Some(authorization) = &self.authorization {
            let mut value = authorization.clone();
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        headers
    }
}

fn revocation_form(token: &str, hint: TokenTypeHint, credentials: &ClientCredentials) -> String {
    let hint = match hint {
        TokenTypeHint::AccessToken => "access_token",
        TokenTypeHint::RefreshToken => "refresh_token",
    };
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token)
        .append_pair("token_type_hint", hint);
    for (name, value) in [
        ("client_id", &credentials.client_id),
        ("client_secret", &credentials.client_secret),
    ] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    form.finish()
}

/// Says which ones are there.
impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.authorization.is_some();
        let (id, secret) = (self.client_id.is_some(), self.client_secret.is_some());
        write!(
            f,
            "ClientCredentials(header: {header}, client_id: {id}, client_secret: {secret})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_encoded_and_the_debug_form_is_silent() {
        let text = |text: &str| Some(Zeroizing::new(text.to_owned()));
        let credentials = ClientCredentials {
            authorization: None,
            client_id: text("a b"),
            client_secret: text("p&q=ü"),
        };
        assert_eq!(
            revocation_form("x.y.z", TokenTypeHint::RefreshToken, &credentials),
            "token=x.y.z&token_type_hint=refresh_token&client_id=a+b&client_secret=p%26q%3D%C3%BC"
        );
        let shown = format!("{credentials:?}");
        assert_eq!(
            shown,
            "ClientCredentials(header: false, client_id: true, client_secret: true)"
        );
    }
}
