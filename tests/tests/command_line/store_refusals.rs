//! Settings of the store and of the keyring that cannot be used.

use anyhow::Result;
use splittoken_tests::certs::Authority;

use super::Desk;
use super::refusals::gateway;

#[test]
fn store_urls_with_a_typo() -> Result<()> {
    let desk = Desk::new()?;
    let keyring = desk.at("keyring.json");
    for (url, says) in [
        ("", "neither `memory` nor a URL"),
        ("Memory", "neither `memory` nor a URL"),
        ("localhost:6379", "neither `memory` nor a URL"),
        ("redis:/localhost", "neither `memory` nor a URL"),
        ("http://localhost", "unknown scheme \"http\""),
        ("reddis://localhost", "unknown scheme \"reddis\""),
        ("redis://", "no valid host"),
        ("redis://:6379", "no valid host"),
        ("redis://local host", "no valid host"),
        ("redis://localhost:", "port"),
        ("redis://localhost:0", "port"),
        ("redis://localhost:65536", "port"),
        ("redis://localhost:6379:1", "port"),
        ("redis://localhost:redis", "port"),
        ("redis://localhost/x", "database"),
        ("redis://localhost/10000", "database"),
        ("redis://localhost?db=1", "options"),
        ("redis://user@localhost", "no password"),
        ("redis://user:a%2@localhost", "percent-encoding"),
        ("redis://user:a:b@localhost", "percent-encoding"),
        ("redis://user:a/b@localhost", "percent-encoding"),
    ] {
        let ran = gateway(&desk, &["--store", url, "--keyring", &keyring], &[])?;
        ran.is_refusal(&["--store", says])
            .map_err(|error| error.context(url.to_owned()))?;
    }
    Ok(())
}

#[test]
fn files_of_the_store_and_the_keyring() -> Result<()> {
    let desk = Desk::new()?;
    let keyring = desk.at("keyring.json");
    let good_ca = desk.put("ca.pem", Authority::new()?.pem())?;
    let bad_ca = desk.put(
        "bad.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )?;
    let no_ca = desk.put("no.pem", "nothing of the kind\n")?;
    let empty = desk.put("empty", "\n")?;
    let password = desk.put("password", splittoken_tests::secret::text())?;
    let (missing, folder) = (desk.at("missing"), desk.folder("folder")?);
    let with_password = format!("redis://gateway:{}@localhost", splittoken_tests::secret::text());
    let redis = |more: &[&str]| -> Result<super::Ran> {
        gateway(
            &desk,
            &[&["--store", "rediss://localhost", "--keyring", &keyring], more].concat(),
            &[],
        )
    };
    redis(&["--store-ca", &missing])?.is_refusal(&["--store-ca", &missing, "No such file"])?;
    redis(&["--store-ca", &folder])?.is_refusal(&["--store-ca", &folder])?;
    redis(&["--store-ca", &bad_ca])?.is_refusal(&["--store-ca", &bad_ca, "certificate"])?;
    redis(&["--store-ca", &no_ca])?.is_refusal(&["--store-ca", &no_ca, "PEM"])?;
    let both = |certificate: &str, key: &str| {
        redis(&[
            "--store-client-certificate",
            certificate,
            "--store-client-key",
            key,
        ])
    };
    both(&missing, &no_ca)?.is_refusal(&["--store-client-certificate", &missing, "No such file"])?;
    both(&good_ca, &empty)?.is_refusal(&["--store-client-key", &empty, "empty"])?;
    both(&good_ca, &no_ca)?.is_refusal(&["--store-client-key", &no_ca, "cannot be used"])?;
    let alone = redis(&["--store-client-certificate", &good_ca])?;
    assert_eq!(alone.code, Some(2));
    assert!(alone.stderr.contains("--store-client-key"), "{}", alone.stderr);
    redis(&["--store-password-file", &missing])?.is_refusal(&["--store-password-file", &missing])?;
    redis(&["--store-password-file", &folder])?.is_refusal(&["--store-password-file", &folder])?;
    redis(&["--store-password-file", &empty])?.is_refusal(&["--store-password-file", &empty, "empty"])?;
    let plain = [
        "--store",
        "redis://localhost",
        "--keyring",
        &keyring,
        "--store-ca",
        &good_ca,
    ];
    gateway(&desk, &plain, &[])?.is_refusal(&["--store", "rediss://"])?;
    let twice = [
        "--store",
        &with_password,
        "--keyring",
        &keyring,
        "--store-password-file",
        &password,
    ];
    gateway(&desk, &twice, &[])?.is_refusal(&["--store", "twice"])?;
    gateway(&desk, &["--store-password-file", &password], &[])?.is_refusal(&["--store", "memory"])
}

#[test]
fn keyrings_that_are_none() -> Result<()> {
    let desk = Desk::new()?;
    let good = std::fs::read_to_string(desk.at("keyring.json"))?;
    let redis = ["--store", "redis://localhost"];
    let absent = gateway(&desk, &redis, &[])?;
    absent.is_refusal(&["--keyring", "splittoken keyring new > keyring.json"])?;
    let key = good
        .split('"')
        .find(|text| text.len() == 43)
        .expect("a key of 43 characters")
        .to_owned();
    for (content, says) in [
        (String::new(), "line 1"),
        ("no keyring".to_owned(), "line 1, column"),
        (good.replace("\"version\":1", "\"version\":2"), "version 2"),
        (good.replace("\"write\":1", "\"write\":7"), "key 7"),
        (good.replace(&key, &key[1..]), "43 characters"),
        (
            good.replace("\"keys\":{", "\"keys\":{\"x\":\"\","),
            "key id is not",
        ),
        (r#"{"version":1,"write":1,"keys":{}}"#.to_owned(), "holds 0"),
        (good.replace("\"write\"", "\"extra\":1,\"write\""), "shape"),
    ] {
        let file = desk.put("broken.json", &content)?;
        let ran = gateway(&desk, &[&redis[..], &["--keyring", &file]].concat(), &[])?;
        ran.is_refusal(&["--keyring", &file, says])?;
        // Not even a part of it: whoever reads the log must not get closer to the key.
        assert!(!ran.stderr.contains(&key[5..20]), "{}", ran.stderr);
    }
    let missing = desk.at("missing.json");
    gateway(&desk, &[&redis[..], &["--keyring", &missing]].concat(), &[])?
        .is_refusal(&["--keyring", &missing])
}
