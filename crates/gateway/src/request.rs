//! One request, from its head to its answer: gate, table, and then one of three ways.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use hyper::body::{Body, Incoming};
use splittoken_routing::{Found, ServedRoute, ServedRule, TokenEndpoint, announced_method};

use crate::{
    access_log::{Beginning, Trail},
    api_request::{self, Matched},
    body::ResponseBody,
    client_address::Peer,
    connection::Activity,
    cors::{Sharing, answer_preflight},
    failure::Failure,
    gate::admit,
    grpc,
    http2::as_http1,
    snapshot::Snapshot,
    token_endpoint,
    tracked::Tracked,
    worker::Worker,
};

/// What serves a request, free of borrows of its head.
enum Way {
    Token(Arc<ServedRoute>, TokenEndpoint),
    Api(Matched),
    /// A preflight for either of them.
    Preflight(Place),
}

/// What a preflight announces a request to.
enum Place {
    Token(Arc<ServedRoute>),
    Api(Arc<ServedRule>),
}

/// Answers one request. There is no error: every failure is an answer.
pub(crate) async fn answer(
    worker: &Arc<Worker>,
    peer: &Peer,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
) -> Response<Tracked> {
    let mut in_flight = Some(activity.begin_request(!request.body().is_end_stream()));
    let started = Instant::now();
    let shared = &worker.shared;
    let (mut parts, body) = request.into_parts();
    let is_http2 = parts.version == Version::HTTP_2;
    // To a CONNECT, the 200 of gRPC's failures would say that there is a tunnel.
    let is_connect = parts.method == Method::CONNECT;
    if is_http2 {
        as_http1(&mut parts);
    }
    let beginning = Beginning::of(&parts, shared.settings.access_log, started, worker.random.next());
    let mut trail = Trail::default();
    if let Some(tracing) = &shared.tracing {
        trail.recorded = tracing.begin(&mut parts, peer, is_http2, worker.random.next());
    }
    let realm = parts.headers.get(header::HOST).cloned();
    let grpc = grpc::content_type(&parts.headers).filter(|_| !is_connect);
    let snapshot = shared.snapshots.load();
    let (mut response, has_failed) = match serve(worker, peer, &snapshot, parts, body, &mut trail).await {
        Ok(response) => (response, false),
        Err(failure) => (refuse(worker, &failure, realm.as_ref(), &mut trail), true),
    };
    // What is counted and logged, in whatever form it is told.
    let status = response.status();
    if let Some(sharing) = trail.sharing.take() {
        sharing.apply(response.headers_mut());
    }
    if let Some(counters) = trail.rule.as_ref().and_then(|rule| snapshot.counters.rule(rule)) {
        counters.count(status);
    }
    let mut recorded = trail.recorded.take();
    if let Some(recorded) = &mut recorded {
        recorded.answered(status, trail.reason);
    }
    if let Some(content_type) = grpc.filter(|_| has_failed) {
        response = grpc::failure(response, content_type);
    }
    if is_http2 {
        // A stream ends by itself, and a connection by GOAWAY.
        response.headers_mut().remove(header::CONNECTION);
    } else if shared.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        close(&mut response);
    }
    shared.metrics.duration.observe(started.elapsed());
    if let Some(tunnel) = trail.tunnel.take() {
        // A stream goes on as one of its connection; by HTTP/1.1 the connection itself is none any more.
        tunnel.start(worker, in_flight.take_if(|_| is_http2));
    }
    let entry = beginning.and_then(|beginning| beginning.end(status, trail));
    response.map(|body| Tracked::new(body, in_flight, entry, recorded))
}

async fn serve(
    worker: &Arc<Worker>,
    peer: &Peer,
    snapshot: &Snapshot,
    parts: Parts,
    body: Incoming,
    trail: &mut Trail,
) -> Result<Response<ResponseBody>, Failure> {
    match find(snapshot, &parts, worker.shared.settings.limits.headers)? {
        Way::Api(matched) => {
            trail.found_rule(&matched.rule, &parts.headers);
            trail.sharing = Sharing::of(&matched.rule.route, &parts.headers);
            let request = (parts, body);
            api_request::serve(worker, peer, snapshot, matched, request, trail).await
        }
        Way::Token(route, endpoint) => {
            trail.found_token_endpoint(&route, &parts.headers);
            trail.sharing = Sharing::of(&route, &parts.headers);
            // In a place of its own, so that API requests have less to carry.
            let request = (parts, body);
            let served = token_endpoint::serve(worker, snapshot, &route, &endpoint, request, trail);
            Box::pin(served).await
        }
        Way::Preflight(Place::Api(rule)) => {
            let response = answer_preflight(&rule.route, &parts.headers);
            trail.found_rule(&rule, &parts.headers);
            Ok(response)
        }
        Way::Preflight(Place::Token(route)) => {
            let response = answer_preflight(&route, &parts.headers);
            trail.found_token_endpoint(&route, &parts.headers);
            Ok(response)
        }
    }
}

fn find(snapshot: &Snapshot, parts: &Parts, max_headers: usize) -> Result<Way, Failure> {
    let admitted = admit(parts, max_headers).map_err(Failure::Gate)?;
    if let Some(method) = announced_method(&parts.method, &parts.headers) {
        let announced = snapshot
            .table
            .find_announced(&admitted.host, &admitted.path, &method);
        if let Some(found) = announced {
            return Ok(Way::Preflight(found.into()));
        }
    }
    let found = snapshot
        .table
        .find(&admitted.host, &admitted.path, &parts.method, &parts.headers);
    match found {
        Some(Found::Rule(rule, segments)) => Ok(Way::Api(Matched::new(
            rule,
            &admitted.path,
            segments,
            parts.uri.path(),
        ))),
        Some(Found::TokenEndpoint(route)) => {
            let endpoint = route.config.token_endpoint.clone().ok_or(Failure::NoRoute)?;
            Ok(Way::Token(Arc::clone(route), endpoint))
        }
        None => Err(Failure::NoRoute),
    }
}

impl From<Found<'_>> for Place {
    fn from(found: Found<'_>) -> Self {
        match found {
            Found::TokenEndpoint(route) => Self::Token(Arc::clone(route)),
            Found::Rule(rule, _) => Self::Api(Arc::clone(rule)),
        }
    }
}

fn refuse(
    worker: &Worker,
    failure: &Failure,
    realm: Option<&HeaderValue>,
    trail: &mut Trail,
) -> Response<ResponseBody> {
    let reason = failure.reason();
    trail.reason = Some(reason);
    worker.shared.metrics.failed(reason);
    tracing::debug!(reason, "refused");
    // Past the gate, a Host is of letters that need no quoting.
    let realm = realm
        .and_then(|host| host.to_str().ok())
        .filter(|host| is_plain(host))
        .unwrap_or("gateway");
    let mut response = failure.response(realm);
    if matches!(failure, Failure::Gate(_)) {
        // Where this request ends is in doubt, and so is where the next one would begin.
        close(&mut response);
    }
    if trail.endpoint.is_some() {
        token_endpoint::never_cached(response)
    } else {
        response
    }
}

fn close(response: &mut Response<ResponseBody>) {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn is_plain(host: &str) -> bool {
    host.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}
