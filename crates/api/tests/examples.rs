//! Every file of `examples/` passes `check`, and says of itself what the README says of it.
#![allow(clippy::unwrap_used, reason = "in a test a panic is how a failure is told")]

use std::{fs, path::Path};

use splittoken_api::{ManifestFile, Severity, check};

fn examples() -> Vec<ManifestFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // What is in folders is for helm.
        .filter(|path| path.is_file())
        .map(|path| ManifestFile {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(path).unwrap(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

#[test]
fn every_example_passes_on_its_own() {
    let files = examples();
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    for name in [
        "authorization.yaml",
        "browser.yaml",
        "entra.yaml",
        "grpc.yaml",
        "hs256.yaml",
        "keycloak.yaml",
        "kubernetes.yaml",
        "okta.yaml",
        "quickstart.yaml",
        "shared-issuer.yaml",
        "streams.yaml",
        "upstream-tls.yaml",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
    for file in files {
        let report = check(std::slice::from_ref(&file));
        let open = report.findings.iter().filter(|f| f.severity != Severity::Warning);
        // Services are the cluster's, so no file can resolve them; everything else must be in the file.
        for finding in open {
            assert_eq!(
                (finding.severity, finding.reason),
                (Severity::Unresolved, "BackendNotFound"),
                "{finding}"
            );
        }
        assert!(!report.fails(false), "{}", file.name);
    }
}

#[test]
fn the_quick_start_needs_nothing_from_elsewhere() {
    let quickstart: Vec<_> = examples()
        .into_iter()
        .filter(|file| file.name == "quickstart.yaml")
        .collect();
    assert!(!check(&quickstart).fails(true));
}

#[test]
fn no_two_examples_are_in_each_others_way() {
    let report = check(&examples());
    assert!(!report.fails(false), "{:#?}", report.findings);
}
