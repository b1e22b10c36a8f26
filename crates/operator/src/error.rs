use std::{
    error::Error as _,
    fmt::{self, Write as _},
    time::Duration,
};

use thiserror::Error;

/// How long one request to the API server may take. Its own limit is a minute, but a leader that hangs must not.
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// The API server has not answered in time.
    #[error("cannot {verb} {what}: no answer within {} s", PATIENCE.as_secs())]
    Silence {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
    },
    /// Another operator leads now. Its writes and ours must not mix: the process ends and starts anew as a follower.
    #[error("the lease is lost")]
    LeaseLost,
    /// Something that must go on for as long as the process has ended or panicked.
    #[error("{task} has stopped: {how}")]
    Ended {
        /// What is missing now.
        task: String,
        /// Whether it panicked.
        how: String,
    },
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
            Self::Silence { .. } => "api_silence",
            Self::LeaseLost => "lease_lost",
            Self::Ended { .. } => "task_ended",
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

    /// Whether the API server says no, and will say so again.
    pub(crate) fn is_refusal(&self) -> bool {
        let Self::Api {
            source: kube::Error::Api(status),
            ..
        } = self
        else {
            return false;
        };
        (400..500).contains(&status.code) && status.code != 429
    }

    /// Whether the API server says that somebody else was faster.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }

    /// Whether the API server says that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 404)
    }

    /// Whether the API server found that another object has the name now. Where a test of a JSON patch fails it says so by
    /// a 422 without any cause; a value that it refuses has one.
    pub(crate) fn is_about_another(&self) -> bool {
        let Self::Api {
            source: kube::Error::Api(status),
            ..
        } = self
        else {
            return false;
        };
        let has_cause = status
            .details
            .as_ref()
            .is_some_and(|details| !details.causes.is_empty() || !details.name.is_empty());
        status.code == 409 || status.code == 422 && !has_cause
    }

    pub(crate) fn api(verb: &'static str, what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { verb, what, source }
    }
}

/// Waits for an answer of the API server, but not for ever.
pub(crate) async fn in_time<T>(
    verb: &'static str,
    what: impl fmt::Display,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, OperatorError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(OperatorError::api(verb, what.to_string())),
        Err(_) => Err(OperatorError::Silence {
            verb,
            what: what.to_string(),
        }),
    }
}

/// What to say on `/readyz`: the failure with its causes, and RBAC by its name.
pub(crate) fn in_full(error: &OperatorError) -> String {
    if let OperatorError::Api {
        source: kube::Error::Api(status),
        ..
    } = error
    {
        let hint = if status.code == 403 { " (RBAC)" } else { "" };
        return format!("{error}: {}{hint}", status.message);
    }
    error.chain()
}
