//! Command lines and files that cannot be used: exit code 2, and one line that names the thing.

use std::net::TcpListener;

use anyhow::Result;
use splittoken_tests::certs::Authority;

use super::{Desk, address, run};

/// Runs `gateway` with good routes and free ports, and these arguments besides.
fn gateway(desk: &Desk, arguments: &[&str], environment: &[(&str, &str)]) -> Result<super::Ran> {
    let routes = desk.at("routes.yaml");
    let mut all = vec!["gateway", "--routes", &routes];
    for flag in ["--listen", "--admin"] {
        if !arguments.iter().any(|argument| argument.starts_with(flag)) {
            all.extend([flag, "127.0.0.1:0"]);
        }
    }
    all.extend(arguments);
    run(&all, environment)
}

/// Every case is run, and all that fail are named.
fn refuses(desk: &Desk, table: &[(&[&str], &[&str])]) {
    let failed = |(arguments, names): &(&[&str], &[&str])| {
        let outcome = gateway(desk, arguments, &[]).and_then(|ran| ran.is_refusal(names));
        outcome.err().map(|error| format!("{arguments:?}: {error:#}"))
    };
    report(&table.iter().filter_map(failed).collect::<Vec<_>>());
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_no_command_line() -> Result<()> {
    let table: [(&[&str], &[&str]); 10] = [
        (&["gatway"], &["'gatway'", "similar", "'gateway'", "--help"]),
        (&["chekc", "a"], &["'chekc'", "'check'"]),
        (&["keyring", "nwe"], &["'nwe'"]),
        (&["gateway", "--rotues", "a"], &["'--rotues'", "similar", "'--routes'"]),
        (&["check", "--stirct", "a"], &["'--stirct'", "'--strict'"]),
        (&["crd", "--verbose"], &["'--verbose'"]),
        (&["gateway"], &["required", "--routes <FILE|FOLDER>"]),
        (&["gateway", "--routes"], &["'--routes <FILE|FOLDER>'", "value"]),
        (&["check"], &["required", "<FILE|FOLDER>"]),
        (&["demo", "--listen", "8080"], &["'8080'", "--listen", "127.0.0.1:8080"]),
    ];
    let failed = |(arguments, names): &(&[&str], &[&str])| {
        let outcome = run(arguments, &[]).and_then(|ran| ran.is_refusal(names));
        outcome.err().map(|error| format!("{arguments:?}: {error:#}"))
    };
    report(&table.iter().filter_map(failed).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn values_that_are_none() -> Result<()> {
    refuses(
        &Desk::new()?,
        &[
            (&["--listen", "8080"], &["'8080'", "--listen", "an IP address and a port"]),
            (&["--listen", "127.0.0.1"], &["'127.0.0.1'", "--listen", "an IP address and a port"]),
            (&["--listen", "localhost:8080"], &["--listen", "an IP address and a port"]),
            (&["--admin", ":9090"], &["--admin", "an IP address and a port"]),
            (&["--listen", "127.0.0.1:65536"], &["--listen", "65536"]),
            (&["--trusted-proxies", "10.0.0.1"], &["'10.0.0.1'", "--trusted-proxies", "10.0.0.0/8"]),
            (&["--trusted-proxies", "10.0.0.0/8,::/129"], &["'::/129'", "--trusted-proxies"]),
            (&["--min-drain", "5"], &["'5'", "--min-drain", "5s"]),
            (&["--drain", "-1s"], &["-1"]),
            (&["--drain", "1.5s"], &["'1.5s'", "--drain"]),
            (&["--threads", "0"], &["'0'", "--threads", "from 1 to 1024"]),
            (&["--threads", "two"], &["'two'", "--threads", "from 1 to 1024"]),
            (&["--threads", "1025"], &["--threads", "from 1 to 1024"]),
            (&["--log-format", "xml"], &["'xml'", "--log-format", "text or json"]),
            (&["--access-log", "some"], &["'some'", "--access-log", "off, sampled or on"]),
            (&["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2"], &["--listen", "multiple times"]),
        ],
    );
    Ok(())
}

#[test]
fn routes_that_cannot_be_read() -> Result<()> {
    let desk = Desk::new()?;
    let missing = desk.at("nothing.yaml");
    let latin = desk.put("latin.yaml", b"a: caf\xe9\n")?;
    let broken = desk.put("broken.yaml", "a: [\n")?;
    let large = desk.put("large.yaml", vec![b'#'; 1024 * 1024 + 1])?;
    let unknown = desk.put("unknown.yaml", super::ROUTES.replace("hostnames", "hostname"))?;
    let twice = desk.put("twice.yaml", format!("{0}---\n{0}", super::ROUTES))?;
    let cases: [(&str, &[&str]); 6] = [
        (&missing, &["--routes", &missing, "No such file"]),
        (&latin, &["--routes", &latin, "UTF-8"]),
        (&broken, &["--routes", &broken, "yaml"]),
        (&large, &["--routes", &large, "larger"]),
        (&unknown, &["--routes", &unknown, "SplitTokenRoute/default/shop", "spec.hostname:", "no such field"]),
        (&twice, &["--routes", &twice, "SplitTokenRoute/default/shop"]),
    ];
    let failed = |(path, names): &(&str, &[&str])| {
        let arguments = ["gateway", "--routes", path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let outcome = run(&arguments, &[]).and_then(|ran| ran.is_refusal(names));
        outcome.err().map(|error| format!("{path}: {error:#}"))
    };
    report(&cases.iter().filter_map(failed).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn ports_that_are_taken() -> Result<()> {
    let desk = Desk::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (_holder, taken) = (TcpListener::bind(taken)?, taken.to_string());
    for flag in ["--listen", "--admin"] {
        let ran = gateway(&desk, &[flag, &taken], &[])?;
        ran.is_refusal(&[flag, &taken, "Address already in use"])?;
        assert_eq!(ran.stderr.matches("already in use").count(), 1, "{}", ran.stderr);
    }
    let both = address()?;
    gateway(&desk, &["--listen", &both, "--admin", &both], &[])?.is_refusal(&["--admin", &both, "in use"])?;
    // 192.0.2.0/24 is for documentation, and no machine's.
    gateway(&desk, &["--listen", "192.0.2.1:8080"], &[])?.is_refusal(&["--listen", "192.0.2.1:8080"])?;
    run(&["demo", "--listen", &taken], &[])?.is_refusal(&["--listen", &taken, "in use"])
}

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
        ran.is_refusal(&["--store", says]).map_err(|error| error.context(url.to_owned()))?;
    }
    Ok(())
}

#[test]
fn files_of_the_store_and_the_keyring() -> Result<()> {
    let desk = Desk::new()?;
    let keyring = desk.at("keyring.json");
    let good_ca = desk.put("ca.pem", Authority::new()?.pem())?;
    let bad_ca = desk.put("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
    let no_ca = desk.put("no.pem", "nothing of the kind\n")?;
    let empty = desk.put("empty", "\n")?;
    let password = desk.put("password", splittoken_tests::secret::text())?;
    let (missing, folder) = (desk.at("missing"), desk.folder("folder")?);
    let with_password = format!("redis://gateway:{}@localhost", splittoken_tests::secret::text());
    let redis = |more: &[&str]| -> Result<super::Ran> {
        gateway(&desk, &[&["--store", "rediss://localhost", "--keyring", &keyring], more].concat(), &[])
    };
    redis(&["--store-ca", &missing])?.is_refusal(&["--store-ca", &missing, "No such file"])?;
    redis(&["--store-ca", &folder])?.is_refusal(&["--store-ca", &folder])?;
    redis(&["--store-ca", &bad_ca])?.is_refusal(&["--store-ca", &bad_ca, "certificate"])?;
    redis(&["--store-ca", &no_ca])?.is_refusal(&["--store-ca", &no_ca, "PEM"])?;
    redis(&["--store-password-file", &missing])?.is_refusal(&["--store-password-file", &missing])?;
    redis(&["--store-password-file", &folder])?.is_refusal(&["--store-password-file", &folder])?;
    redis(&["--store-password-file", &empty])?.is_refusal(&["--store-password-file", &empty, "empty"])?;
    let plain = ["--store", "redis://localhost", "--keyring", &keyring, "--store-ca", &good_ca];
    gateway(&desk, &plain, &[])?.is_refusal(&["--store", "rediss://"])?;
    let twice = ["--store", &with_password, "--keyring", &keyring, "--store-password-file", &password];
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
    let key = good.split('"').find(|text| text.len() == 43).expect("a key of 43 characters").to_owned();
    for (content, says) in [
        (String::new(), "line 1"),
        ("no keyring".to_owned(), "line 1, column"),
        (good.replace("\"version\":1", "\"version\":2"), "version 2"),
        (good.replace("\"write\":1", "\"write\":7"), "key 7"),
        (good.replace(&key, &key[1..]), "43 characters"),
        (good.replace("\"keys\":{", "\"keys\":{\"x\":\"\","), "\"x\""),
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
    gateway(&desk, &[&redis[..], &["--keyring", &missing]].concat(), &[])?.is_refusal(&["--keyring", &missing])
}

#[test]
fn a_log_filter_that_is_none() -> Result<()> {
    let ran = gateway(&Desk::new()?, &[], &[("RUST_LOG", "splittoken_gateway=loud")])?;
    ran.is_refusal(&["RUST_LOG", "\"debug\"", "info"])
}

#[test]
fn folders_that_cannot_be_written() -> Result<()> {
    let desk = Desk::new()?;
    let below = format!("{}/crds", desk.at("routes.yaml"));
    run(&["crd", "--out", &below], &[])?.is_refusal(&[&below])
}
