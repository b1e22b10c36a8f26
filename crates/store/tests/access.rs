//! Who may use a real Redis: users, passwords, certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::path::PathBuf;

use splittoken_store::{MINIMAL_ACL, PutOutcome, StoreConfig, StoreFiles};
use support::{Gateway, RedisServer, SOON, eventually, id, in_an_hour};

fn gateway(url: &str) -> Gateway {
    Gateway::open(&StoreConfig::parse(url, &StoreFiles::default()).unwrap())
}

/// Everything a gateway does.
async fn works(gateway: &Gateway) {
    gateway.up().await;
    let session = &gateway.session;
    let stored = session.put_new(id(1), b"record", in_an_hour()).await.unwrap();
    assert_eq!(stored, PutOutcome::Stored);
    let exists = session.put_new(id(1), b"other", in_an_hour()).await.unwrap();
    assert_eq!(exists, PutOutcome::Exists(b"record".to_vec()));
    gateway.ask(id(1)).await.unwrap();
    assert!(gateway.is_fresh(id(1)));
    assert!(session.revoke(id(1), b"tombstone").await.unwrap());
    eventually("forgotten", SOON, || gateway.is_missing(id(1))).await;
    session.bury(id(2), b"tombstone", in_an_hour()).await.unwrap();
    let fetched = session.get(&[id(1), id(2)]).await.unwrap();
    assert_eq!(fetched.records, vec![Some(b"tombstone".to_vec()); 2]);
}

#[tokio::test]
async fn the_minimal_user_is_enough() {
    let server = RedisServer::start();
    server.command(&format!("ACL SETUSER gateway on >p%40ss/word {MINIMAL_ACL}"));
    server.command("CONFIG SET maxmemory-policy volatile-ttl");
    let gateway = gateway(&server.url().replace("//", "//gateway:p%2540ss%2Fword@"));
    works(&gateway).await;
    assert_eq!(gateway.store.evicting_policy().as_deref(), Some("volatile-ttl"));
    assert_eq!(server.cut_connections(), 1, "the connection has a name");
    // Nothing was refused on the way.
    assert_eq!(server.command("ACL LOG"), redis::Value::Array(Vec::new()));
}

/// Leave out any one part of it, and something is missing.
#[tokio::test]
async fn the_minimal_user_is_minimal() {
    let server = RedisServer::start();
    for (part, missing) in [
        ("+get", "get"),
        ("+set", "set"),
        ("+ping", "up"),
        ("+client|tracking", "up"),
        ("~st1:*", "get"),
    ] {
        let less = MINIMAL_ACL.replace(&format!("{part} "), "");
        assert_ne!(less, MINIMAL_ACL, "{part}");
        server.command(&format!("ACL SETUSER less reset on >word {less}"));
        let gateway = gateway(&server.url().replace("//", "//less:word@"));
        if missing == "up" {
            gateway.down("denied").await;
            assert_eq!(
                gateway.session.get(&[id(1)]).await.unwrap_err().reason(),
                "denied"
            );
            continue;
        }
        gateway.up().await;
        let error = match missing {
            "get" => gateway.session.get(&[id(1)]).await.unwrap_err(),
            _ => gateway
                .session
                .put_new(id(1), b"x", in_an_hour())
                .await
                .unwrap_err(),
        };
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("denied", false),
            "{part}"
        );
    }
}

#[tokio::test]
async fn what_is_only_nice_to_have_may_be_forbidden() {
    let server = RedisServer::start();
    let less = MINIMAL_ACL.replace(" +info", "").replace(" +client|setname", "");
    assert_eq!(
        MINIMAL_ACL.len() - less.len(),
        " +info".len() + " +client|setname".len()
    );
    server.command(&format!("ACL SETUSER gateway on >word {less}"));
    let gateway = gateway(&server.url().replace("//", "//gateway:word@"));
    works(&gateway).await;
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_shown() {
    let server = RedisServer::start_with(|port, _| {
        ["--port", &port.to_string(), "--requirepass", "right"]
            .map(String::from)
            .into()
    });
    for url in [
        server.url().replace("//", "//:sesame@"),
        server.url().replace("//", "//nobody:sesame@"),
        server.url(),
    ] {
        let gateway = gateway(&url);
        gateway.down("denied").await;
        let error = gateway.session.get(&[id(1)]).await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("denied", false));
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let shown = format!("{error} {error:?} {source:?} {:?}", gateway.session.health());
        assert!(!shown.contains("sesame"), "{shown}");
    }
    works(&gateway(&server.url().replace("//", "//:right@"))).await;
}

#[tokio::test]
async fn a_password_in_a_file_may_change() {
    let server = RedisServer::start();
    server.command(&format!("ACL SETUSER gateway on >first {MINIMAL_ACL}"));
    let file: PathBuf = server.directory.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let url = server.url().replace("//", "//gateway@");
    let files = StoreFiles {
        password: Some(file.clone()),
        ..StoreFiles::default()
    };
    let gateway = Gateway::open(&StoreConfig::parse(&url, &files).unwrap());
    gateway.up().await;

    server.command("ACL SETUSER gateway resetpass >second");
    assert_eq!(server.cut_connections(), 1);
    gateway.down("denied").await;
    std::fs::write(&file, "second\r\n").unwrap();
    gateway.up().await;

    std::fs::write(&file, "\n").unwrap();
    assert_eq!(server.cut_connections(), 1);
    gateway.down("password_file").await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "second").unwrap();
    works(&gateway).await;
}

/// A CA, and a server's certificate and key from it, in PEM.
struct Certificates {
    ca: String,
    certificate: String,
    key: String,
}

fn certificates(name: &str) -> Certificates {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    // Not the name of what it certifies, which OpenSSL would take for certified by itself.
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    Certificates {
        ca: ca.pem(),
        certificate: params.signed_by(&key, &issuer).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn tls_server(certificates: &Certificates) -> RedisServer {
    tls_server_that(certificates, "no")
}

/// `asks` is whether clients have to show certificates: `yes` or `no`.
fn tls_server_that(certificates: &Certificates, asks: &str) -> RedisServer {
    RedisServer::start_with(|port, directory| {
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let port = port.to_string();
        let (ca, certificate, key) = (
            write("ca.pem", &certificates.ca),
            write("cert.pem", &certificates.certificate),
            write("key.pem", &certificates.key),
        );
        [
            ["--port", "0"],
            ["--tls-port", &port],
            ["--tls-auth-clients", asks],
            ["--tls-ca-cert-file", &ca],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
        ]
        .concat()
        .into_iter()
        .map(String::from)
        .collect()
    })
}

fn tls_gateway(host: &str, server: &RedisServer, ca: &str) -> Gateway {
    let files = StoreFiles {
        ca: Some(written(server, "trusted.pem", ca)),
        ..StoreFiles::default()
    };
    let url = format!("rediss://{host}:{}", server.port);
    Gateway::open(&StoreConfig::parse(&url, &files).unwrap())
}

fn written(server: &RedisServer, name: &str, text: &str) -> PathBuf {
    let path = server.directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours_as_it_is_now() {
    let certificates = certificates("localhost");
    let server = tls_server_that(&certificates, "yes");
    let nobody = tls_gateway("localhost", &server, &certificates.ca);
    eventually("down", SOON, || {
        matches!(nobody.session.health(), splittoken_store::Health::Down { reason, .. } if reason != "connecting")
    })
    .await;

    // A certificate of its authority, whatever it is for, is what Redis asks for.
    let files = StoreFiles {
        ca: Some(written(&server, "trusted.pem", &certificates.ca)),
        client_certificate: Some(written(&server, "client.pem", &certificates.certificate)),
        client_key: Some(written(&server, "client.key", &certificates.key)),
        password: None,
    };
    let url = format!("rediss://localhost:{}", server.port);
    let config = StoreConfig::parse(&url, &files).unwrap();
    works(&Gateway::open(&config)).await;

    // Files that are being renewed: a key that is not there yet, and then is.
    written(&server, "client.key", "");
    let gateway = Gateway::open(&config);
    gateway.down("certificates").await;
    written(&server, "client.key", &certificates.key);
    gateway.up().await;
}

#[tokio::test]
async fn tls_with_a_private_ca() {
    for host in ["localhost", "127.0.0.1"] {
        let certificates = certificates(host);
        let server = tls_server(&certificates);
        works(&tls_gateway(host, &server, &certificates.ca)).await;
    }
}

#[tokio::test]
async fn tls_trusts_nobody_else() {
    let (ours, theirs) = (certificates("localhost"), certificates("localhost"));
    let server = tls_server(&ours);
    tls_gateway("localhost", &server, &theirs.ca).down("tls").await;
    tls_gateway("127.0.0.1", &server, &ours.ca).down("tls").await;
    let plain = RedisServer::start();
    let hopeful = tls_gateway("localhost", &plain, &ours.ca);
    eventually("down", SOON, || {
        matches!(hopeful.session.health(), splittoken_store::Health::Down { reason, .. } if reason != "connecting")
    })
    .await;
    assert!(hopeful.session.get(&[id(1)]).await.is_err());
}
