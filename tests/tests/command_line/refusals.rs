//! Command lines and files that cannot be used: exit code 2, and one line that names the thing.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use splittoken_tests::certs::Authority;

use super::{Desk, address, run};

/// Runs `gateway` with good routes and free ports, and these arguments besides.
pub fn gateway(desk: &Desk, arguments: &[&str], environment: &[(&str, &str)]) -> Result<super::Ran> {
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
    assert!(
        failures.is_empty(),
        "{} cases:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn what_is_no_command_line() -> Result<()> {
    let table: [(&[&str], &[&str]); 10] = [
        (&["gatway"], &["'gatway'", "similar", "'gateway'", "--help"]),
        (&["chekc", "a"], &["'chekc'", "'check'"]),
        (&["keyring", "nwe"], &["'nwe'"]),
        (
            &["gateway", "--rotues", "a"],
            &["'--rotues'", "similar", "'--routes'"],
        ),
        (&["check", "--stirct", "a"], &["'--stirct'", "'--strict'"]),
        (&["crd", "--verbose"], &["'--verbose'"]),
        (&["gateway"], &["required", "--routes <FILE|FOLDER>"]),
        (&["gateway", "--routes"], &["'--routes <FILE|FOLDER>'", "value"]),
        (&["check"], &["required", "<FILE|FOLDER>"]),
        (
            &["demo", "--listen", "8080"],
            &["'8080'", "--listen", "127.0.0.1:8080"],
        ),
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
            (
                &["--listen", "8080"],
                &["'8080'", "--listen", "an IP address and a port"],
            ),
            (
                &["--listen", "127.0.0.1"],
                &["'127.0.0.1'", "--listen", "an IP address and a port"],
            ),
            (
                &["--listen", "localhost:8080"],
                &["--listen", "an IP address and a port"],
            ),
            (&["--admin", ":9090"], &["--admin", "an IP address and a port"]),
            (&["--listen", "127.0.0.1:65536"], &["--listen", "65536"]),
            (
                &["--trusted-proxies", "10.0.0.1"],
                &["'10.0.0.1'", "--trusted-proxies", "10.0.0.0/8"],
            ),
            (
                &["--trusted-proxies", "10.0.0.0/8,::/129"],
                &["'::/129'", "--trusted-proxies"],
            ),
            (&["--min-drain", "5"], &["'5'", "--min-drain", "5s"]),
            (&["--drain", "-1s"], &["-1"]),
            (&["--drain", "1.5s"], &["'1.5s'", "--drain"]),
            (&["--threads", "0"], &["'0'", "--threads", "from 1 to 1024"]),
            (&["--threads", "two"], &["'two'", "--threads", "from 1 to 1024"]),
            (&["--threads", "1025"], &["--threads", "from 1 to 1024"]),
            (
                &["--log-format", "xml"],
                &["'xml'", "--log-format", "text or json"],
            ),
            (
                &["--access-log", "some"],
                &["'some'", "--access-log", "off, sampled or on"],
            ),
            (
                &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2"],
                &["--listen", "multiple times"],
            ),
        ],
    );
    Ok(())
}

/// Bounds and unit, for whoever does not know how the program is written.
#[test]
fn numbers_beyond_their_bounds() -> Result<()> {
    let desk = Desk::new()?;
    let many = "from 1 to 4294967295";
    let any = "from 0 to 4294967295";
    let mut failures = Vec::new();
    for (option, bad, what, bounds) in [
        ("--max-headers", "9", "a number of headers", "from 10 to 1000"),
        ("--max-headers", "1001", "a number of headers", "from 10 to 1000"),
        ("--max-streams", "0", "a number of requests", "from 1 to 1000"),
        ("--max-streams", "many", "a number of requests", "from 1 to 1000"),
        ("--max-connections", "0", "a number of connections", many),
        ("--max-connections", "-1", "a number of connections", many),
        ("--max-connections", "1e3", "a number of connections", many),
        (
            "--max-connections-per-address",
            "-1",
            "a number of connections",
            any,
        ),
        ("--max-misses-per-address", "1.5", "a number of tokens", any),
        ("--max-upstream-requests", "0", "a number of requests", many),
        (
            "--max-provider-requests",
            "4294967296",
            "a number of token requests",
            many,
        ),
        ("--breaker-failures", "-1", "a number of failures", any),
        ("--threads", "-1", "a number of threads", "from 1 to 1024"),
        ("--trace-sampling", "-0.5", "a number", "from 0 to 1"),
        ("--max-header-bytes", "1KiB", "4KiB", "to 1MiB"),
        ("--max-token-request-bytes", "2MiB", "1KiB", "to 1MiB"),
        ("--near-cache-bytes", "1KiB", "1MiB", "to 1TiB"),
        ("--max-body-bytes", "0", "1B", "or more"),
        ("--send-timeout", "2h", "1s", "to 1h"),
        ("--min-drain", "100h", "0s", "to 1h"),
        ("--drain", "1h1ms", "0s", "to 1h"),
    ] {
        let says = format!("'{bad}' for '{option} <");
        let expected = format!("expected {what} {bounds}");
        let variable = option
            .to_uppercase()
            .replacen("--", "SPLITTOKEN_", 1)
            .replace('-', "_");
        for (arguments, environment) in [
            (vec![option, bad], vec![]),
            (vec![], vec![(variable.as_str(), bad)]),
        ] {
            let ran = gateway(&desk, &arguments, &environment)?;
            let outcome = ran.is_refusal(&[&says, &expected]);
            failures.extend(outcome.err().map(|error| format!("{option}: {error:#}")));
        }
    }
    let port = run(&["operator", "--gateway-admin-port", "65536"], &[])?;
    port.is_refusal(&[
        "'65536'",
        "--gateway-admin-port",
        "expected a port from 1 to 65535",
    ])?;
    report(&failures);
    Ok(())
}

/// It would be ignored, and whoever gave it would wait for spans.
#[test]
fn a_share_of_spans_for_nobody() -> Result<()> {
    let desk = Desk::new()?;
    let names = ["required", "--otlp-endpoint <URL>"];
    gateway(&desk, &["--trace-sampling", "0.01"], &[])?.is_refusal(&names)?;
    gateway(&desk, &[], &[("SPLITTOKEN_TRACE_SAMPLING", "1")])?.is_refusal(&names)
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
        (
            &unknown,
            &[
                "--routes",
                &unknown,
                "SplitTokenRoute/default/shop",
                "spec.hostname:",
                "no such field",
            ],
        ),
        (&twice, &["--routes", &twice, "SplitTokenRoute/default/shop"]),
    ];
    let failed = |(path, names): &(&str, &[&str])| {
        let arguments = [
            "gateway",
            "--routes",
            path,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ];
        let outcome = run(&arguments, &[]).and_then(|ran| ran.is_refusal(names));
        outcome.err().map(|error| format!("{path}: {error:#}"))
    };
    report(&cases.iter().filter_map(failed).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn ports_that_are_taken() -> Result<()> {
    let desk = Desk::new()?;
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let taken = holder.local_addr()?.to_string();
    for flag in ["--listen", "--admin"] {
        let ran = gateway(&desk, &[flag, &taken], &[])?;
        ran.is_refusal(&[flag, &taken, "Address already in use"])?;
        assert_eq!(ran.stderr.matches("already in use").count(), 1, "{}", ran.stderr);
    }
    Authority::new()?
        .certify(&["a.example"])?
        .mount(Path::new(&desk.at("a")))?;
    let folder = desk.at("a");
    let tls = |listen: &str, tls: &str| -> Result<super::Ran> {
        let options = [
            "--listen",
            listen,
            "--tls-listen",
            tls,
            "--tls-certificates",
            &folder,
        ];
        gateway(&desk, &options, &[])
    };
    tls("127.0.0.1:0", &taken)?.is_refusal(&[
        "splittoken: --tls-listen: cannot listen on",
        &taken,
        "in use",
    ])?;
    tls(&taken, "127.0.0.1:0")?.is_refusal(&["splittoken: --listen: cannot listen on", &taken, "in use"])?;
    let both = address()?;
    gateway(&desk, &["--listen", &both, "--admin", &both], &[])?.is_refusal(&["--admin", &both, "in use"])?;
    // 192.0.2.0/24 is for documentation, and no machine's.
    gateway(&desk, &["--listen", "192.0.2.1:8080"], &[])?.is_refusal(&["--listen", "192.0.2.1:8080"])?;
    run(&["demo", "--listen", &taken], &[])?.is_refusal(&["--listen", &taken, "in use"])
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

#[test]
fn authorities_of_a_collector() -> Result<()> {
    let desk = Desk::new()?;
    let good = desk.put("ca.pem", Authority::new()?.pem())?;
    let bad = desk.put(
        "bad.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )?;
    let none = desk.put("no.pem", "nothing of the kind\n")?;
    let (missing, folder) = (desk.at("missing"), desk.folder("folder")?);
    gateway(&desk, &["--otlp-ca", &good], &[])?.is_refusal(&["required", "--otlp-endpoint"])?;
    for (url, file, says) in [
        ("http://127.0.0.1:1", &good, "not https://"),
        ("https://127.0.0.1:1", &missing, "No such file"),
        ("https://127.0.0.1:1", &folder, "directory"),
        ("https://127.0.0.1:1", &none, "no certificate in PEM"),
        ("https://127.0.0.1:1", &bad, "cannot be used"),
    ] {
        let ran = gateway(&desk, &["--otlp-endpoint", url, "--otlp-ca", file], &[])?;
        ran.is_refusal(&["--otlp-endpoint, --otlp-ca", file, says])?;
    }
    Ok(())
}

/// One bad certificate of several is no refusal; with no good one there is nothing to show.
#[test]
fn certificates_of_the_tls_listener() -> Result<()> {
    let desk = Desk::new()?;
    let authority = Authority::new()?;
    let mount = |name: &str| -> Result<String> {
        authority
            .certify(&["a.example"])?
            .mount(Path::new(&desk.at(name)))?;
        Ok(desk.at(name))
    };
    let (one, encrypted, swapped) = (mount("one")?, mount("encrypted")?, mount("swapped")?);
    encrypt(&encrypted)?;
    let (chain, key) = (format!("{swapped}/tls.crt"), format!("{swapped}/tls.key"));
    let kept = fs::read(&chain)?;
    fs::rename(&key, &chain)?;
    fs::write(&key, kept)?;
    let (twin, empty, missing) = (mount("z/one")?, desk.folder("empty")?, desk.at("missing"));
    let file = desk.at("routes.yaml");
    let no_passphrase = "tls.key is encrypted; a key without a passphrase is needed";
    for (folders, says) in [
        (vec![&missing], vec!["No such file", missing.as_str()]),
        (vec![&one, &missing], vec!["No such file", &missing]),
        (vec![&one, &file], vec!["is not a folder", &file]),
        (
            vec![&one, &twin],
            vec![&one, &twin, "have one name in metrics, \"one\""],
        ),
        (vec![&empty], vec![&empty, "tls.crt cannot be read: No such file"]),
        (vec![&encrypted], vec![&encrypted, no_passphrase]),
        (
            vec![&swapped],
            vec![&swapped, "tls.crt holds a private key and no certificate"],
        ),
        (
            vec![&encrypted, &swapped],
            vec![&encrypted, &swapped, no_passphrase, "tls.crt holds"],
        ),
    ] {
        let folders: Vec<&str> = folders.into_iter().map(String::as_str).collect();
        let folders = folders.join(",");
        let options = ["--tls-listen", "127.0.0.1:0", "--tls-certificates", &folders];
        let ran = gateway(&desk, &options, &[])?;
        ran.is_refusal(&[vec!["--tls-certificates"], says].concat())?;
    }
    Ok(())
}

/// Has another program put a passphrase on the key of this folder.
fn encrypt(folder: &str) -> Result<()> {
    let key = format!("{folder}/tls.key");
    let passphrase = format!("pass:{}", splittoken_tests::secret::text());
    let ran = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &passphrase])
        .args(["-in", &key, "-out", &format!("{key}.new")])
        .output()?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    fs::rename(format!("{key}.new"), &key)?;
    Ok(())
}
