use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, uri::Scheme};
use hyper::{body::Incoming, client::conn::TrySendError};
use splittoken_reach::Reach;
use splittoken_routing::BackendProtocol;
use tokio::time::{Instant, timeout_at};

use super::{
    connect::UpstreamError,
    form::{to_http1, to_http2},
    multiplexed::Stream,
    pool::{Lease, Pool},
    target::Target,
};
use crate::{body::RequestBody, retry_budget::RetryBudget};

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
    /// Further tries of one request.
    pub(crate) retries: u32,
    /// Those of all requests.
    pub(crate) budget: &'r RetryBudget,
    /// What becomes of the connection.
    pub(crate) purpose: Purpose,
}

/// What is the same for all tries of a request.
#[derive(Clone, Copy)]
pub(crate) struct Sending<'r> {
    pub(crate) pool: &'r Arc<Pool>,
    pub(crate) limits: Limits<'r>,
    /// Whether the client has said that it takes trailers.
    pub(crate) wants_trailers: bool,
    /// Chooses among connections.
    pub(crate) random: u64,
    /// When the request's time began.
    pub(crate) started: Instant,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It serves requests.
    Requests,
    /// It may become a tunnel.
    Tunnel,
}

/// How a try failed, and whether another may follow.
struct Failed {
    error: UpstreamError,
    /// The request, if the upstream cannot have seen it.
    unsent: Option<Request<RequestBody>>,
}

/// Sends `request`, which is in the form of HTTP/1.1, to a target that `pick` names for each try, and gives its response
/// and what the body comes on.
pub(crate) async fn send<'a>(
    sending: Sending<'_>,
    mut request: Request<RequestBody>,
    mut pick: impl FnMut() -> Option<&'a Target>,
) -> Result<(Response<Incoming>, Lease), UpstreamError> {
    let Sending { pool, limits, .. } = sending;
    let mut tries_left = limits.retries;
    let mut before = None;
    loop {
        let Some(target) = pick() else {
            return Err(UpstreamError::Timeout);
        };
        let copy = Copy::of(&request, target);
        let outcome = guarded(sending, target, request).await;
        let is_tried = !matches!(&outcome, Err(failed) if matches!(failed.error, UpstreamError::Closed(_)));
        if is_tried && before.is_some() {
            pool.counts.retries.inc();
        }
        let failed = match outcome {
            Ok((response, _)) if is_unasked(&response, limits.purpose) => {
                pool.counts.failed(UpstreamError::Switched.reason());
                return Err(UpstreamError::Switched);
            }
            Ok(answer) => return Ok(answer),
            // What is known is how the try before it ended, if there was one.
            Err(failed) if !is_tried => return Err(before.unwrap_or(failed.error)),
            Err(failed) => failed,
        };
        pool.counts.failed(failed.error.reason());
        let is_refused = matches!(failed.error, UpstreamError::Refused(_));
        let again = failed.unsent.or_else(|| {
            // What was not looked at is not done twice, whatever it asks for.
            let copy = copy.as_ref().filter(|copy| copy.is_idempotent() || is_refused);
            copy.map(Copy::make)
        });
        let may_retry = limits.budget.has_some();
        let is_out_of_time = limits
            .request
            .is_some_and(|limit| sending.started.elapsed() >= limit);
        match again {
            Some(again) if tries_left > 0 && may_retry && !is_out_of_time => request = again,
            _ => return Err(failed.error),
        }
        before = Some(failed.error);
        tries_left -= 1;
    }
}

fn is_unasked(response: &Response<Incoming>, purpose: Purpose) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && purpose != Purpose::Tunnel
}

fn deadline(Sending { limits, started, .. }: Sending<'_>) -> Option<Instant> {
    let whole = limits.request.map(|limit| started + limit);
    let one = limits.backend_request.map(|limit| Instant::now() + limit);
    whole.into_iter().chain(one).min()
}

/// One try, if the target may be asked at all.
async fn guarded(
    sending: Sending<'_>,
    target: &Target,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let waiting = match target.circuit.enter(!request.body().is_empty()) {
        Ok(waiting) => waiting,
        Err(closed) => {
            return Err(Failed {
                error: UpstreamError::Closed(closed),
                unsent: Some(request),
            });
        }
    };
    request.body_mut().tell(waiting.upload());
    let limits = sending.limits;
    let attempt = attempt(sending, target, request);
    let outcome = match deadline(sending) {
        None => attempt.await,
        Some(deadline) => timeout_at(deadline, attempt).await.unwrap_or(Err(Failed {
            error: UpstreamError::Timeout,
            unsent: None,
        })),
    };
    if waiting.is_too_large() && outcome.is_err() {
        return Err(Failed {
            error: UpstreamError::RequestBodyTooLarge,
            unsent: None,
        });
    }
    match &outcome {
        Ok(_) => {
            limits.budget.answered();
            waiting.answered();
        }
        Err(failed) => {
            let trouble = failed.error.trouble(limits.connect);
            if let Some(trouble) = trouble.filter(|trouble| waiting.is_its_own(*trouble)) {
                limits.budget.failed();
                waiting.failed(trouble);
            }
        }
    }
    outcome
}

/// One try. A connection that the other side had closed unseen does not count as one.
async fn attempt(
    sending: Sending<'_>,
    target: &Target,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let Sending {
        pool, limits, random, ..
    } = sending;
    loop {
        let leased = match limits.purpose {
            Purpose::Tunnel if target.protocol != BackendProtocol::Http2 => {
                pool.apart(target, limits.reach, limits.connect, random).await
            }
            Purpose::Requests | Purpose::Tunnel => {
                pool.lease(target, limits.reach, limits.connect, random).await
            }
        };
        let mut lease = match leased {
            Ok(lease) => lease,
            Err(error) => {
                pool.note(target, &error);
                return Err(Failed {
                    error,
                    unsent: Some(request),
                });
            }
        };
        let sent = match &mut lease {
            Lease::Http1(borrowed) => borrowed.connection().send(request).await.map_err(Failed::of),
            Lease::Http2(stream) => {
                let scheme = if target.tls.is_some() {
                    Scheme::HTTPS
                } else {
                    Scheme::HTTP
                };
                Box::pin(send_on(stream, request, scheme, sending.wants_trailers)).await
            }
        };
        match sent {
            Ok(response) => return Ok((response, lease)),
            Err(failed) => match failed.unsent {
                Some(unsent) if lease.is_reused() => request = unsent,
                _ => return Err(failed),
            },
        }
    }
}

/// The same on a part of an HTTP/2 connection. What comes back unsent has its first form again.
async fn send_on(
    stream: &mut Stream,
    mut request: Request<RequestBody>,
    scheme: Scheme,
    wants_trailers: bool,
) -> Result<Response<Incoming>, Failed> {
    to_http2(&mut request, scheme, wants_trailers);
    match stream.sender().try_send_request(request).await {
        Ok(response) => {
            stream.answered();
            Ok(response)
        }
        Err(error) => {
            let mut failed = Failed::of(error);
            if matches!(failed.error, UpstreamError::Refused(_)) {
                stream.refused();
            }
            failed.unsent.iter_mut().for_each(to_http1);
            Err(failed)
        }
    }
}

impl Failed {
    fn of(mut error: TrySendError<Request<RequestBody>>) -> Self {
        let unsent = error.take_message();
        Self {
            error: error.into_error().into(),
            unsent,
        }
    }
}

/// What it takes to make a request without a body once more: for one that is idempotent (RFC 9110 §9.2.2), or that no
/// upstream has looked at.
struct Copy {
    method: Method,
    uri: http::Uri,
    headers: http::HeaderMap,
}

impl Copy {
    fn of(request: &Request<RequestBody>, target: &Target) -> Option<Self> {
        let may_be_repeated = request.method().is_idempotent() || target.protocol != BackendProtocol::Http1;
        (may_be_repeated && request.body().is_empty()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    fn make(&self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
