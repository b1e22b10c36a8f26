//! An API request: opaque token in, JWT out, everything else as it came.

use std::{sync::Arc, time::SystemTime};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    request::Parts,
    uri::{InvalidUri, PathAndQuery},
};
use hyper::body::{Body as _, Incoming};
use splittoken_routing::{Authentication, CanonicalPath, ServedRule, authorize, claim_header_value};
use tokio::time::Instant;

use crate::{
    access_log::Trail,
    body::{RequestBody, ResponseBody, TooLarge},
    client_address::Peer,
    credential::{Credential, credential, has_query_token},
    crowd::{Crowded, Place},
    failure::Failure,
    gate::GateError,
    headers::{clean_request, clean_response, remove_method_overrides, wants_trailers},
    snapshot::Snapshot,
    tokens::Rehydrated,
    trace::{Called, Recorded, TRACEPARENT},
    upgrade::{self, Asked, Counted, Heard, Tunnel},
    upstream::{Lease, Limits, Purpose, Sending, Target, UpstreamError, send},
    vigil::Vigil,
    worker::Worker,
};

/// What matching has found out about a request.
pub(crate) struct Matched {
    pub(crate) rule: Arc<ServedRule>,
    /// The path to forward, where it differs from the one that came.
    pub(crate) path: Option<String>,
    pub(crate) has_path_parameters: bool,
}

impl Matched {
    pub(crate) fn new(rule: &Arc<ServedRule>, path: &CanonicalPath<'_>, segments: usize, raw: &str) -> Self {
        let forwarded = match &rule.config.replace_prefix {
            Some(replacement) => Some(path.replace_prefix(segments, replacement)),
            None => (path.as_str() != raw).then(|| path.as_str().to_owned()),
        };
        Self {
            rule: Arc::clone(rule),
            path: forwarded,
            has_path_parameters: path.has_parameters(),
        }
    }
}

/// Serves one API request.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    peer: &Peer,
    snapshot: &Snapshot,
    matched: Matched,
    (mut parts, body): (Parts, Incoming),
    trail: &mut Trail,
) -> Result<Response<ResponseBody>, Failure> {
    let rule = &*matched.rule;
    let token = authenticate(worker, peer, snapshot, rule, &parts, matched.has_path_parameters).await?;
    trail.token.clone_from(&token);
    // A handshake has no body (RFC 6455 §4.1): of one that has, two programs may see the end in two places.
    let may_tunnel = rule.config.websocket && body.is_end_stream();
    let tunnel = may_tunnel.then(|| upgrade::take(&mut parts)).flatten();
    if let (Some(wanted), Some(token)) = (&rule.config.authorization, &token) {
        authorize(wanted, &token.claims)
            .map_err(|denied| Failure::Denied(denied, rule.scope_hint.clone()))?;
    }
    if tunnel.is_none() && upgrade::is_extended(&parts) {
        // It cannot go on as a plain request: what would its 200 mean?
        return Err(Failure::Gate(GateError::Method));
    }
    let tunnel = tunnel.map(|asked| Ok((place(worker, peer, &asked)?, asked)));
    let tunnel = tunnel.transpose()?;
    let body_limit = worker.shared.settings.limits.body_bytes;
    let body = RequestBody::new(body, &matched.rule, body_limit)
        .map_err(|TooLarge| Failure::Upstream(UpstreamError::RequestBodyTooLarge))?;
    let wants_trailers = wants_trailers(&parts.headers);
    edit_headers(rule, peer, token.as_deref(), &mut parts.headers);
    let purpose = if tunnel.is_some() {
        upgrade::ask(&mut parts.headers);
        Purpose::Tunnel
    } else {
        Purpose::Requests
    };
    parts.uri =
        target(&parts.uri, matched.path.as_deref()).map_err(|_| Failure::NoBackend("rewritten_path"))?;
    parts.version = Version::HTTP_11;

    let idle = rule.config.timeouts.idle;
    let request = Request::from_parts(parts, body);
    let (mut response, lease) = forward(
        worker,
        snapshot,
        rule,
        request,
        (purpose, wants_trailers),
        trail.recorded.as_deref(),
    )
    .await?;
    let vigil = token.and_then(|token| vigil(worker, snapshot, matched.rule, token));
    if let Some(((place, counted), asked)) = tunnel
        && asked.hears(&response).map_err(Failure::Upstream)? == Heard::Agreed
    {
        let is_extended = asked.is_extended();
        let upstream = hyper::upgrade::on(&mut response);
        let response = switched(response, is_extended)?;
        trail.tunnel = Some(Box::new(Tunnel {
            client: asked.client,
            upstream,
            idle,
            token: vigil,
            place,
            counted,
        }));
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    clean_response(&mut parts.headers).map_err(|()| Failure::Upstream(UpstreamError::Coding))?;
    // Of this hop, whatever the upstream speaks (RFC 9110 §2.5).
    parts.version = Version::HTTP_11;
    if parts.status == StatusCode::NOT_MODIFIED {
        // It has no body, and a length would be taken for one.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Ok(Response::from_parts(
        parts,
        ResponseBody::upstream(body, idle, lease, vigil),
    ))
}

/// The answer that turns a connection, or a stream of one, into a tunnel.
fn switched(response: Response<Incoming>, is_extended: bool) -> Result<Response<ResponseBody>, Failure> {
    let (mut parts, _) = response.into_parts();
    clean_response(&mut parts.headers).map_err(|()| Failure::Upstream(UpstreamError::Coding))?;
    upgrade::agree(&mut parts, is_extended);
    Ok(Response::from_parts(parts, ResponseBody::full("")))
}

/// Among the connections, of all clients and of an address. By HTTP/1.1 a tunnel takes that of its connection; on a
/// stream, which costs as much, it is one more, from the handshake on.
fn place(worker: &Worker, peer: &Peer, asked: &Asked) -> Result<(Arc<Place>, Option<Counted>), Failure> {
    if !asked.is_extended() {
        return Ok((peer.place(), None));
    }
    let shared = &worker.shared;
    // Counted first: of many at once, none is overlooked.
    let counted = Counted::new(&shared.metrics.tunnels);
    if shared.metrics.open() > shared.settings.limits.connections {
        return Err(Failure::TooManyConnections("connections"));
    }
    let place = peer.another_place(&shared.crowd);
    let place = place.map_err(|Crowded| Failure::TooManyConnections("address_connections"))?;
    Ok((place, Some(counted)))
}

/// What looks after the token of a stream.
fn vigil(
    worker: &Arc<Worker>,
    snapshot: &Snapshot,
    rule: Arc<ServedRule>,
    token: Arc<Rehydrated>,
) -> Option<Vigil> {
    let issuer = snapshot.issuer(&rule.route)?;
    Some(Vigil::new(worker, rule, issuer, token))
}

/// The token of a request, as far as its rule asks for one.
async fn authenticate(
    worker: &Worker,
    peer: &Peer,
    snapshot: &Snapshot,
    rule: &ServedRule,
    parts: &Parts,
    has_path_parameters: bool,
) -> Result<Option<Arc<Rehydrated>>, Failure> {
    let authentication = rule.config.authentication;
    if authentication == Authentication::Disabled {
        return Ok(None);
    }
    if has_path_parameters && authentication == Authentication::Required {
        return Err(Failure::PathParameters);
    }
    if has_query_token(parts.uri.query()) {
        return Err(Failure::TokenInQuery);
    }
    match credential(&parts.headers) {
        Credential::None if authentication == Authentication::Optional => Ok(None),
        Credential::Other if authentication == Authentication::Optional => {
            Err(Failure::InvalidToken("scheme"))
        }
        Credential::None | Credential::Other => Err(Failure::NoCredentials),
        Credential::Bearer(text) => {
            let issuer = snapshot
                .issuer(&rule.route)
                .ok_or(Failure::Unavailable("no_issuer"))?;
            worker
                .tokens
                .rehydrate(&rule.route, issuer, text, SystemTime::now(), || {
                    peer.client(&parts.headers)
                })
                .await
                .map(Some)
        }
    }
}

fn edit_headers(rule: &ServedRule, peer: &Peer, token: Option<&Rehydrated>, headers: &mut HeaderMap) {
    let forwarded = peer.forwarded(headers);
    clean_request(headers, &rule.route.claim_headers);
    if rule.route.names_methods {
        remove_method_overrides(headers);
    }
    forwarded.set(headers);
    match token {
        Some(token) => {
            headers.insert(header::AUTHORIZATION, token.authorization.clone());
            set_claim_headers(rule, token, headers);
        }
        // Whatever it was, it is not for the upstream: no token was asked for.
        None => {
            headers.remove(header::AUTHORIZATION);
        }
    }
    for (name, value) in &rule.request_headers.set {
        headers.insert(name.clone(), value.clone());
    }
    for name in &rule.request_headers.remove {
        headers.remove(name);
    }
}

fn set_claim_headers(rule: &ServedRule, token: &Rehydrated, headers: &mut HeaderMap) {
    for (config, name) in rule.config.claims_to_headers.iter().zip(&rule.claim_headers) {
        let text = token
            .claims
            .at(&config.claim)
            .and_then(|claim| claim_header_value(claim, config.encoding));
        // Names may be in any language: the bytes of UTF-8 are legal in a value, if not in agreement everywhere.
        if let Some(value) = text.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
            headers.insert(name.clone(), value);
        }
    }
}

/// The target in origin form: the path that was matched and the query as it came.
fn target(uri: &Uri, path: Option<&str>) -> Result<Uri, InvalidUri> {
    let target = match (path, uri.path_and_query()) {
        (None, Some(target)) => target.clone(),
        (None, None) => PathAndQuery::from_static("/"),
        (Some(path), _) => match uri.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}"))?,
            None => PathAndQuery::try_from(path)?,
        },
    };
    Ok(Uri::from(target))
}

/// Who takes the share of a backend that is left alone, if anybody does.
fn stand_in<'s>(snapshot: &'s Snapshot, rule: &ServedRule, picked: &Target) -> Option<&'s Target> {
    if !picked.circuit.is_resting() {
        return None;
    }
    let backends = rule.config.backends.iter().enumerate();
    let weighty = backends.filter(|(_, backend)| backend.weight > 0);
    let mut targets = weighty.filter_map(|(place, _)| snapshot.target(rule, place));
    targets.find(|target| !target.circuit.is_resting())
}

async fn forward(
    worker: &Worker,
    snapshot: &Snapshot,
    rule: &ServedRule,
    mut request: Request<RequestBody>,
    (purpose, wants_trailers): (Purpose, bool),
    recorded: Option<&Recorded>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    // Each rule that is served has counters.
    let picked = rule
        .backend(worker.random.next())
        .zip(snapshot.counters.rule(rule));
    let (backend, counters) = picked.ok_or(Failure::NoBackend("no_backend"))?;
    let mut first = Some(
        snapshot
            .target(rule, backend)
            .ok_or(Failure::NoBackend("backend_unusable"))?,
    );
    // Another try may go elsewhere; a share that goes nowhere falls back to the first choice.
    let chosen = first;
    let pick = || {
        let picked = first.take().or_else(|| {
            let again = rule
                .backend(worker.random.next())
                .and_then(|backend| snapshot.target(rule, backend));
            again.or(chosen)
        })?;
        Some(stand_in(snapshot, rule, picked).unwrap_or(picked))
    };
    let timeouts = &rule.config.timeouts;
    let limits = Limits {
        reach: &rule.route.config.reach,
        request: timeouts.request,
        backend_request: timeouts.backend_request,
        connect: timeouts.connect,
        retries: rule.config.max_retries,
        budget: &counters.retries,
        purpose,
    };
    let call = recorded.zip(chosen).map(|(recorded, target)| {
        let call = recorded.call(Called::Upstream(&target.address));
        if !is_traced_by_rule(rule) {
            call.tell(request.headers_mut());
        }
        call
    });
    let started = Instant::now();
    let sending = Sending {
        pool: &worker.pool,
        limits,
        wants_trailers,
        random: worker.random.next(),
        started,
    };
    let outcome = send(sending, request, pick).await;
    worker.shared.metrics.upstream.duration.observe(started.elapsed());
    if let Some(call) = call {
        let outcome = outcome.as_ref();
        call.ended(outcome.map_or_else(|error| Err(error.reason()), |(response, _)| Ok(response.status())));
    }
    outcome.map_err(Failure::Upstream)
}

/// Whether a rule says itself what its upstreams hear of traces.
fn is_traced_by_rule(rule: &ServedRule) -> bool {
    let edits = &rule.request_headers;
    let set = edits.set.iter().map(|(name, _)| name);
    set.chain(&edits.remove).any(|name| *name == TRACEPARENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_in_origin_form_and_keep_their_query() {
        for (uri, path, expected) in [
            ("/a?b=%20c", None, "/a?b=%20c"),
            ("http://h.example/a?b", None, "/a?b"),
            ("http://h.example", None, "/"),
            ("/a?b=1", Some("/x"), "/x?b=1"),
            ("/a", Some("/x%20y"), "/x%20y"),
        ] {
            assert_eq!(
                target(&uri.parse().unwrap(), path).unwrap().to_string(),
                expected,
                "{uri}"
            );
        }
    }
}
