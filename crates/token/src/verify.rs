use thiserror::Error;

use crate::{Algorithm, Claims, ClaimsError, Jws, KeySet};

/// What a token of an issuer must be, besides well signed.
#[derive(Clone, Debug)]
pub struct Policy<'a> {
    /// The `iss` it must have, exactly.
    pub issuer: &'a str,
    /// The `alg` values it may have.
    pub algorithms: &'a [Algorithm],
    /// One of these must be in `aud`; empty asks for nothing.
    pub audiences: &'a [String],
    /// The `typ` values it may have; empty asks for nothing.
    pub token_types: &'a [String],
    /// Seconds that `nbf` may lie ahead. Never adds to `exp`.
    pub clock_skew: u64,
}

/// What vouches for the signature.
#[derive(Clone, Copy, Debug)]
pub enum Verifier<'a> {
    /// One of these keys.
    Keys(&'a KeySet),
    /// The channel on which the token came, or the seal under which it lay.
    Trusted,
}

/// Why a token is refused. Never quotes the content.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum VerifyError {
    /// `alg` is not on the issuer's list.
    #[error("the token's alg is not one that the issuer may use")]
    AlgorithmNotAllowed,
    /// No key for this `kid` and `alg`: the keys may have to be fetched again.
    #[error("no key of the issuer has the token's kid and alg")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not verify")]
    Signature,
    /// `iss` is missing or another one.
    #[error("the token's iss is not the issuer's URL")]
    Issuer,
    /// `aud` names none of the expected ones.
    #[error("the token's aud names none of the expected audiences")]
    Audience,
    /// `typ` is not one of the expected ones.
    #[error("the token's typ is not one of the expected types")]
    TokenType,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `cnf` is there: the provider bound the token to a key that this gateway does not check.
    #[error("the token is bound to a key (cnf), which is not verified here")]
    Bound,
    /// The claims cannot be decided by.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

impl VerifyError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "alg_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::TokenType => "token_type",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Bound => "bound_token",
            Self::Claims(e) => e.reason(),
        }
    }
}

/// Verifies signature and claims at the time `now` (seconds since the epoch). `jku`, `x5u`, `x5c` and `jwk` in
/// the header are never looked at.
pub fn verify(
    jws: &Jws<'_>,
    verifier: Verifier<'_>,
    policy: &Policy<'_>,
    now: u64,
) -> Result<Claims, VerifyError> {
    if !policy.algorithms.contains(&jws.algorithm()) {
        return Err(VerifyError::AlgorithmNotAllowed);
    }
    if let Verifier::Keys(keys) = verifier {
        verify_signature(jws, keys)?;
    }
    let claims = Claims::new(jws.claims().clone())?;
    check_type(jws, policy)?;
    check_claims(&claims, policy, now)?;
    Ok(claims)
}

fn verify_signature(jws: &Jws<'_>, keys: &KeySet) -> Result<(), VerifyError> {
    let message = jws.signing_input().as_bytes();
    let mut candidates = keys.candidates(jws.algorithm(), jws.key_id()).peekable();
    if candidates.peek().is_none() {
        return Err(VerifyError::UnknownKey);
    }
    if candidates.any(|key| key.verifies(message, jws.opaque().signature())) {
        Ok(())
    } else {
        Err(VerifyError::Signature)
    }
}

/// Media types compare without case, and `application/` may be left out (RFC 7515 §4.1.9).
fn check_type(jws: &Jws<'_>, policy: &Policy<'_>) -> Result<(), VerifyError> {
    if policy.token_types.is_empty() {
        return Ok(());
    }
    let short = |typ: &str| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/")
            .map_or(typ.clone(), str::to_owned)
    };
    let is_expected = |typ: &str| {
        policy
            .token_types
            .iter()
            .any(|expected| short(expected) == short(typ))
    };
    if jws.token_type().is_some_and(is_expected) {
        Ok(())
    } else {
        Err(VerifyError::TokenType)
    }
}

/// The checks of a token's claims that do not need its signature.
pub fn check_claims(claims: &Claims, policy: &Policy<'_>, now: u64) -> Result<(), VerifyError> {
    if claims.text("iss") != Some(policy.issuer) {
        return Err(VerifyError::Issuer);
    }
    if !policy.audiences.is_empty()
        && !claims
            .audiences()
            .any(|aud| policy.audiences.iter().any(|a| a == aud))
    {
        return Err(VerifyError::Audience);
    }
    if claims.is_bound() {
        return Err(VerifyError::Bound);
    }
    if claims.expires_at().is_some_and(|exp| exp <= now) {
        return Err(VerifyError::Expired);
    }
    if claims
        .not_before()
        .is_some_and(|nbf| nbf > now + policy.clock_skew)
    {
        return Err(VerifyError::NotYetValid);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
