use std::{error::Error as _, fmt::Write as _};

use thiserror::Error;

/// Why the operator ended, or a part of its work failed. What is wrong with a custom resource is a verdict, never an error.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// Nothing says how the API server is reached.
    #[error("no way to the API server: neither in a pod nor by a kubeconfig")]
    Client(#[source] kube::Error),
    /// The API server refused or could not be reached.
    #[error("cannot {verb} {what}")]
    Api {
        /// What was tried: `apply`, `delete`, `get`…
        verb: &'static str,
        /// On which object.
        what: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Another operator leads now. Its writes and ours must not mix: the process ends and starts anew as a follower.
    #[error("the lease is lost")]
    LeaseLost,
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
    /// A route cannot be written as JSON.
    #[error("route {route} cannot be written down")]
    Render {
        /// Which one.
        route: String,
        /// Why not.
        #[source]
        source: splittoken_routing::wire::WireError,
    },
    /// No HTTP client for the gateway pods.
    #[error("cannot make an HTTP client")]
    Http(#[source] reqwest::Error),
}

impl OperatorError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Api { .. } => "api",
            Self::LeaseLost => "lease_lost",
            Self::Random => "random",
            Self::Render { .. } => "render",
            Self::Http(_) => "http",
        }
    }

    /// The whole chain for logs: what the API server said stands in the cause, which lines in JSON leave out.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let _ = write!(text, ": {cause}");
            next = cause.source();
        }
        text
    }

    pub(crate) fn api(verb: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { verb, what, source }
    }
}
