//! Command lines and files that cannot be used: exit code 2, and one line that names the thing.

use std::net::TcpListener;

use anyhow::Result;

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
