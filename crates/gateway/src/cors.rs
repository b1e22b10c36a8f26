//! CORS at a route that speaks of it: preflights are answered here, before anything is asked of the request, and every
//! answer says who may read it, those of the gateway itself too: a browser hides even a 401 that does not.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use splittoken_routing::{ServedRoute, origin};

use crate::body::ResponseBody;

/// What has to be remembered of a request whose answer may be for pages of other origins.
#[derive(Debug)]
pub(crate) struct Sharing {
    route: Arc<ServedRoute>,
    origin: Option<HeaderValue>,
}

impl Sharing {
    /// `None` for a route that leaves CORS to its upstreams.
    pub(crate) fn of(route: &Arc<ServedRoute>, request: &HeaderMap) -> Option<Self> {
        route.cors.as_ref()?;
        Some(Self {
            route: Arc::clone(route),
            origin: origin(request).cloned(),
        })
    }

    /// Says in an answer who may read it.
    pub(crate) fn apply(&self, response: &mut HeaderMap) {
        if let Some(cors) = &self.route.cors {
            cors.share(self.origin.as_ref(), response);
        }
    }
}

/// The answer to a preflight, whatever the request that it announces would come to.
pub(crate) fn answer_preflight(route: &ServedRoute, request: &HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(cors) = &route.cors {
        *response.headers_mut() = cors.answer_preflight(origin(request));
    }
    response
}
