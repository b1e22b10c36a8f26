use super::*;

fn parse(url: &str) -> Result<StoreConfig, StoreConfigError> {
    StoreConfig::parse(url, &StoreFiles::default())
}

fn settings(url: &str) -> Arc<Settings> {
    match parse(url).unwrap().0 {
        Kind::Redis(settings) => settings,
        Kind::Memory => panic!("{url} is no Redis"),
    }
}

fn inline(settings: &Settings) -> &str {
    match &settings.password {
        Password::Inline(text) => text,
        Password::None | Password::File(_) => panic!("no password"),
    }
}

#[test]
fn urls_that_are_fine() {
    for (url, described) in [
        ("memory", "memory"),
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://10.0.0.7:7000", "redis://10.0.0.7:7000/0"),
        ("redis://cache.shop.svc:7000/", "redis://cache.shop.svc:7000/0"),
        ("redis://u:p@cache/3", "redis://cache:6379/3"),
        ("redis://[::1]:7000/15", "redis://[::1]:7000/15"),
        ("redis://[fd00::7]", "redis://[fd00::7]:6379/0"),
    ] {
        assert_eq!(parse(url).unwrap().describe(), described, "{url}");
    }
}

#[test]
fn credentials_are_decoded() {
    let both = settings("redis://gate%40way:p%2Fw%3A%25@h");
    assert_eq!((both.user.as_deref(), inline(&both)), (Some("gate@way"), "p/w:%"));
    let only = settings("redis://:secret@h");
    assert_eq!((only.user.as_deref(), inline(&only)), (None, "secret"));
}

#[test]
fn a_user_may_have_its_password_in_a_file() {
    let file = PathBuf::from("/run/secrets/redis");
    let files = StoreFiles {
        password: Some(file.clone()),
        ..StoreFiles::default()
    };
    let Kind::Redis(settings) = StoreConfig::parse("redis://gateway@h", &files).unwrap().0 else {
        panic!("no Redis");
    };
    assert_eq!(settings.user.as_deref(), Some("gateway"));
    assert!(matches!(&settings.password, Password::File(path) if *path == file));
    let twice = StoreConfig::parse("redis://gateway:x@h", &files);
    assert_eq!(twice.unwrap_err().reason(), "two_passwords");
}

#[test]
fn typos_are_named_and_passwords_are_not() {
    for (url, reason) in [
        ("", "not_a_url"),
        ("Memory", "not_a_url"),
        ("localhost:6379", "not_a_url"),
        ("u:sesame@host", "not_a_url"),
        ("u:sesame://host", "not_a_url"),
        ("reddis://u:sesame@h", "scheme"),
        ("redis://", "host"),
        ("redis://u:sesame@", "host"),
        ("redis://u:sesame@ho st", "host"),
        ("redis://[::1", "host"),
        ("redis://[::1]7", "host"),
        ("redis://u:sesame@h:63790000", "port"),
        ("redis://h:0", "port"),
        ("redis://h:+1", "port"),
        ("redis://h:", "port"),
        ("redis://u:sesame@h/zero", "database"),
        ("redis://h/10000", "database"),
        ("redis://h/1/2", "database"),
        ("redis://u:sesame@h/0?protocol=resp3", "options"),
        ("redis://u:ses/ame@h", "encoding"),
        ("redis://u:ses@ame@h", "encoding"),
        ("redis://u:ses:ame@h", "encoding"),
        ("redis://u:ses%ame@h", "encoding"),
        ("redis://u:%ff@h", "encoding"),
        ("redis://user@h", "no_password"),
        ("redis://@h", "no_password"),
    ] {
        let error = parse(url).expect_err(url);
        assert_eq!(error.reason(), reason, "{url}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("ses") && !shown.contains('\n'), "{url}: {shown}");
    }
    let Err(error) = parse("reddis://h") else {
        panic!("a scheme too many")
    };
    assert!(error.to_string().contains("reddis"));
}

#[test]
fn nothing_shows_a_password() {
    let config = parse("redis://user:sesame@h:1/2").unwrap();
    let shown = format!("{config:?} {}", config.describe());
    assert!(!shown.contains("sesame") && !shown.contains("user"), "{shown}");
}

/// A certificate that certifies itself, and its key.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["name".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

const BROKEN: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn a_ca_must_be_one_and_needs_tls() {
    let folder = tempfile::tempdir().unwrap();
    let with_ca = |url: &str, pem: &str| {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        let files = StoreFiles {
            ca: Some(path),
            ..StoreFiles::default()
        };
        StoreConfig::parse(url, &files)
    };
    let (ca, key) = certificate();
    assert_eq!(
        with_ca("rediss://h", &ca).unwrap().describe(),
        "rediss://h:6379/0"
    );
    for (url, pem, reason) in [
        ("redis://h", ca.as_str(), "certificate_without_tls"),
        ("memory", &ca, "memory_options"),
        ("rediss://h", "", "no_certificate"),
        ("rediss://h", &key, "no_certificate"),
        ("rediss://h", BROKEN, "ca"),
    ] {
        assert_eq!(with_ca(url, pem).unwrap_err().reason(), reason, "{url}");
    }
}

#[test]
fn a_client_certificate_needs_its_own_key_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        Some(path)
    };
    let ((certificate, key), (_, other_key)) = (certificate(), certificate());
    let (good, key_file) = (file("good.pem", &certificate), file("good.key", &key));
    let with = |client_certificate: &Option<PathBuf>, client_key: &Option<PathBuf>| StoreFiles {
        ca: good.clone(),
        client_certificate: client_certificate.clone(),
        client_key: client_key.clone(),
        password: None,
    };
    StoreConfig::parse("rediss://h", &with(&good, &key_file)).unwrap();
    let gone = Some(folder.path().join("gone"));
    for (url, files, reason) in [
        ("redis://h", with(&good, &key_file), "certificate_without_tls"),
        ("memory", with(&good, &key_file), "memory_options"),
        ("rediss://h", with(&good, &None), "half_client_certificate"),
        ("rediss://h", with(&None, &key_file), "half_client_certificate"),
        ("rediss://h", with(&gone, &key_file), "file"),
        ("rediss://h", with(&good, &gone), "file"),
        ("rediss://h", with(&good, &good), "client_certificate"),
        (
            "rediss://h",
            with(&file("empty", ""), &key_file),
            "client_certificate",
        ),
        (
            "rediss://h",
            with(&good, &file("other.key", &other_key)),
            "client_certificate",
        ),
    ] {
        let error = StoreConfig::parse(url, &files).unwrap_err();
        assert_eq!(error.reason(), reason, "{files:?}");
        assert!(!error.to_string().contains("BEGIN"));
    }
}
