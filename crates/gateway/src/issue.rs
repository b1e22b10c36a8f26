//! What becomes of the provider's answer: released, split, or not at all. Decides; stores nothing itself.

use splittoken_routing::{IdTokenPolicy, Lifetime, OnNonJwt, RefreshTokenPolicy, TokenEndpoint};
use splittoken_token::{Claims, Jws, JwsError, MemberPolicy, ResponseError, ResponsePolicy, TokenResponse};

/// A successful answer that may be released once its token is dealt with.
pub(crate) enum Release<'r> {
    /// Its access token is a JWT, to be verified, stored and split.
    Split(Box<Jws<'r>>),
    /// Its access token is opaque already, and the route lets it pass.
    Pass,
}

/// What may leave under the route's policy.
pub(crate) fn policy(endpoint: &TokenEndpoint) -> ResponsePolicy {
    ResponsePolicy {
        refresh_token: match endpoint.refresh_token {
            RefreshTokenPolicy::PassThrough => MemberPolicy::PassThrough,
            RefreshTokenPolicy::Remove => MemberPolicy::Remove,
        },
        id_token: match endpoint.id_token {
            IdTokenPolicy::PassThrough => MemberPolicy::PassThrough,
            IdTokenPolicy::Remove => MemberPolicy::Remove,
        },
    }
}

/// Judges a successful answer by the never-leak rule and by what its access token is.
pub(crate) fn judge<'r>(
    response: &'r TokenResponse,
    endpoint: &TokenEndpoint,
) -> Result<Release<'r>, ResponseError> {
    response.check_leaks(policy(endpoint))?;
    match Jws::parse(response.expose_access_token()) {
        Ok(jws) => Ok(Release::Split(Box::new(jws))),
        Err(JwsError::NotThreeParts) if endpoint.on_non_jwt == OnNonJwt::PassThrough => Ok(Release::Pass),
        Err(JwsError::NotThreeParts) => Err(ResponseError::NotAJwt),
        Err(other) => Err(other.into()),
    }
}

/// How long a record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it ends, seconds since the epoch.
    pub(crate) expires_at: u64,
    /// What `expires_in` has to be changed to, if the record ends before the client would expect.
    pub(crate) expires_in: Option<u64>,
}

/// The shortest of the token's `exp`, the answer's `expires_in` and the cap; the fallback where the first two say
/// nothing. `None` refuses: no end is known, or it has passed.
///
/// The client hears of it only where the cap or the fallback decides: what the provider said is the provider's,
/// and a second that has passed since is no news.
pub(crate) fn life(claims: &Claims, expires_in: Option<u64>, lifetime: Lifetime, now: u64) -> Option<Life> {
    let left = claims.expires_at().map(|exp| exp.saturating_sub(now));
    let provided = left.into_iter().chain(expires_in).min();
    let fallback = Some(lifetime.fallback.as_secs()).filter(|seconds| *seconds > 0);
    let wanted = provided.or(fallback)?;
    let seconds = wanted.min(lifetime.max.as_secs());
    if seconds == 0 {
        return None;
    }
    let is_news = provided.is_none() || seconds < wanted;
    Some(Life {
        expires_at: now + seconds,
        expires_in: is_news.then_some(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lifetime(max: u64, fallback: u64) -> Lifetime {
        Lifetime {
            max: Duration::from_secs(max),
            fallback: Duration::from_secs(fallback),
        }
    }

    #[test]
    fn the_shortest_life_wins_and_the_client_hears_of_it() {
        let day = lifetime(86_400, 0);
        for (exp, expires_in, lifetime, expected) in [
            (Some(1_300), Some(300), day, Some((1_300, None))),
            (Some(1_300), None, day, Some((1_300, None))),
            (Some(1_299), Some(300), day, Some((1_299, None))),
            (Some(1_300), Some(200), day, Some((1_200, None))),
            (Some(1_300), Some(300), lifetime_of(60), Some((1_060, Some(60)))),
            (Some(1_300), None, lifetime_of(60), Some((1_060, Some(60)))),
            (None, Some(300), day, Some((1_300, None))),
            (None, None, day, None),
            (None, None, lifetime(86_400, 120), Some((1_120, Some(120)))),
            (Some(1_000), Some(300), day, None),
            (Some(1_300), Some(0), day, None),
        ] {
            let mut all = serde_json::Map::new();
            if let Some(exp) = exp {
                all.insert("exp".to_owned(), serde_json::Value::from(exp));
            }
            let life = life(&Claims::new(all).unwrap(), expires_in, lifetime, 1_000);
            let found = life.map(|life| (life.expires_at, life.expires_in));
            assert_eq!(found, expected, "{exp:?} {expires_in:?}");
        }
    }

    fn lifetime_of(max: u64) -> Lifetime {
        lifetime(max, 0)
    }
}
