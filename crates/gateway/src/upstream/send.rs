use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use splittoken_reach::Reach;
use tokio::time::{Instant, timeout_at};

use super::{
    connect::{Purpose, UpstreamError, connect},
    pool::{Lease, Pool},
};
use crate::body::RequestBody;

/// Where a request may go, and what a rule allows it to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'r> {
    pub(crate) reach: &'r Reach,
    /// To the response headers, all tries together.
    pub(crate) request: Option<Duration>,
    /// The same for one try.
    pub(crate) backend_request: Option<Duration>,
    /// To a connection.
    pub(crate) connect: Option<Duration>,
    /// Further tries.
    pub(crate) retries: u32,
    /// What becomes of the connection.
    pub(crate) purpose: Purpose,
}

/// How a try failed, and whether another may follow.
struct Failed {
    error: UpstreamError,
    /// The request, if the upstream cannot have seen it.
    unsent: Option<Request<RequestBody>>,
}

/// Sends `request` to an address that `pick` names for each try, and gives its response and the connection that the
/// body comes on.
pub(crate) async fn send<'a>(
    pool: &Arc<Pool>,
    mut request: Request<RequestBody>,
    limits: Limits<'_>,
    mut pick: impl FnMut() -> Option<&'a str>,
    random: u64,
) -> Result<(Response<Incoming>, Lease), UpstreamError> {
    let started = Instant::now();
    let copy = Copy::of(&request);
    let mut tries_left = limits.retries;
    loop {
        let Some(address) = pick() else {
            return Err(UpstreamError::Timeout);
        };
        let deadline = deadline(started, limits);
        let attempt = attempt(pool, address, request, limits, random);
        let outcome = match deadline {
            None => attempt.await,
            Some(deadline) => timeout_at(deadline, attempt).await.unwrap_or(Err(Failed {
                error: UpstreamError::Timeout,
                unsent: None,
            })),
        };
        let failed = match outcome {
            Ok((response, _)) if is_unasked(&response, limits.purpose) => {
                return Err(UpstreamError::Switched);
            }
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let again = failed.unsent.or_else(|| copy.as_ref().map(Copy::make));
        let is_out_of_time = limits.request.is_some_and(|limit| started.elapsed() >= limit);
        match again {
            Some(again) if tries_left > 0 && !is_out_of_time => request = again,
            _ => return Err(failed.error),
        }
        tries_left -= 1;
    }
}

fn is_unasked(response: &Response<Incoming>, purpose: Purpose) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && purpose != Purpose::Tunnel
}

fn deadline(started: Instant, limits: Limits<'_>) -> Option<Instant> {
    let whole = limits.request.map(|limit| started + limit);
    let one = limits.backend_request.map(|limit| Instant::now() + limit);
    whole.into_iter().chain(one).min()
}

/// One try. A connection that the other side had closed unseen does not count as one.
async fn attempt(
    pool: &Arc<Pool>,
    address: &str,
    mut request: Request<RequestBody>,
    limits: Limits<'_>,
    random: u64,
) -> Result<(Response<Incoming>, Lease), Failed> {
    loop {
        let pooled = match limits.purpose {
            Purpose::Requests => pool.take(address, limits.reach),
            Purpose::Tunnel => None,
        };
        let mut lease = match pooled {
            Some(lease) => lease,
            None => match connect(address, limits.reach, limits.connect, limits.purpose).await {
                Ok(connection) => pool.adopt(address, connection, random),
                Err(error) => {
                    if let UpstreamError::Forbidden(why) = &error {
                        pool.refuse(address, *why);
                    }
                    return Err(Failed {
                        error,
                        unsent: Some(request),
                    });
                }
            },
        };
        match lease.sender.try_send_request(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(mut failed) => match failed.take_message() {
                Some(unsent) if lease.is_reused => request = unsent,
                unsent => {
                    return Err(Failed {
                        error: failed.into_error().into(),
                        unsent,
                    });
                }
            },
        }
    }
}

/// What it takes to make an idempotent request without a body once more (RFC 9110 §9.2.2).
struct Copy {
    method: Method,
    uri: http::Uri,
    headers: http::HeaderMap,
}

impl Copy {
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        let is_repeatable = request.body().is_empty() && request.method().is_idempotent();
        is_repeatable.then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn make(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
