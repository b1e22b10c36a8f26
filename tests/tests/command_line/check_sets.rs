//! `splittoken check` over many files: they are one set, and what is said of it is the same every time.

use std::fs;

use anyhow::{Context as _, Result};

use super::check::with_service;
use super::{Desk, ROUTES, checkout, run};

#[test]
fn files_of_a_folder_and_of_a_command_line_are_one_set() -> Result<()> {
    let desk = Desk::new()?;
    let folder = desk.folder("routes")?;
    let route = ROUTES.replace(
        "issuer: {url: 'http://127.0.0.1:1', transport: PlainHTTPAllowed}",
        "issuerRef: {name: login}",
    );
    let issuer = "apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenIssuer\n\
                  metadata: {name: login, namespace: default}\nspec: {url: 'https://login.example'}\n";
    fs::write(format!("{folder}/route.yml"), &route)?;
    let alone = run(&["check", &folder], &[])?;
    assert!(
        alone.stdout.contains("unresolved IssuerNotFound"),
        "{}",
        alone.stdout
    );
    fs::write(format!("{folder}/issuer.yaml"), issuer)?;
    let together = run(&["check", "--strict", &folder], &[])?;
    assert_eq!(
        (together.code, together.stdout.as_str()),
        (Some(0), "2 files: 0 errors, 0 unresolved, 0 warnings\n")
    );
    let (route, issuer) = (format!("{folder}/route.yml"), format!("{folder}/issuer.yaml"));
    let named = run(&["check", "--strict", &route, &issuer], &[])?;
    assert_eq!((named.code, named.stdout), (Some(0), together.stdout));
    // The same object twice is one too many, wherever the two stand.
    let twice = run(&["check", &folder, &issuer], &[])?;
    assert_eq!(twice.code, Some(1), "{}", twice.stdout);
    assert!(
        twice.stdout.contains("SplitTokenIssuer/default/login"),
        "{}",
        twice.stdout
    );
    Ok(())
}

#[test]
fn the_output_is_the_same_every_time() -> Result<()> {
    let desk = Desk::new()?;
    let folder = desk.folder("routes")?;
    for number in 0..20 {
        let text = with_service()
            .replace("name: shop", &format!("name: shop-{number}"))
            .replace(
                "  - name: api\n",
                "  - name: api\n    timeouts: {request: 5}\n    wrong: 1\n",
            );
        fs::write(
            format!("{folder}/{number}.yaml"),
            format!("{text}---\n{}", with_service()),
        )?;
    }
    let first = run(&["check", &folder], &[])?;
    assert_eq!(first.code, Some(1));
    assert!(first.stdout.lines().count() > 40, "{}", first.stdout);
    for _ in 0..3 {
        assert_eq!(run(&["check", &folder], &[])?.stdout, first.stdout);
    }
    Ok(())
}

#[test]
fn every_example_passes() -> Result<()> {
    let folder = checkout("examples");
    let readme = fs::read_to_string(checkout("README.md")).context("README.md")?;
    let mut number = 0;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        // What is in folders is for helm.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let path = entry.path().display().to_string();
        let ran = run(&["check", &path], &[])?;
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        let link = format!("(examples/{})", entry.file_name().display());
        assert!(readme.contains(&link), "README has no {link}");
        number += 1;
    }
    assert!(number >= 8, "{number} examples");
    // The one that people start with has nothing left open.
    let quickstart = folder.join("quickstart.yaml").display().to_string();
    let ran = run(&["check", "--strict", &quickstart], &[])?;
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    Ok(())
}
