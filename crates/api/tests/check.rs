//! `check` names file, object, field and reason of everything that is wrong, in one go.

use splittoken_api::{ManifestFile, Severity, check};

fn file(name: &str, text: &str) -> ManifestFile {
    ManifestFile {
        name: name.into(),
        text: text.into(),
    }
}

fn lines(files: &[ManifestFile]) -> Vec<String> {
    check(files).findings.iter().map(ToString::to_string).collect()
}

const ROUTE: &str = "apiVersion: splittoken.dev/v1alpha1
kind: SplitTokenRoute
metadata: {name: a}
spec:
  hostnames: [a.example]
  issuer: {url: https://iam.example}
  rules:
  - name: all
    backendRefs: [{url: http://127.0.0.1:9000}]
";

#[test]
fn a_good_file_says_nothing() {
    assert_eq!(lines(&[file("a.yaml", ROUTE)]), Vec::<String>::new());
}

#[test]
fn a_broken_file_hides_nothing_in_others() {
    let files = [
        file("a.yaml", "a: [\n"),
        file("b.yaml", &ROUTE.replace("hostnames", "hosts")),
    ];
    let lines = lines(&files);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[0].starts_with("a.yaml:1: error yaml: line 1, column 4"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1],
        "b.yaml:1: error Invalid SplitTokenRoute/default/a spec.hostnames: is required"
    );
    assert_eq!(
        lines[2],
        "b.yaml:1: error Invalid SplitTokenRoute/default/a spec.hosts: no such field"
    );
}

#[test]
fn objects_that_are_no_resources() {
    let text = "kind: a\n---\n- b\n---\napiVersion: splittoken.dev/v1\nkind: SplitTokenRoute\nmetadata: {name: a}\n---\n\
                apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenRout\n---\n\
                apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n\
                apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: hunter2!}\n---\n\
                apiVersion: splittoken.dev/v1alpha1\nkind: SplitTokenRoute\n";
    let lines = lines(&[file("a.yaml", text)]);
    assert_eq!(
        lines,
        [
            "a.yaml:1: error required apiVersion: apiVersion and kind are required",
            "a.yaml:3: error type: must be an object with apiVersion and kind",
            "a.yaml:5: error version SplitTokenRoute/default/a apiVersion: must be splittoken.dev/v1alpha1: no other version exists",
            "a.yaml:9: error version kind: must be SplitTokenRoute or SplitTokenIssuer: no other kind exists",
            "a.yaml:12: warning ignored_kind Deployment/default/a kind: nothing here refers to this kind: ignored",
            "a.yaml:16: error pattern Secret/default/a data.k: must be base64",
            "a.yaml:21: error required metadata: must be an object with a name",
        ]
    );
}

#[test]
fn the_same_object_twice() {
    let lines = lines(&[file("a.yaml", ROUTE), file("b.yaml", ROUTE)]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].starts_with("b.yaml:1: error duplicate SplitTokenRoute/default/a metadata.name"),
        "{lines:?}"
    );
}

#[test]
fn references_are_unresolved_and_fail_only_where_asked() {
    let text = ROUTE.replace("{url: http://127.0.0.1:9000}", "{name: api, port: 80}");
    let report = check(&[file("a.yaml", &text)]);
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].severity, Severity::Unresolved);
    assert_eq!(report.findings[0].field, "spec.rules[0].backendRefs[0].name");
    assert!(!report.fails(false) && report.fails(true));
}

#[test]
fn every_class_is_checked_for_itself() {
    let other = ROUTE
        .replace("name: a}", "name: b, namespace: b}")
        .replace("spec:", "spec:\n  className: other");
    assert_eq!(
        lines(&[file("a.yaml", ROUTE), file("b.yaml", &other)]),
        Vec::<String>::new()
    );
    let same = ROUTE.replace("name: a}", "name: b, namespace: b}");
    let lines = lines(&[file("a.yaml", ROUTE), file("b.yaml", &same)]);
    assert!(lines[0].contains("HostnameConflict"), "{lines:?}");
}
