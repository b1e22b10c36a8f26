//! One line a request, if asked for: who, what, how it went, how long it took. Never a token, never a query.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use splittoken_routing::{ServedRoute, ServedRule};

use crate::{settings::AccessLog, tokens::Rehydrated};

/// What became known of a request on its way. Costs nothing where it is not logged.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) rule: Option<Arc<ServedRule>>,
    pub(crate) token: Option<Arc<Rehydrated>>,
    pub(crate) endpoint: Option<Arc<ServedRoute>>,
    pub(crate) reason: Option<&'static str>,
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
        } = &self.trail;
        let route = rule.as_ref().map(|rule| &rule.route).or(endpoint.as_ref());
        tracing::info!(
            target: "access",
            method = %self.method,
            // Control characters cannot be in a path; quotes and the like are escaped as the format wants it.
            path = self.path.as_str(),
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
