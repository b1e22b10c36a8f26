//! `splittoken check`: what it finds, how it says so, and what it makes of it.

use std::fs;

use anyhow::Result;

use super::{Desk, ROUTES, run};

/// The route with a Service in place of the URL.
pub fn with_service() -> String {
    ROUTES.replace("{url: 'http://127.0.0.1:1'}", "{name: orders, port: 8080}")
}

#[test]
fn good_files_are_0_and_one_line() -> Result<()> {
    let desk = Desk::new()?;
    let ran = run(&["check", &desk.at("routes.yaml")], &[])?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout, "1 file: 0 errors, 0 unresolved, 0 warnings\n");
    // A warning is no reason to stop.
    let warned = desk.put(
        "warned.yaml",
        ROUTES.replace(", grantTypes: [client_credentials]", ""),
    )?;
    let ran = run(&["check", "--strict", &warned], &[])?;
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout.contains(&format!(
            "{warned}:1: warning IdTokenPassThrough SplitTokenRoute/default/shop spec."
        )),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .ends_with("1 file: 0 errors, 0 unresolved, 1 warning\n"),
        "{}",
        ran.stdout
    );
    Ok(())
}

#[test]
fn an_error_names_file_object_field_and_reason() -> Result<()> {
    let desk = Desk::new()?;
    for (from, to, wanted) in [
        (
            "hostnames: [127.0.0.1]",
            "hostnames: [API.example]",
            ":1: error Invalid SplitTokenRoute/default/shop spec.hostnames[0]: ",
        ),
        (
            "hostnames:",
            "hostname:",
            ":1: error Invalid SplitTokenRoute/default/shop spec.hostname: no such field",
        ),
        (
            "  - name: api\n",
            "  - name: api\n    timeouts: {request: 5}\n",
            " SplitTokenRoute/default/shop spec.rules[0].timeouts.request: ",
        ),
        (
            "/oauth/token",
            "/oauth/../token",
            " SplitTokenRoute/default/shop spec.tokenEndpoints.token: path must be canonical",
        ),
        (
            "kind: SplitTokenRoute",
            "kind: SplitTokenRuote",
            ":1: error version SplitTokenRuote/default/shop kind: must be SplitTokenRoute or SplitTokenIssuer",
        ),
        ("spec:\n", "spec: [\n", ": error yaml: line "),
        (
            "issuer: {",
            "issuerRef: {name: login}\n  issuer: {",
            " SplitTokenRoute/default/shop spec: ",
        ),
    ] {
        let file = desk.put("bad.yaml", ROUTES.replacen(from, to, 1))?;
        let ran = run(&["check", &file], &[])?;
        let first = ran.stdout.lines().next().unwrap_or_default();
        assert_eq!(ran.code, Some(1), "{to}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stderr, "", "{to}");
        assert!(
            first.starts_with(&file) && first.contains(wanted),
            "{to}: {first}"
        );
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
        assert!(
            ran.stdout.contains(says) && ran.stdout.contains("default/orders with port 8080"),
            "{}",
            ran.stdout
        );
        assert!(
            ran.stdout
                .ends_with("1 file: 0 errors, 1 unresolved, 0 warnings\n"),
            "{}",
            ran.stdout
        );
    }
    let gateway = [
        "gateway",
        "--routes",
        &file,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    run(&gateway, &[])?.is_refusal(&["--routes", &file, says, "default/orders with port 8080"])
}

#[test]
fn no_finding_quotes_a_secret() -> Result<()> {
    let desk = Desk::new()?;
    let secret = splittoken_tests::secret::text();
    let hmac = ROUTES.replace(
        "transport: PlainHTTPAllowed",
        "transport: PlainHTTPAllowed, algorithms: [HS256], hmacSecretRef: {name: key}",
    );
    for data in [
        format!("data: {{hmac: '{secret}*'}}"),
        format!("data: {{hmac: ['{secret}']}}"),
        format!("stringData: {{hmac: '{secret}': '{secret}'}}"),
        format!("stringData: {{other: '{secret}'}}"),
        format!("stringData: {{hmac: '{secret}', hmac: '{secret}'}}"),
        format!("stringData: '{secret}'"),
    ] {
        let document = format!(
            "{hmac}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: default}}\n{data}\n"
        );
        let file = desk.put("secret.yaml", document)?;
        let ran = run(&["check", &file], &[])?;
        assert!(
            !ran.stdout.contains(&secret) && !ran.stderr.contains(&secret),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        assert!(ran.stdout.lines().count() > 1, "nothing is said of {data}");
        assert_eq!(ran.code, Some(1), "{data}: {}", ran.stdout);
    }
    Ok(())
}
