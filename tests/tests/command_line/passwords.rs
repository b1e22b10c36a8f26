//! A password in the store's URL is printed by nothing: not by help, not by a refusal, not in a log.

use std::time::Duration;

use anyhow::Result;
use splittoken_tests::http::Client;
use splittoken_tests::{secret, wait};

use super::{Desk, address, run, start};

#[test]
fn help_does_not_show_it() -> Result<()> {
    let password = secret::text();
    let url = format!("redis://gateway:{password}@localhost");
    for command in ["gateway", "demo"] {
        for flag in ["--help", "-h"] {
            let ran = run(&[command, flag], &[("SPLITTOKEN_STORE", &url)])?;
            assert_eq!(ran.code, Some(0));
            assert!(ran.stdout.contains("SPLITTOKEN_STORE"), "{}", ran.stdout);
            assert!(!ran.stdout.contains(&password), "{}", ran.stdout);
        }
    }
    Ok(())
}

/// Typos put the URL, or a part of it, where a message quotes what it does not understand.
#[test]
fn no_refusal_shows_it() -> Result<()> {
    let desk = Desk::new()?;
    let (routes, keyring) = (desk.at("routes.yaml"), desk.at("keyring.json"));
    let password = secret::text();
    let url = format!("redis://gateway:{password}@localhost");
    let of = |text: &str| text.replace("PASSWORD", &password);
    let assigned = [
        format!("--listen={url}"),
        format!("--stor={url}"),
        format!("--threads={url}"),
    ];
    let odd = [
        "redis://gateway:PASSWORD@localhost:redis",
        "redis://gateway:PASSWORD@",
        "redis://gateway:PASSWORD@local host",
        "redis://:PASSWORD/@localhost",
        "redis://gateway:PASSWORD@localhost/first",
        "redis://gateway:PASSWORD@localhost?db=1",
        "redis:PASSWORD@localhost",
        "redis//gateway:PASSWORD@localhost",
        "gateway:PASSWORD://localhost",
        "PASSWORD://localhost",
        // Not by chance an escape: `z` is no digit.
        "redis://gateway:%zPASSWORD@localhost",
        "redis://gateway:PASSWORD",
        "http://gateway:PASSWORD@localhost",
    ]
    .map(of);
    let mut lines: Vec<Vec<&str>> = vec![
        vec!["gateway", "--routes", &url],
        vec!["gateway", "--routes", &routes, &url],
        vec![
            "gateway",
            "--routes",
            &routes,
            "--store",
            "memory",
            "--keyring",
            &url,
        ],
        vec![
            "gateway",
            "--routes",
            &routes,
            "--store",
            "memory",
            "--store-ca",
            &url,
        ],
        vec![
            "gateway",
            "--routes",
            &routes,
            "--store",
            "memory",
            "--store-password-file",
            &url,
        ],
        vec!["gateway", "--routes", &routes, "--store", &url],
        vec!["gateway", "--routes", &routes, "--trusted-proxies", &url],
        vec!["check", &url],
        vec![&url],
        vec!["demo", &url],
    ];
    lines.extend(
        assigned
            .iter()
            .map(|flag| vec!["gateway", "--routes", &routes, flag]),
    );
    lines.extend(odd.iter().map(|url| {
        vec![
            "gateway",
            "--routes",
            &routes,
            "--keyring",
            &keyring,
            "--store",
            url,
        ]
    }));
    for line in lines {
        let ran = run(&line, &[])?;
        ran.is_refusal(&[])?;
        assert!(!ran.stderr.contains(&password), "{}", ran.stderr);
    }
    for url in &odd {
        let environment = [
            ("SPLITTOKEN_STORE", url.as_str()),
            ("SPLITTOKEN_KEYRING", &keyring),
        ];
        let ran = run(&["gateway", "--routes", &routes], &environment)?;
        ran.is_refusal(&[])?;
        assert!(!ran.stderr.contains(&password), "{}", ran.stderr);
    }
    Ok(())
}

/// Nor does a gateway that runs with it, however much it is asked to say.
#[test]
fn no_log_and_no_page_shows_it() -> Result<()> {
    let desk = Desk::new()?;
    let (admin, nobody, password) = (address()?, address()?, secret::text());
    let (routes, keyring) = (desk.at("routes.yaml"), desk.at("keyring.json"));
    let url = format!("redis://gateway:{password}@{nobody}/3");
    let arguments = [
        "gateway",
        "--routes",
        &routes,
        "--keyring",
        &keyring,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        &admin,
    ];
    let gateway = start(
        &arguments,
        &[("SPLITTOKEN_STORE", &url), ("RUST_LOG", "trace")],
        &admin,
    )?;
    wait::until_true(Duration::from_secs(20), "the log to speak of the store", || {
        gateway.text().contains(&nobody)
    })?;
    let http = Client::new()?;
    let config = http.get(&format!("http://{admin}/config"))?.text();
    assert!(config.contains(&nobody), "{config}");
    let metrics = http.get(&format!("http://{admin}/metrics"))?.text();
    for text in [config, metrics, gateway.text()] {
        assert!(!text.contains(&password), "{text}");
    }
    Ok(())
}
