//! The custom resource definitions at a real API server: it takes them, and it decides as `check` does.

#[path = "../../../crates/api/tests/table/mod.rs"]
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::apiserver::ApiServer;
use splittoken_tests::installation::Installation;
use splittoken_tests::kube::Kube;
use splittoken_tests::wait;

/// The definitions are installed, which means that no rule exceeds the cost budget.
fn server() -> Result<(Installation, Kube)> {
    let installation = Installation::at(ApiServer::shared()?)?;
    let kube = installation.kube.clone();
    Ok((installation, kube))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Objects are asked about in namespaces that exist.
fn make_namespaces<'o>(kube: &Kube, objects: impl IntoIterator<Item = &'o Value>) -> Result<()> {
    let names: BTreeSet<&str> = objects
        .into_iter()
        .map(|object| text(object, "/metadata/namespace"))
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().try_for_each(|name| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        kube.apply(&namespace).map(drop)
    })
}

#[test]
fn the_server_refuses_every_bad_object_and_takes_it_when_it_is_mended() -> Result<()> {
    let (_installation, kube) = server()?;
    let table = table::table();
    let mended: Vec<Value> = table.cases.iter().map(|case| case.good(&table)).collect();
    make_namespaces(&kube, mended.iter().chain(table.bases.values()))?;
    let mut wrong = Vec::new();
    let mut said = 0;
    for (case, mended) in table.cases.iter().zip(&mended) {
        let answer = kube.try_create(&case.bad(&table))?;
        let words = answer.text();
        if !(400..500).contains(&answer.status) {
            wrong.push(format!("{}: the server takes it", case.name));
        } else if case.reason == "rule" {
            said += 1;
            if !(words.contains(&case.message) && words.contains(&case.field)) {
                wrong.push(format!("{}: the server says {words}", case.name));
            }
        }
        let answer = kube.try_create(mended)?;
        if answer.status != 201 {
            wrong.push(format!(
                "{}: mended, the server says {}",
                case.name,
                answer.text()
            ));
        }
    }
    println!("{} cases, {said} of them of rules", table.cases.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(said > 30, "only {said} cases of rules");
    Ok(())
}

#[test]
fn the_server_takes_every_example() -> Result<()> {
    let (_installation, kube) = server()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for file in fs::read_dir(&folder)? {
        let path = file?.path();
        // For helm.
        if path.is_dir() {
            continue;
        }
        let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&path)?)?;
        make_namespaces(&kube, &objects)?;
        for mut object in objects {
            if object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = json!("default");
            }
            if object["kind"] == "Namespace" {
                kube.apply(&object)?;
                continue;
            }
            let answer = kube.try_create(&object)?;
            ensure!(answer.status == 201, "{}: {}", path.display(), answer.text());
            count += 1;
        }
    }
    println!("{count} objects");
    ensure!(count > 8, "only {count} objects");
    Ok(())
}

#[test]
fn the_server_fills_in_the_documented_defaults() -> Result<()> {
    let (plane, kube) = server()?;
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": plane.name}, "spec": spec,
        })
    };
    let route = kube.create(&object(
        "SplitTokenRoute",
        "defaults",
        json!({
            "hostnames": [plane.host("defaults")],
            "issuer": {"url": "https://iam.example.com"},
            "tokenEndpoints": {"token": {}},
            "rules": [{"name": "all", "backendRefs": [{"name": "orders", "port": 80}], "timeouts": {}, "retries": {}}],
            "policies": {"storeUnavailable": {}},
            "cors": {"allowOrigins": ["*"]},
        }),
    ))?;
    for (pointer, expected) in [
        ("/className", json!("default")),
        ("/tokenEndpoints/token/path", json!("/oauth/token")),
        ("/tokenEndpoints/token/refreshToken", json!("PassThrough")),
        ("/tokenEndpoints/token/idToken", json!("PassThrough")),
        ("/tokenEndpoints/token/onNonJWT", json!("Reject")),
        ("/policies/storeUnavailable/maxStale", json!("10s")),
        ("/cors/allowCredentials", json!(false)),
        ("/cors/maxAge", json!(5)),
        ("/rules/0/matches/0/path/type", json!("PathPrefix")),
        ("/rules/0/matches/0/path/value", json!("/")),
        ("/rules/0/authentication", json!("Required")),
        ("/rules/0/timeouts/request", json!("60s")),
        ("/rules/0/timeouts/backendRequest", json!("30s")),
        ("/rules/0/timeouts/connect", json!("2s")),
        ("/rules/0/timeouts/idle", json!("5m")),
        ("/rules/0/retries/maxRetries", json!(1)),
        ("/issuer/transport", json!("HTTPSOnly")),
    ] {
        let found = route["spec"].pointer(pointer).unwrap_or(&Value::Null);
        ensure!(*found == expected, "route {pointer}: {found}, not {expected}");
    }
    let issuer = kube.create(&object(
        "SplitTokenIssuer",
        "defaults",
        json!({"url": "https://iam.example.com", "jwks": {}, "lifetime": {}, "timeouts": {}}),
    ))?;
    for (pointer, expected) in [
        ("/className", json!("default")),
        ("/transport", json!("HTTPSOnly")),
        ("/discovery", json!("Auto")),
        ("/algorithms", json!(["RS256", "PS256", "ES256", "EdDSA"])),
        ("/verification", json!("Signature")),
        ("/clockSkew", json!("30s")),
        ("/jwks/refreshInterval", json!("5m")),
        ("/jwks/minRefreshInterval", json!("30s")),
        ("/lifetime/max", json!("24h")),
        ("/lifetime/fallback", json!("0s")),
        ("/timeouts/connect", json!("2s")),
        ("/timeouts/request", json!("10s")),
        ("/allowedRoutes/namespaces/from", json!("Same")),
    ] {
        let found = issuer["spec"].pointer(pointer).unwrap_or(&Value::Null);
        ensure!(*found == expected, "issuer {pointer}: {found}, not {expected}");
    }
    Ok(())
}

const PLURALS: [&str; 2] = ["splittokenroutes", "splittokenissuers"];

/// Names of columns, and what the rows have in them, in the order of the names of objects.
fn shown(kube: &Kube, kind: &str, namespace: &str) -> Result<(Vec<String>, Vec<Vec<Value>>)> {
    let table = kube.table(kind, namespace)?;
    let of = |name: &str| table[name].as_array().with_context(|| format!("no {name}"));
    let name = |column: &Value| match column["priority"].as_i64() {
        Some(0) => text(column, "/name").to_owned(),
        _ => format!("{} (wide)", text(column, "/name")),
    };
    let columns = of("columnDefinitions")?.iter().map(name).collect();
    let rows = of("rows")?.iter();
    let rows = rows.map(|row| row["cells"].as_array().cloned().context("no cells"));
    Ok((columns, rows.collect::<Result<_>>()?))
}

#[test]
fn kubectl_shows_the_columns_and_knows_the_short_name() -> Result<()> {
    let (plane, kube) = server()?;
    let (host, more) = (plane.host("columns"), plane.host("more"));
    let url = "https://iam.example.com/realms/shop";
    let put = |kind: &str, name: &str, spec: Value, status: &[(&str, &str, &str)]| -> Result<()> {
        kube.apply(&json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": plane.name}, "spec": spec,
        }))?;
        let conditions: Vec<Value> = status
            .iter()
            .map(|(name, status, reason)| {
                json!({
                    "type": name, "status": status, "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                })
            })
            .collect();
        kube.merge_status(kind, &plane.name, name, &json!({"conditions": conditions}))
            .map(drop)
    };
    let route = |mut spec: Value, hostnames: Value| {
        spec["hostnames"] = hostnames;
        spec["tokenEndpoints"] = json!({"token": {}});
        spec
    };
    let own = route(json!({"issuer": {"url": url}}), json!([host, more]));
    let pending = [("Programmed", "False", "Pending"), ("Ready", "False", "Pending")];
    put("SplitTokenRoute", "own", own, &pending)?;
    let shared = route(json!({"issuerRef": {"name": "main"}}), json!([host]));
    put("SplitTokenRoute", "shared", shared, &[])?;
    let reachable = [("Reachable", "True", "Reachable"), ("Ready", "True", "Ready")];
    put("SplitTokenIssuer", "main", json!({"url": url}), &reachable)?;

    let list = |hosts: &[&str]| json!(serde_json::to_string(hosts).unwrap_or_default());
    for (kind, columns, expected) in [
        (
            "SplitTokenRoute",
            "Name, Hostname, Issuer, Programmed, Ready, Reason (wide), Hostnames (wide), Age",
            json!([
                [
                    "own",
                    host,
                    url,
                    "False",
                    "False",
                    "Pending",
                    list(&[&host, &more])
                ],
                ["shared", host, "main", null, null, null, list(&[&host])],
            ]),
        ),
        (
            "SplitTokenIssuer",
            "Name, URL, Reachable, Ready, Reason (wide), Age",
            json!([["main", url, "True", "True", "Ready"]]),
        ),
    ] {
        let (found, mut rows) = shown(&kube, kind, &plane.name)?;
        assert_eq!(found.join(", "), columns, "{kind}");
        for row in &mut rows {
            let age = row.pop();
            ensure!(
                age.is_some_and(|age| age.is_string()),
                "{kind}: {row:?} has no age"
            );
        }
        assert_eq!(json!(rows), expected, "{kind}");
    }
    // What is served is told a moment later.
    let resources = wait::until(wait::START, "both resources to be told of", || {
        let group = kube.get("/apis/splittoken.dev/v1alpha1").ok()?.json().ok()?;
        let resources = group["resources"].as_array()?;
        let is_there = |plural: &&str| resources.iter().any(|resource| resource["name"] == **plural);
        PLURALS.iter().all(is_there).then(|| resources.clone())
    })?;
    let of = |plural: &str| {
        resources
            .iter()
            .find(|resource| resource["name"] == plural)
            .context("not served")
    };
    assert_eq!(of("splittokenroutes")?["shortNames"], json!(["str"]));
    for plural in PLURALS {
        assert_eq!(of(plural)?["categories"], json!(["splittoken"]));
    }
    Ok(())
}
