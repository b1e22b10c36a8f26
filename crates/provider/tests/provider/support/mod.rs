//! Parts for the tests: a server that writes what it is told, keys that sign, settings, waiting.

pub(crate) mod server;
pub(crate) mod signer;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use splittoken_provider::{GivenEndpoints, Provider, ProviderSettings, Reach};
use splittoken_token::Algorithm;
use tokio::task::JoinHandle;

/// How long a test waits for a condition before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings for an issuer at `url`, by discovery, over plain HTTP.
pub(crate) fn settings(url: &str) -> ProviderSettings {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    ProviderSettings {
        name: "SplitTokenIssuer/test/idp".into(),
        url: url.into(),
        plain_http_allowed: true,
        discovery: true,
        endpoints: GivenEndpoints::default(),
        algorithms: vec![Algorithm::EdDSA],
        trusted_transport: false,
        hmac_key: None,
        audiences: vec![],
        token_types: vec![],
        clock_skew: Duration::from_secs(5),
        jwks_refresh: Duration::from_secs(600),
        jwks_min_refresh: Duration::from_secs(30),
        ca_certificates: vec![],
        client_certificate: None,
        reach: Reach::Anywhere,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
    }
}

/// Settings with the endpoints `/token`, `/jwks` and `/revoke` of `url` and without discovery.
pub(crate) fn given(url: &str) -> ProviderSettings {
    let at = |path: &str| Some(format!("{url}{path}"));
    ProviderSettings {
        discovery: false,
        endpoints: GivenEndpoints {
            token: at("/token"),
            jwks: at("/jwks"),
            revocation: at("/revoke"),
        },
        ..settings(url)
    }
}

/// A provider whose background task runs.
pub(crate) fn start(settings: ProviderSettings) -> (Arc<Provider>, JoinHandle<()>) {
    let provider = Provider::new(settings).unwrap();
    let task = tokio::spawn(provider.run(std::future::pending()));
    (provider, task)
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs one test of this binary again, in a process with other environment variables: they cannot be changed in
/// this one, which has threads.
pub(crate) fn passes_with(test: &str, variables: &[(&str, &str)]) {
    let binary = std::env::current_exe().unwrap();
    let output = Command::new(binary)
        .args(["--exact", test])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An error with all its causes, as a log line would have it.
pub(crate) fn full_text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes
        .map(|e| format!("{e} {e:?}"))
        .collect::<Vec<_>>()
        .join(": ")
}
