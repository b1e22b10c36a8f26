//! Which token a form asks for: the decision, without any I/O.

use super::{client::same, error::OAuthError, form::Form};
use crate::demo::{PASSWORD, USERNAME};

/// `grant_types_supported` of the metadata.
pub(super) const GRANT_TYPES: [&str; 2] = ["client_credentials", "password"];
/// `scopes_supported` of the metadata.
pub(super) const SCOPES: [&str; 2] = ["orders:read", "orders:write"];
/// Granted where the client asks for none (RFC 6749, section 3.3).
const DEFAULT_SCOPE: &str = "orders:read";

/// Whom the token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    User,
    Client,
}

/// What is granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) subject: Subject,
    /// Space-separated, each of [`SCOPES`].
    pub(super) scope: String,
}

impl Grant {
    /// Decides for a client that is already authenticated.
    pub(super) fn from_form(form: &Form) -> Result<Self, OAuthError> {
        let subject = match form.get("grant_type") {
            Some("client_credentials") => Subject::Client,
            Some("password") => user(form)?,
            Some(_) => return Err(OAuthError::UnsupportedGrantType),
            None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        };
        Ok(Self {
            subject,
            scope: scope(form)?,
        })
    }
}

fn user(form: &Form) -> Result<Subject, OAuthError> {
    let (Some(username), Some(password)) = (form.get("username"), form.get("password")) else {
        return Err(OAuthError::InvalidRequest("username or password is missing"));
    };
    if same(username, USERNAME) & same(password, PASSWORD) {
        Ok(Subject::User)
    } else {
        Err(OAuthError::InvalidGrant)
    }
}

fn scope(form: &Form) -> Result<String, OAuthError> {
    let asked = form.get("scope").unwrap_or(DEFAULT_SCOPE);
    if asked.split(' ').all(|scope| SCOPES.contains(&scope)) {
        Ok(asked.to_owned())
    } else {
        Err(OAuthError::InvalidScope)
    }
}
