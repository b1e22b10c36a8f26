//! The chart's README and the page on Kubernetes say what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use splittoken_tests::helm::{Helm, NAMESPACE, RELEASE, chart};
use splittoken_tests::markdown::{blocks, commands, table};

fn page(name: &str) -> Result<String> {
    fs::read_to_string(chart().join("../..").join(name)).with_context(|| name.to_owned())
}

/// `gateway.pdb.enabled` → `true`, with lists and maps that are empty or hold no further names as they are.
fn flat(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) if !members.is_empty() && !prefix.ends_with("resources") => {
            for (name, value) in members {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flat(&name, value, into);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            into.insert(prefix.to_owned(), "see values.yaml".to_owned());
        }
        other => {
            into.insert(prefix.to_owned(), format!("`{other}`"));
        }
    }
}

#[test]
fn its_table_has_every_value_with_its_default_and_no_other() -> Result<()> {
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("values.yaml"))?)?;
    let mut expected = BTreeMap::new();
    flat("", &values, &mut expected);
    let readme = fs::read_to_string(chart().join("README.md"))?;
    let mut found = BTreeMap::new();
    for row in table(&readme, "value") {
        found.insert(row[0].trim_matches('`').to_owned(), row[1].clone());
        assert!(!row[2].is_empty(), "{} is not explained", row[0]);
    }
    assert_eq!(found, expected);
    Ok(())
}

/// Account, where, on what and verbs, in one line.
type Permission = (String, String, BTreeSet<String>, BTreeSet<String>);

/// What each account may do, as the chart renders it.
fn rendered_permissions() -> Result<Vec<Permission>> {
    let rendered = Helm::newest()?.template(&Value::Null)?;
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        for binding in rendered.all(binding) {
            let place = match binding["metadata"]["namespace"].as_str() {
                None => "cluster".to_owned(),
                Some(NAMESPACE) => "release".to_owned(),
                Some(other) => format!("`{other}`"),
            };
            let account = binding["subjects"][0]["name"].as_str().context("no subject")?;
            let component = account.strip_prefix(&format!("{RELEASE}-"));
            let name = binding["roleRef"]["name"].as_str().context("no role")?;
            for rule in rendered.get(role, name)?["rules"]
                .as_array()
                .context("no rules")?
            {
                let group = rule["apiGroups"][0].as_str().unwrap_or_default();
                let whole = |resource: String| match (group, resource.split_once('/')) {
                    ("", _) => resource,
                    (_, None) => format!("{resource}.{group}"),
                    (_, Some((resource, sub))) => format!("{resource}.{group}/{sub}"),
                };
                let on = texts(&rule["resources"]).into_iter().map(whole);
                found.push((
                    component.unwrap_or(account).to_owned(),
                    place.clone(),
                    on.chain(texts(&rule["resourceNames"])).collect(),
                    texts(&rule["verbs"]).into_iter().collect(),
                ));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn every_rule_of_every_account_is_explained_and_no_other() -> Result<()> {
    let code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let mut explained = Vec::new();
    for row in table(&page("docs/kubernetes.md")?, "account") {
        ensure!(row.len() == 5 && row[4].len() > 10, "not explained: {row:?}");
        explained.push((row[0].clone(), row[1].clone(), code(&row[2]), code(&row[3])));
    }
    explained.sort();
    assert_eq!(explained, rendered_permissions()?);
    Ok(())
}

/// They give the nodes the image that the pods ask for.
#[test]
fn it_is_installed_by_at_most_three_commands() -> Result<()> {
    let values = serde_json::json!({"image": {"repository": "registry.example.com/splittoken"}});
    let mut number = 0;
    for (name, section) in [("README.md", "On Kubernetes"), ("docs/kubernetes.md", "Install")] {
        for block in blocks(&page(name)?) {
            if block.section != section || !block.text.contains("helm install") {
                continue;
            }
            number += 1;
            let commands = commands(&block.text);
            assert!(commands.len() <= 3, "{commands:#?}");
            let values = if block.text.contains("--set image.repository=") {
                ensure!(
                    block
                        .text
                        .contains("--set image.repository=registry.example.com/splittoken\n")
                );
                &values
            } else {
                &Value::Null
            };
            let rendered = Helm::newest()?.template(values)?;
            let gateway = &rendered.get("Deployment", "splittoken-gateway")?["spec"]["template"]["spec"];
            let image = gateway["containers"][0]["image"].as_str().context("no image")?;
            for command in &commands[..2] {
                ensure!(command.contains(image), "{image} is not in {command}");
            }
        }
    }
    assert_eq!(number, 3);
    Ok(())
}
