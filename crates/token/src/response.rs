use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{JsonError, JwsError, Opaque, contains_jwt, json, json_contains_jwt, leak::any_text};

/// A successful token response (RFC 6749 §5.1), with every value kept as the provider wrote it.
pub struct TokenResponse {
    /// In the provider's order. Raw text, so that numbers keep their digits.
    members: Vec<(String, Box<RawValue>)>,
    values: Map<String, Value>,
    access_token: Zeroizing<String>,
    expires_in: Option<u64>,
}

/// What may leave in a response beside the split access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// For `refresh_token`.
    pub refresh_token: MemberPolicy,
    /// For `id_token`.
    pub id_token: MemberPolicy,
}

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPolicy {
    /// It goes to the client unchanged.
    PassThrough,
    /// It is left out.
    Remove,
}

/// What becomes of an access token that is no JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonJwtPolicy {
    /// The response is refused.
    Reject,
    /// It goes to the client unchanged.
    PassThrough,
}

/// Why a response is not released. Never quotes the content.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum ResponseError {
    /// Not a JSON object without duplicates.
    #[error("the provider's answer is not to be trusted: {0}")]
    Json(#[from] JsonError),
    /// No `access_token`, or an empty one.
    #[error("the provider's answer has no access_token")]
    NoAccessToken,
    /// A token member that is no string.
    #[error("the member {0} of the provider's answer is not a string")]
    NotText(&'static str),
    /// `expires_in` is no number of seconds: how long the token lives is not known.
    #[error("the member expires_in of the provider's answer is not a number of seconds")]
    ExpiresIn,
    /// A JWT in a member that no policy allows one in, or the access token or its claims in another member.
    #[error("the provider's answer holds a JWT that the route does not allow to leave")]
    Leak,
    /// The access token is no JWT and the route rejects such.
    #[error("the access token is not a JWT")]
    NotAJwt,
    /// The access token is a JWT that cannot be split.
    #[error("the access token cannot be split: {0}")]
    Jwt(#[from] JwsError),
}

impl ResponseError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Json(e) => e.reason(),
            Self::NoAccessToken => "no_access_token",
            Self::NotText(_) => "token_not_text",
            Self::ExpiresIn => "expires_in",
            Self::Leak => "jwt_leak",
            Self::NotAJwt => "not_a_jwt",
            Self::Jwt(e) => e.reason(),
        }
    }
}

const TOKEN_MEMBERS: [&str; 3] = ["access_token", "refresh_token", "id_token"];

impl TokenResponse {
    /// Reads a response, refusing duplicate members at any depth, tokens that are no text and a life that is no number.
    pub fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        let values = json::parse_object(body)?;
        let Members(members) = serde_json::from_slice(body).map_err(|_| JsonError::Syntax)?;
        for name in TOKEN_MEMBERS {
            if values.get(name).is_some_and(|value| !value.is_string()) {
                return Err(ResponseError::NotText(name));
            }
        }
        let access_token = match values.get("access_token") {
            Some(Value::String(text)) if !text.is_empty() => Zeroizing::new(text.clone()),
            _ => return Err(ResponseError::NoAccessToken),
        };
        let expires_in = values.get("expires_in").map_or(Ok(None), seconds)?;
        Ok(Self {
            members,
            values,
            access_token,
            expires_in,
        })
    }

    /// The access token as the provider issued it.
    pub fn expose_access_token(&self) -> &str {
        &self.access_token
    }

    /// The refresh token, if there is one: what can be revoked at the provider when storing fails.
    pub fn expose_refresh_token(&self) -> Option<&str> {
        self.values.get("refresh_token").and_then(Value::as_str)
    }

    /// `expires_in` in whole seconds, rounded down; a string of digits counts too, as Entra v1 writes it.
    pub fn expires_in(&self) -> Option<u64> {
        self.expires_in
    }

    /// Makes sure that no JWT leaves but by `policy`. Everything but the access token itself is looked at.
    pub fn check_leaks(&self, policy: ResponsePolicy) -> Result<(), ResponseError> {
        let claims = self.claims_part();
        let hidden = claims.unwrap_or(&self.access_token);
        let leaks = |text: &str| contains_jwt(text) || claims.is_some_and(|claims| text.contains(claims));
        for (name, value) in &self.values {
            let leaks = match (name.as_str(), member_policy(name, policy)) {
                ("access_token", _) | (_, Some(MemberPolicy::Remove)) => false,
                // A token that may pass is still not the one that is being hidden.
                (_, Some(MemberPolicy::PassThrough)) => {
                    value.as_str().is_some_and(|text| text.contains(hidden))
                }
                (_, None) => leaks(name) || any_text(value, &leaks),
            };
            if leaks {
                return Err(ResponseError::Leak);
            }
        }
        Ok(())
    }

    /// The encoded claims of the access token, which tell everything without the header too; `None` where it is no JWT.
    fn claims_part(&self) -> Option<&str> {
        let mut parts = self.access_token.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(claims), Some(_), None) if !claims.is_empty() => Some(claims),
            _ => None,
        }
    }

    /// The response with `opaque` in place of the JWT, and `expires_in` if it must be shortened or added.
    /// Everything else keeps its text and its order.
    pub fn split(
        &self,
        policy: ResponsePolicy,
        opaque: &Opaque,
        expires_in: Option<u64>,
    ) -> Zeroizing<Vec<u8>> {
        self.write(policy, Some(opaque), expires_in)
    }

    /// The response with its access token as it is: for a token that is no JWT, where the route lets it pass.
    pub fn pass(&self, policy: ResponsePolicy) -> Result<Zeroizing<Vec<u8>>, ResponseError> {
        if contains_jwt(&self.access_token) {
            return Err(ResponseError::Leak);
        }
        Ok(self.write(policy, None, None))
    }

    fn write(
        &self,
        policy: ResponsePolicy,
        opaque: Option<&Opaque>,
        expires_in: Option<u64>,
    ) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(1024));
        let mut separator = b'{';
        let mut push = |name: &str, value: &[u8]| {
            out.push(separator);
            separator = b',';
            // A name always serialises.
            out.extend_from_slice(&serde_json::to_vec(name).unwrap_or_default());
            out.push(b':');
            out.extend_from_slice(value);
        };
        for (name, raw) in &self.members {
            match (name.as_str(), member_policy(name, policy), opaque, expires_in) {
                // The alphabet of an opaque token needs no escaping.
                ("access_token", _, Some(opaque), _) => {
                    push(name, format!("\"{}\"", opaque.expose()).as_bytes());
                }
                ("expires_in", _, _, Some(seconds)) => push(name, seconds.to_string().as_bytes()),
                (_, Some(MemberPolicy::Remove), _, _) => {}
                _ => push(name, raw.get().as_bytes()),
            }
        }
        if let Some(seconds) = expires_in.filter(|_| !self.values.contains_key("expires_in")) {
            push("expires_in", seconds.to_string().as_bytes());
        }
        out.push(b'}');
        out
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.members.iter().map(|(name, _)| name).collect();
        f.debug_tuple("TokenResponse").field(&names).finish()
    }
}

/// A life in seconds. A fraction is cut, less than nothing is nothing; `null` says nothing. Anything else is refused: a
/// life that is not understood must not become the longest one.
fn seconds(value: &Value) -> Result<Option<u64>, ResponseError> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // The cast saturates, which is what is wanted at both ends.
    let whole = |number: f64| number as u64;
    match value {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| ResponseError::ExpiresIn),
        Value::Number(number) => Ok(number.as_u64().or_else(|| number.as_f64().map(whole))),
        _ => Err(ResponseError::ExpiresIn),
    }
}

fn member_policy(name: &str, policy: ResponsePolicy) -> Option<MemberPolicy> {
    match name {
        "refresh_token" => Some(policy.refresh_token),
        "id_token" => Some(policy.id_token),
        _ => None,
    }
}

/// Whether an error response of the provider may go to the client as it is: a JSON object without any JWT.
pub fn error_response_is_safe(body: &[u8]) -> bool {
    json::parse_object(body).is_ok_and(|object| !json_contains_jwt(&Value::Object(object)))
}

/// The members of an object in their order, values as raw text. That none stands twice has been seen to before.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests;
