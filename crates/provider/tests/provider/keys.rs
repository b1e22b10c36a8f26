use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use splittoken_provider::{FillError, IssueError, Provider, ProviderSettings};
use splittoken_token::{Algorithm, Jws, SecretBytes, VerifyError};

use super::support::{
    eventually, given, now,
    server::{Reply, Server},
    signer::{Signer, forged, hmac_token, jwks},
    start,
};

async fn issue(provider: &Provider, token: &str) -> Result<(), IssueError> {
    provider
        .verify_at_issue(&Jws::parse(token).unwrap(), now())
        .await
        .map(drop)
}

async fn fill(provider: &Provider, token: &str) -> Result<(), FillError> {
    provider
        .verify_on_fill(&Jws::parse(token).unwrap(), now())
        .await
        .map(drop)
}

/// A server that publishes these keys, and a provider that has fetched them.
async fn with_keys(signers: &[&Signer]) -> (Server, Arc<Provider>) {
    with_settings(signers, |_| {}).await
}

async fn with_settings(
    signers: &[&Signer],
    change: impl FnOnce(&mut ProviderSettings),
) -> (Server, Arc<Provider>) {
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(signers)));
    let mut settings = given(&server.url);
    change(&mut settings);
    let (provider, _) = start(settings);
    eventually("the first keys", || provider.keys().len() == signers.len()).await;
    (server, provider)
}

#[tokio::test]
async fn known_keys_verify_without_a_fetch() {
    let a = Signer::new("a");
    let (server, provider) = with_keys(&[&a]).await;
    let token = a.token(&server.url);
    assert_eq!(issue(&provider, &token).await, Ok(()));
    assert_eq!(fill(&provider, &token).await, Ok(()));
    assert_eq!(
        fill(&provider, &forged(&token)).await,
        Err(FillError::Refused(VerifyError::Signature))
    );
    assert_eq!(
        issue(&provider, &a.token("https://x.example")).await,
        Err(IssueError::Refused(VerifyError::Issuer))
    );
    assert_eq!(server.count("/jwks"), 1);
}

#[tokio::test]
async fn hundreds_of_fills_with_one_unknown_key_make_one_fetch() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    server.reply(
        "/jwks",
        Reply::ok(&jwks(&[&a, &b])).after(Duration::from_millis(300)),
    );
    let token: Arc<str> = b.token(&server.url).into();
    // As in the gateway: some threads with a runtime each, all apart from the one that fetches.
    let threads = (0..4).map(|_| {
        let (provider, token) = (Arc::clone(&provider), Arc::clone(&token));
        tokio::task::spawn_blocking(move || fill_192_times(&provider, &token))
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.await.unwrap();
    }
    assert_eq!(server.count("/jwks"), 2, "the scheduled one, and one for all");
}

/// Those who wait for keys that do not come leave room for others.
#[tokio::test]
async fn so_many_fills_wait_for_a_key_and_one_more_does_not() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    server.reply("/jwks", Reply::ok("").after(Duration::from_secs(3600)));
    let token = b.token(&server.url);
    let waiting: Vec<_> = (0..768)
        .map(|_| {
            let (provider, token) = (Arc::clone(&provider), token.clone());
            tokio::spawn(async move { fill(&provider, &token).await })
        })
        .collect();
    eventually("the fetch has begun", || server.count("/jwks") == 2).await;
    let begun = Instant::now();
    assert_eq!(fill(&provider, &token).await, Err(FillError::UnknownKey));
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(waiting.iter().all(|fill| !fill.is_finished()));
}

fn fill_192_times(provider: &Arc<Provider>, token: &Arc<str>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fills = (0..192).map(|_| {
        let (provider, token) = (Arc::clone(provider), Arc::clone(token));
        runtime.spawn(async move { fill(&provider, &token).await })
    });
    for fill in fills.collect::<Vec<_>>() {
        assert_eq!(runtime.block_on(fill).unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_key_that_stays_unknown_is_asked_for_once_in_the_cool_down() {
    let (a, b, c) = (Signer::new("a"), Signer::new("b"), Signer::new("c"));
    let (server, provider) = with_keys(&[&a]).await;
    for _ in 0..3 {
        assert_eq!(
            fill(&provider, &b.token(&server.url)).await,
            Err(FillError::UnknownKey)
        );
        assert_eq!(
            issue(&provider, &b.token(&server.url)).await,
            Err(IssueError::UnknownKey)
        );
    }
    assert_eq!(server.count("/jwks"), 2);
    assert_eq!(
        fill(&provider, &c.token(&server.url)).await,
        Err(FillError::UnknownKey)
    );
    assert_eq!(server.count("/jwks"), 3, "the cool-down is of each kid");
}

#[tokio::test]
async fn the_cool_down_ends() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_settings(&[&a], |s| s.jwks_min_refresh = Duration::from_millis(50)).await;
    assert_eq!(
        fill(&provider, &b.token(&server.url)).await,
        Err(FillError::UnknownKey)
    );
    server.reply("/jwks", Reply::ok(&jwks(&[&a, &b])));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(fill(&provider, &b.token(&server.url)).await, Ok(()));
}

#[tokio::test]
async fn rotation_with_the_old_key_still_published_fails_nobody() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    let old = a.token(&server.url);
    server.reply("/jwks", Reply::ok(&jwks(&[&b, &a])));
    for _ in 0..10 {
        assert_eq!(issue(&provider, &b.token(&server.url)).await, Ok(()));
        assert_eq!(fill(&provider, &old).await, Ok(()));
    }
    assert_eq!((provider.epoch().current(), server.count("/jwks")), (0, 2));
}

#[tokio::test]
async fn a_removed_key_steps_the_epoch_and_stops_working() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    let old = a.token(&server.url);
    let epoch = provider.epoch().clone();
    server.reply("/jwks", Reply::ok(&jwks(&[&b])));
    assert_eq!(issue(&provider, &b.token(&server.url)).await, Ok(()));
    assert_eq!(epoch.current(), 1);
    assert_eq!(fill(&provider, &old).await, Err(FillError::RetiredKey));
    assert_eq!(
        server.count("/jwks"),
        2,
        "a retired key is not looked for on a fill"
    );
    assert_eq!(provider.state().retired_key_ids, ["a"]);
    // The provider that signs with it again and publishes it again is believed.
    server.reply("/jwks", Reply::ok(&jwks(&[&a, &b])));
    assert_eq!(issue(&provider, &old).await, Ok(()));
    assert_eq!((fill(&provider, &old).await, epoch.current()), (Ok(()), 1));
}

#[tokio::test]
async fn scheduled_refreshes_notice_a_removed_key() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_settings(&[&a], |s| s.jwks_refresh = Duration::from_secs(1)).await;
    server.reply("/jwks", Reply::ok(&jwks(&[&b])));
    eventually("the epoch steps", || provider.epoch().current() == 1).await;
    assert_eq!(
        fill(&provider, &a.token(&server.url)).await,
        Err(FillError::RetiredKey)
    );
}

#[tokio::test]
async fn keys_outlive_a_jwks_that_is_down_or_broken() {
    let broken = [
        (Reply::status("500 Oops", ""), "provider_status"),
        (Reply::ok("{\"keys\":[]}"), "jwks_no_usable_key"),
        (Reply::ok("{\"keys\":[],\"keys\":[]}"), "jwks_shape"),
        (Reply::raw(""), "provider_truncated"),
    ];
    let cases = broken.map(|(reply, reason)| tokio::spawn(keys_outlive(reply, reason)));
    for case in cases {
        case.await.unwrap();
    }
}

async fn keys_outlive(broken: Reply, reason: &'static str) {
    let a = Signer::new("a");
    let (server, provider) = with_settings(&[&a], |s| s.jwks_refresh = Duration::from_secs(1)).await;
    server.reply("/jwks", broken);
    eventually(reason, || provider.state().jwks.unwrap().reason == Some(reason)).await;
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
    assert_eq!((provider.keys().len(), provider.epoch().current()), (1, 0));
    server.reply("/jwks", Reply::ok(&jwks(&[&a])));
    eventually("recovery", || provider.state().jwks.unwrap().ok).await;
}

#[tokio::test]
async fn without_any_keys_nothing_is_known_and_nothing_refused() {
    let a = Signer::new("a");
    let server = Server::start().await;
    server.reply("/jwks", Reply::status("500 Oops", ""));
    let (provider, _task) = start(given(&server.url));
    assert_eq!(
        fill(&provider, &a.token(&server.url)).await,
        Err(FillError::NoKeys)
    );
    assert_eq!(
        issue(&provider, &a.token(&server.url)).await,
        Err(IssueError::NoKeys)
    );
    server.reply("/jwks", Reply::ok(&jwks(&[&a])));
    eventually("the keys", || !provider.keys().is_empty()).await;
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
}

/// Whether the provider publishes the key cannot be said: no reason to distrust its answer.
#[tokio::test]
async fn an_unknown_key_at_issue_is_no_lie_while_the_keys_cannot_be_fetched() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    server.reply("/jwks", Reply::status("500 Oops", ""));
    let token = b.token(&server.url);
    assert_eq!(issue(&provider, &token).await, Err(IssueError::NoKeys));
    server.reply("/jwks", Reply::ok(&jwks(&[&a])));
    eventually("recovery", || provider.state().jwks.unwrap().ok).await;
    assert_eq!(issue(&provider, &token).await, Err(IssueError::UnknownKey));
}

#[tokio::test]
async fn the_first_fill_waits_for_the_first_keys() {
    let a = Signer::new("a");
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(&[&a])).after(Duration::from_millis(100)));
    let (provider, _task) = start(given(&server.url));
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
    assert_eq!(server.count("/jwks"), 1);
}

#[tokio::test]
async fn a_waiter_that_goes_away_takes_nobody_along() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_keys(&[&a]).await;
    server.reply(
        "/jwks",
        Reply::ok(&jwks(&[&a, &b])).after(Duration::from_millis(300)),
    );
    let token = b.token(&server.url);
    let (first, theirs) = (Arc::clone(&provider), token.clone());
    let first = tokio::spawn(async move { fill(&first, &theirs).await });
    eventually("the fetch has begun", || server.count("/jwks") == 2).await;
    first.abort();
    assert_eq!(fill(&provider, &token).await, Ok(()));
    assert_eq!(server.count("/jwks"), 2);
}

#[tokio::test]
async fn a_hanging_jwks_holds_nobody_longer_than_a_request() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let (server, provider) = with_settings(&[&a], |s| s.request_timeout = Duration::from_millis(300)).await;
    server.reply(
        "/jwks",
        Reply::ok(&jwks(&[&a, &b])).after(Duration::from_secs(3600)),
    );
    let begun = Instant::now();
    assert_eq!(
        fill(&provider, &b.token(&server.url)).await,
        Err(FillError::UnknownKey)
    );
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn keys_without_ids_rotate_too() {
    let (old, new) = (Signer::without_id(), Signer::without_id());
    let (server, provider) = with_keys(&[&old]).await;
    let (old_token, new_token) = (old.token(&server.url), new.token(&server.url));
    assert_eq!(fill(&provider, &old_token).await, Ok(()));
    server.reply("/jwks", Reply::ok(&jwks(&[&new])));
    assert_eq!(issue(&provider, &new_token).await, Ok(()));
    assert_eq!(provider.epoch().current(), 1);
    assert_eq!(
        fill(&provider, &old_token).await,
        Err(FillError::Refused(VerifyError::Signature))
    );
}

#[tokio::test]
async fn a_key_published_for_another_algorithm_is_no_unknown_key() {
    let a = Signer::new("a");
    let (server, provider) = with_settings(&[&a], |s| s.algorithms.push(Algorithm::ES256)).await;
    // The same kid and length, another alg.
    let header = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ";
    let token = a.token(&server.url);
    let token = format!("{header}.{}", token.split_once('.').unwrap().1);
    assert_eq!(
        fill(&provider, &token).await,
        Err(FillError::Refused(VerifyError::UnknownKey))
    );
}

#[tokio::test]
async fn a_shared_secret_needs_no_fetch() {
    let server = Server::start().await;
    let mut settings = given(&server.url);
    settings.algorithms = vec![Algorithm::HS256];
    settings.hmac_key = Some(SecretBytes::new(server.url.clone().into_bytes()));
    let (provider, _task) = start(settings);
    let token = hmac_token(server.url.as_bytes(), &server.url);
    assert_eq!(fill(&provider, &token).await, Ok(()));
    assert_eq!(issue(&provider, &token).await, Ok(()));
    let other = hmac_token(b"another secret", &server.url);
    assert_eq!(
        issue(&provider, &other).await,
        Err(IssueError::Refused(VerifyError::Signature))
    );
    assert_eq!((server.connections(), provider.state().jwks), (0, None));
}

#[tokio::test]
async fn a_trusted_transport_checks_claims_only_and_fetches_nothing() {
    let server = Server::start().await;
    let settings = ProviderSettings {
        trusted_transport: true,
        ..given(&server.url)
    };
    let (provider, _task) = start(settings);
    let token = forged(&Signer::new("a").token(&server.url));
    assert_eq!(
        (issue(&provider, &token).await, fill(&provider, &token).await),
        (Ok(()), Ok(()))
    );
    let other = Signer::new("a").token("https://other.example");
    assert_eq!(
        fill(&provider, &other).await,
        Err(FillError::Refused(VerifyError::Issuer))
    );
    assert_eq!((server.connections(), provider.state().jwks), (0, None));
}

#[tokio::test]
async fn the_task_ends_when_told_and_nobody_waits_after_that() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(&[&a])));
    let provider = Provider::new(given(&server.url)).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(provider.run(async { drop(stopped.await) }));
    eventually("the keys", || !provider.keys().is_empty()).await;
    drop(stop);
    task.await.unwrap();
    let begun = Instant::now();
    assert_eq!(
        fill(&provider, &b.token(&server.url)).await,
        Err(FillError::UnknownKey)
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
}

#[tokio::test]
async fn the_task_ends_when_the_provider_is_dropped_even_in_the_middle_of_a_fetch() {
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok("").after(Duration::from_secs(3600)));
    let (provider, task) = start(given(&server.url));
    eventually("the fetch has begun", || server.count("/jwks") == 1).await;
    drop(provider);
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap();
}

/// Where the keys are is known from before: they need not wait for a discovery that hangs.
#[tokio::test]
async fn a_hanging_discovery_holds_up_no_keys() {
    let (a, b) = (Signer::new("a"), Signer::new("b"));
    let server = Server::start().await;
    let hang = || Reply::ok("").after(Duration::from_secs(3600));
    server.reply("/jwks", Reply::ok(&jwks(&[&a])));
    server.reply("/.well-known/openid-configuration", hang());
    let settings = ProviderSettings {
        discovery: true,
        ..given(&server.url)
    };
    let (provider, _task) = start(settings);
    let begun = Instant::now();
    assert_eq!(fill(&provider, &a.token(&server.url)).await, Ok(()));
    server.reply("/jwks", Reply::ok(&jwks(&[&a, &b])));
    assert_eq!(fill(&provider, &b.token(&server.url)).await, Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(provider.state().discovery.unwrap().fetched_seconds_ago.is_none());
}
