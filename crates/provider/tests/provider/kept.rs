//! Keys outlive the process, as long as they may be used at all.

use std::{
    fs::{self, File},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use splittoken_provider::{
    Archiving, FillError, Keepers, Kept, KeptKeys, KeyArchive, Provider, ProviderSettings,
};
use splittoken_token::Jws;

use super::support::{
    eventually, given, now,
    server::{Reply, Server},
    signer::{Signer, jwks},
};

fn start(settings: &ProviderSettings, folder: &Path) -> Arc<Provider> {
    let keepers = Keepers {
        folder: Some(KeptKeys::in_folder(folder)),
        archive: None,
    };
    let provider = Provider::keeping(settings.clone(), keepers).unwrap();
    tokio::spawn(provider.run(std::future::pending()));
    provider
}

async fn fill(provider: &Provider, token: &str) -> Result<(), FillError> {
    let outcome = provider.verify_on_fill(&Jws::parse(token).unwrap(), now()).await;
    outcome.map(drop)
}

/// A folder in which a process that has ended kept the key of `signer`.
async fn kept(signer: &Signer) -> (tempfile::TempDir, Server, ProviderSettings) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(&[signer])));
    let settings = given(&server.url);
    let provider = start(&settings, folder.path());
    eventually("the keys to be kept", || {
        fs::read_dir(folder.path()).unwrap().count() == 1
    })
    .await;
    drop(provider);
    server.reply("/jwks", Reply::status("503 Service Unavailable", ""));
    (folder, server, settings)
}

#[tokio::test]
async fn a_process_that_starts_while_the_provider_is_down_verifies() {
    let signer = Signer::new("a");
    let (folder, server, settings) = kept(&signer).await;
    let provider = start(&settings, folder.path());
    assert_eq!(fill(&provider, &signer.token(&server.url)).await, Ok(()));
    // Without a folder there is nothing to begin with.
    let forgetful = Provider::new(settings).unwrap();
    tokio::spawn(forgetful.run(std::future::pending()));
    assert!(
        fill(&forgetful, &signer.token(&server.url))
            .await
            .unwrap_err()
            .is_transient()
    );
}

#[tokio::test]
async fn kept_keys_vouch_for_the_same_source_only() {
    let signer = Signer::new("a");
    let (folder, _server, mut settings) = kept(&signer).await;
    settings.ca_certificates.clear();
    settings.endpoints.jwks = Some(format!("{}/other", settings.url));
    let provider = start(&settings, folder.path());
    assert_eq!(provider.keys().len(), 0);
}

#[tokio::test]
async fn keys_that_are_a_day_old_or_no_keys_are_not_used() {
    let signer = Signer::new("a");
    let (folder, _server, settings) = kept(&signer).await;
    let file = fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let open = || File::options().write(true).open(&file).unwrap();
    fs::write(&file, "no keys").unwrap();
    assert_eq!(start(&settings, folder.path()).keys().len(), 0);
    open()
        .set_modified(SystemTime::now() - Duration::from_secs(25 * 3600))
        .unwrap();
    let _kept = KeptKeys::in_folder(folder.path());
    assert!(!file.exists(), "what is too old is forgotten");
}

/// An archive in memory, with what was put there.
#[derive(Debug, Default)]
struct Shelf {
    found: Mutex<Option<Kept>>,
    put: Mutex<Vec<Vec<u8>>>,
}

impl KeyArchive for Shelf {
    fn read<'a>(&'a self, _: &'a str) -> Archiving<'a, Option<Kept>> {
        Box::pin(async { self.found.lock().unwrap().clone() })
    }

    fn write<'a>(&'a self, _: &'a str, document: &'a [u8]) -> Archiving<'a, bool> {
        self.put.lock().unwrap().push(document.to_vec());
        Box::pin(async { true })
    }
}

/// These keys, put there so many seconds ago.
fn found(signers: &[&Signer], seconds: u64) -> Mutex<Option<Kept>> {
    Mutex::new(Some(Kept {
        document: jwks(signers).into(),
        age: Duration::from_secs(seconds),
    }))
}

fn beside(shelf: &Arc<Shelf>, settings: &ProviderSettings) -> Arc<Provider> {
    let keepers = Keepers {
        folder: None,
        archive: Some(Arc::clone(shelf) as Arc<dyn KeyArchive>),
    };
    let provider = Provider::keeping(settings.clone(), keepers).unwrap();
    tokio::spawn(provider.run(std::future::pending()));
    provider
}

#[tokio::test]
async fn keys_in_an_archive_are_as_old_as_they_are() {
    let signer = Signer::new("a");
    let server = Server::start().await;
    server.reply("/jwks", Reply::status("503 Service Unavailable", ""));
    for (hours, is_good) in [(0, true), (23, true), (24, false), (1000, false)] {
        let shelf = Arc::new(Shelf {
            found: found(&[&signer], hours * 3600),
            ..Shelf::default()
        });
        let provider = beside(&shelf, &given(&server.url));
        let outcome = fill(&provider, &signer.token(&server.url)).await;
        assert_eq!(outcome.is_ok(), is_good, "{hours} hours: {outcome:?}");
        assert!(
            shelf.put.lock().unwrap().is_empty(),
            "old keys are not put there anew"
        );
    }
}

#[tokio::test]
async fn what_is_in_an_archive_is_not_believed_over_the_provider() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = Server::start().await;
    server.reply("/jwks", Reply::ok(&jwks(&[&new])));
    let shelf = Arc::new(Shelf {
        found: found(&[&old], 60),
        ..Shelf::default()
    });
    let provider = beside(&shelf, &given(&server.url));
    assert_eq!(fill(&provider, &new.token(&server.url)).await, Ok(()));
    assert!(
        fill(&provider, &old.token(&server.url)).await.is_err(),
        "a key that has left"
    );
    // Once, and not with every fetch.
    assert_eq!(*shelf.put.lock().unwrap(), [Vec::from(jwks(&[&new]))]);
}

/// Another gateway has seen a rotation, this one has not, and the provider is down or hangs.
#[tokio::test]
async fn newer_keys_in_an_archive_do_while_the_provider_does_not() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let (shelf, server) = (Arc::new(Shelf::default()), Server::start().await);
    server.reply("/jwks", Reply::ok(&jwks(&[&old])));
    let provider = beside(&shelf, &given(&server.url));
    assert_eq!(fill(&provider, &old.token(&server.url)).await, Ok(()));
    let hang = Reply::ok("").after(Duration::from_secs(3600));
    server.reply("/jwks", hang);
    let put = |kept: Mutex<Option<Kept>>| *shelf.found.lock().unwrap() = kept.into_inner().unwrap();

    // What is older than what the provider said itself counts for nothing.
    put(found(&[&new], 3600));
    let unknown =
        tokio::time::timeout(Duration::from_secs(1), fill(&provider, &new.token(&server.url))).await;
    assert!(unknown.is_err(), "{unknown:?}");
    assert_eq!(provider.epoch().current(), 0);

    let other = Signer::new("other");
    put(found(&[&new, &other], 0));
    let begun = Instant::now();
    assert_eq!(fill(&provider, &other.token(&server.url)).await, Ok(()));
    assert_eq!(fill(&provider, &new.token(&server.url)).await, Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // A key that another gateway saw leave has left.
    assert_eq!(
        fill(&provider, &old.token(&server.url)).await,
        Err(FillError::RetiredKey)
    );
    assert_eq!(provider.epoch().current(), 1);
}
