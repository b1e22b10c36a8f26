//! `splittoken check`: what it finds, how it says so, and what it makes of it.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Desk, ROUTES, checkout, run};

/// The route with a Service in place of the URL.
fn with_service() -> String {
    ROUTES.replace("{url: 'http://127.0.0.1:1'}", "{name: orders, port: 8080}")
}

#[test]
fn good_files_are_0_and_one_line() -> Result<()> {
    let desk = Desk::new()?;
    let ran = run(&["check", &desk.at("routes.yaml")], &[])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout, "1 file: 0 errors, 0 unresolved, 0 warnings\n");
    // A warning is no reason to stop.
    let warned = desk.put("warned.yaml", ROUTES.replace(", grantTypes: [client_credentials]", ""))?;
    let ran = run(&["check", "--strict", &warned], &[])?;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains(&format!("{warned}:1: warning IdTokenPassThrough SplitTokenRoute/default/shop spec.")), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("1 file: 0 errors, 0 unresolved, 1 warning\n"), "{}", ran.stdout);
    Ok(())
}

#[test]
fn an_error_names_file_object_field_and_reason() -> Result<()> {
    let desk = Desk::new()?;
    for (from, to, wanted) in [
        ("hostnames: [127.0.0.1]", "hostnames: [API.example]", ":1: error Invalid SplitTokenRoute/default/shop spec.hostnames[0]: "),
        ("hostnames:", "hostname:", ":1: error Invalid SplitTokenRoute/default/shop spec.hostname: no such field"),
        ("  - name: api\n", "  - name: api\n    timeouts: {request: 5}\n", " SplitTokenRoute/default/shop spec.rules[0].timeouts.request: "),
        ("/oauth/token", "/oauth/../token", " SplitTokenRoute/default/shop spec.tokenEndpoints.token.path: "),
        ("kind: SplitTokenRoute", "kind: SplitTokenRuote", " SplitTokenRuote/default/shop kind: "),
        ("spec:\n", "spec: [\n", ": error yaml: line "),
        ("issuer: {", "issuerRef: {name: login}\n  issuer: {", " SplitTokenRoute/default/shop spec: "),
    ] {
        let file = desk.put("bad.yaml", ROUTES.replacen(from, to, 1))?;
        let ran = run(&["check", &file], &[])?;
        let first = ran.stdout.lines().next().unwrap_or_default();
        let is_warning = to.contains("Ruote");
        assert_eq!(ran.code, Some(i32::from(!is_warning)), "{to}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stderr, "", "{to}");
        assert!(first.starts_with(&file) && first.contains(wanted), "{to}: {first}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_read_is_2() -> Result<()> {
    let desk = Desk::new()?;
    let (good, missing) = (desk.at("routes.yaml"), desk.at("missing.yaml"));
    let latin = desk.put("latin.yaml", b"a: \xe9")?;
    let (empty, unused) = (desk.folder("empty")?, desk.folder("unused")?);
    fs::write(format!("{unused}/notes.txt"), ROUTES)?;
    fs::write(format!("{unused}/.hidden.yaml"), ROUTES)?;
    for (paths, names) in [
        (vec![&missing], vec![missing.as_str(), "No such file"]),
        (vec![&good, &missing], vec![missing.as_str()]),
        (vec![&latin], vec![latin.as_str(), "UTF-8"]),
        // To say that nothing is wrong in a folder with nothing would hide a typo from whoever runs this in CI.
        (vec![&empty], vec![empty.as_str(), "*.yaml"]),
        (vec![&unused], vec![unused.as_str()]),
    ] {
        let mut arguments = vec!["check"];
        arguments.extend(paths.into_iter().map(String::as_str));
        run(&arguments, &[])?.is_refusal(&names)?;
    }
    Ok(())
}

#[test]
fn a_service_is_unresolved_here_and_refused_by_the_gateway() -> Result<()> {
    let desk = Desk::new()?;
    let file = desk.put("service.yaml", with_service())?;
    let says = "unresolved BackendNotFound SplitTokenRoute/default/shop spec.rules[0].backendRefs[0].name: ";
    for (arguments, code) in [(vec!["check", &file], 0), (vec!["check", "--strict", &file], 1)] {
        let ran = run(&arguments, &[])?;
        assert_eq!(ran.code, Some(code), "{arguments:?}");
        assert!(ran.stdout.contains(says) && ran.stdout.contains("default/orders with port 8080"), "{}", ran.stdout);
        assert!(ran.stdout.ends_with("1 file: 0 errors, 1 unresolved, 0 warnings\n"), "{}", ran.stdout);
    }
    let gateway = ["gateway", "--routes", &file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    run(&gateway, &[])?.is_refusal(&["--routes", &file, says, "default/orders with port 8080"])
}

#[test]
fn files_of_a_folder_and_of_a_command_line_are_one_set() -> Result<()> {
    let desk = Desk::new()?;
    let folder = desk.folder("routes")?;
    let route = ROUTES.replace("issuer: {url: 'http://127.0.0.1:1', transport: PlainHTTPAllowed}", "issuerRef: {name: login}");
    let issuer = "apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenIssuer\n\
                  metadata: {name: login, namespace: default}\nspec: {url: 'https://login.example'}\n";
    fs::write(format!("{folder}/route.yml"), &route)?;
    let alone = run(&["check", &folder], &[])?;
    assert!(alone.stdout.contains("unresolved IssuerNotFound"), "{}", alone.stdout);
    fs::write(format!("{folder}/issuer.yaml"), issuer)?;
    let together = run(&["check", "--strict", &folder], &[])?;
    assert_eq!((together.code, together.stdout.as_str()), (Some(0), "2 files: 0 errors, 0 unresolved, 0 warnings\n"));
    let (route, issuer) = (format!("{folder}/route.yml"), format!("{folder}/issuer.yaml"));
    let named = run(&["check", "--strict", &route, &issuer], &[])?;
    assert_eq!((named.code, named.stdout), (Some(0), together.stdout));
    // The same object twice is one too many, wherever the two stand.
    let twice = run(&["check", &folder, &issuer], &[])?;
    assert_eq!(twice.code, Some(1), "{}", twice.stdout);
    assert!(twice.stdout.contains("SplitTokenIssuer/default/login"), "{}", twice.stdout);
    Ok(())
}

#[test]
fn the_output_is_the_same_every_time() -> Result<()> {
    let desk = Desk::new()?;
    let folder = desk.folder("routes")?;
    for number in 0..20 {
        let text = with_service()
            .replace("name: shop", &format!("name: shop-{number}"))
            .replace("  - name: api\n", "  - name: api\n    timeouts: {request: 5}\n    wrong: 1\n");
        fs::write(format!("{folder}/{number}.yaml"), format!("{text}---\n{}", with_service()))?;
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
fn no_finding_quotes_a_secret() -> Result<()> {
    let desk = Desk::new()?;
    let secret = splittoken_tests::secret::text();
    let hmac = ROUTES.replace("transport: PlainHTTPAllowed", "transport: PlainHTTPAllowed, algorithms: [HS256], hmacSecretRef: {name: key}");
    for (data, code) in [
        (format!("data: {{hmac: '{secret}*'}}"), 1),
        (format!("data: {{hmac: [{secret}]}}"), 1),
        (format!("stringData: {{hmac: {secret}: {secret}}}"), 1),
        (format!("stringData: {{other: {secret}}}"), 0),
    ] {
        let document = format!("{hmac}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: default}}\n{data}\n");
        let file = desk.put("secret.yaml", document)?;
        let ran = run(&["check", &file], &[])?;
        assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.lines().count() > 1, "nothing is said of {data}");
        assert_eq!(ran.code, Some(code), "{data}: {}", ran.stdout);
    }
    Ok(())
}

#[test]
fn every_example_passes() -> Result<()> {
    let folder = checkout("examples");
    let mut number = 0;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path().display().to_string();
        let ran = run(&["check", &path], &[])?;
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        number += 1;
    }
    assert!(number >= 5, "{number} examples");
    // The one that people start with has nothing left open, and every one of them is named in the README.
    let quickstart = folder.join("quickstart.yaml").display().to_string();
    let ran = run(&["check", "--strict", &quickstart], &[])?;
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let readme = fs::read_to_string(checkout("README.md")).context("README.md")?;
    for name in ["keycloak", "shared-issuer", "authorization", "hs256"] {
        assert!(readme.contains(&format!("(examples/{name}.yaml)")), "{name}");
    }
    Ok(())
}
