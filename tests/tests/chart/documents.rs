//! The chart's README says what there is.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use serde_json::Value;
use splittoken_tests::helm::chart;
use splittoken_tests::markdown::table;

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
