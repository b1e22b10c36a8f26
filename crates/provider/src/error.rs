use splittoken_reach::Forbidden;
use splittoken_token::{KeySetError, VerifyError};
use thiserror::Error;

use crate::{UrlError, discovery::DiscoveryError};

/// Why settings make no provider.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// The process has not installed a default `rustls` crypto provider.
    #[error("no rustls crypto provider is installed in this process")]
    NoCryptoProvider,
    /// The issuer's URL, or a given endpoint.
    #[error("the {what} URL cannot be used")]
    Url {
        /// Which one: `issuer`, `token endpoint`, `JWKS` or `revocation endpoint`.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: UrlError,
    },
    /// A CA certificate is not PEM, or not X.509.
    #[error("CA certificate {number} is not a PEM certificate")]
    Certificate {
        /// Counted from 1, as given.
        number: usize,
        /// What the parser says; nothing where there is no PEM block at all.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// A client certificate is not PEM, has no key, or another one's.
    #[error("the client certificate cannot be used")]
    ClientCertificate(#[source] reqwest::Error),
    /// The HTTP client could not be made; most often there are no system root certificates.
    #[error("no HTTP client could be made (are there system root certificates?)")]
    Client(#[source] reqwest::Error),
}

impl ProviderError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCryptoProvider => "no_crypto_provider",
            Self::Url { source, .. } => source.reason(),
            Self::Certificate { .. } => "ca_certificate",
            Self::ClientCertificate(_) => "client_certificate",
            Self::Client(_) => "http_client",
        }
    }

    /// Whether the same settings may be good later: what is missing is missing around the process.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoCryptoProvider | Self::Client(_))
    }

    /// The error and its causes on one line.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }
}

/// Why a call to the provider gave no answer to use. Holds neither URL nor body.
#[derive(Debug, Error)]
pub enum CallError {
    /// There is no HTTP client for its port, though there was one for another. Nothing was sent.
    #[error("no HTTP client for the provider could be made")]
    NoClient(#[source] ProviderError),
    /// No connection: refused, unroutable, or no such name. The request was not sent.
    #[error("the provider cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Its name leads only to addresses that may not be connected to. Nothing was sent.
    #[error("the provider may not be connected to")]
    Forbidden(#[source] Forbidden),
    /// No TLS session: most often a certificate that is not trusted. The request was not sent.
    #[error("no TLS session with the provider")]
    Tls(#[source] reqwest::Error),
    /// No connection in time. The request was not sent.
    #[error("no connection to the provider in time")]
    ConnectTimeout,
    /// No answer in time. The request may have been received.
    #[error("the provider did not answer in time")]
    Timeout,
    /// A 3xx answer; redirects are not followed, since that would send credentials elsewhere.
    #[error("the provider answered with a redirect ({0})")]
    Redirect(u16),
    /// A `Content-Encoding` other than `identity`, though none was accepted.
    #[error("the provider's answer is compressed")]
    Compressed,
    /// Longer than the limit.
    #[error("the provider's answer is too large")]
    TooLarge,
    /// The connection ended before the answer did.
    #[error("the provider's answer is truncated")]
    Truncated(#[source] reqwest::Error),
    /// Not HTTP/1.1, or an answer that no provider gives: 1xx, a strange `Transfer-Encoding`.
    #[error("the provider's answer is malformed")]
    Malformed(#[source] Option<reqwest::Error>),
}

impl CallError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoClient(error) => error.reason(),
            Self::Unreachable(_) => "provider_unreachable",
            Self::Forbidden(_) => "provider_address",
            Self::Tls(_) => "provider_tls",
            Self::ConnectTimeout => "provider_connect_timeout",
            Self::Timeout => "provider_timeout",
            Self::Redirect(_) => "provider_redirect",
            Self::Compressed => "provider_compressed",
            Self::TooLarge => "provider_too_large",
            Self::Truncated(_) => "provider_truncated",
            Self::Malformed(_) => "provider_malformed",
        }
    }
}

/// Why a token request got no answer from the provider.
#[derive(Debug, Error)]
pub enum TokenCallError {
    /// Discovery has not said yet where the token endpoint is. Nothing was sent.
    #[error("the provider's token endpoint is not known yet")]
    NoTokenEndpoint,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl TokenCallError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoTokenEndpoint => "no_token_endpoint",
            Self::Call(e) => e.reason(),
        }
    }
}

/// Why the provider did not confirm a revocation.
#[derive(Debug, Error)]
pub enum RevokeError {
    /// The provider has no revocation endpoint, or discovery has not named it yet.
    #[error("the provider's revocation endpoint is not known")]
    NoEndpoint,
    /// Another status than 200.
    #[error("the provider refused the revocation ({0})")]
    Status(u16),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl RevokeError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_revocation_endpoint",
            Self::Status(_) => "revocation_refused",
            Self::Call(e) => e.reason(),
        }
    }
}

/// Why a token that the provider has just issued is not split.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum IssueError {
    /// The key is not known, because none could be fetched yet, or none lately.
    #[error("the issuer's keys are not known yet")]
    NoKeys,
    /// The keys that the provider publishes do not hold the token's.
    #[error("the issuer does not publish the token's key")]
    UnknownKey,
    /// The token is not good.
    #[error("the token is refused")]
    Refused(#[source] VerifyError),
}

impl IssueError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::UnknownKey => "unknown_key",
            Self::Refused(e) => e.reason(),
        }
    }
}

/// Why a stored token does not enter the near cache.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum FillError {
    /// No key is known, because none could be fetched yet: try again later (503).
    #[error("the issuer's keys are not known yet")]
    NoKeys,
    /// The key has not been seen here, not even after a fetch: try again later (503).
    #[error("the token's key is not known here yet")]
    UnknownKey,
    /// The key was known here and the provider has removed it: the token is void (401).
    #[error("the issuer has removed the token's key")]
    RetiredKey,
    /// The token is not good (401).
    #[error("the token is refused")]
    Refused(#[source] VerifyError),
}

impl FillError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoKeys => "no_keys",
            Self::UnknownKey => "unknown_key",
            Self::RetiredKey => "retired_key",
            Self::Refused(e) => e.reason(),
        }
    }

    /// Whether the same token may pass later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::NoKeys | Self::UnknownKey)
    }
}

impl From<FillError> for IssueError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::NoKeys => Self::NoKeys,
            // A provider that signs with a key it no longer publishes: for the one who asked it is just unknown.
            FillError::UnknownKey | FillError::RetiredKey => Self::UnknownKey,
            FillError::Refused(e) => Self::Refused(e),
        }
    }
}

/// Why a discovery document or a JWK Set could not be had.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the provider answered {0} in place of 200")]
    Status(u16),
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the JWK Set's URL is not known yet")]
    NoJwksUrl,
}

impl FetchError {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Call(e) => e.reason(),
            Self::Status(_) => "provider_status",
            Self::Discovery(e) => e.reason(),
            Self::KeySet(e) => e.reason(),
            Self::NoJwksUrl => "no_jwks_url",
        }
    }

    /// 404 and 410 say that the document has moved.
    pub(crate) fn says_gone(&self) -> bool {
        matches!(self, Self::Status(404 | 410))
    }
}

/// The error and its causes on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let next = e.to_string();
        // Some crates repeat their source's text in their own.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = e.source();
    }
    text
}
