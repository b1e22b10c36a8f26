//! Cross-origin resource sharing: what a browser is told of a route's answers, and what it asks before it sends a request
//! (WHATWG Fetch, "HTTP CORS protocol"; the settings are those of Gateway API's CORS filter).

use std::fmt;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use serde::{Deserialize, Serialize};

use crate::AllowedOrigin;

/// What pages of other origins may do with a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Whose pages; at least one.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Whether browsers may add cookies and the like, and show answers to requests that have them.
    pub allow_credentials: bool,
    /// Methods beside `GET`, `HEAD` and `POST`, which need no permission; or [`ANY`] alone.
    pub allow_methods: Vec<String>,
    /// Headers that requests may have, or [`ANY`] alone.
    pub allow_headers: Vec<String>,
    /// Headers of answers that pages may read, or [`ANY`] alone.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember what a preflight was told, in seconds.
    pub max_age: u32,
}

/// In a list: everything.
pub const ANY: &str = "*";

/// `Access-Control-Allow-Headers` for [`ANY`]: Fetch does not count `Authorization` among any headers.
const ANY_HEADERS: &str = "*, Authorization";

/// What an upstream may have said in the gateway's place. Browsers refuse an answer that says it twice.
const REPLACED: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

/// [`Cors`] in the types that answers are made of.
pub struct ServedCors {
    origins: Vec<AllowedOrigin>,
    /// Whether `origins` holds [`AllowedOrigin::Any`]: then every answer says the same, whoever asks.
    any_origin: bool,
    allow_credentials: bool,
    preflight: Vec<(HeaderName, HeaderValue)>,
    expose: Option<HeaderValue>,
}

/// The method that a preflight asks for; `None` if the request is no preflight.
pub fn announced_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let announced = only(headers, &ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(announced.as_bytes()).ok()
}

/// The origin that a request names, if it names one alone.
pub fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    only(headers, &ORIGIN)
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl ServedCors {
    pub(crate) fn new(config: &Cors) -> Self {
        let list = |name: HeaderName, names: &[String]| Some((name, joined(names)?));
        let allow_headers = if config.allow_headers.iter().any(|name| name == ANY) {
            Some((
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(ANY_HEADERS),
            ))
        } else {
            list(ACCESS_CONTROL_ALLOW_HEADERS, &config.allow_headers)
        };
        let preflight = [
            list(ACCESS_CONTROL_ALLOW_METHODS, &config.allow_methods),
            allow_headers,
            Some((ACCESS_CONTROL_MAX_AGE, config.max_age.into())),
        ];
        Self {
            any_origin: config.allow_origins.contains(&AllowedOrigin::Any),
            origins: config.allow_origins.clone(),
            allow_credentials: config.allow_credentials,
            preflight: preflight.into_iter().flatten().collect(),
            expose: joined(&config.expose_headers),
        }
    }

    /// Says in an answer who may read it, in place of whatever it says so far. `origin` is the request's.
    pub fn share(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in REPLACED {
            headers.remove(name);
        }
        if self.allow(origin, headers)
            && let Some(expose) = &self.expose
        {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// What the answer to a preflight says. One of another origin is told nothing.
    pub fn answer_preflight(&self, origin: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.allow(origin, &mut headers) {
            headers.extend(self.preflight.iter().cloned());
        }
        headers
    }

    /// Whether `origin` is allowed, and the headers that say so.
    fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) -> bool {
        if !self.any_origin {
            // Also where it is not allowed, or there is none: a cache must not give that answer to whom it is.
            vary_by_origin(headers);
        }
        let Some(allowed) = self.allowed(origin) else {
            return false;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        true
    }

    /// The value of `Access-Control-Allow-Origin`: what the browser has sent, which it compares byte for byte.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        if self.any_origin {
            return Some(HeaderValue::from_static(ANY));
        }
        let origin = origin?;
        let text = origin.to_str().ok()?;
        let is_allowed = self.origins.iter().any(|allowed| allowed.matches(text));
        is_allowed.then(|| origin.clone())
    }
}

impl fmt::Debug for ServedCors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.origins).finish()
    }
}

/// `None` for no names, and for names that are none, which the schema has refused.
fn joined(names: &[String]) -> Option<HeaderValue> {
    let text = names.join(", ");
    (!text.is_empty()).then(|| HeaderValue::from_str(&text).ok())?
}

/// Adds `Origin` to `Vary`, if it is not there.
fn vary_by_origin(headers: &mut HeaderMap) {
    let values = headers
        .get_all(VARY)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|list| list.split(',')).map(str::trim);
    if !names.any(|name| name == ANY || name.eq_ignore_ascii_case("origin")) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests;
