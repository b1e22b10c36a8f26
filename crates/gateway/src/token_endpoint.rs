//! A token request: to the provider byte for byte, and back without its JWT.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use splittoken_provider::{
    CallError, ClientCredentials, IssueError, Provider, ProviderAnswer, TokenCall, TokenCallError,
    TokenTypeHint,
};
use splittoken_routing::{ServedRoute, TokenEndpoint};
use splittoken_token::{Claims, Jws, TokenResponse, error_response_is_safe};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::{
    access_log::Trail,
    body::ResponseBody,
    circuit::{Closed, Trouble},
    failure::{Answer, Failure, ProviderFailure, TokenRequestError},
    issue::{Life, Release, judge, life, policy},
    issuer::Issuer,
    limits::Limits,
    served_counters::status_class,
    snapshot::Snapshot,
    token_request::{check_grant, check_head, parameter, provider_headers},
    tokens::{Kept, epoch_seconds},
    trace::Called,
    worker::Worker,
};

/// Headers of the provider's answer that reach the client.
const RETURNED: [HeaderName; 3] = [
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    HeaderName::from_static("dpop-nonce"),
];

/// Serves one token request.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    snapshot: &Snapshot,
    route: &Arc<ServedRoute>,
    endpoint: &TokenEndpoint,
    request: (Parts, Incoming),
    trail: &Trail,
) -> Result<Response<ResponseBody>, Failure> {
    let issuer = snapshot.issuer(route).ok_or(Failure::Unavailable("no_issuer"))?;
    let outcome = exchange(worker, issuer, route, endpoint, request, trail).await;
    let label = match &outcome {
        Ok(released) => released.outcome,
        Err(failure) => failure.reason(),
    };
    if let Some(counters) = snapshot.counters.tokens(route) {
        counters.count(label);
    }
    outcome.map(|released| released.response)
}

struct Released {
    response: Response<ResponseBody>,
    outcome: &'static str,
}

async fn exchange(
    worker: &Arc<Worker>,
    issuer: &Issuer,
    route: &Arc<ServedRoute>,
    endpoint: &TokenEndpoint,
    (parts, body): (Parts, Incoming),
    trail: &Trail,
) -> Result<Released, Failure> {
    if parts.method != Method::POST {
        return Err(Failure::MethodNotAllowed("POST"));
    }
    check_head(&parts).map_err(Failure::TokenRequest)?;
    let body = read(body, &worker.shared.settings.limits)
        .await
        .map_err(Failure::TokenRequest)?;
    check_grant(endpoint, &body).map_err(Failure::TokenRequest)?;
    // Before the provider is asked: a rotated refresh token cannot be asked for twice.
    worker.tokens.check_store()?;

    let mut headers = provider_headers(&parts.headers);
    let recorded = trail.recorded.as_deref();
    let span = recorded.map(|recorded| recorded.call(Called::Provider(&issuer.provider.settings().name)));
    if let Some(span) = &span {
        span.tell(&mut headers);
    }
    let authorization = parts.headers.get(header::AUTHORIZATION).cloned();
    let call = TokenCall {
        headers,
        body: body.clone(),
    };
    let answer = ask(issuer, call).await;
    if let Some(span) = span {
        let answer = answer.as_ref();
        span.ended(answer.map_or_else(|failure| Err(failure.reason()), |answer| Ok(answer.status)));
    }
    let answer = answer?;
    if !answer.status.is_success() {
        return Ok(Released {
            response: refused(&answer)?,
            outcome: "refused_by_provider",
        });
    }
    let exchange = Exchange {
        worker,
        provider: &issuer.provider,
        route,
        endpoint,
        authorization,
        form: body,
    };
    exchange.release(&answer).await
}

async fn read(body: Incoming, limits: &Limits) -> Result<Bytes, TokenRequestError> {
    // What is announced as too large need not be waited for.
    if body.size_hint().lower() > limits.token_request_bytes as u64 {
        return Err(TokenRequestError::TooLarge);
    }
    let collected = timeout(
        limits.token_request_time,
        Limited::new(body, limits.token_request_bytes).collect(),
    )
    .await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TokenRequestError::TooLarge),
        Ok(Err(_)) | Err(_) => Err(TokenRequestError::Incomplete),
    }
}

/// Asks the provider, if it may be asked at all.
async fn ask(issuer: &Issuer, call: TokenCall) -> Result<ProviderAnswer, Failure> {
    let waiting = issuer.circuit.enter(false).map_err(|closed| {
        Failure::Provider(match closed {
            Closed::Busy => ProviderFailure::Busy,
            Closed::Resting(rest) => ProviderFailure::Resting(rest),
        })
    })?;
    let started = Instant::now();
    let answer = issuer.provider.token_call(call).await;
    let outcome = answer
        .as_ref()
        .map_or_else(TokenCallError::reason, |answer| status_class(answer.status));
    issuer.calls.count("token", outcome, started.elapsed());
    match &answer {
        Ok(_) => waiting.answered(),
        Err(error) => {
            if let Some(trouble) = trouble(error) {
                waiting.failed(trouble);
            }
        }
    }
    answer.map_err(|error| call_failure(&error))
}

/// What it says of the provider.
fn trouble(error: &TokenCallError) -> Option<Trouble> {
    match error {
        TokenCallError::Call(error) => match error {
            CallError::Unreachable(_) | CallError::ConnectTimeout | CallError::Tls(_) => {
                Some(Trouble::Unreachable)
            }
            CallError::Timeout => Some(Trouble::Late),
            CallError::NoClient(_) | CallError::Forbidden(_) => None,
            CallError::Redirect(_)
            | CallError::Compressed
            | CallError::TooLarge
            | CallError::Truncated(_)
            | CallError::Malformed(_) => Some(Trouble::Broken),
        },
        TokenCallError::NoTokenEndpoint => None,
    }
}

fn call_failure(error: &TokenCallError) -> Failure {
    let reason = error.reason();
    Failure::Provider(match error {
        TokenCallError::Call(CallError::Timeout) => ProviderFailure::Timeout,
        TokenCallError::NoTokenEndpoint
        | TokenCallError::Call(
            CallError::NoClient(_)
            | CallError::Unreachable(_)
            | CallError::ConnectTimeout
            | CallError::Forbidden(_)
            | CallError::Tls(_),
        ) => ProviderFailure::Unreachable(reason),
        TokenCallError::Call(_) => ProviderFailure::Untrusted(reason),
    })
}

/// The provider's own refusal, if nothing in it must stay behind; else the same status in our words.
fn refused(answer: &ProviderAnswer) -> Result<Response<ResponseBody>, Failure> {
    if !answer.status.is_client_error() && !answer.status.is_server_error() {
        return Err(untrusted("provider_status"));
    }
    if error_response_is_safe(&answer.body) {
        return Ok(respond(answer, answer.body.to_vec()));
    }
    if splittoken_token::contains_jwt(&String::from_utf8_lossy(&answer.body)) {
        return Err(untrusted("jwt_leak"));
    }
    let error = if answer.status.is_server_error() {
        "temporarily_unavailable"
    } else {
        "invalid_request"
    };
    let text = "The identity provider refused the request without an OAuth error.";
    let mut response = Answer::new(answer.status, error, text).no_store().done();
    copy_headers(answer, response.headers_mut());
    Ok(response)
}

fn untrusted(reason: &'static str) -> Failure {
    Failure::Provider(ProviderFailure::Untrusted(reason))
}

/// The answer's status and the headers that matter, with `body`.
fn respond(answer: &ProviderAnswer, body: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    copy_headers(answer, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn copy_headers(answer: &ProviderAnswer, headers: &mut http::HeaderMap) {
    for name in RETURNED {
        for value in answer.headers.get_all(&name) {
            let is_safe = value
                .to_str()
                .is_ok_and(|text| !splittoken_token::contains_jwt(text));
            if is_safe {
                headers.append(name.clone(), value.clone());
            }
        }
    }
}

/// A token request that the provider has granted.
struct Exchange<'e> {
    worker: &'e Arc<Worker>,
    provider: &'e Arc<Provider>,
    route: &'e ServedRoute,
    endpoint: &'e TokenEndpoint,
    /// The client's own authentication, for taking the token back if it cannot be kept.
    authorization: Option<HeaderValue>,
    form: Bytes,
}

impl Exchange<'_> {
    async fn release(&self, answer: &ProviderAnswer) -> Result<Released, Failure> {
        let response = TokenResponse::parse(&answer.body).map_err(|e| untrusted(e.reason()))?;
        match judge(&response, self.endpoint).map_err(|e| untrusted(e.reason()))? {
            Release::Pass => {
                let body = response
                    .pass(policy(self.endpoint))
                    .map_err(|e| untrusted(e.reason()))?;
                Ok(Released {
                    response: respond(answer, body.to_vec()),
                    outcome: "passed",
                })
            }
            Release::Split(jws) => {
                let life = self.keep(&jws, &response).await?;
                let body = response.split(policy(self.endpoint), jws.opaque(), life.expires_in);
                Ok(Released {
                    response: respond(answer, body.to_vec()),
                    outcome: "split",
                })
            }
        }
    }

    /// Verifies the token and stores what the client does not get.
    async fn keep(&self, jws: &Jws<'_>, response: &TokenResponse) -> Result<Life, Failure> {
        let now = epoch_seconds(SystemTime::now());
        let claims = self
            .provider
            .verify_at_issue(jws, now)
            .await
            .map_err(issue_failure)?;
        let lifetime = self.route.config.issuer.lifetime;
        let life =
            life(&claims, response.expires_in(), lifetime, now).ok_or_else(|| untrusted("no_lifetime"))?;
        match self.store(jws, &claims, life).await {
            Ok(Kept::Stored) => Ok(life),
            Ok(Kept::Known { expires_at }) => Ok(shortened(life, expires_at, now)),
            Ok(Kept::Revoked) => Err(untrusted("token_revoked")),
            Ok(Kept::Collision) => {
                self.worker.shared.metrics.alarm("signature_collision");
                Err(untrusted("signature_collision"))
            }
            Err(failure) => {
                self.take_back(response);
                Err(failure)
            }
        }
    }

    async fn store(&self, jws: &Jws<'_>, claims: &Claims, life: Life) -> Result<Kept, Failure> {
        let realm = &self.route.config.issuer.realm;
        self.worker.tokens.keep(realm, jws, claims, life.expires_at).await
    }

    /// Revokes at the provider what could not be stored, as far as that is possible. Nobody waits for it.
    fn take_back(&self, response: &TokenResponse) {
        let client = ClientCredentials {
            authorization: self.authorization.clone(),
            client_id: parameter(&self.form, "client_id"),
            client_secret: parameter(&self.form, "client_secret"),
        };
        // Revoking the refresh token should end its access tokens too (RFC 7009 §2.1).
        let (token, hint) = match response.expose_refresh_token() {
            Some(token) => (token, TokenTypeHint::RefreshToken),
            None => (response.expose_access_token(), TokenTypeHint::AccessToken),
        };
        let (token, provider) = (Zeroizing::new(token.to_owned()), Arc::clone(self.provider));
        let chore = Arc::clone(&self.worker.chores);
        tokio::spawn(async move {
            let outcome = timeout(TAKE_BACK, provider.revoke(&token, hint, &client)).await;
            let reason = match outcome {
                Ok(Ok(())) => "revoked",
                Ok(Err(error)) => error.reason(),
                Err(_) => "timeout",
            };
            tracing::warn!(
                issuer = provider.issuer(),
                reason,
                "a token that could not be stored was taken back"
            );
            drop(chore);
        });
    }
}

/// How long taking a token back may take.
const TAKE_BACK: Duration = Duration::from_secs(10);

/// The life of a token that was there already, which may end before.
fn shortened(life: Life, expires_at: u64, now: u64) -> Life {
    if expires_at >= life.expires_at {
        return life;
    }
    Life {
        expires_at,
        expires_in: Some(expires_at.saturating_sub(now)),
    }
}

fn issue_failure(error: IssueError) -> Failure {
    match error {
        IssueError::NoKeys => Failure::Provider(ProviderFailure::Unreachable(error.reason())),
        IssueError::UnknownKey | IssueError::Refused(_) => untrusted(error.reason()),
    }
}

/// An answer to a token request is never cached, whatever it says.
pub(crate) fn never_cached(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: u16, body: &str) -> ProviderAnswer {
        let mut headers = http::HeaderMap::new();
        headers.insert("set-cookie", HeaderValue::from_static("a=b"));
        headers.insert("retry-after", HeaderValue::from_static("7"));
        ProviderAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn refusals_pass_with_the_headers_that_matter() {
        let response = refused(&answer(400, r#"{"error":"invalid_grant"}"#)).unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.headers().get("set-cookie").is_none());
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }

    #[test]
    fn refusals_that_are_no_json_are_put_into_our_words() {
        let response = refused(&answer(503, "<html>try later</html>")).unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["content-type"].as_bytes()
            ),
            (503, &b"application/json"[..])
        );
        assert!(refused(&answer(302, "")).is_err());
    }

    #[test]
    fn a_token_that_was_there_already_keeps_its_end() {
        let life = Life {
            expires_at: 1_300,
            expires_in: None,
        };
        assert_eq!(shortened(life, 1_300, 1_000), life);
        assert_eq!(
            shortened(life, 1_200, 1_000),
            Life {
                expires_at: 1_200,
                expires_in: Some(200)
            }
        );
    }
}
