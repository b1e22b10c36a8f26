//! One line a request, if asked for: who, what, how it went, how long it took. Never a token, never a query.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use splittoken_routing::{ServedRoute, ServedRule};

use crate::{cors::Sharing, settings::AccessLog, tokens::Rehydrated, trace::Recorded, upgrade::Tunnel};

/// What became known of a request on its way. Costs nothing where it is not logged.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) rule: Option<Arc<ServedRule>>,
    pub(crate) token: Option<Arc<Rehydrated>>,
    pub(crate) endpoint: Option<Arc<ServedRoute>>,
    pub(crate) reason: Option<&'static str>,
    /// For the answer, not for the log.
    pub(crate) sharing: Option<Sharing>,
    /// The same: where there is one, the request leaves spans.
    pub(crate) recorded: Option<Box<Recorded>>,
    /// What the request becomes, where it is no request any more.
    pub(crate) tunnel: Option<Box<Tunnel>>,
}

impl Trail {
    /// Which rule serves the request.
    pub(crate) fn found_rule(&mut self, rule: &Arc<ServedRule>, headers: &HeaderMap) {
        self.rule = Some(Arc::clone(rule));
        if let Some(recorded) = &mut self.recorded {
            recorded.found_rule(rule, headers);
        }
    }

    /// Whose token endpoint does.
    pub(crate) fn found_token_endpoint(&mut self, route: &Arc<ServedRoute>, headers: &HeaderMap) {
        self.endpoint = Some(Arc::clone(route));
        if let Some(recorded) = &mut self.recorded {
            recorded.found_token_endpoint(route, headers);
        }
    }
}

/// A line in the making.
#[derive(Debug)]
pub(crate) struct Entry {
    method: Method,
    path: String,
    started: Instant,
    headers_after: Duration,
    status: StatusCode,
    bytes: u64,
    is_broken: bool,
    trail: Trail,
}

/// One request in this many is logged under [`AccessLog::Sampled`].
const SAMPLE: u64 = 100;

/// What has to be remembered of a request's beginning, if it may be logged.
#[derive(Debug)]
pub(crate) struct Beginning {
    method: Method,
    path: String,
    started: Instant,
    is_sampled: bool,
}

impl Beginning {
    pub(crate) fn of(
        request: &http::request::Parts,
        log: AccessLog,
        started: Instant,
        random: u64,
    ) -> Option<Self> {
        (log != AccessLog::Off).then(|| Self {
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
            started,
            is_sampled: log == AccessLog::On || random.is_multiple_of(SAMPLE),
        })
    }

    /// The line to be written when the body has ended; none if this request is not one of the sample and went well.
    pub(crate) fn end(self, status: StatusCode, trail: Trail) -> Option<Box<Entry>> {
        (self.is_sampled || status.is_server_error()).then(|| {
            Box::new(Entry {
                method: self.method,
                path: self.path,
                headers_after: self.started.elapsed(),
                started: self.started,
                status,
                bytes: 0,
                is_broken: false,
                trail,
            })
        })
    }
}

impl Entry {
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn break_off(&mut self) {
        self.is_broken = true;
    }

    pub(crate) fn write(&self) {
        let Trail {
            rule,
            token,
            endpoint,
            reason,
            sharing: _,
            recorded: _,
            tunnel: _,
        } = &self.trail;
        let route = rule.as_ref().map(|rule| &rule.route).or(endpoint.as_ref());
        tracing::info!(
            target: "access",
            method = %without_tokens(self.method.as_str()),
            // Control characters cannot be in a path; quotes and the like are escaped as the format wants it.
            path = &*without_tokens(&self.path),
            status = self.status.as_u16(),
            route = route.map(|route| tracing::field::display(&route.config.name)),
            rule = rule.as_ref().map(|rule| rule.config.name.as_str()),
            lookup_id = token.as_ref().map(|token| tracing::field::display(token.lookup_id)),
            client_id = token.as_ref().and_then(|token| token.claims.client_id()),
            reason,
            bytes = self.bytes,
            broken_off = self.is_broken,
            headers_ms = self.headers_after.as_secs_f64() * 1e3,
            total_ms = self.started.elapsed().as_secs_f64() * 1e3,
        );
    }
}

/// What stands in the place of a text that may be a token.
const HIDDEN: &str = "…";

/// The shortest signature has 32 bytes (HMAC-SHA-256), which is this many characters of base64url. Most other secrets
/// are as long: authorization codes, refresh tokens, keys.
const SHORTEST_TOKEN: usize = 43;

/// A path without those of its segments that may hold a token: clients put them in all kinds of places.
fn without_tokens(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(may_hold_token) {
        return Cow::Borrowed(path);
    }
    let shown = |segment| {
        if may_hold_token(segment) { HIDDEN } else { segment }
    };
    Cow::Owned(path.split('/').map(shown).collect::<Vec<_>>().join("/"))
}

/// Whether a run of its letters is as long as a token, and no words in lower case with hyphens between them.
fn may_hold_token(segment: &str) -> bool {
    if segment.len() < SHORTEST_TOKEN {
        return false;
    }
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    // Of both alphabets of base64, and with the dots between the parts of a JWT.
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_+=.".contains(c);
    decoded.split(|c| !is_letter(c)).any(|run| {
        let is_words = run.bytes().all(|b| b.is_ascii_lowercase() || b"-_.".contains(&b));
        run.len() >= SHORTEST_TOKEN && !is_words
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_may_be_tokens_are_hidden() {
        let token = "A1b2".repeat(11);
        let spelled = "%41%31%62%32".repeat(11);
        for hidden in [
            token.clone(),
            spelled,
            format!("token={token}:x"),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.c2ln".to_owned(),
        ] {
            assert_eq!(
                without_tokens(&format!("/orders/{hidden}/items")),
                "/orders/…/items"
            );
            assert_eq!(without_tokens(&hidden), "…");
        }
    }

    #[test]
    fn other_paths_are_shown_as_they_are() {
        for path in [
            "/",
            "/orders/6f1c2a34-9d1e-4b1f-8f57-2f1f0c9a7e55/items",
            "/posts/how-a-gateway-keeps-tokens-out-of-everything-it-writes",
            "/Customers/A%20Name%20With%20Spaces%20That%20Goes%20On%20And%20On",
            "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/0/1/2/3",
        ] {
            assert_eq!(without_tokens(path), path);
        }
    }
}
